// Faults on purpose: the refusals, the messages, and whose silence was made.
#include "inject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lapic.h"
#include "told.h"

#define CPUS    4u
#define DECOY   0x8e000u
#define INIT    0x4500u // as the manual writes them, without a destination
#define STARTUP 0x469fu

static struct told told;
static struct options options;
static struct plan plan;
static struct smp_cpu chosen[CPUS] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
static struct injector injector;

static int set_up(void **state)
{
    (void)state;
    options_set_defaults(&options);
    plan = (struct plan){.messages = {.strategy = SMP_PARALLEL}, .want = CPUS - 1, .cpus = chosen};
    injector = (struct injector){.faults = options.inject, .plan = &plan, .decoy_page = DECOY};
    return 0;
}

static void ask(const char *text)
{
    const struct problems problems = told_listen(&told);
    assert_int_equal(options_parse(text, strlen(text), "test", &problems, &options), STATUS_OK);
    injector.count = options.inject_count;
}

static enum status check(const char *text)
{
    ask(text);
    const struct problems problems = told_listen(&told);
    return inject_check(&injector, &problems);
}

static void test_what_there_is(void **state)
{
    char text[64];

    (void)state;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        assert_false(inject_has(&injector, (enum fault_kind)kind));
        snprintf(text, sizeof text, "inject=%s:3", fault_word((enum fault_kind)kind));
        ask(text);
        assert_true(inject_has(&injector, (enum fault_kind)kind));
        injector.count = 0; // as after a reset, whatever the options say
    }
    assert_int_equal(told.count, 0);
}

// ---- what can be injected ----

static void test_it_is_loud(void **state)
{
    (void)state;
    assert_int_equal(check("inject=late:2,ghost"), STATUS_OK);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.lines[0].severity, SEVERITY_WARNING);
    assert_string_equal(told.lines[0].what, "inject");
    assert_string_equal(told.lines[0].detail, "late:2 IS INJECTED ON PURPOSE: this run is a trial");
    assert_string_equal(told.lines[1].detail, "ghost IS INJECTED ON PURPOSE: this run is a trial");
}

static void test_a_cpu_that_is_not_woken(void **state)
{
    (void)state;
    assert_int_equal(check("inject=late:9"), STATUS_INVALID);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
    assert_string_equal(told.lines[0].detail, "late:9 is for a CPU that is not woken in this run");
    assert_int_equal(check("inject=unlisted:9,no-low-page:9"), STATUS_OK); // no AP's
    chosen[3].cpu = 9;                                                     // the last slot's
    assert_int_equal(check("inject=late:9"), STATUS_OK);
    assert_int_equal(check("inject=late:3"), STATUS_INVALID);
    chosen[3].cpu = 3;
    plan.want = 0;
    assert_int_equal(check("inject=late"), STATUS_INVALID);
    assert_int_equal(check("inject=late:3"), STATUS_INVALID);
}

static void test_a_broadcast_is_everybodys(void **state)
{
    static const char *const messages[] = {"no-init", "no-sipi", "lost-sipi", "bad-vector"};
    char text[64];

    (void)state;
    plan.messages.strategy = SMP_BROADCAST;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        snprintf(text, sizeof text, "inject=%s:1", messages[i]);
        assert_int_equal(check(text), STATUS_INVALID);
        assert_int_equal(told_times(&told, "inject",
                                    ":1 cannot be injected with wake=broadcast: one message "
                                    "reaches everybody; use wake=parallel"),
                         1);
    }
    assert_int_equal(check("inject=hang-real:1"), STATUS_OK);
}

// ---- messages ----

// Does it go out? `command` is what it has become.
static bool goes_out(uint32_t slot, uint32_t round, uint32_t try, uint32_t *command)
{
    struct smp_message message = {slot, round, try, *command};
    const bool sent = inject_filter(&injector, &message);

    *command = message.command;
    return sent;
}

// Each fault, and what it does to each message to each AP.
static void test_messages(void **state)
{
    char text[64];

    (void)state;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        snprintf(text, sizeof text, "inject=%s:2", fault_word((enum fault_kind)kind));
        ask(text);
        for (uint32_t i = 0; i < 2 * CPUS; i++) {
            const uint32_t slot = i / 2, try = i % 2 + 1;
            const bool hit = slot == 2, first = hit && try == 1;
            const bool startup = kind == FAULT_NO_SIPI || kind == FAULT_LOST_SIPI;
            uint32_t command = INIT;
            assert_int_equal(goes_out(slot, 1, try, &command), !(first && kind == FAULT_NO_INIT));
            assert_int_equal(command, INIT);
            command = STARTUP;
            assert_int_equal(goes_out(slot, 1, try, &command), !(first && startup));
            assert_int_equal(command, hit && kind == FAULT_BAD_VECTOR ? 0x468e : STARTUP);
        }
    }
}

static void test_who_has_to_filter(void **state)
{
    char text[64];
    size_t filtered = 0;

    (void)state;
    assert_false(inject_has_messages(&injector));
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        snprintf(text, sizeof text, "inject=mute,%s:2", fault_word((enum fault_kind)kind));
        ask(text);
        filtered += inject_has_messages(&injector);
    }
    assert_int_equal(filtered, 4);
    ask("inject=lost-sipi");
    assert_true(inject_has_messages(&injector));
    injector.count = 0;
    assert_false(inject_has_messages(&injector));
}

// Without a CPU each AP loses its first STARTUP in turn, a round each.
static void test_lost_sipi_goes_round(void **state)
{
    (void)state;
    ask("inject=lost-sipi");
    for (uint32_t round = 1; round <= 7; round++) {
        for (uint32_t slot = 1; slot < CPUS; slot++) {
            uint32_t command = STARTUP;
            assert_int_equal(goes_out(slot, round, 1, &command), slot != (round - 1) % 3 + 1);
            assert_true(goes_out(slot, round, 2, &command));
        }
    }
    ask("inject=no-sipi"); // any other is the last one's, in every round
    for (uint32_t round = 1; round <= 3; round++) {
        for (uint32_t slot = 1; slot < CPUS; slot++) {
            uint32_t command = STARTUP;
            assert_int_equal(goes_out(slot, round, 1, &command), slot != 3);
        }
    }
}

// By the CPU that the slot is, which is another number where cpus= leaves some out.
static void test_a_cpu_is_no_slot(void **state)
{
    uint32_t command = STARTUP;

    (void)state;
    chosen[1].cpu = 3;
    plan.want = 1;
    ask("inject=no-sipi:3,mute:3");
    assert_false(goes_out(1, 1, 1, &command));
    assert_true(inject_is_mute(&injector, 1));
    assert_true(inject_silences(&injector, 1));
    chosen[1].cpu = 1;
}

// Several faults of one AP, and of others before it.
static void test_a_list(void **state)
{
    uint32_t command = STARTUP;

    (void)state;
    ask("inject=bad-vector:3,no-init:1,bad-vector:1");
    assert_true(goes_out(1, 1, 1, &command));
    assert_int_equal(command, 0x468e);
    command = INIT;
    assert_false(goes_out(1, 1, 1, &command));
    command = STARTUP;
    assert_true(goes_out(2, 1, 1, &command));
    assert_int_equal(command, STARTUP);
}

// ---- what became of them ----

static void test_mute(void **state)
{
    (void)state;
    assert_false(inject_is_mute(&injector, 3));
    ask("inject=late:1,mute");
    assert_false(inject_is_mute(&injector, 1));
    assert_false(inject_is_mute(&injector, 2));
    assert_true(inject_is_mute(&injector, 3));
}

// Whose silence was made on purpose: an AP's own, or everybody's; another fault explains none.
static void test_silence_on_purpose(void **state)
{
    char text[64];

    (void)state;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        const bool everybodys = kind == FAULT_BAD_COPY; // the page is
        const bool own = kind == FAULT_NO_INIT || kind == FAULT_NO_SIPI ||
                         kind == FAULT_LOST_SIPI || kind == FAULT_BAD_VECTOR;
        snprintf(text, sizeof text, "inject=%s:2", fault_word((enum fault_kind)kind));
        ask(text);
        assert_int_equal(inject_silences(&injector, 1), everybodys);
        assert_int_equal(inject_silences(&injector, 2), everybodys || own);
        injector.count = 0;
        assert_false(inject_silences(&injector, 2));
    }
    ask("inject=lost-sipi"); // each in turn
    assert_true(inject_silences(&injector, 1));
    ask("inject=no-sipi"); // the last one
    assert_false(inject_silences(&injector, 1));
    assert_true(inject_silences(&injector, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_there_is, set_up),
        cmocka_unit_test_setup(test_it_is_loud, set_up),
        cmocka_unit_test_setup(test_a_cpu_that_is_not_woken, set_up),
        cmocka_unit_test_setup(test_a_broadcast_is_everybodys, set_up),
        cmocka_unit_test_setup(test_messages, set_up),
        cmocka_unit_test_setup(test_who_has_to_filter, set_up),
        cmocka_unit_test_setup(test_lost_sipi_goes_round, set_up),
        cmocka_unit_test_setup(test_a_cpu_is_no_slot, set_up),
        cmocka_unit_test_setup(test_a_list, set_up),
        cmocka_unit_test_setup(test_mute, set_up),
        cmocka_unit_test_setup(test_silence_on_purpose, set_up),
    };

    return cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}

// The result in one line: each cause once, CPUs in order, and no more than there is room for.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_evidence.h"
#include "summary.h"

static const struct machine machine = {.image = {.crc = 0x1a2b3c4d},
                                       .processor = {.brand = "A Processor"},
                                       .platform = {.product = "A Machine"}};
static struct fake_evidence fake;
static char buffer[512];

static const char *summary(const struct evidence *evidence, size_t bytes)
{
    const struct outcome outcome = outcome_of(evidence);
    struct line line;

    line_start(&line, buffer, bytes);
    summary_write(&machine, evidence, &outcome, "0.1.0", &line);
    return buffer;
}

static void never_fetched(uint32_t cpu)
{
    fake.accounts[cpu] = (struct smp_account){.slot = cpu, .cpu = cpu, .lost = 1};
}

static void test_all_up(void **state)
{
    (void)state;
    fake_evidence_start(&fake, 16);
    assert_string_equal(summary(&fake.evidence, sizeof buffer),
                        "REVEILLE 0.1.0 image=0x1a2b3c4d want=15 up=15 failed=0 on A Machine, "
                        "A Processor");
    assert_string_equal(summary(NULL, sizeof buffer),
                        "REVEILLE 0.1.0 image=0x1a2b3c4d want=0 up=0 failed=0 on A Machine, "
                        "A Processor");
}

static void test_two_causes(void **state)
{
    (void)state;
    fake_evidence_start(&fake, 16);
    fake.accounts[7].fault.valid = true;
    fake.accounts[7].cpu = 70; // the CPU, and not the slot
    never_fetched(3);
    never_fetched(9);
    assert_string_equal(summary(&fake.evidence, sizeof buffer),
                        "REVEILLE 0.1.0 image=0x1a2b3c4d want=15 up=12 failed=3 "
                        "never-fetched=3,9 fault=70 on A Machine, A Processor");
}

// Those that there are, CPU 0 among them; before the causes.
static void test_kinds(void **state)
{
    (void)state;
    fake_evidence_start(&fake, 5);
    for (uint32_t slot = 0; slot < 4; slot++)
        fake.hellos[slot] = (struct hello){
            .place.kind = slot < 3 ? CORE_PERFORMANCE : CORE_LOW_POWER, .known = true};
    never_fetched(4);
    assert_string_equal(summary(&fake.evidence, sizeof buffer),
                        "REVEILLE 0.1.0 image=0x1a2b3c4d want=4 up=3 failed=1 p=3 lp=1 "
                        "never-fetched=4 on A Machine, A Processor");
}

static void test_too_many_to_list(void **state)
{
    (void)state;
    fake_evidence_start(&fake, 40);
    for (uint32_t cpu = 1; cpu < 40; cpu++)
        never_fetched(cpu);
    const char *text = summary(&fake.evidence, 160);
    assert_non_null(strstr(text, " never-fetched=1,2,3,"));
    assert_non_null(strstr(text, ",... on A Machine, A Processor"));
    assert_true(strlen(text) < 160);
}

static void assert_headline(struct outcome outcome, const char *text)
{
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    summary_headline(&outcome, &line);
    assert_string_equal(buffer, text);
}

static void test_the_headline(void **state)
{
    (void)state;
    assert_headline((struct outcome){15, 15, 0, true, false, 0}, "All 15 processors started");
    assert_headline((struct outcome){1, 1, 0, true, false, 0}, "The processor started");
    assert_headline((struct outcome){15, 13, 2, false, false, 0},
                    "2 of 15 processors failed to start");
    assert_headline((struct outcome){15, 15, 0, false, false, 0}, "The run was cut short");
    assert_headline((struct outcome){15, 15, 0, false, true, 0},
                    "The processors came to a wrong sum");
    assert_headline((struct outcome){15, 14, 1, false, true, 0},
                    "1 of 15 processors failed to start");
    assert_headline((struct outcome){15, 13, 2, false, false, 1}, "2 of 15 processors failed");
    assert_headline((struct outcome){15, 14, 1, false, false, 1},
                    "1 of 15 processors did not return from a call");
    assert_headline(OUTCOME_OPEN, "The run was cut short");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_up),       cmocka_unit_test(test_two_causes),
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_too_many_to_list),
        cmocka_unit_test(test_the_headline),
    };
    return cmocka_run_group_tests_name("summary", tests, NULL, NULL);
}

// What a start does with the result of the run before: whether it ends with that, what it saves
// under which name, and what it forgets. Nothing is forgotten that harvest=only could not save, and
// no start that again=yes asked for asks for another one.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "harvest.h"
#include "next_start.h"
#include "nvram.h"
#include "report.h"

static struct options options;
static struct last_run last;
static struct journal own; // this start's
static struct past past;
static struct firmware firmware;
static struct console console;
static struct stick stick = {.firmware = &firmware, .console = &console};
static const struct problems problems = {report_problem, &console};
static struct {
    bool journal, again; // in memory, and what its seal says
    bool summary;        // in a variable
    bool mark;           // on the stick: the next start was asked for
    bool writable;
} world;
static struct {
    char saved[64]; // names, each with j (the found journal) or o (this start's own) before it
    bool journal_dropped, summary_forgotten;
    uint32_t summary_told;
} did;
static char heard[4096];
static UINTN current_bytes; // that BootCurrent has
static _Alignas(64) char memory[1024];
static char kept_text[] = "REVEILLE ev=end ok=1";

static void hear(void *context, const char *text)
{
    (void)context;
    strncat(heard, text, sizeof heard - strlen(heard) - 1);
}

// What stands around it.

enum stick_mark stick_take_mark(struct stick *self)
{
    assert_ptr_equal(self, &stick);
    if (!world.mark)
        return STICK_UNMARKED;
    world.mark = false;
    return STICK_MARK_TAKEN;
}

bool stick_set_mark(struct stick *self)
{
    assert_ptr_equal(self, &stick);
    world.mark = world.writable;
    return world.writable;
}

bool stick_save(struct stick *self, const struct journal *journal, const CHAR16 *name,
                enum stick_end end, const struct problems *listener)
{
    char word[16] = {journal == &own ? 'o' : 'j'};

    assert_ptr_equal(self, &stick);
    assert_int_equal(end, STICK_BLANK);
    assert_ptr_equal(listener, &problems);
    for (size_t i = 0; name[i]; i++)
        word[i + 1] = (char)name[i];
    if (!world.writable)
        return false;
    strcat(did.saved, word);
    strcat(did.saved, " ");
    return true;
}

bool nvram_tell(const struct firmware *self, struct console *to)
{
    assert_ptr_equal(self, &firmware);
    assert_ptr_equal(to, &console);
    did.summary_told += world.summary;
    return world.summary;
}

void nvram_forget(const struct firmware *self, const struct problems *listener)
{
    assert_ptr_equal(self, &firmware);
    assert_ptr_equal(listener, &problems);
    did.summary_forgotten = world.summary;
}

// What last_run_find would have found.
static void find_journal(void)
{
    last = (struct last_run){0};
    if (!world.journal)
        return;
    last.again = world.again;
    last.head = (struct journal_head *)memory;
    journal_open(&last.journal, kept_text, sizeof kept_text);
    last.journal.length = sizeof kept_text;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_start_clock(0, 1);
    memset(&options, 0, sizeof options);
    past = (struct past){0};
    memset(&world, 0, sizeof world);
    memset(&did, 0, sizeof did);
    memset(memory, 'x', sizeof memory);
    heard[0] = '\0';
    world.writable = true;
    current_bytes = sizeof(UINT16);
    console_start(&console, LOG_NORMAL, 1);
    console.sinks[0] = (struct console_sink){.write_line = hear};
    return 0;
}

static void assert_harvests(bool fetched, const char *saved, bool dropped, bool forgotten)
{
    find_journal();
    past = harvest(&options, &own, &last, &stick, &problems);
    assert_int_equal(past.fetched, fetched);
    assert_string_equal(did.saved, saved);
    assert_int_equal(memory[0] != 'x', dropped);
    assert_int_equal(did.summary_forgotten, forgotten);
}

static void test_nothing_there(void **state)
{
    (void)state;
    assert_harvests(false, "", false, false);
    assert_string_equal(heard, "");
}

static void test_a_run_that_goes_on(void **state)
{
    (void)state;
    world.journal = world.summary = true;
    assert_harvests(false, "jlast jprevious ", true, true);
    assert_non_null(strstr(heard, "complete=1 saved=1"));
    assert_int_equal(did.summary_told, 0); // the journal is of the same run, or tells it
    assert_false(past.summary_told);
}

static void assert_saves_itself(const char *saved, bool forgotten)
{
    CHAR16 name[] = L"last";

    did.saved[0] = '\0';
    assert_int_equal(harvest_own(&own, name, STICK_BLANK, &stick, &past, &problems),
                     saved[0] != '\0');
    assert_string_equal(did.saved, saved);
    assert_int_equal(did.summary_forgotten, forgotten);
}

// It needs the memory. The summary stays where it is until the run has saved what it told of it.
static void test_a_run_that_goes_on_without_a_stick(void **state)
{
    (void)state;
    world.journal = world.summary = true;
    world.writable = false;
    assert_harvests(false, "", true, false);
    assert_non_null(strstr(heard, "saved=0"));
    assert_int_equal(did.summary_told, 1); // it is all that is left
    assert_saves_itself("", false);
    world.writable = true;
    assert_saves_itself("olast ", true);
}

static void test_a_summary_and_a_run_that_goes_on(void **state)
{
    (void)state;
    world.summary = true;
    assert_harvests(false, "", false, false); // somebody may stop it before it saves anything
    assert_saves_itself("olast ", true);
    did.summary_forgotten = false;
    assert_saves_itself("olast ", false); // once
}

static void test_harvest_only(void **state)
{
    (void)state;
    options.harvest = HARVEST_ONLY;
    world.journal = true;
    assert_harvests(true, "jlast ", true, false);
}

// What cannot be saved waits for another try, with another stick.
static void test_harvest_only_without_a_stick(void **state)
{
    (void)state;
    options.harvest = HARVEST_ONLY;
    world.journal = world.summary = true;
    world.writable = false;
    assert_harvests(true, "", false, false);
    world.writable = true;
    assert_harvests(true, "jlast ", true, true);
}

static void test_harvest_only_of_a_summary(void **state)
{
    (void)state;
    options.harvest = HARVEST_ONLY;
    options.save = SAVE_NONE; // says what this run leaves, and not what it may fetch
    world.summary = true;
    world.writable = false;
    assert_harvests(true, "", false, false);
    assert_int_equal(did.summary_told, 1);
    world.writable = true;
    assert_harvests(true, "oprevious ", false, true);
    assert_int_equal(did.summary_told, 2);
    assert_null(strstr(heard, "nothing-to-harvest"));
}

static void test_harvest_only_of_nothing(void **state)
{
    (void)state;
    options.harvest = HARVEST_ONLY;
    assert_harvests(true, "", false, false);
    assert_non_null(strstr(heard, "what=nothing-to-harvest"));
}

static void test_save_none(void **state)
{
    (void)state;
    options.save = SAVE_NONE;
    world.journal = world.summary = world.mark = true;
    assert_harvests(false, "", false, false);
    assert_true(world.mark);
}

static void test_the_start_that_was_asked_for(void **state)
{
    (void)state;
    options.again = ANSWER_YES;
    world.journal = world.again = world.mark = true;
    assert_harvests(true, "jlast ", true, false);
}

// Else each start after it would do nothing else.
static void test_the_start_that_was_asked_for_without_a_stick(void **state)
{
    (void)state;
    options.again = ANSWER_YES;
    world.journal = world.again = true;
    world.writable = false;
    assert_harvests(true, "", true, false);
}

// The machine forgot: the mark alone says that this start was asked for, and only once.
static void test_a_machine_that_forgets(void **state)
{
    (void)state;
    options.again = ANSWER_YES;
    world.mark = true;
    assert_harvests(true, "", false, false);
    assert_non_null(strstr(heard, "what=nothing-to-harvest"));
    assert_harvests(false, "", false, false);
}

// On a machine that hears nobody the end resets, once the volume has the mark.
static void assert_resets(const struct journal *kept, bool resets)
{
    assert_int_equal(next_start_allows_reset(kept, &past, &stick, &problems), resets);
    assert_int_equal(world.mark, resets);
    world.mark = false;
}

static void test_a_reset_of_its_own(void **state)
{
    (void)state;
    assert_resets(&own, true);
    assert_resets(NULL, false); // nobody would find the result, or could save it
    world.writable = false;     // nobody could save it
    assert_resets(&own, false);
    assert_string_equal(heard, "");
}

// A machine that clears its memory would run and reset for ever.
static void test_a_reset_of_its_own_that_was_in_vain(void **state)
{
    (void)state;
    world.mark = true;
    assert_harvests(false, "", false, false); // a run of its own follows
    assert_resets(&own, false);
    assert_non_null(strstr(heard, "what=memory-cleared"));
    assert_harvests(false, "", false, false);
    assert_resets(&own, true); // a start by hand
}

// Somebody changed the options meanwhile, or started by hand in the same memory.
static void test_a_start_by_hand(void **state)
{
    (void)state;
    world.journal = world.mark = true;
    assert_harvests(false, "jlast jprevious ", true, false);
}

// Firmware takes BootNext, or it does not.

static EFI_RUNTIME_SERVICES runtime;
static EFI_SYSTEM_TABLE table;
static EFI_STATUS takes_next;

static EFI_STATUS EFIAPI get_current(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes, UINTN *bytes,
                                     void *data)
{
    (void)guid;
    (void)attributes;
    assert_int_equal(name[4], L'C');
    assert_int_equal(*bytes, sizeof(UINT16));
    *(UINT16 *)data = 7;
    *bytes = current_bytes;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_next(CHAR16 *name, EFI_GUID *guid, UINT32 attributes, UINTN bytes,
                                  void *data)
{
    (void)guid;
    assert_int_equal(name[4], L'N');
    assert_int_equal(attributes, 7);
    assert_int_equal(bytes, sizeof(UINT16));
    assert_int_equal(*(UINT16 *)data, 7);
    return takes_next;
}

static bool ask(EFI_STATUS status, struct journal *kept)
{
    takes_next = status;
    runtime.GetVariable = get_current;
    runtime.SetVariable = set_next;
    table.RuntimeServices = &runtime;
    firmware.system = &table;
    heard[0] = '\0';
    return next_start_ask(kept, &stick, &problems);
}

// Half a number is none, and firmware is not asked for the entry that it would be.
static void test_a_current_entry_that_is_no_number(void **state)
{
    (void)state;
    own = (struct journal){.text = kept_text, .head = (struct journal_head *)memory};
    for (current_bytes = 0; current_bytes < sizeof(UINT16); current_bytes++) {
        assert_false(ask(EFI_SUCCESS, &own));
        assert_non_null(strstr(heard, "what=no-next-start"));
        assert_false(world.mark);
    }
}

static void test_another_start(void **state)
{
    (void)state;
    own = (struct journal){.text = kept_text, .head = (struct journal_head *)memory};
    assert_false(ask(EFI_SUCCESS, NULL)); // where no start would find the result
    assert_non_null(strstr(heard, "what=no-next-start"));
    assert_int_equal(own.seal.again, 0);
    assert_true(ask(EFI_SUCCESS, &own));
    assert_int_equal(own.seal.again, 1);
    assert_true(world.mark);
    assert_string_equal(heard, "");
}

// No mark stays behind where no start follows.
static void test_no_other_start(void **state)
{
    (void)state;
    own = (struct journal){.text = kept_text, .head = (struct journal_head *)memory};
    assert_false(ask(EFI_SECURITY_VIOLATION, &own));
    assert_false(world.mark);
    assert_non_null(strstr(heard, "what=no-next-start"));
    world.writable = false;
    assert_false(ask(EFI_SUCCESS, &own));
    assert_non_null(strstr(heard, "what=no-next-start"));
    assert_int_equal(own.seal.again, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_there, set_up),
        cmocka_unit_test_setup(test_a_run_that_goes_on, set_up),
        cmocka_unit_test_setup(test_a_run_that_goes_on_without_a_stick, set_up),
        cmocka_unit_test_setup(test_a_summary_and_a_run_that_goes_on, set_up),
        cmocka_unit_test_setup(test_harvest_only, set_up),
        cmocka_unit_test_setup(test_harvest_only_without_a_stick, set_up),
        cmocka_unit_test_setup(test_harvest_only_of_a_summary, set_up),
        cmocka_unit_test_setup(test_harvest_only_of_nothing, set_up),
        cmocka_unit_test_setup(test_save_none, set_up),
        cmocka_unit_test_setup(test_the_start_that_was_asked_for, set_up),
        cmocka_unit_test_setup(test_the_start_that_was_asked_for_without_a_stick, set_up),
        cmocka_unit_test_setup(test_a_machine_that_forgets, set_up),
        cmocka_unit_test_setup(test_a_reset_of_its_own, set_up),
        cmocka_unit_test_setup(test_a_reset_of_its_own_that_was_in_vain, set_up),
        cmocka_unit_test_setup(test_a_start_by_hand, set_up),
        cmocka_unit_test_setup(test_a_current_entry_that_is_no_number, set_up),
        cmocka_unit_test_setup(test_another_start, set_up),
        cmocka_unit_test_setup(test_no_other_start, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

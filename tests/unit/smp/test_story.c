// The engine's own words: a sentence for each status, each parking and each account, whole or cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "smp.h"

static void test_each_status_has_a_sentence(void **state)
{
    (void)state;
    for (int status = STATUS_OK; status <= STATUS_WRONG_CPU; status++) {
        assert_true(strlen(smp_status_story((enum status)status)) >= strlen("done"));
        for (int other = STATUS_OK; other < status; other++)
            assert_string_not_equal(smp_status_story((enum status)status),
                                    smp_status_story((enum status)other));
    }
    assert_string_equal(smp_status_story((enum status)(STATUS_WRONG_CPU + 1)),
                        "no status of the engine's");
}

static void test_parkings(void **state)
{
    static const char *const words[] = {"init", "nmi", "mwait", "pause", "none"};

    (void)state;
    for (int parking = 0; parking <= SMP_PARKINGS; parking++)
        assert_string_equal(smp_parking_word((enum smp_parking)parking), words[parking]);
}

static void test_words_of_what_there_is_not(void **state)
{
    (void)state;
    assert_string_equal(smp_cause_word((enum smp_cause)99), "unknown");
    assert_string_equal(smp_cause_story((enum smp_cause)99), smp_cause_story(SMP_CAUSE_UNKNOWN));
    assert_string_equal(smp_strategy_word(99), "none");
}

static void assert_sentence(const struct smp_account *account, const char *wanted)
{
    char text[SMP_SENTENCE_BYTES];

    assert_int_equal(smp_sentence(account, text, sizeof text), strlen(wanted));
    assert_string_equal(text, wanted);
}

static void test_accounts(void **state)
{
    const struct smp_account up = {
        .cpu = 1, .apic_id = 2, .stage = SMP_STAGE_READY, .arrived = true, .done = true, .us = 99};
    const struct smp_account dead = {.cpu = 3, .apic_id = 511};
    const struct smp_account stuck = {.cpu = 2,
                                      .apic_id = 4,
                                      .stage = SMP_STAGE_READY,
                                      .arrived = true,
                                      .done = true,
                                      .in_call = true};
    const struct smp_account hit = {
        .cpu = 2,
        .apic_id = 4,
        .stage = SMP_STAGE_LONG,
        .fault = {true, SMP_STAGE_LONG, 14, 2, 0x1000, 0x2000},
    };

    (void)state;
    assert_sentence(&up, "CPU 1 (APIC ID 2) started in 99 us");
    assert_sentence(&dead, "CPU 3 (APIC ID 511) failed to start: it never executed an instruction "
                           "of the trampoline");
    assert_sentence(&stuck, "CPU 2 (APIC ID 4) failed: it started, but did not return from a call "
                            "in time");
    assert_sentence(&hit,
                    "CPU 2 (APIC ID 4) failed to start: it took an exception or an NMI and "
                    "stopped: page fault in long mode, error code 0x2, IP 0x1000, CR2 0x2000");
}

// The longest is whole, and what is too long for its buffer is cut and ended.
static void test_cut(void **state)
{
    const struct smp_account longest = {
        .cpu = UINT32_MAX,
        .apic_id = UINT32_MAX,
        .stage = SMP_STAGE_LONG,
        .fault = {true, SMP_STAGE_PROTECTED, 13, UINT32_MAX, UINT64_MAX, UINT64_MAX},
    };
    char whole[SMP_SENTENCE_BYTES], part[SMP_SENTENCE_BYTES + 1];

    (void)state;
    const size_t length = smp_sentence(&longest, whole, sizeof whole);
    assert_true(length < sizeof whole && strstr(whole, "CR2 0xffffffffffffffff") != NULL);
    for (size_t bytes = 1; bytes <= length; bytes++) {
        memset(part, '#', sizeof part);
        assert_int_equal(smp_sentence(&longest, part, bytes), bytes - 1);
        assert_memory_equal(part, whole, bytes - 1);
        assert_true(part[bytes - 1] == '\0' && part[bytes] == '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_status_has_a_sentence),
        cmocka_unit_test(test_parkings),
        cmocka_unit_test(test_words_of_what_there_is_not),
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests_name("story", tests, NULL, NULL);
}

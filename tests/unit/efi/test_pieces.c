// The memory that a run takes: what it is for, what is told where there is none, and what goes back
// while a processor may still come. Surprise: behind each piece lies a page that must not be
// touched, so what is written beyond it ends the test.
#include "fake_firmware.h"
#include "fake_hw.h"

#include "pieces.h"
#include "told.h"

#define CPUS    300u
#define REGIONS 70u
#define ROUNDS  900u

static struct firmware firmware;
static struct pieces pieces;
static struct told told;
static struct problems problems;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_on_failure(fail_test);
    firmware = fake_firmware_start(48);
    problems = told_listen(&told);
    pieces = (struct pieces){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_firmware_clear();
    return 0;
}

static enum status take_lists(void)
{
    return pieces_take_lists(&firmware, CPUS, REGIONS, ROUNDS, &problems, &pieces);
}

static enum status take_hellos(void)
{
    return pieces_take_hellos(&firmware, CPUS, &problems, &pieces);
}

static enum status take_engine(struct smp_memory *memory)
{
    return pieces_take_engine(&firmware, CPUS, 123456, &problems, &pieces, memory);
}

// An answer of firmware's for the next page below 1 MiB.
static uint32_t give_low(uint32_t page)
{
    fake_map_low(page, 1);
    fake_firmware.low[fake_firmware.low_count++] = page;
    return page;
}

static void assert_told_once(const char *what, const char *text)
{
    assert_int_equal(told.count, 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
    assert_int_equal(told_times(&told, what, text), 1);
}

// ---- the lists ----

// Each list is filled with a byte of its own, and keeps it.
static void test_lists(void **state)
{
    (void)state;
    assert_int_equal(take_lists(), STATUS_OK);
    const struct {
        void *list;
        size_t bytes, alignment;
    } lists[] = {
        {pieces.accounts, CPUS * sizeof *pieces.accounts, _Alignof(struct smp_account)},
        {pieces.cpus, CPUS * sizeof *pieces.cpus, _Alignof(struct smp_cpu)},
        {pieces.regions, REGIONS * sizeof *pieces.regions, _Alignof(struct smp_region)},
        {pieces.scratch, CPUS * sizeof *pieces.scratch, _Alignof(uint32_t)},
        {pieces.lasts_us, ROUNDS * sizeof *pieces.lasts_us, _Alignof(uint32_t)},
        {pieces.medians_us, ROUNDS * sizeof *pieces.medians_us, _Alignof(uint32_t)},
    };
    const size_t count = sizeof lists / sizeof lists[0];
    for (size_t i = 0; i < count; i++) {
        assert_int_equal((uintptr_t)lists[i].list % lists[i].alignment, 0);
        memset(lists[i].list, (int)(i + 1), lists[i].bytes);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < lists[i].bytes; at++)
            assert_int_equal(((const uint8_t *)lists[i].list)[at], i + 1);
    }
    assert_int_equal(told.count, 0);
}

static void test_no_memory_for_the_lists(void **state)
{
    (void)state;
    fake_firmware.refuse_high_from = 1;
    assert_int_equal(take_lists(), STATUS_NO_SPACE);
    assert_told_once("no-memory", "for the plan");
}

// ---- what APs touch ----

static void test_hellos(void **state)
{
    (void)state;
    assert_int_equal(take_hellos(), STATUS_OK);
    const uint8_t *bytes = (const uint8_t *)pieces.hellos;
    for (size_t at = 0; at < CPUS * sizeof *pieces.hellos; at++)
        assert_int_equal(bytes[at], 0);
    assert_int_equal(told.count, 0);
}

static void test_no_memory_for_the_hellos(void **state)
{
    (void)state;
    fake_firmware.refuse_high_from = 1;
    assert_int_equal(take_hellos(), STATUS_NO_SPACE);
    assert_told_once("no-memory", "say of themselves");
}

static void test_the_engine(void **state)
{
    struct smp_memory memory;

    (void)state;
    assert_int_equal(take_engine(&memory), STATUS_OK);
    assert_int_equal(memory.bytes, 123456);
    assert_int_equal(memory.phys, (uintptr_t)pieces.note + PAGE_BYTES);
    assert_int_equal((uintptr_t)memory.view, memory.phys);
    assert_int_equal(memory.phys % PAGE_BYTES, 0);
    memset(memory.view, 1, memory.bytes);
    assert_false(note_is_whole(pieces.note, (uintptr_t)pieces.note));
    for (size_t at = 0; at < sizeof *pieces.note; at++)
        assert_int_equal(((const uint8_t *)pieces.note)[at], 0);
    assert_int_equal(told.count, 0);
}

static void test_no_memory_for_the_engine(void **state)
{
    struct smp_memory memory;

    (void)state;
    fake_firmware.refuse_high_from = 1;
    assert_int_equal(take_engine(&memory), STATUS_NO_SPACE);
    assert_told_once("no-memory", "300 processors need 123456 bytes in one piece below 4 GiB");
    assert_non_null(strstr(told.lines[0].detail, "cpus="));
}

// ---- pages below 1 MiB ----

static void test_a_page(void **state)
{
    (void)state;
    const uint32_t page = give_low(0x60000);
    assert_int_equal(pieces_take_page(&firmware, PIECES_ANY_PAGE, &problems, &pieces), STATUS_OK);
    assert_int_equal(pieces.low_page, page);
    assert_int_equal(pieces.late_page, 0);
}

static void test_a_late_page(void **state)
{
    (void)state;
    (void)give_low(0x60000); // not asked for
    fake_add(EfiBootServicesData, 0x70000, 2);
    assert_int_equal(pieces_take_page(&firmware, PIECES_LATE_PAGE, &problems, &pieces), STATUS_OK);
    assert_int_equal(pieces.low_page, 0);
    assert_int_equal(pieces.late_page, 0x71000);
    assert_int_equal(told.count, 0);
}

static void test_no_page(void **state)
{
    (void)state;
    for (enum pieces_page which = PIECES_ANY_PAGE; which <= PIECES_LATE_PAGE; which++) {
        problems = told_listen(&told);
        assert_int_equal(pieces_take_page(&firmware, which, &problems, &pieces), STATUS_NOT_FOUND);
        assert_told_once("no-low-page", "no usable page");
        assert_int_equal(pieces.low_page, 0);
        assert_int_equal(pieces.late_page, 0);
    }
}

// No refusal is without a word.
static void test_no_map(void **state)
{
    (void)state;
    fake_firmware.map_status = EFI_DEVICE_ERROR;
    for (enum pieces_page which = PIECES_ANY_PAGE; which <= PIECES_LATE_PAGE; which++) {
        problems = told_listen(&told);
        assert_int_equal(pieces_take_page(&firmware, which, &problems, &pieces), STATUS_INVALID);
        assert_told_once("no-memory-map", "");
    }
    problems = told_listen(&told);
    assert_int_equal(pieces_take_decoy(&firmware, &problems, &pieces), STATUS_NOT_FOUND);
    assert_told_once("no-memory-map", "");
}

// Whoever starts there halts, wherever in the page it starts.
static void test_a_decoy(void **state)
{
    (void)state;
    const uint32_t page = give_low(0x60000);
    assert_int_equal(pieces_take_decoy(&firmware, &problems, &pieces), STATUS_OK);
    assert_int_equal(pieces.decoy_page, page);
    for (size_t at = 0; at < PAGE_BYTES; at++)
        assert_int_equal(((const uint8_t *)(uintptr_t)page)[at], 0xf4);
}

// A page that will be ours is too late for it: an AP starts there at once.
static void test_no_decoy(void **state)
{
    (void)state;
    fake_add(EfiBootServicesData, 0x70000, 2);
    assert_int_equal(pieces_take_decoy(&firmware, &problems, &pieces), STATUS_NOT_FOUND);
    assert_told_once("no-low-page", "inject=bad-vector needs a second page");
    assert_int_equal(pieces.decoy_page, 0);
}

// ---- giving back ----

static void take_all(void)
{
    struct smp_memory memory;

    (void)give_low(0x60000);
    (void)give_low(0x61000);
    assert_int_equal(take_lists(), STATUS_OK);
    assert_int_equal(take_hellos(), STATUS_OK);
    assert_int_equal(take_engine(&memory), STATUS_OK);
    assert_int_equal(pieces_take_page(&firmware, PIECES_ANY_PAGE, &problems, &pieces), STATUS_OK);
    assert_int_equal(pieces_take_decoy(&firmware, &problems, &pieces), STATUS_OK);
    assert_int_equal(fake_firmware.owned_count, 5);
}

static void assert_empty(void)
{
    static const struct pieces nothing;

    assert_memory_equal(&pieces, &nothing, sizeof nothing);
    pieces_free(&firmware, KEEP_NOTHING, &pieces); // once more does nothing
    pieces_free(&firmware, KEEP_WHAT_APS_TOUCH, &pieces);
}

static void test_all_goes_back(void **state)
{
    (void)state;
    take_all();
    pieces_free(&firmware, KEEP_NOTHING, &pieces);
    assert_int_equal(fake_firmware.owned_count, 0);
    assert_empty();
}

// The lists are CPU 0's; all else is read, written or executed by whoever comes late.
static void test_what_aps_touch_stays(void **state)
{
    (void)state;
    take_all();
    const struct pieces had = pieces;
    pieces_free(&firmware, KEEP_WHAT_APS_TOUCH, &pieces);
    assert_int_equal(fake_firmware.owned_count, 4);
    assert_false(fake_owns((uintptr_t)had.lists));
    assert_true(fake_owns((uintptr_t)had.hellos));
    assert_true(fake_owns((uintptr_t)had.note));
    assert_true(fake_owns((uintptr_t)had.note + had.note_pages * PAGE_BYTES - 1));
    assert_true(fake_owns(had.low_page));
    assert_true(fake_owns(had.decoy_page));
    assert_empty();
}

// It is firmware's until the exit.
static void test_a_late_page_is_not_ours_to_give(void **state)
{
    (void)state;
    pieces.late_page = 0x70000;
    pieces_free(&firmware, KEEP_NOTHING, &pieces);
    assert_string_equal(fake_story(), "");
}

// A refusal on the way leaves only what can be given back.
static void test_a_half_is_given_back(void **state)
{
    struct smp_memory memory;

    (void)state;
    for (size_t from = 1; from <= 3; from++) {
        fake_firmware.high_count = 0;
        fake_firmware.refuse_high_from = from;
        const enum status lists = take_lists();
        const enum status hellos = lists == STATUS_OK ? take_hellos() : STATUS_OK;
        const enum status engine =
            lists == STATUS_OK && hellos == STATUS_OK ? take_engine(&memory) : STATUS_OK;
        assert_int_equal((lists != STATUS_OK) + (hellos != STATUS_OK) + (engine != STATUS_OK), 1);
        pieces_free(&firmware, KEEP_NOTHING, &pieces);
        assert_int_equal(fake_firmware.owned_count, 0);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lists),
        TEST(test_no_memory_for_the_lists),
        TEST(test_hellos),
        TEST(test_no_memory_for_the_hellos),
        TEST(test_the_engine),
        TEST(test_no_memory_for_the_engine),
        TEST(test_a_page),
        TEST(test_a_late_page),
        TEST(test_no_page),
        TEST(test_no_map),
        TEST(test_a_decoy),
        TEST(test_no_decoy),
        TEST(test_all_goes_back),
        TEST(test_what_aps_touch_stays),
        TEST(test_a_late_page_is_not_ours_to_give),
        TEST(test_a_half_is_given_back),
    };
    return cmocka_run_group_tests_name("pieces", tests, NULL, NULL);
}

// What outlives a warm reset, in memory that firmware keeps closed while nobody has allocated it:
// the test's pages cannot be read before AllocatePages and after FreePages, so a look at memory
// that is not ours ends the test.
#include "last_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sys/mman.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "page.h"
#include "timing.h"

#define MIB    0x100000ull
#define PIECE  (2 * MIB)
#define FIRST  (64 * MIB) // the places below are taken, as is what the test program itself lies in
#define SECOND (128 * MIB)
#define PAGES  (PIECE / PAGE_BYTES)

static struct {
    uint64_t at;
    bool taken[PAGES];
} pieces[] = {{.at = FIRST}, {.at = SECOND}};

static EFI_BOOT_SERVICES boot;
static EFI_RUNTIME_SERVICES runtime;
static EFI_SYSTEM_TABLE system_table = {.BootServices = &boot, .RuntimeServices = &runtime};
static struct firmware firmware = {.system = &system_table, .boot = &boot};
static struct last_run last;
static uint8_t seconds;

static EFI_STATUS set(uint64_t address, UINTN pages, bool taken)
{
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        const uint64_t first = (address - pieces[i].at) / PAGE_BYTES;
        if (address < pieces[i].at || first + pages > PAGES)
            continue;
        for (size_t page = first; page < first + pages; page++) {
            if (pieces[i].taken[page] == taken)
                return EFI_NOT_FOUND;
        }
        for (size_t page = first; page < first + pages; page++)
            pieces[i].taken[page] = taken;
        assert_int_equal(mprotect((void *)(uintptr_t)address, pages * PAGE_BYTES,
                                  taken ? PROT_READ | PROT_WRITE : PROT_NONE),
                         0);
        return EFI_SUCCESS;
    }
    return EFI_NOT_FOUND;
}

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN pages,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)memory;
    return type == AllocateAddress ? set(*address, pages, true) : EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
    assert_false(EFI_ERROR(set(address, pages, false)));
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_time(EFI_TIME *time, EFI_TIME_CAPABILITIES *capabilities)
{
    (void)capabilities;
    *time = (EFI_TIME){.Year = 2026, .Month = 11, .Day = 28, .Second = seconds++};
    return EFI_SUCCESS;
}

static size_t pages_taken(void)
{
    size_t count = 0;

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (size_t page = 0; page < PAGES; page++)
            count += pieces[i].taken[page];
    }
    return count;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    boot = (EFI_BOOT_SERVICES){.AllocatePages = allocate, .FreePages = release};
    runtime = (EFI_RUNTIME_SERVICES){.GetTime = get_time};
    seconds = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        memset(pieces[i].taken, 0, sizeof pieces[i].taken);
        void *memory = mmap((void *)(uintptr_t)pieces[i].at, PIECE, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (memory != (void *)(uintptr_t)pieces[i].at)
            return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        munmap((void *)(uintptr_t)pieces[i].at, PIECE);
    return 0;
}

// A run's journal, as it lies there after the reset: in memory that is nobody's any more.
static uint64_t leave_journal(size_t pages, const char *line, uint64_t born, bool again)
{
    struct journal journal;
    char first[256];
    void *memory = last_run_allocate(&firmware, pages);

    assert_non_null(memory);
    journal_open(&journal, first, sizeof first);
    journal.born = born;
    journal_keep(&journal, memory, pages * PAGE_BYTES);
    if (again)
        journal_ask_again(&journal);
    for (size_t bytes = 0; bytes + PAGE_BYTES < pages * PAGE_BYTES; bytes += strlen(line) + 1)
        journal_write_line(&journal, line);
    release((uintptr_t)memory, pages);
    return (uintptr_t)memory;
}

static void assert_finds(uint64_t at, const char *line)
{
    size_t position = 0;

    last_run_find(&firmware, &last);
    assert_ptr_equal(last.head, (void *)(uintptr_t)at);
    assert_string_equal(journal_next(&last.journal, &position), line);
}

static void test_nothing(void **state)
{
    (void)state;
    last_run_find(&firmware, &last);
    assert_null(last.head);
    assert_null(last.note);
    last_run_release(&firmware, &last);
    assert_int_equal(pages_taken(), 0);
}

static void test_a_journal(void **state)
{
    (void)state;
    const uint64_t at = leave_journal(5, "REVEILLE ev=start", 7, true);
    assert_int_equal(at, FIRST);
    assert_finds(at, "REVEILLE ev=start");
    assert_true(last.again);
    assert_true(last_run_keeps(last.head));
    last_run_release(&firmware, &last);
    assert_int_equal(pages_taken(), 0);
    // What was not dropped is found again: somebody tries with another stick.
    assert_finds(at, "REVEILLE ev=start");
    journal_drop(last.head);
    last_run_release(&firmware, &last);
    last_run_find(&firmware, &last);
    assert_null(last.head);
}

static void test_a_journal_whose_pages_are_somebodys(void **state)
{
    (void)state;
    const uint64_t at = leave_journal(5, "REVEILLE ev=start", 7, true);
    assert_false(EFI_ERROR(set(at + 3 * PAGE_BYTES, 1, true)));
    last_run_find(&firmware, &last);
    assert_null(last.head);
    assert_int_equal(pages_taken(), 1);
}

// One of an earlier run, which could not be saved, and one behind it: the later one is the last
// run's, wherever it lies, and the other does not come to light a start later.
static void test_the_later_of_two(void **state)
{
    (void)state;
    for (uint64_t later = 1; later <= 2; later++) {
        const uint64_t first = leave_journal(3, "one", later == 1 ? 9 : 8, false);
        assert_false(EFI_ERROR(set(first, 3, true)));
        const uint64_t second = leave_journal(3, "two", later == 1 ? 8 : 9, true);
        assert_int_not_equal(first, second);
        release(first, 3);
        assert_finds(later == 1 ? first : second, later == 1 ? "one" : "two");
        assert_int_equal(last.again, later == 2);
        journal_drop(last.head);
        last_run_release(&firmware, &last);
        assert_int_equal(pages_taken(), 0);
        last_run_find(&firmware, &last);
        assert_null(last.head);
    }
}

// As it lies there after the reset: the engine's memory is behind the note, and in it the records.
static void test_a_note_and_its_records(void **state)
{
    static const struct smp_cpu cpus[] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
    struct smp_setup setup = {
        .cpus = cpus,
        .count = 4,
        .features = {.phys_bits = 36, .id_leaf = 1},
        .tsc_hz = 1000000000,
        .host.problems.tell = problems_ignore,
    };
    struct smp *smp;

    (void)state;
    const size_t pages = 1 + smp_memory_bytes(&setup) / PAGE_BYTES;
    struct note *note = last_run_allocate(&firmware, pages);
    uint8_t *behind = (uint8_t *)note + PAGE_BYTES;
    setup.memory = (struct smp_memory){(uintptr_t)behind, behind, (pages - 1) * PAGE_BYTES};
    assert_int_equal(smp_open(&setup, &smp), STATUS_OK);
    note_keep(note, smp, NOTE_WAKING, 1, 0);
    const uint64_t records = smp_records_phys(smp);
    assert_in_range(records, setup.memory.phys, setup.memory.phys + setup.memory.bytes - 1);
    release((uintptr_t)note, pages);
    last_run_find(&firmware, &last);
    assert_ptr_equal(last.note, note);
    assert_ptr_equal(last.records, (void *)(uintptr_t)records);
    assert_int_equal(pages_taken(), 1 + setup.count);
    last_run_release(&firmware, &last);
    assert_int_equal(pages_taken(), 0);
}

static void test_the_time_grows(void **state)
{
    (void)state;
    const uint64_t before = time_of_day(&firmware);
    assert_true(time_of_day(&firmware) > before);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing),
        TEST(test_a_journal),
        TEST(test_a_journal_whose_pages_are_somebodys),
        TEST(test_the_later_of_two),
        TEST(test_a_note_and_its_records),
        TEST(test_the_time_grows),
    };
    return cmocka_run_group_tests_name("last run", tests, NULL, NULL);
}

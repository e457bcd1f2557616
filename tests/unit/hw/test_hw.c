// The machine's side of the seam, as far as an ordinary program may run it: which cache lines are
// flushed, and the fences, which no emulator misses. Surprises: that a line is flushed shows by the
// fault that CLFLUSH takes where nothing may be read (SDM vol. 2A, "CLFLUSH"); and it includes the
// source, since the tests' machine has functions of the same names.
#define _GNU_SOURCE // memmem, MAP_ANONYMOUS
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "../../../hw/hw.c"

// safe_msr.S, which no program may run.
uint32_t hw_msr_read_on(const struct pseudo_descriptor *idt, uint32_t msr, uint64_t *value)
{
    (void)idt, (void)msr, (void)value;
    return 0;
}

uint32_t hw_msr_write_on(const struct pseudo_descriptor *idt, uint32_t msr, uint64_t *value)
{
    return hw_msr_read_on(idt, msr, value);
}

void hw_msr_faulted(void)
{
}

// await_nmi.S, which no program may run: its labels, around as much.
__asm__("hw_await_nmi: .fill 8, 1, 0x90\n"
        "hw_await_nmi_end: ret");

static void test_an_nmi_in_the_wait_begins_it_anew(void **state)
{
    const uint64_t start = (uintptr_t)hw_await_nmi, end = (uintptr_t)hw_await_nmi_end;

    (void)state;
    assert_int_equal(end - start, 8);
    for (uint64_t ip = start - 8; ip < end + 8; ip++)
        assert_int_equal(hw_after_nmi(ip), ip >= start && ip < end ? start : ip);
}

// ---- cache lines ----

#define PAGE 4096u
#define LINE 64u

static sigjmp_buf behind;
static uintptr_t volatile met;

static void on_fault(int number, siginfo_t *information, void *context)
{
    (void)number, (void)context;
    met = (uintptr_t)information->si_addr;
    siglongjmp(behind, 1);
}

// Where a flush of these bytes meets memory that cannot be read; 0: nowhere.
static uintptr_t flush_meets(uintptr_t from, uint64_t bytes)
{
    struct sigaction before, ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

    met = 0;
    assert_int_equal(sigaction(SIGSEGV, &ours, &before), 0);
    if (sigsetjmp(behind, 1) == 0)
        hw_flush((const void *)from, bytes);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    return met;
}

// From the line of the first byte to the line of the last, and no line beyond.
static void test_every_line_is_flushed(void **state)
{
    uint8_t *const pages =
        mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const uintptr_t edge = (uintptr_t)pages + PAGE;

    (void)state;
    assert_ptr_not_equal(pages, MAP_FAILED);
    memset(pages, 1, 2 * PAGE);
    assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
    for (uintptr_t from = edge - 3 * LINE; from < edge; from++) {
        assert_int_equal(flush_meets(from, 0), 0);
        assert_int_equal(flush_meets(from, edge - from), 0);
        assert_int_equal(flush_meets(from, edge - from + 1), edge);
    }
    assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_READ), 0);
    assert_int_equal(mprotect(pages, PAGE, PROT_NONE), 0);
    for (uintptr_t from = edge; from < edge + LINE; from++)
        assert_int_equal(flush_meets(from, 1), 0);
    for (uintptr_t from = edge - LINE; from < edge; from++)
        assert_int_equal(flush_meets(from, PAGE), edge - LINE);
    assert_int_equal(munmap(pages, 2 * PAGE), 0);
}

// ---- CPUID ----

// What is in ECX of these differs between the subleaves, and not between the host's processors.
static void test_cpuid_takes_a_subleaf(void **state)
{
    static const uint32_t leaves[] = {0xb, 0xd};

    (void)state;
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        for (uint32_t subleaf = 0; subleaf < 4; subleaf++) {
            uint32_t eax, ebx, ecx, edx;
            __cpuid_count(leaves[i], subleaf, eax, ebx, ecx, edx);
            (void)eax, (void)ebx, (void)edx;
            assert_int_equal(hw_cpuid(leaves[i], subleaf).ecx, ecx);
        }
    }
}

// ---- fences ----

#define RET           0xc3
#define LONGEST_BYTES 256u

// Do these instructions stand in the function, one behind the other?
static bool executes(void (*function)(void), const char *instructions)
{
    const uint8_t *code = (const uint8_t *)(uintptr_t)function;
    const uint8_t *end = memchr(code, RET, LONGEST_BYTES);

    assert_non_null(end);
    return memmem(code, (size_t)(end - code), instructions, strlen(instructions)) != NULL;
}

#define MFENCE "\x0f\xae\xf0"
#define LFENCE "\x0f\xae\xe8"
#define SFENCE "\x0f\xae\xf8"
#define PAUSE  "\xf3\x90"

static void test_fences(void **state)
{
    (void)state;
    assert_true(executes(hw_fence_before_x2apic, MFENCE LFENCE));
    assert_true(executes(hw_drain_writes, SFENCE));
    assert_true(executes(hw_pause, PAUSE));
    assert_false(executes(hw_pause, MFENCE)); // the search can fail
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_nmi_in_the_wait_begins_it_anew),
        cmocka_unit_test(test_every_line_is_flushed),
        cmocka_unit_test(test_cpuid_takes_a_subleaf),
        cmocka_unit_test(test_fences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

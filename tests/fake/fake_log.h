// The fake machine's memory of what was done to it, in order and with the time, and how a test
// states what that must have been. Here too: how anything in the fake fails. Surprise: reads and
// pauses are not logged unless asked for, else every poll would stand in the log.
#pragma once

#include <stddef.h>
#include <stdint.h>

// ---- failing ----

// Prints the message and aborts. Models use it too: a #GP, a full FIFO, a broken rule.
_Noreturn void fake_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// `handler` sees the message first and need not return: cmocka's fail_msg() makes it one failed
// test. NULL: none.
void fake_on_failure(void (*handler)(const char *message));

// ---- log ----

// The kinds are bits, for fake_log_kinds.
enum fake_kind {
    FAKE_RDMSR = 1 << 0,
    FAKE_WRMSR = 1 << 1,
    FAKE_FENCE = 1 << 2, // hw_fence_before_x2apic; no address, no value
    FAKE_IN8 = 1 << 3,
    FAKE_OUT8 = 1 << 4,
    FAKE_IN32 = 1 << 5,
    FAKE_OUT32 = 1 << 6,
    FAKE_READ32 = 1 << 7, // hw_mmio_read32
    FAKE_WRITE32 = 1 << 8,
    FAKE_WRITE_CR3 = 1 << 9,
    FAKE_CPUID = 1 << 10, // address: leaf; value: subleaf
    FAKE_TSC = 1 << 11,   // value: as given
    FAKE_PAUSE = 1 << 12,
    FAKE_HALT = 1 << 13,
    FAKE_NOTE = 1 << 14, // fake_note()
    FAKE_OUT16 = 1 << 15,
    FAKE_WRITE_CR4 = 1 << 16,
    FAKE_DISABLE_INTERRUPTS = 1 << 17,
    FAKE_WRITE_TABLES = 1 << 18, // address: base of the GDT; value: base of the IDT
    FAKE_UNDEFINED = 1 << 19,    // hw_undefined()
    FAKE_FLUSH = 1 << 20,        // value: bytes
    FAKE_WRITE_CR0 = 1 << 21,
    FAKE_IN16 = 1 << 22,
    FAKE_READ8 = 1 << 23, // hw_mmio_read8
    FAKE_WRITE8 = 1 << 24,
    FAKE_JUMP = 1 << 25, // hw_jump()
    FAKE_ENABLE_INTERRUPTS = 1 << 26,
    FAKE_DRAIN = 1 << 27, // hw_drain_writes()
};

// All that changes the machine.
#define FAKE_LOG_DEFAULT                                                                       \
    ((unsigned)(FAKE_WRMSR | FAKE_FENCE | FAKE_OUT8 | FAKE_OUT16 | FAKE_OUT32 | FAKE_WRITE32 | \
                FAKE_WRITE8 | FAKE_WRITE_CR3 | FAKE_WRITE_CR4 | FAKE_WRITE_TABLES |            \
                FAKE_DISABLE_INTERRUPTS | FAKE_HALT | FAKE_UNDEFINED | FAKE_FLUSH |            \
                FAKE_WRITE_CR0 | FAKE_NOTE | FAKE_JUMP | FAKE_ENABLE_INTERRUPTS | FAKE_DRAIN))

struct fake_event {
    enum fake_kind kind;
    uint64_t address;
    uint64_t value;
    uint64_t tsc; // when it happened
};

// What a test expects of one event. The two waits are bounds, in ticks, on the time since the event
// before it in the log; wait_max 0: not looked at.
struct fake_expected {
    enum fake_kind kind;
    uint64_t address;
    uint64_t value;
    uint64_t wait_min;
    uint64_t wait_max;
};

#define FAKE_FOR_EVER UINT64_MAX

// From now on, only these kinds are logged.
void fake_log_kinds(unsigned kinds);

// An event of the test's own, so that an order among events and other things can be stated.
void fake_note(uint64_t address, uint64_t value);

size_t fake_log_count(void);
const struct fake_event *fake_log_at(size_t index);
void fake_log_clear(void);

// The whole log against a literal list; both are shown, side by side, when they differ.
//     FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, icr, 0, 0});
#define FAKE_EXPECT_LOG(...)                                                         \
    fake_expect_log(__FILE__, __LINE__, (const struct fake_expected[]){__VA_ARGS__}, \
                    sizeof((const struct fake_expected[]){__VA_ARGS__}) /            \
                        sizeof(struct fake_expected))

// The same for a list that is made at run time; 0 expected events: the log must be empty.
void fake_expect_log(const char *file, int line, const struct fake_expected *expected,
                     size_t count);

// ---- for fake_hw.c ----

// Forgets all events and goes back to FAKE_LOG_DEFAULT.
void fake_log_reset(void);

// Logs the event, with fake_now(), if its kind is wanted.
void fake_log_event(enum fake_kind kind, uint64_t address, uint64_t value);

const char *fake_kind_name(enum fake_kind kind);

// What is printed, to the byte: each record and sentence that docs/contract.md fixes. A number that
// stands behind another's key is found here.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_evidence.h"
#include "fake_hw.h"
#include "heard.h"
#include "lapic.h"
#include "report.h"
#include "report_drill.h"
#include "report_cpus.h"
#include "report_rounds.h"
#include "told.h"

static struct heard heard;

static struct console *listen(void)
{
    return heard_start(&heard, LOG_NORMAL);
}

#define ASSERT_HEARD(lines) assert_string_equal(heard.text, lines)

// ---- before the wake ----

static struct machine machine;
static struct smp_cpu cpus[] = {{0, 0}, {1, 4}, {3, 6}};

static int set_up(void **state)
{
    (void)state;
    machine = (struct machine){
        .firmware = "EDK II",
        .firmware_revision = 0x10000,
        .apic_base = APIC_BASE_EXTD,
        .clock = {.tsc_hz = 2000000000},
        .clock_check = "pm-timer",
        .clock_check_hz = 1999999999,
        .processor = {.brand = "A Processor", .tsc_invariant = true},
        .mp_services = 9,
        .mp_services_enabled = 8,
        .inventory = {.enabled = 3, .disabled = 4, .duplicate = 5, .impossible = 6},
        .image = {.base = 0x1000, .text = {0x2000, 0}, .bytes = 0x3000, .crc = 0xabc},
    };
    return 0;
}

static struct plan plan_of(enum smp_strategy strategy)
{
    return (struct plan){.messages = smp_plan_by_the_manual(strategy),
                         .apic_mode = SMP_XAPIC,
                         .rounds = 4,
                         .want = 2,
                         .cpus = cpus};
}

static uint64_t read_line_status(void *context, uint64_t address)
{
    (void)context, (void)address;
    return 0x60; // empty
}

static void ignore_write(void *context, uint64_t address, uint64_t value)
{
    (void)context, (void)address, (void)value;
}

static void test_start(void **state)
{
    struct serial_found serial = {
        .found = "none", .spcr = "it is not a 16550", .dbg2 = "it names no port"};

    (void)state;
    report_start(listen(), &machine, "1.2.3", &serial);
    ASSERT_HEARD("REVEILLE ev=start version=1.2.3 firmware=\"EDK II\" firmware_rev=0x10000 "
                 "hypervisor=none\n"
                 "REVEILLE ev=image base=0x1000 text=0x2000 bytes=12288 crc=0xabc\n"
                 "REVEILLE ev=serial found=none spcr=\"it is not a 16550\" "
                 "dbg2=\"it names no port\"\n");
    memcpy(machine.processor.hypervisor, "KVMKVMKVM", 10);
    report_start(listen(), &machine, "1.2.3", &serial);
    assert_non_null(strstr(heard.text, " hypervisor=KVMKVMKVM\n"));
    assert_null(strstr(heard.text, "ev=warning"));
    serial.refused = true;
    report_start(listen(), &machine, "1.2.3", &serial);
    assert_non_null(strstr(heard.text, " dbg2=\"it names no port\"\n"
                                       "REVEILLE ev=warning what=serial-not-named detail="));
}

static void test_serial(void **state)
{
    const struct serial_found serial = {.found = "com1", .by = "firmware"};
    struct console *console = listen();

    (void)state;
    // The debug console: it takes whatever is written to its port.
    fake_reset();
    fake_set_cell(FAKE_PORT8, UART_DEBUG_CONSOLE, 0);
    console->uart =
        (struct uart){.present = true, .port = UART_DEBUG_CONSOLE, .divisor = 12, .fifo_bytes = 1};
    report_start(console, &machine, "1.2.3", &serial);
    assert_non_null(strstr(heard.text, "ev=serial found=com1 by=firmware port=0xe9 baud=9600\n"));
    console->uart.mmio = 0xfe034000;
    console->uart.divisor = 1;
    fake_hook(FAKE_MMIO, 0xfe034000, 0xfe034007, read_line_status, ignore_write, NULL);
    fake_start_clock(1, 1);
    report_start(console, &machine, "1.2.3", &serial);
    assert_non_null(strstr(heard.text, "found=com1 by=firmware mmio=0xfe034000 baud=115200\n"));
}

static void test_machine(void **state)
{
    struct plan plan = plan_of(SMP_PARALLEL);

    (void)state;
    report_machine(listen(), &machine, &plan);
    ASSERT_HEARD("REVEILLE ev=machine apic_at_entry=x2apic apic=xapic inventory=madt cpus=3 "
                 "disabled=4 duplicate=5 impossible=6 mp_services=9 tsc_hz=2000000000 "
                 "tsc_invariant=1 tsc_check=pm-timer tsc_check_hz=1999999999 "
                 "processor=\"A Processor\"\n");
    machine.apic_base = 0;
    machine.inventory.source = INVENTORY_MP_SERVICES;
    plan.apic_mode = SMP_X2APIC;
    report_machine(listen(), &machine, &plan);
    assert_non_null(strstr(heard.text, " apic_at_entry=xapic apic=x2apic inventory=mp-services "));
}

static void test_preparation(void **state)
{
    const struct smp_layout layout = {.memory_bytes = 483328,
                                      .cpu_bytes = 24576,
                                      .cr3 = 0x205d000,
                                      .page_phys = 0x9f000,
                                      .image_bytes = 1052,
                                      .relocations = 16};
    const struct plan plan = plan_of(SMP_PARALLEL);
    struct console *console = listen();

    (void)state;
    report_memory(console, 4, &layout);
    report_trampoline(console, &layout);
    report_bound(console, 131999999);
    report_starting(console, &plan);
    ASSERT_HEARD(
        "REVEILLE ev=memory cpus=4 per_cpu_bytes=24576 total_bytes=483328 low_bytes=4096\n"
        "Copied 1052 bytes to 0x9f000\n"
        "Applied 16 relocations to trampoline at 0x9f000\n"
        "Set page table addr in trampoline: 0x205d000\n"
        "REVEILLE ev=trampoline page=0x9f000 bytes=1052 relocations=16 vector=0x9f cr3=0x205d000\n"
        "REVEILLE ev=bound seconds=132\n"
        "Starting CPU 1...\n"
        "Starting CPU 3...\n");
}

static void test_problems(void **state)
{
    struct console *console = listen();

    (void)state;
    report_problem(console, SEVERITY_WARNING, "low-memory", "hardly any");
    report_problem(console, SEVERITY_ERROR, "no-low-page", "none");
    ASSERT_HEARD("REVEILLE ev=warning what=low-memory detail=\"hardly any\"\n"
                 "REVEILLE ev=error what=no-low-page detail=none\n");
}

// ---- the rounds ----

static const struct smp_round one_round = {.round = 7,
                                           .arrived = 1,
                                           .icr_writes = 11,
                                           .first_us = 12,
                                           .median_us = 13,
                                           .last_us = 14,
                                           .send_us = 15,
                                           .retried = 0};

// Two were to come and one arrived: that is `up`.
static void test_a_round(void **state)
{
    const struct plan plan = plan_of(SMP_BROADCAST);

    (void)state;
    report_wake(listen(), &plan, &one_round, NULL);
    ASSERT_HEARD("REVEILLE ev=wake wake=broadcast round=7 want=2 up=1 icr_writes=11 first_us=12 "
                 "median_us=13 last_us=14 send_us=15 retried=0\n");
}

static void test_a_round_with_troubles(void **state)
{
    const struct plan plan = plan_of(SMP_ONE_BY_ONE);
    struct smp_round round = one_round;

    (void)state;
    round.retried = 3;
    round.helped = 4;
    round.unsent = 5;
    report_wake(listen(), &plan, &round, NULL);
    assert_non_null(strstr(heard.text, " wake=one-by-one "));
    assert_non_null(strstr(heard.text, " retried=3 helped=4 unsent=5\n"));
}

// A ratio is of two wakes of the same processors.
static void test_the_ratio_to_firmware(void **state)
{
    const struct firmware_times none = {0, 0}, times = {.cold_us = 9000, .warm_us = 425};
    const struct plan plan = plan_of(SMP_PARALLEL);
    struct smp_round round = one_round;

    (void)state;
    report_wake(listen(), &plan, &round, &times);
    assert_null(strstr(heard.text, "ratio"));
    round.arrived = 2;
    report_wake(listen(), &plan, &round, &times);
    assert_non_null(strstr(heard.text, " retried=0 ratio=30.3\n")); // 425 / 14
    round.last_us = 0;
    report_wake(listen(), &plan, &round, &times);
    assert_non_null(strstr(heard.text, " ratio=0.0\n"));
    report_wake(listen(), &plan, &round, &none);
    assert_null(strstr(heard.text, "ratio"));
    report_firmware(listen(), &machine, &times);
    ASSERT_HEARD("REVEILLE ev=firmware cpus=8 cold_us=9000 warm_us=425\n");
}

static void test_null(void **state)
{
    const struct null_times times = {.counted = 1, .cold_us = 2, .warm_us = {3, 4, 5}};

    (void)state;
    report_null(listen(), 6, NULL_REAL, &times);
    report_null(&heard.console, 6, NULL_LONG, &times);
    ASSERT_HEARD("REVEILLE ev=null mode=real cpus=6 up=1 cold_us=2 warm_min_us=3 "
                 "warm_median_us=4 warm_max_us=5\n"
                 "REVEILLE ev=null mode=long cpus=6 up=1 cold_us=2 warm_min_us=3 "
                 "warm_median_us=4 warm_max_us=5\n");
}

static void test_a_sweep(void **state)
{
    const struct sweep sweep = {.key = SWEEP_INIT_US, .count = 3, .values = {INIT_US_AUTO, 0, 120}};
    const struct sweep_result result = {.first_try = 1,
                                        .arrived = 2,
                                        .lost = 3,
                                        .first_us = 4,
                                        .median_us = {5, 6, 7},
                                        .last_us = {8, 9, 10},
                                        .icr_writes = 11};
    const struct plan plan = plan_of(SMP_PARALLEL);

    (void)state;
    report_sweep(listen(), &plan, &sweep, 2, &result);
    ASSERT_HEARD("REVEILLE ev=sweep key=init_us value=120 rounds=4 want=2 first_try=1 up=2 lost=3 "
                 "first_us=4 median_us=6 last_us=9 slowest_us=10 icr_writes=11\n");
    report_sweep(listen(), &plan, &sweep, 0, &result);
    assert_non_null(strstr(heard.text, " key=init_us value=auto "));
    report_sweep(listen(), &plan, &sweep, 1, &result);
    assert_non_null(strstr(heard.text, " key=init_us value=0 "));
}

static void test_the_end_of_a_sweep(void **state)
{
    const struct sweep numbers = {.key = SWEEP_SIPIS, .count = 2, .values = {SMP_SIPIS_AUTO, 2}};
    const struct sweep words = {
        .key = SWEEP_WAKE, .count = 2, .values = {SMP_PARALLEL, SMP_BROADCAST}};

    (void)state;
    report_sweep_end(listen(), &numbers, 1, 2);
    ASSERT_HEARD("REVEILLE ev=sweep-result key=sipis smallest=2\n"
                 "The smallest sipis that never lost a processor: 2\n");
    report_sweep_end(listen(), &words, 1, 2);
    ASSERT_HEARD("REVEILLE ev=sweep-result key=wake fastest=broadcast\n"
                 "The fastest wake that never lost a processor: broadcast\n");
    report_sweep_end(listen(), &words, 1, 1);
    ASSERT_HEARD("REVEILLE ev=sweep-result key=wake fastest=none\n"
                 "Every value of wake lost a processor at the first try\n");
}

static void test_rounds(void **state)
{
    const struct spread warm = {2, 3, 4};

    (void)state;
    report_rounds(listen(), 1, 1, &warm);
    ASSERT_HEARD("");
    report_rounds(listen(), 2, 1, &warm);
    ASSERT_HEARD("REVEILLE ev=rounds rounds=2 cold_us=1 warm_min_us=2 warm_median_us=3 "
                 "warm_max_us=4\n");
}

static void test_stages(void **state)
{
    const struct stages stages = {.cpus = 1,
                                  .real = {2, 3, 4},
                                  .protected = {5, 6, 7},
                                  .long_mode = {8, 9, 10},
                                  .c = {11, 12, 13}};

    (void)state;
    report_stages(listen(), &stages);
    ASSERT_HEARD("REVEILLE ev=stages cpus=1 real_min_ns=2 real_median_ns=3 real_max_ns=4 "
                 "protected_min_ns=5 protected_median_ns=6 protected_max_ns=7 long_min_ns=8 "
                 "long_median_ns=9 long_max_ns=10 c_min_ns=11 c_median_ns=12 c_max_ns=13\n");
}

// ---- the processors, and the end ----

static struct fake_evidence fake;

static void test_every_processor_has_a_record(void **state)
{
    struct cpu list[] = {{.apic_id = 0, .uid = CPU_UID_UNKNOWN},
                         {.apic_id = 1, .uid = 1, .listing = CPU_LISTED},
                         {.apic_id = 2, .uid = 2, .listing = CPU_LISTED},
                         {.apic_id = 3, .uid = 3, .listing = CPU_DISABLED}};
    const struct inventory inventory = {.cpus = list, .count = 4};
    const struct evidence *evidence = fake_evidence_start(&fake, 2);

    (void)state;
    fake.accounts[1].cpu = 2; // CPU 1 is left out
    fake.hellos[1] = (struct hello){.place = {.package = 3, .core = 2, .thread = 1}, .known = true};
    report_cpus(listen(), &inventory, evidence);
    ASSERT_HEARD("REVEILLE ev=cpu cpu=0 apic=0x0 state=bsp\n"
                 "REVEILLE ev=cpu cpu=1 apic=0x1 uid=1 state=skipped\n"
                 "REVEILLE ev=cpu cpu=2 apic=0x2 uid=2 state=online stage=greeted tries=1 us=100 "
                 "package=3 core=2 thread=1\n"
                 "REVEILLE ev=cpu cpu=3 apic=0x3 uid=3 state=disabled\n");
    report_cpus(listen(), &inventory, NULL);
    assert_non_null(strstr(heard.text, "cpu=2 apic=0x2 uid=2 state=skipped\n"));
}

// Where cores are of several kinds: each says which, and they are counted, CPU 0 among them.
static void test_kinds(void **state)
{
    struct cpu list[] = {{.apic_id = 0, .uid = CPU_UID_UNKNOWN},
                         {.apic_id = 8, .uid = 1, .listing = CPU_LISTED},
                         {.apic_id = 64, .uid = 2, .listing = CPU_LISTED},
                         {.apic_id = 66, .uid = 3, .listing = CPU_LISTED}};
    const struct inventory inventory = {.cpus = list, .count = 4};
    const struct evidence *evidence = fake_evidence_start(&fake, 4);

    (void)state;
    fake.hellos[0] = (struct hello){.place.kind = CORE_PERFORMANCE, .known = true};
    fake.hellos[1] = (struct hello){.place = {.core = 4, .kind = CORE_EFFICIENCY}, .known = true};
    fake.hellos[2] = (struct hello){.place = {.core = 32, .kind = CORE_LOW_POWER}, .known = true};
    fake.hellos[1].place.domains[DOMAIN_MODULE].named = true;
    fake.hellos[1].place.domains[DOMAIN_MODULE].number = 1;
    fake.hellos[1].place.domains[DOMAIN_DIE].named = true;
    fake.accounts[3].done = false;
    fake.accounts[3].stage = SMP_STAGE_LONG;
    report_cpus(listen(), &inventory, evidence);
    assert_non_null(strstr(heard.text, "ev=cpu cpu=0 apic=0x0 state=bsp kind=p\n"));
    assert_non_null(strstr(heard.text, " package=0 core=4 thread=0 module=1 die=0 kind=e\n"));
    assert_non_null(strstr(heard.text, " package=0 core=32 thread=0 kind=lp\n"));
    assert_non_null(strstr(heard.text, "REVEILLE ev=kinds p=1 e=1 lp=1 unknown=1\n"
                                       "Processors by kind of core, CPU 0 included: 1 P, 1 E, "
                                       "1 low-power E, 1 unknown\n"));
    report_cpus(listen(), &inventory, NULL);
    assert_null(strstr(heard.text, "kind"));
}

static void test_many_unlisted(void **state)
{
    const struct inventory inventory = {.count = 0};
    const struct evidence *evidence = fake_evidence_start(&fake, 1);

    (void)state;
    for (uint32_t i = 0; i < SMP_UNLISTED_MAX + 2; i++)
        fake_evidence_add_unlisted(&fake, 100);
    report_cpus(listen(), &inventory, evidence);
    ASSERT_HEARD("REVEILLE ev=cpu apic=0x64 state=unlisted\n"
                 "REVEILLE ev=warning what=many-unlisted count=65 named=63\n");
}

static void test_as_woken(void **state)
{
    const struct evidence *evidence = fake_evidence_start(&fake, 4);
    const struct clock clock = {.tsc_hz = 1000000000};

    (void)state;
    fake.accounts[1].stage = SMP_STAGE_REAL; // nothing of it can be told
    fake.accounts[2].bist = 1;
    fake.accounts[2].signature = 2;
    fake.accounts[2].cr0 = 3;
    fake.accounts[2].cr4 = 4;
    fake.accounts[2].efer = 5;
    fake.accounts[2].apic_base = 6;
    fake.hellos[2].microcode = 7;
    fake.hellos[2].missing_msr = MISSING_MSR_VALUE;
    fake.accounts[3].stage = SMP_STAGE_PROTECTED;
    report_aswoken(listen(), evidence, &clock);
    ASSERT_HEARD("");
    report_aswoken(heard_start(&heard, LOG_DEBUG), evidence, &clock);
    ASSERT_HEARD(
        "REVEILLE ev=aswoken cpu=2 bist=0x1 signature=0x2 cr0=0x3 cr4=0x4 efer=0x5 apic_base=0x6 "
        "microcode=0x7 missing_msr=value tsc_real=1197000 protected_ns=1000 long_ns=2000 "
        "c_ns=3000\n"
        "REVEILLE ev=aswoken cpu=3 bist=0x0 signature=0x0 cr0=0x0 cr4=0x0 efer=0x0 "
        "apic_base=0xfee00800 microcode=0x0 missing_msr=unknown tsc_real=1297000 "
        "protected_ns=1000 long_ns=0 c_ns=0\n");
}

// INIT takes the BSP flag from nobody: an AP that bears it is named.
static void test_an_ap_that_is_flagged_as_the_bsp(void **state)
{
    struct told told;
    const struct problems problems = told_listen(&told);
    const struct evidence *evidence = fake_evidence_start(&fake, 4);

    (void)state;
    fake.accounts[0].apic_base = 0xfee00900;
    report_flags(evidence, &problems);
    assert_int_equal(told.count, 0);
    fake.accounts[2].apic_base = 0xfee00900;
    report_flags(evidence, &problems);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_WARNING);
    assert_int_equal(told_times(&told, "bsp-flag", "CPU 2 is also flagged"), 1);
    assert_int_equal(told_times(&told, "bsp-flag", "(IA32_APIC_BASE 0xfee00900)"), 1);
}

// ---- run= ----

static struct smp_cpu planned[] = {{0, 0}, {3, 6}, {7, 14}};
static const struct plan drilled = {.want = 2, .cpus = planned};

static void test_calls(void **state)
{
    const struct drill_step step = {DRILL_CALL, SMP_PARK_MWAIT};
    struct drill_result result = {.aps = 2,
                                  .parking = SMP_PARK_NMI,
                                  .rounds = 200,
                                  .all_ns = {1200, 3450, 99999},
                                  .one_ns = {800, 900, 1000},
                                  .right = true};

    (void)state;
    report_drill(listen(), &drilled, &step, &result, 100);
    ASSERT_HEARD("REVEILLE ev=run run=call cpus=3 park=mwait parking=nmi rounds=200 min_ns=1200 "
                 "median_ns=3450 max_ns=99999 one_min_ns=800 one_median_ns=900 one_max_ns=1000 "
                 "ratio=28.9\n"
                 "A call to 2 APs (nmi): 3.4 us, at worst 99.9 us; to one of them: 0.9 us\n");
    // One did not return: firmware's call was of more.
    result.aps = 1;
    result.lost = result.missing = 1;
    result.first_missing = 2;
    result.parking = SMP_PARKINGS;
    report_drill(listen(), &drilled, &step, &result, 100);
    ASSERT_HEARD("REVEILLE ev=run run=call cpus=2 park=mwait parking=mixed rounds=200 min_ns=1200 "
                 "median_ns=3450 max_ns=99999 one_min_ns=800 one_median_ns=900 one_max_ns=1000 "
                 "lost=1 missing=1 first_missing=7\n"
                 "A call to 1 AP (mixed): 3.4 us, at worst 99.9 us; to one of them: 0.9 us\n"
                 "CPU 7 did not return from a call\n");
}

static void test_a_barrier(void **state)
{
    const struct drill_step step = {DRILL_BARRIER, SMP_PARK_PAUSE};
    struct drill_result result = {.aps = 2,
                                  .parking = SMP_PARK_PAUSE,
                                  .rounds = 200,
                                  .all_ns = {300, 1250, 26000},
                                  .right = true};

    (void)state;
    report_drill(listen(), &drilled, &step, &result, 100);
    ASSERT_HEARD("REVEILLE ev=run run=barrier cpus=3 park=pause parking=pause rounds=200 "
                 "min_ns=300 median_ns=1250 max_ns=26000\n"
                 "A barrier of 3 processors: 1.2 us, at worst 26.0 us\n");
    // Nobody is left to measure anything with.
    result = (struct drill_result){
        .parking = SMP_PARK_PAUSE, .lost = 1, .missing = 2, .first_missing = 1, .right = true};
    report_drill(listen(), &drilled, &step, &result, 0);
    ASSERT_HEARD("REVEILLE ev=run run=barrier cpus=1 park=pause parking=pause rounds=0 min_ns=0 "
                 "median_ns=0 max_ns=0 lost=1 missing=2 first_missing=3\n"
                 "CPU 3 and 1 more did not return from a call\n");
}

static void test_a_sum(void **state)
{
    const struct drill_step step = {DRILL_SUM, SMP_PARK_MWAIT};
    struct told told;
    const struct problems problems = told_listen(&told);
    struct drill_result result = {.aps = 2,
                                  .parking = SMP_PARK_MWAIT,
                                  .rounds = 5,
                                  .all_ns = {30000000, 36000000, 50000000},
                                  .items = 1000000,
                                  .alone_ns = 100000000,
                                  .right = true};

    (void)state;
    report_drill(listen(), &drilled, &step, &result, 0);
    report_drill_problems(&problems, &step, &result);
    ASSERT_HEARD("REVEILLE ev=run run=sum cpus=3 park=mwait parking=mwait rounds=5 "
                 "min_ns=30000000 median_ns=36000000 max_ns=50000000 items=1000000 "
                 "alone_ns=100000000 speedup=2.7 sum=right\n"
                 "A sum by 3 processors: 2.7 times as fast as by one\n");
    assert_int_equal(told.count, 0);
    result.right = false;
    report_drill(listen(), &drilled, &step, &result, 0);
    report_drill_problems(&problems, &step, &result);
    assert_non_null(strstr(heard.text, " sum=wrong\n"));
    assert_int_equal(told_times(&told, "wrong-sum", "another sum than CPU 0 alone"), 1);
    assert_int_equal(told.count, 1);
}

static void test_nobody_to_call(void **state)
{
    const struct drill_step step = {DRILL_CALL, SMP_PARK_MWAIT};
    struct told told;
    const struct problems problems = told_listen(&told);
    struct drill_result result = {.parking = SMP_PARKINGS, .right = true};

    (void)state;
    report_drill_problems(&problems, &step, &result);
    assert_int_equal(told_times(&told, "nobody-to-call", "run= has done nothing"), 1);
    result.missing = 1; // somebody was called
    report_drill_problems(&problems, &step, &result);
    assert_int_equal(told.count, 1);
}

static void test_the_times_with_calls(void **state)
{
    const struct run_times times = {1000, 3000, 6000, 10000, 25000, 7000};
    const struct clock clock = {.tsc_hz = 1000000000};

    (void)state;
    report_times(listen(), &clock, &times);
    ASSERT_HEARD(
        "REVEILLE ev=times prepare_us=2 leave_us=3 wake_us=4 run_us=7 report_us=8 total_us=24\n");
}

static void test_the_end(void **state)
{
    const struct run_times times = {1000, 3000, 6000, 10000, 15000, 0};
    const struct clock clock = {.tsc_hz = 1000000000};
    const struct outcome outcome = {.want = 3, .up = 2, .failed = 1, .ok = false};
    struct console *console = listen();

    (void)state;
    report_times(console, &clock, &times);
    report_end(console, &outcome);
    report_end(console, &OUTCOME_DONE);
    ASSERT_HEARD("REVEILLE ev=times prepare_us=2 leave_us=3 wake_us=4 report_us=5 total_us=14\n"
                 "REVEILLE ev=end ok=0 want=3 up=2 failed=1\n"
                 "REVEILLE ev=end ok=1 want=0 up=0 failed=0\n");
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start),
        TEST(test_serial),
        TEST(test_machine),
        TEST(test_preparation),
        TEST(test_problems),
        TEST(test_a_round),
        TEST(test_a_round_with_troubles),
        TEST(test_the_ratio_to_firmware),
        TEST(test_null),
        TEST(test_a_sweep),
        TEST(test_calls),
        TEST(test_a_barrier),
        TEST(test_a_sum),
        TEST(test_nobody_to_call),
        TEST(test_the_times_with_calls),
        TEST(test_the_end_of_a_sweep),
        TEST(test_rounds),
        TEST(test_stages),
        TEST(test_every_processor_has_a_record),
        TEST(test_kinds),
        TEST(test_many_unlisted),
        TEST(test_as_woken),
        TEST(test_an_ap_that_is_flagged_as_the_bsp),
        TEST(test_the_end),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}

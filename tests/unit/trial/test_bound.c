// ev=bound in numbers: what each wish and each processor adds. That a run keeps within them, and
// comes near, is tried with the whole run (tests/unit/efi/test_run_bound.c).
#include "small_machine.h"

#include "bound.h"

static struct small_machine small;

static int set_up(void **state)
{
    (void)state;
    small_start(&small);
    return 0;
}

static void plan(uint32_t count, const char *text)
{
    small_start(&small);
    small_list(&small, count, 1);
    assert_int_equal(small_ask(&small, text), STATUS_OK);
    assert_int_equal(small_plan(&small), STATUS_OK);
}

static uint64_t run_us(const struct bound_facts *facts)
{
    return bound_run_us(&small.options, &small.machine, &small.plan, facts);
}

// ---- the whole ----

#define LINE_US 44705u // at 115200 baud: 515 characters of 10 bits, and one
#define PLAIN                             \
    {                                     \
        true, LINE_US, 300000, 2073600, 0 \
    }

static const struct known {
    uint32_t count;
    const char *text;
    struct bound_facts facts;
    uint64_t serial_us, run_us;
} known[] = {
    // One thing after another: nothing, a port, a slow one, a dead owner, a screen, nobody to wake.
    {4, "", {false, 0, 1, 0, 0}, 0, 22360420},
    {4, "", {true, LINE_US, 1, 0, 0}, 15990470, 54341360},
    {4, "", {true, 4291667, 1, 0, 0}, 585083378, 1192527176},
    {4, "", {false, 0, 300000, 0, 0}, 0, 25960408},
    {4, "", {false, 0, 1, 3000000, 0}, 0, 34360420},
    {1, "", {true, LINE_US, 300000, 1000000, 0}, 12503480, 39127368},
    // Strategies, and what is measured.
    {8, "wake=one-by-one sipis=4 retries=3 apic=xapic", PLAIN, 21891530, 186122668},
    {8, "wake=broadcast rounds=7 sipis=2", PLAIN, 42634650, 255659320},
    {8, "bench=null", PLAIN, 30832530, 145840108},
    {8, "sweep=init_us:10,10000000,5000000 rounds=7", PLAIN, 60159010, 855412868},
    {8, "sweep=wake:parallel,broadcast,one-by-one", PLAIN, 34945390, 223173592},
    {8, "sweep=sipis:auto,1,2 init_us=100", PLAIN, 24752650, 162550512},
    // Faults, by how many are in effect, whatever the options name.
    {8, "inject=late,nmi:2,mute:3", {true, LINE_US, 300000, 2073600, 3}, 20639790, 108654388},
    {8, "inject=late,nmi:2,mute:3", PLAIN, 20639790, 96654388},
    // What run= adds: calls by INIT, by NMI in xAPIC mode, a barrier, a sum, and all of it.
    {8, "run=call park=init", {false, 0, 1, 0, 0}, 0, 97363250},
    {8, "run=call park=nmi apic=xapic", {false, 0, 1, 0, 0}, 0, 83080450},
    {8, "run=barrier timeout_us=3000000", {false, 0, 1, 0, 0}, 0, 139880450},
    {8, "run=sum", {false, 0, 1, 0, 0}, 0, 62080450},
    {8, "run=all apic=xapic", PLAIN, 23411500, 418880608},
    // Many.
    {512, "", PLAIN, 526521570, 3769537948},
    {512,
     "log=debug rounds=100 apic=xapic cpus=1-200",
     {true, 536459, 300000, 2073600, 0},
     67042697886,
     164061696778},
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        plan(known[i].count, known[i].text);
        assert_int_equal(
            bound_serial_us(&small.options, &small.machine, &small.plan, &known[i].facts),
            known[i].serial_us);
        assert_int_equal(run_us(&known[i].facts), known[i].run_us);
    }
}

// As many as there may be, each delay as long as it may be: a number all the same, and never a
// small one.
static void test_the_largest_plan(void **state)
{
    const struct bound_facts facts = {true, 4291667, 300000, 1 << 25, 32};

    (void)state;
    plan(8, "wake=one-by-one rounds=1000000 timeout_us=60000000 sipi_us=10000000 init_us=10000000 "
            "sipis=4 retries=100 sweep=sipis:1,2,3,4");
    small.plan.want = 4095;
    small.options.sweep.count = SWEEP_MAX;
    assert_true(run_us(&facts) > 1ull << 62);
}

// ---- a round ----

static uint64_t round_us(const char *text)
{
    plan(4, text);
    return smp_round_bound_us(&small.plan.messages, small.plan.apic_mode, small.plan.want + 1);
}

// At least what a wake with nobody there takes by the manual's arithmetic, and not twice as much.
static void test_a_round(void **state)
{
    static const struct {
        const char *text;
        uint64_t least_us;
    } rounds[] = {
        {"wake=parallel sipis=1 init_us=10000 retries=0", 15000},
        {"wake=parallel sipis=2 init_us=10000 retries=0", 15300},
        {"wake=parallel sipis=4 init_us=0 retries=1", 5900 + 15900},
        {"wake=broadcast sipis=2 init_us=10000 retries=0", 15300},
        {"wake=one-by-one sipis=2 init_us=10000 retries=0", 3 * 15300},
        {"wake=one-by-one sipis=2 init_us=20000 retries=2", 9 * 25300},
        {"wake=parallel sipis=auto init_us=auto retries=1", 5310 + 15300},
    };
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        snprintf(text, sizeof text, "%s sipi_us=300 timeout_us=5000", rounds[i].text);
        assert_in_range(round_us(text), rounds[i].least_us, 2 * rounds[i].least_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_numbers, set_up),
        cmocka_unit_test_setup(test_the_largest_plan, set_up),
        cmocka_unit_test_setup(test_a_round, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

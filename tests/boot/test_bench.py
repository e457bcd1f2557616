"""bench=null, sweep= and the counts of messages: what is measured besides, and what a sweep ends with.
No figure is judged but how many came and what it took to wake them."""

import pytest

from conftest import assert_all_greeted, consecutive


@pytest.mark.parametrize("cpu, bench, modes", [("qemu64", "null", ["real", "long"]),
                                               ("qemu64,+x2apic", "null-long", ["long"])])
def test_null(boot, cpu, bench, modes):
    """Everybody comes through the null trampolines, and through the real one afterwards."""
    result = boot(cpu=cpu, options=f"bench={bench} rounds=2")
    assert [(r["mode"], r["cpus"], r["up"]) for r in result.all("null")] == [
        (mode, "3", "3") for mode in modes]
    assert_all_greeted(result, consecutive(4))
    assert all(r["warm_max_us"].isdecimal() for r in result.all("null"))
    assert "null-broadcasts" in [r["what"] for r in result.all("warning")]  # for wake= is parallel


def test_figures_of_a_run(boot):
    result = boot(options="wake=broadcast rounds=4 compare=firmware bench=null")
    assert "null-broadcasts" not in [r["what"] for r in result.all("warning")]
    assert set(result.one("firmware")) == {"ev", "cpus", "cold_us", "warm_us"}
    rounds, stages = result.one("rounds"), result.one("stages")
    assert set(rounds) == {"ev", "rounds", "cold_us", "warm_min_us", "warm_median_us", "warm_max_us"}
    assert rounds["cold_us"] == result.all("wake")[0]["last_us"]
    assert set(stages) == {"ev", "cpus"} | {f"{stage}_{part}_ns" for stage in ("real", "protected", "long", "c")
                                            for part in ("min", "median", "max")}
    assert stages["cpus"] == "3"
    for record in [rounds] + [{key: value for key, value in stages.items() if key.startswith(stage)}
                              for stage in ("real", "protected", "long", "c_")]:
        low, middle, high = (int(record[key]) for part in ("_min_", "_median_", "_max_") for key in record
                             if part in key)
        assert 0 <= low <= middle <= high, record
    assert int(stages["real_min_ns"]) // 1000 <= int(result.all("wake")[-1]["first_us"])


@pytest.mark.parametrize("wake, per_ap, shared", [("broadcast", 0, 2), ("parallel", 2, 0)])
def test_messages_at_64(boot, wake, per_ap, shared):
    """Two messages for any number: nobody who is merely behind gets a second STARTUP."""
    result = boot(smp="64", cpu="qemu64,+x2apic", options=f"wake={wake} rounds=3 log=quiet")
    assert [r["icr_writes"] for r in result.all("wake")] == [str(63 * per_ap + shared)] * 3


def test_sweep(boot):
    """The INIT of CPU 2 is never sent at the first try, so every number loses it, and no broadcast does."""
    result = boot(options="sweep=init_us:100,10 timeout_us=20000 inject=no-init:2")
    assert [(r["value"], r["first_try"], r["up"], r["lost"]) for r in result.all("sweep")] == [
        ("100", "2", "3", "1"), ("10", "2", "3", "1")]
    assert result.one("sweep-result")["smallest"] == "none"
    assert_all_greeted(result, consecutive(4))


def test_sweep_of_strategies(boot):
    result = boot(options="sweep=wake:one-by-one,broadcast timeout_us=20000 rounds=2 inject=no-init:2")
    assert [(r["value"], r["lost"]) for r in result.all("sweep")] == [("one-by-one", "2"), ("broadcast", "0")]
    assert result.one("sweep-result")["fastest"] == "broadcast"
    assert len(result.all("wake")) == 4


def test_sweep_finds_the_smallest(boot):
    result = boot(options="sweep=init_us:1000,10,auto log=quiet compare=firmware")
    assert [r["value"] for r in result.all("sweep")] == ["1000", "10", "auto"]
    assert result.one("sweep-result")["smallest"] == "10"
    # The ratio stands in the last round of the run, and in no other.
    assert result.one("firmware")["warm_us"].isdecimal()
    assert ["ratio" in r for r in result.all("wake")] == [False, False, True]


def test_memory_and_times(boot):
    result = boot()
    memory = result.one("memory")
    assert int(memory["per_cpu_bytes"]) <= 24 * 1024 and memory["low_bytes"] == "4096"
    times = result.one("times")
    parts = sum(int(times[key]) for key in ("prepare_us", "leave_us", "wake_us", "report_us"))
    assert abs(int(times["total_us"]) - parts) <= 4  # each is rounded down

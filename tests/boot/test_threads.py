"""Host threads: every processor of the machine runs at the same time as the others, each a thread of QEMU's, so
that they meet in memory, at the local APICs and at the serial port as they do on a machine, and not by turns."""

import pytest

import qemu
from conftest import assert_all_greeted, assert_ended, consecutive

THREADS = "tcg,thread=multi"

# Most of them wait for a core of the host, and on a busy one that is no reason to be late.
PATIENT = "timeout_us=20000000"


@pytest.mark.parametrize("smp", [4, 16])
def test_every_strategy(boot, smp):
    result = boot(smp=str(smp), accel=THREADS,
                  options=f"{PATIENT} sweep=wake:parallel,one-by-one,broadcast rounds=3")
    assert_all_greeted(result, consecutive(smp))
    assert [wake["wake"] for wake in result.all("wake")] == \
        ["parallel"] * 3 + ["one-by-one"] * 3 + ["broadcast"] * 3


@pytest.mark.parametrize("smp", [4, 16])
def test_firmwares_own_wake(boot, smp):
    """And all processors are given back to it, by one round more."""
    result = boot(smp=str(smp), accel=THREADS, firmware=" ", goes_on=True, options="exit=no wake=firmware rounds=3")
    result.has("preload: the image returned")
    assert result.greetings() == sorted(consecutive(smp).items()), result.tail()
    want = str(smp - 1)
    assert [(wake["wake"], wake["up"]) for wake in result.all("wake")] == [("firmware", want)] * 3
    assert result.one("giveback")["back"] == want
    assert result.one("end")["ok"] == "1"


# None is late on purpose: whoever sleeps past a time-out of another thread's may find that stopped for longer.
FAULTS = {4: {1: "ud-c", 2: "hang-long", 3: "bad-entry"},
          16: {2: "ud-protected", 3: "hang-real", 5: "ud-real", 7: "hang-c", 8: "bad-stack", 11: "hang-protected",
               14: "mute", 15: "ud-long"}}
CAUSES = {"hang-real": "stopped-in-real", "hang-protected": "stopped-in-protected", "hang-long": "stopped-in-long",
          "hang-c": "stopped-in-c", "mute": "silent"}  # else it is a fault


@pytest.mark.parametrize("smp, wake", [(4, "parallel"), (16, "broadcast")])
def test_faults_among_threads(boot, smp, wake):
    faults = FAULTS[smp]
    result = boot(smp=str(smp), accel=THREADS, options=f"wake={wake} rounds=2 inject="
                  + ",".join(f"{fault}:{cpu}" for cpu, fault in faults.items()))
    for cpu in range(1, smp):
        record = result.cpu(cpu)
        cause = CAUSES.get(faults[cpu], "fault") if cpu in faults else None
        assert (record["state"], record.get("cause")) == ("failed" if cause else "online", cause), record
    assert [cpu for cpu, _ in result.greetings()] == [cpu for cpu in range(1, smp) if cpu not in faults]
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want=str(smp - 1), up=str(smp - 1 - len(faults)),
                 failed=str(len(faults)))

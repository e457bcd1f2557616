"""run=: what the processors do when they are awake, on a machine whose processors take turns, on host threads, and on
Bochs. Surprise: no figure is looked at but for what it counts, since the host decides on the rest."""

import shutil

import pytest

import bochs
import qemu
import test_bochs
from conftest import assert_all_greeted, assert_ended, consecutive, warnings_of
from test_inside import IMAGE, assert_given_back, of, sections, shell
from test_threads import PATIENT, THREADS

PARKINGS = ["init", "nmi", "mwait", "pause"]
EVERYTHING = [("call", park) for park in PARKINGS] + [("barrier", "pause"), ("sum", "mwait")]


def assert_exercised(runs, wanted, cpus, monitor=True):
    """Each exercise, with all of these processors, nobody missing and no sum wrong."""
    assert [(r["run"], r["park"]) for r in runs] == wanted, runs
    for r in runs:
        assert r["parking"] == ("nmi" if r["park"] == "mwait" and not monitor else r["park"]), r
        assert (r["cpus"], r.get("sum", "right")) == (str(cpus), "right"), r
        assert int(r["rounds"]) > 0 and 0 < int(r["min_ns"]) <= int(r["median_ns"]) <= int(r["max_ns"]), r
        assert not {"lost", "missing", "first_missing"} & r.keys(), r


def test_everything(boot):
    result = boot(options="run=all compare=firmware")
    assert_all_greeted(result, consecutive(4))
    assert_exercised(result.all("run"), EVERYTHING, 4)
    assert ["ratio" in r for r in result.all("run")] == [True] * 4 + [False] * 2
    result.has(r"A call to 3 APs \(mwait\): \d+\.\d us, at worst \d+\.\d us; to one of them: \d+\.\d us")
    result.has(r"A barrier of 4 processors: \d+\.\d us, at worst \d+\.\d us")
    result.has(r"A sum by 4 processors: \d+\.\d times as fast as by one")
    assert int(result.one("times")["run_us"]) > 0


def test_on_host_threads(boot):
    result = boot(smp="8", accel=THREADS, options=f"{PATIENT} run=all park=pause rounds=2")
    assert_all_greeted(result, consecutive(8))
    assert_exercised(result.all("run"), EVERYTHING[:5] + [("sum", "pause")], 8)


def test_without_monitor_and_with_firmware_alive():
    """In xAPIC mode, and twice: the second run finds firmware as the first found it."""
    result = shell([f"{IMAGE} exit=no run=all", f"{IMAGE} exit=no run=sum park=init rounds=2", "reset -s"],
                   cpu="qemu64")
    first, second = sections(result)
    for section, wanted in ((first, EVERYTHING), (second, [("sum", "init")])):
        assert_exercised(of(section, "run"), wanted, 4, monitor=False)
        assert_given_back(section, 3)
        assert section[-1]["ok"] == "1", section


def assert_missing(run, cpus, cpu):
    """One did not return, and the others were measured without it."""
    assert (run["cpus"], run["lost"], run["missing"], run["first_missing"]) == (str(cpus), "1", "1", str(cpu)), run
    assert int(run["rounds"]) > 0, run


@pytest.mark.parametrize("run", ["call", "barrier", "sum"])
def test_one_that_does_not_return(boot, run):
    """And one that took a fault before: it takes no part, and is nobody's loss."""
    result = boot(options=f"run={run} inject=hang-call:2,ud-c:1")
    assert_missing(result.one("run"), 2, 2)
    result.has("CPU 2 did not return from a call")
    result.has(r"CPU 2 failed: it started, but did not return from a call in time\.")
    record = result.cpu(2)
    assert (record["state"], record["stage"], record["cause"]) == ("failed", "greeted", "no-return"), record
    assert result.cpu(1)["cause"] == "fault" and result.cpu(3)["state"] == "online"
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="3", up="1", failed="2")


def test_one_that_does_not_return_goes_back_to_firmware():
    """Whatever it does, INIT takes it out of there."""
    result = shell([f"{IMAGE} exit=no run=park inject=hang-call:1", "echo status %lasterror%", "reset -s"])
    section, = sections(result)
    runs = of(section, "run")
    assert_missing(runs[0], 3, 1)
    assert_exercised(runs[1:], EVERYTHING[1:4], 3)
    assert_given_back(section, 3, warnings=["inject"])
    result.has("status 0x7")


def test_nobody_to_call(boot):
    """Who hangs before is in no call."""
    result = boot(smp="2", options="run=all inject=hang-c,hang-call retries=0")
    assert [r["what"] for r in warnings_of(result.records)] == ["inject", "inject", "nobody-to-call"]
    assert not result.all("run") and result.cpu(1)["cause"] == "stopped-in-c"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(bochs.PROGRAM) is None, reason="Bochs is not installed (tools/setup bochs)")
def test_on_bochs():
    """MWAIT on another x86."""
    result = test_bochs.boot(options="run=all", **test_bochs.HASWELL)
    assert_all_greeted(result, consecutive(8), status=None)
    assert_exercised(result.all("run"), EVERYTHING, 8)
    test_bochs.assert_warned(result)

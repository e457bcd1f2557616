"""tools/compare_logs.py: what may differ between two boots of the same machine, what may not, and which boots
are compared."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import compare_logs  # noqa: E402

LOG = [
    "REVEILLE ev=start version=0.1.0 firmware_rev=0x10000",
    "REVEILLE ev=image base=0x1de47000 text=0x1de48000 bytes=184320 crc=0xa70cf34c",
    "Initialized CPU 1: entry=0x1de5446a, stack=0x2051000",
    "REVEILLE ev=bound seconds=128",
    "Hello from CPU 1! APIC ID: 1",
    "Hello from CPU 2! APIC ID: 2",
    "REVEILLE ev=wake wake=parallel round=1 want=3 up=3 icr_writes=6 first_us=10791 retried=0",
    "REVEILLE ev=cpu cpu=2 apic=0x2 state=failed cause=fault mode=c vector=6 ip=0x1de5446a error=0x2 us=107",
    "CPU 2 failed: it never executed an instruction of the trampoline.",
    'REVEILLE ev=warning what=not-saved detail="the volume is gone"',
    "REVEILLE ev=end ok=0 want=3 up=2 failed=1",
]


def raw(lines):
    return "".join(line + "\r\n" for line in lines).encode("ascii")


def changed(old, new):
    """LOG with one word replaced, which stands in it."""
    assert any(old in line for line in LOG), old
    return [line.replace(old, new) for line in LOG]


@pytest.mark.parametrize("old, new", [
    ("base=0x1de47000", "base=0x1de58000"), ("crc=0xa70cf34c", "crc=0x5"), ("bytes=184320", "bytes=180224"),
    ("entry=0x1de5446a, stack=0x2051000", "entry=0x1de54480, stack=0x2050000"),
    ("first_us=10791", "first_us=99"), ("us=107", "us=1000"), ("seconds=128", "seconds=129"), ("ip=0x1de5446a", "ip=0x1de5446f"),
])
def test_addresses_and_times_may_differ(old, new):
    assert compare_logs.lines_of(raw(LOG)) == compare_logs.lines_of(raw(changed(old, new)))


@pytest.mark.parametrize("old, new", [
    ("cause=fault", "cause=late"), ("state=failed", "state=online"), ("want=3 up=2", "want=3 up=3"),
    ("up=3 icr", "want=3 icr"), ("want=3 up=3", "up=3 want=3"), ("icr_writes=6", "icr_writes=7"),
    ("apic=0x2", "apic=0x3"), ("error=0x2", "error=0x3"), ("vector=6", "vector=14"), ("mode=c", "mode=long"),
    ("firmware_rev=0x10000", "firmware_rev=0x10001"), ("ip=0x1de5446a", "ip=0x0"), (" us=107", ""),
    ("never executed", "did not execute"), ("is gone", "is full"), ("seconds=128", "seconds=none"),
    ("round=1", "round=2"), ("retried=0", "retried=1"), ("Initialized", "Prepared"), ("first_us", "last_us"),
    ("REVEILLE ev=bound", "REVEILLE ev=bounds"), ("from CPU 2! APIC ID: 2", "from CPU 2! APIC ID: 3"),
    (", stack=0x2051000", ", stack=none"),
])
def test_nothing_else_may(old, new):
    assert compare_logs.lines_of(raw(LOG)) != compare_logs.lines_of(raw(changed(old, new)))


@pytest.mark.parametrize("key", ["init_us", "sipi_us", "timeout_us"])
def test_the_times_of_the_plan_are_options(key):
    assert compare_logs.masked(f"REVEILLE ev=plan {key}=10") == f"REVEILLE ev=plan {key}=10"


def test_a_line_that_is_gone_or_doubled_or_moved():
    plain = compare_logs.lines_of(raw(LOG))
    assert compare_logs.lines_of(raw(LOG[:-2] + LOG[-1:])) != plain
    assert compare_logs.lines_of(raw(LOG + LOG[-1:])) != plain
    assert compare_logs.lines_of(raw([LOG[3], *LOG[:3], *LOG[4:]])) != plain


def test_processors_may_come_in_any_order():
    turned = [*LOG[:4], LOG[5], LOG[4], *LOG[6:]]
    assert compare_logs.lines_of(raw(turned)) == compare_logs.lines_of(raw(LOG))
    twice = [*LOG[:4], LOG[4], LOG[4], *LOG[6:]]
    assert compare_logs.lines_of(raw(twice)) != compare_logs.lines_of(raw(LOG))


def test_what_others_say_is_left_out():
    others = ["[    0.512345] smpboot: Total of 4 processors", "[    3.622990]", "EFI stub: Loaded initrd",
              "BS_Data    000000001E73E000-000000001E7FFFFF 00000000000000C2 000000000000000F",
              'REVEILLE ev=warning what=tsc-disagrees detail="by 3 parts in a thousand"']
    assert compare_logs.lines_of(raw(LOG[:5] + others + LOG[5:])) == compare_logs.lines_of(raw(LOG))
    menu = ['BdsDxe: loading Boot0000 "UiApp" from Fv(1)/FvFile(2)', "^v=Move Highlight"]
    assert compare_logs.lines_of(raw(LOG + menu + LOG + menu[:1])) == compare_logs.lines_of(raw(LOG + LOG))


def test_rounds_count_unless_somebody_stopped_them():
    wakes = [f"REVEILLE ev=wake round={n} up=3" for n in range(1, 9)]
    key = ['REVEILLE ev=warning what=stopped-by-key detail="CTRL+C: 6 of 100 rounds were run"']
    other = [key[0].replace("6 of", "7 of")]
    worse = [wakes[0], wakes[1].replace("up=3", "up=2")]
    assert compare_logs.lines_of(raw(wakes)) != compare_logs.lines_of(raw(wakes[:5]))
    assert compare_logs.lines_of(raw(wakes + key)) == compare_logs.lines_of(raw(wakes[:5] + other))
    assert compare_logs.lines_of(raw(wakes + key)) != compare_logs.lines_of(raw(worse + key))


def test_a_line_that_an_nmi_cut_and_what_nobody_read():
    wakes = [f"REVEILLE ev=wake round={n} up=3" for n in range(1, 9)]
    nmi = ["CPU 0 (APIC ID 0) stopped: vector 2 (NMI), error code 0x0, RIP 0x1de5446a", "REVEILLE ev=end ok=0"]
    read_on = ["The end: press a key to restart"]
    plain = compare_logs.lines_of(raw(wakes + nmi))
    assert plain == compare_logs.lines_of(raw(wakes[:3] + ["REVEILLE ev=wa"] + nmi + read_on))
    assert plain != compare_logs.lines_of(raw(wakes + [nmi[0], nmi[1].replace("ok=0", "ok=1")]))
    assert compare_logs.lines_of(raw(wakes)) != compare_logs.lines_of(raw(wakes + read_on))


def boot(name, machine, *lines):
    return compare_logs.Boot(name, machine, list(lines))


def partner_of(one, *boots):
    found = compare_logs.partner(one, list(boots))
    return found and (found.name, found.lines)


def test_boots_are_paired_by_machine_and_then_by_name():
    one = boot("a.1", "four", "x")
    assert partner_of(one, boot("a.1", "two"), boot("b.1", "four")) == ("b.1", [])
    assert partner_of(one, boot("b.1", "four"), boot("a.1", "four")) == ("a.1", [])
    assert partner_of(one, boot("b.1", "four", "x"), boot("a.2", "four")) == ("a.2", [])
    assert partner_of(one, boot("b.1", "four"), boot("c.1", "four", "x")) == ("c.1", ["x"])
    assert partner_of(one, boot("b.1", "two"), boot("a.1", "two")) == ("a.1", [])
    assert partner_of(one, boot("b.1", "two")) is None
    assert partner_of(boot("a.1", ""), boot("b.1", ""), boot("a.1", "four")) == ("a.1", [])


def compare(tmp_path, *runs, more=()):
    folders = [tmp_path / f"run-{n}" for n in range(len(runs))]
    for folder, logs in zip(folders, runs):
        folder.mkdir(parents=True)
        for name, lines in logs.items():
            (folder / f"{name}.log").write_bytes(raw(lines))
    return subprocess.run([sys.executable, ROOT / "tools/compare_logs.py", *more, *folders], capture_output=True,
                          text=True, timeout=60, check=False)


def test_the_program(tmp_path):
    done = compare(tmp_path, {"same.1": LOG, "other.1": LOG, "gone.1": LOG},
                   {"same.1": changed("us=107", "us=8"), "other.1": changed("cause=fault", "cause=late")})
    assert done.returncode == 1
    said = done.stdout.splitlines()
    assert said[-1] == "2 boots compared, 1 differ; 1 of before have no partner"
    assert "ALONE gone.1" in said and "DIFFERS other.1" in said
    assert [line[0] for line in said if "cause=" in line and not line.startswith(" ")] == ["-", "+"]


def test_equal_runs_are_a_success(tmp_path):
    done = compare(tmp_path, {"a.1": LOG}, {"a.1": LOG, "b.1": LOG})
    assert (done.returncode, done.stdout) == (0, "1 boots compared, 0 differ; 0 of before have no partner\n")


def test_one_of_several_runs_may_say_the_same(tmp_path):
    late = [line.replace("retried=0", "retried=1") for line in LOG]
    assert compare(tmp_path, {"a.1": LOG}, {"a.1": late}, {"a.1": LOG}).returncode == 0


def test_a_change_that_is_meant(tmp_path):
    more = ["--mask", r"cause=\w+", "--mask", "never execute.*"]
    meant = changed("cause=fault", "cause=late")
    meant[8] = "CPU 2 failed: it never executes."
    assert compare(tmp_path / "a", {"a.1": LOG}, {"a.1": meant}, more=more).returncode == 0
    assert compare(tmp_path / "b", {"a.1": LOG}, {"a.1": meant[:-1]}, more=more).returncode == 1


def test_an_empty_folder_is_no_success(tmp_path):
    assert compare(tmp_path, {}, {"a.1": LOG}).returncode == 1

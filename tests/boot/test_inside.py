"""exit=no: the wake while firmware lives, from the Shell, many times, and what firmware and Linux say
afterwards.

Surprise: x2APIC with firmware alive needs a firmware that runs in it. OVMF does so where a processor
has an APIC ID above 254, so these machines have one processor with ID 299.
"""

import functools
import os
import re
import select
import shutil
import time

import pytest

import guest
import image
import linux
import qemu
import records
from conftest import Result, run, warnings_of
from test_matrix import MESSAGES, OWN

IMAGE = r"\reveille\BOOTX64.EFI"


def cpus(count, apic):
    """Machine's words for `count` processors, with firmware in this APIC mode."""
    if apic == "xapic":
        return {"smp": str(count), "cpu": "qemu64"}
    return {"smp": f"{count - 1},sockets=150,cores=2,threads=1,maxcpus=300",
            "cpu": "qemu64,+x2apic",
            "extra": ("-device", "intel-iommu,intremap=on,eim=on",
                      "-device", "qemu64-x86_64-cpu,x2apic=on,socket-id=149,core-id=1,thread-id=0")}


def shell(script, **machine):
    """Runs a script in the Shell, on the image's volume."""
    return run(shell="fs0:\n" + "\n".join(script) + "\n", debug_exit=False, goes_on=True, **machine)


def stick_with_shell(folder, script):
    """A disk image like Machine's own, for a port of another kind."""
    esp = folder / "esp"
    shutil.copytree(qemu.BUILD / "esp", esp)
    guest.give_way_to_shell(esp)
    (esp / "startup.nsh").write_text("\r\n".join(["fs0:", *script, ""]))
    image.make_image(esp, folder / "stick.img")
    return folder / "stick.img"


def sections(result):
    """The log cut at each ev=start: a list of lists of records."""
    runs = []
    for record in result.records:
        if record["ev"] == "start":
            runs.append([])
        if runs:
            runs[-1].append(record)
    return runs


def of(section, event):
    return [r for r in section if r["ev"] == event]


def assert_given_back(section, aps, warnings=()):
    giveback = of(section, "giveback")
    assert len(giveback) == 1, section
    told = {key: giveback[0][key] for key in ("parking", "aps", "back", "timer", "bsp", "freed",
                                            "answered", "counts")}
    assert told == {"parking": "init", "aps": str(aps), "back": str(aps), "timer": "1",
                    "bsp": "same", "freed": "1", "answered": "1", "counts": "same"}
    assert {r["what"] for r in warnings_of(section)} <= set(warnings), section


# ---- the serial ports ----

# IER, IIR, LCR, MCR and SCR of COM1 and COM2, by the Shell's mm; what it writes no firmware would.
SET_UP = {0x3FC: 0x0B, 0x3FF: 0x77, 0x2F9: 0x05, 0x2FC: 0x0B, 0x2FF: 0x78}
REGISTERS = [base + offset for base in (0x3F8, 0x2F8) for offset in (1, 2, 3, 4, 7)]
LOOK = [f"mm {port:x} -w 1 -IO -n" for port in REGISTERS]
WAYS_BACK = ["exit=no", "exit=no wake=firmware", "exit=no serial=0x2f8", "check=yes serial=0x2f8",
             "help", "harvest=only", "colour=red rounds=0", "exit=no serial=off"]


def registers(lines):
    """What each command of LOOK said, as a list of values for each time it stood in the script."""
    asked = [i for i, line in enumerate(lines) if re.fullmatch(r".*> mm [23]f[9-f] -w 1 -IO -n", line)]
    values = [int(lines[i + 1].strip(), 16) for i in asked]
    return [values[i:i + len(LOOK)] for i in range(0, len(values), len(LOOK))]


def test_every_register_of_the_serial_ports_is_given_back():
    """However a start comes back to firmware, both ports are as they were."""
    script = [f"mm {port:x} {value:x} -w 1 -IO -n" for port, value in SET_UP.items()] + LOOK
    for options in WAYS_BACK:
        script += [f"{IMAGE} log=quiet {options}", *LOOK]
    result = shell([*script, "reset -s"], serial_place=("-serial", "chardev:com1", "-serial", "null"))
    found = registers(result.lines)
    assert len(found) == 1 + len(WAYS_BACK), result.tail()
    before = dict(zip(REGISTERS, found[0]))
    assert {port: before[port] for port in SET_UP} == SET_UP, before
    for options, now in zip(WAYS_BACK, found[1:]):
        assert dict(zip(REGISTERS, now)) == before, options


# ---- fifty runs, and then Linux ----

OPTIONS = ["", "wake=broadcast", "wake=one-by-one sipis=2", "wake=firmware", "wake=broadcast rounds=3"]
LINUX = r"\vmlinuz.efi " + linux.COMMAND_LINE
NOTABLE = re.compile(r"mtrr|apic|tsc|warning|bug:|unexpected", re.IGNORECASE)
# What Linux measures, one clock against another, depends on how busy the host is; no code of ours
# touches the PIT or the PM timer.
BY_THE_HOST = re.compile(r"tsc: (Unable to calibrate|using \w+ reference calibration|"
                         r"PIT calibration matches|Fast TSC calibration|Detected|Refined)|"
                         r"APIC (calibration not consistent|delta adjusted|calibration results)|"
                         r".*clocksource|.*(timekeeping|calibrat)", re.IGNORECASE)


def kernel_says(result):
    """What the kernel says of MTRR, APIC and TSC, and its warnings, without times and addresses."""
    said = set()
    for line in result.lines:
        if match := re.match(r"\[ *\d+\.\d+\] (.*)", line):
            if NOTABLE.search(match[1]) and not BY_THE_HOST.match(match[1]):
                said.add(re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?|[0-9A-F]{8,}", "N", match[1]))
    return said


@functools.lru_cache
def alone(count, apic):
    """Linux on this machine without us."""
    return shell([LINUX], mem=1024, files={"vmlinuz.efi": linux.kernel()}, **cpus(count, apic))


@pytest.mark.slow
@pytest.mark.parametrize("count, apic", [(4, "xapic"), (16, "x2apic")])
def test_fifty_runs_and_linux(count, apic):
    """Fifty runs in one Shell session by every strategy, then Linux with all processors, which says
    nothing that it does not say without us."""
    script = ["for %a run (1 10)",
              *(f"{IMAGE} exit=no log=quiet {options}" for options in OPTIONS), "endfor", LINUX]
    result = shell(script, mem=1024, files={"vmlinuz.efi": linux.kernel()}, **cpus(count, apic))
    runs = sections(result)
    assert len(runs) == 50, result.tail()
    for section in runs:
        assert of(section, "machine")[0]["apic"] == apic
        assert_given_back(section, count - 1)
        assert all(wake["up"] == str(count - 1) for wake in of(section, "wake")), section
        assert of(section, "end")[0]["ok"] == "1"
    brought = linux.brought_up(result.lines)
    assert brought and brought[0] == count, result.tail()
    assert kernel_says(result) - kernel_says(alone(count, apic)) == set()


@pytest.mark.slow
def test_no_leak_over_a_hundred_runs():
    """The memory map by type is the same after ten runs and after a hundred and ten, all with exit=no: by
    every strategy, refused, failed."""
    kinds = ["wake=broadcast", "wake=firmware", "wake=one-by-one screen=800x600", "cpus=77",
             "inject=hang-real:2 retries=0 timeout_us=2000"]
    body = "\n".join(f"{IMAGE} exit=no log=quiet {kind}" for kind in kinds)
    script = [f"for %a run (1 2)\n{body}\nendfor", "memmap",
              f"for %a run (1 20)\n{body}\nendfor", "memmap", "reset -s"]
    result = shell(script, cpu="qemu64")
    assert len(sections(result)) == 110, result.tail()
    assert [of(s, "end")[0]["ok"] for s in sections(result)] == ["1", "1", "1", "0", "0"] * 22
    pages = {}
    for line in result.lines:
        if match := re.match(r"\s*(\w+)\s*:\s+([\d,]+) Pages", line):
            pages.setdefault(match[1], []).append(int(match[2].replace(",", "")))
    assert {kind: len(counts) for kind, counts in pages.items()} == dict.fromkeys(pages, 2)
    for kind in ("Reserved", "LoaderCode", "LoaderData", "BS_Code", "RT_Code", "RT_Data"):
        assert pages[kind][0] == pages[kind][1], (kind, pages)
    # The Shell itself keeps a line of history, or an environment, now and then: pages in all, none a run.
    for kind in ("BS_Data", "Available"):
        assert abs(pages[kind][0] - pages[kind][1]) <= 4, pages


# ---- one run after another ----

def test_inside_then_outside():
    """exit=no, and then exit=yes in the same session: firmware leaves as if nothing had been."""
    result = run(shell=f"fs0:\n{IMAGE} exit=no\n{IMAGE} exit=yes\n", cpu="qemu64", goes_on=True)
    inside, outside = sections(result)
    assert_given_back(inside, 3)
    assert of(outside, "end")[0] == {"ev": "end", "ok": "1", "want": "3", "up": "3", "failed": "0"}
    assert result.status == qemu.EXIT_OK
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)] * 2


def on_failure(word):
    """The script's test that docs/shell.md shows, with another command in it."""
    page = (qemu.ROOT / "docs/shell.md").read_text(encoding="ascii")
    block = re.search(r"^ +(if .*%lasterror%.*)\n +type .*\n +(endif)$", page, re.MULTILINE)
    return [block[1], f"echo branch {word}", block[2]]


def test_the_result_is_a_file_at_once():
    """Sentences and records, complete, the last run's only, and a status that scripts can test."""
    result = shell([f"{IMAGE} exit=no cpus=1", "echo status %lasterror%", f"{IMAGE} exit=no",
                    "echo TEXT", r"type \reveille\last.txt", "echo RECORDS",
                    r"type \reveille\last.rec", "echo DONE",
                    f"{IMAGE} exit=no inject=mute:2", "echo status %lasterror%",
                    f"{IMAGE} exit=no cpus=77", "echo status %lasterror%",
                    # As docs/shell.md writes it, after a run that failed and after a good one.
                    f"{IMAGE} exit=no inject=mute:2", *on_failure("failed"),
                    f"{IMAGE} exit=no", *on_failure("good"), "reset -s"], cpu="qemu64")
    lines = result.lines
    # The Shell echoes its script: what it printed stands alone on its line.
    text = lines[lines.index("TEXT") + 1:lines.index("RECORDS")]
    rec = lines[lines.index("RECORDS") + 1:lines.index("DONE")]
    assert "Hello from CPU 3! APIC ID: 3" in text and not any("REVEILLE" in line for line in text)
    told = [r for r in records.parse_records(rec) if r]
    assert told[0]["ev"] == "start" and told[-1] == {"ev": "end", "ok": "1", "want": "3", "up": "3",
                                                   "failed": "0"}
    assert [line for line in lines if line.startswith("status ")] == \
        ["status 0x0", "status 0x7", "status 0x2"]
    assert "branch failed" in lines and "branch good" not in lines


def test_what_is_saved_and_what_is_not():
    """A refusal is a result, and last.txt has it; save=none leaves the volume alone; ev=end is the last
    record of the file in every case."""
    def look(n):
        return [f"echo FILE {n}", r"type \reveille\last.txt", "echo RECORDS",
                r"type \reveille\last.rec", "echo DONE"]

    result = shell([f"{IMAGE} exit=no cpus=77", *look(1),
                    f"{IMAGE} exit=no save=none", f"{IMAGE} check=yes save=none",
                    f"{IMAGE} exit=no save=none wake=sideways", *look(2),
                    f"{IMAGE} check=yes", *look(3),
                    f"{IMAGE} exit=no again=yes save=nvram", "reset -s"], cpu="qemu64")
    lines = result.lines
    refused, again, checked = [
        lines[lines.index(f"FILE {n}"):][:lines[lines.index(f"FILE {n}"):].index("DONE")] for n in (1, 2, 3)]
    assert any("cpus=" in line for line in refused) and refused[1:] == again[1:], again
    for file, want in (refused, "0"), (checked, "0"):
        told = [r for r in records.parse_records(file) if r]
        assert told[0]["ev"] == "start" and told[-1]["ev"] == "end" and told[-1]["want"] == want
    assert [r["ev"] for r in records.parse_records(checked)].count("mp") == 4
    assert "no-effect" in [r["what"] for r in of(sections(result)[-1], "warning")]


def test_a_volume_that_takes_nothing(tmp_path):
    """On a read-only stick it is told, and ev=end is the last record all the same."""
    stick = stick_with_shell(tmp_path, [f"{IMAGE} check=yes", f"{IMAGE} exit=no", "reset -s"])
    result = run(stick=stick, stick_mode="readonly=on", debug_exit=False, goes_on=True, cpu="qemu64")
    runs = sections(result)
    assert len(runs) == 2, result.tail()
    for section in runs:
        assert [r["what"] for r in warnings_of(section)] == ["not-saved"], section
        assert section[-1]["ev"] == "end" and section[-1]["ok"] == "1", section


def test_check_wakes_nobody():
    result = shell([f"{IMAGE} check=yes", "echo status %lasterror%", f"{IMAGE} dry-run=yes",
                    f"{IMAGE} -h", "echo help %lasterror%", "reset -s"], cpu="qemu64")
    for section in sections(result)[:2]:
        assert not of(section, "wake") and of(section, "trampoline")
        assert len(of(section, "mp")) == 4
        assert of(section, "end")[0]["ok"] == "1" and of(section, "end")[0]["want"] == "0"
    assert not result.greetings()
    assert "status 0x0" in result.lines and "help 0x0" in result.lines
    assert any("exit=yes" in line for line in result.lines)


def test_firmware_wakes_and_agrees():
    """wake=firmware: the same greetings, and one table of what each side says."""
    result = shell([f"{IMAGE} exit=no wake=firmware", "reset -s"], smp="4,sockets=2,cores=1,threads=2",
                   cpu="qemu64")
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert [(r["package"], r["core"], r["thread"]) for r in result.all("mp")] == \
        [("0", "0", "0"), ("0", "0", "1"), ("1", "0", "0"), ("1", "0", "1")]
    for r in result.all("mp"):
        assert r["own_apic"] == r["apic"]
        assert (r["own_package"], r["own_core"], r["own_thread"]) == \
            (r["package"], r["core"], r["thread"])
    assert result.one("wake")["icr_writes"] == "0"
    assert_given_back(sections(result)[0], 3)


def test_a_disagreement_is_named():
    """One core in each package: this firmware puts all of them into package 0, and CPUID does not."""
    result = shell([f"{IMAGE} exit=no", "reset -s"], cpu="qemu64",
                   smp="2,sockets=2,cores=1,threads=1")
    if result.all("mp")[1]["package"] == "1":
        pytest.skip("this firmware knows better")
    warning, = warnings_of(result.records)
    assert warning["what"] == "mp-disagrees" and "CPU 1, APIC ID 1" in warning["detail"], warning


@pytest.mark.parametrize("options, what", [("wake=firmware", "firmware-wake"),
                                           ("exit=no wake=firmware inject=mute:1", "firmware-wake"),
                                           ("exit=no inject=no-low-page", "no-low-page")])
def test_refusals(options, what):
    result = shell([f"{IMAGE} {options}", "echo went on", "reset -s"], cpu="qemu64")
    assert what in [r["what"] for r in result.all("error")], result.tail()
    assert not result.greetings() and "went on" in result.lines


def test_x2apic_is_not_forced_on_firmware():
    result = shell([f"{IMAGE} exit=no apic=x2apic", "reset -s"], cpu="qemu64,+x2apic")
    assert result.one("error")["what"] == "apic-mode"
    assert not result.greetings()


# ---- faults ----

@pytest.mark.slow
@pytest.mark.parametrize("apic", ["xapic", "x2apic"])
def test_every_fault_is_told_and_the_shell_still_works(apic):
    """Each fault in a run of its own: the verdict is as ever, and firmware has all its processors back."""
    faults = {**OWN, **MESSAGES}
    script = [f"{IMAGE} exit=no log=quiet timeout_us=200000 inject={word}:2" for word in faults]
    script += [f"{IMAGE} exit=no log=quiet timeout_us=200000 inject=bad-copy",
               f"{IMAGE} exit=no log=quiet timeout_us=200000 inject=ghost",
               f"{IMAGE} exit=no log=quiet wake=broadcast inject=unlisted:2",
               f"{IMAGE} exit=no log=quiet inject=duplicate:2",
               f"{IMAGE} exit=no log=quiet", LINUX]
    result = shell(script, mem=1024, files={"vmlinuz.efi": linux.kernel()}, **cpus(4, apic))
    runs = sections(result)
    assert len(runs) == len(faults) + 5, result.tail()
    brought = linux.brought_up(result.lines)
    assert brought and brought[0] == 4, result.tail()
    for (word, right), section in zip(faults.items(), runs):
        told = next(r for r in of(section, "cpu") if r["cpu"] == "2")
        assert (told["state"], told.get("cause")) == (right.state, right.cause), (word, told)
        giveback = of(section, "giveback")[0]
        assert (giveback["back"], giveback["bsp"], giveback["timer"]) == ("3", "same", "1"), word
        assert giveback["freed"] == "1", (word, giveback)
    copy, ghost, unlisted, duplicate, after = runs[len(faults):]
    assert {r.get("cause") for r in of(copy, "cpu")} == {None, "damaged-page"}
    assert of(copy, "giveback")[0]["freed"] == "1"
    # A processor that does not exist never comes back: its memory is kept, and that is said. Firmware
    # knows nothing of it, so it is asked for the others, and has them.
    giveback = of(ghost, "giveback")[0]
    assert (giveback["freed"], giveback["back"], giveback["answered"], giveback["counts"]) == \
        ("0", "3", "1", "same")
    assert_given_back(duplicate, 3, warnings=("inject", "duplicate-id"))
    assert of(duplicate, "machine")[0]["duplicate"] == "1"
    assert "not-back" in [r["what"] for r in of(ghost, "warning")]
    assert [r["apic"] for r in of(unlisted, "cpu") if r["state"] == "unlisted"] == ["0x2"]
    assert of(unlisted, "giveback")[0]["freed"] == "1"
    assert of(after, "end")[0]["ok"] == "1"


def test_a_fault_between_two_windows():
    """An AP stops while firmware has the BSP: it writes one line, calls nothing of firmware, and the
    Shell goes on."""
    result = shell([f"{IMAGE} exit=no inject=ud-idle:2 rounds=2", "echo status %lasterror%", "reset -s"],
                   smp="4", cpu="qemu64")
    told = [line for line in result.lines if line.startswith("CPU 2 (APIC ID 2) stopped: vector 6 ")]
    assert len(told) == 2, result.tail()
    assert not [line for line in result.lines if "vector 14" in line or "Exception" in line], result.tail()
    record = result.cpu(2)
    assert (record["cause"], record["vector"], record["stage"]) == ("fault", "6", "greeted"), record
    assert result.one("giveback")["freed"] == "1"
    result.has("status 0x7")


def test_a_reset_is_told_by_the_next_start():
    """Wrong page tables reset the machine; the Shell comes again, and Reveille says what was."""
    script = ["if exist once.txt then", f"{IMAGE} exit=no", "reset -s", "endif",
              "echo once > once.txt", f"{IMAGE} exit=no wake=one-by-one inject=bad-cr3:2"]
    result = shell(script, cpu="qemu64", reset_ends=False)
    assert result.one("previous")["ended"] == "reset", result.tail()
    assert result.one("end")["ok"] == "1"


# ---- a person at the keyboard ----

def press(vm, *keys):
    vm.qmp("send-key", keys=[{"type": "qcode", "data": key} for key in keys])


def watch(vm, seen):
    """Reads on, adding to `seen`, and yields each record."""
    for line in vm.lines():
        seen.append(line)
        if record := records.parse_record(line):
            yield record


@pytest.mark.slow
@pytest.mark.parametrize("options, ok, what", [
    ("rounds=1000000", "1", "rounds"),
    # One that never comes makes each setting as long as its time-outs.
    ("inject=hang-c:1 timeout_us=300000 sweep=init_us:" + ",".join(map(str, range(1, 33))), "0",
     "settings")])
def test_control_c_stops(options, ok, what):
    machine = qemu.Machine(cpu="qemu64", debug_exit=False, goes_on=True, shell=f"fs0:\n{IMAGE} "
                           f"exit=no log=quiet {options}\necho status %lasterror%\nreset -s\n")
    seen, pressed = [], False
    with qemu.Qemu(machine) as vm:
        for record in watch(vm, seen):
            if record["ev"] == "wake" and not pressed:
                pressed = True
                press(vm, "ctrl", "c")
        result = Result.of(vm, seen)
    assert any(r["what"] == "stopped-by-key" and what in r["detail"] for r in result.all("warning")), \
        result.tail()
    assert result.one("end")["ok"] == ok and result.one("giveback")["freed"] == "1"
    assert "status 0x15" in result.lines  # EFI_ABORTED


LOOKS = 300  # at the guest's instruction pointer; a calibration of 100 ms ends within them


def read_until_it_waits(vm, seen):
    """Reads what comes until the guest has been seen at work LOOKS times without another byte. That is
    the guest's own progress, and no time of the host's."""
    pipe, looks, last = vm.process.stdout.fileno(), 0, None
    while looks < LOOKS and time.monotonic() < vm.deadline:
        started = b"REVEILLE ev=start" in seen  # firmware's own start has pauses
        if select.select([pipe], [], [], 0 if started else 1)[0]:
            chunk = os.read(pipe, 65536)
            if not chunk:
                break
            seen += chunk
            looks = 0
            continue
        if not started:
            continue
        now = re.search(r"RIP=(\w+)", vm.qmp("human-monitor-command",
                                            **{"command-line": "info registers"}))[1]
        looks += now != last
        last = now


def test_pages_wait_for_a_key():
    """-b: after a page nothing more comes until a key does; space gives one more; q lets the rest through."""
    machine = qemu.Machine(smp="24", cpu="qemu64", debug_exit=False, goes_on=True,
                           shell=f"fs0:\n{IMAGE} exit=no -b\necho went on\nreset -s\n")
    seen = bytearray()
    with qemu.Qemu(machine) as vm:
        read_until_it_waits(vm, seen)
        pages = [seen.count(b"\n")]
        for _ in range(2):
            assert vm.qmp("query-status")["running"] and b"ev=end" not in seen, seen[-400:]
            press(vm, "spc")
            read_until_it_waits(vm, seen)
            pages.append(seen.count(b"\n"))
        assert b"ev=end" not in seen and pages[0] < pages[1] < pages[2], pages
        # A page has at most 42 lines (800 pixels of firmware's font), and as many as fit.
        assert all(10 < right - left <= 42 for left, right in zip(pages, pages[1:])), pages
        press(vm, "q")
        rest = list(vm.lines())
    assert any(line.startswith("REVEILLE ev=end ok=1") for line in rest), rest[-20:]
    assert "went on" in rest and len(rest) > 5, rest[-20:]

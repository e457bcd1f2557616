"""The rig's own parts: records, lines, verdicts, the disk image, and make debug."""

import os
import re
import shutil
import subprocess
import sys

import pytest

import qemu
import records
import run

ENVIRONMENT = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")


def tool(*words, **environment):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=600,
                          env=dict(ENVIRONMENT, **environment), cwd=qemu.ROOT)


def test_record():
    line = r'REVEILLE ev=error what=no-low-page detail="say \"a\\b\" = 1" empty='
    assert records.parse_record(line) == {
        "ev": "error", "what": "no-low-page", "detail": r'say "a\b" = 1', "empty": ""}
    assert records.parse_record("Hello from CPU 1! APIC ID: 1") is None
    assert records.parse_record("REVEILLER ev=end") is None
    assert records.number("0x10") == 16 and records.number("10") == 10


@pytest.mark.parametrize("line", [
    "REVEILLE", "REVEILLE ok=1", "REVEILLE  ev=end", 'REVEILLE ev=end detail="open',
    "REVEILLE ev=end ok",
    "REVEILLE ev=end ok=1 ok=1", "REVEILLE ev=eREVEILLE ev=end", 'REVEILLE ev=a b="c"d=e',
    "REVEILLE ev=end ok=1 "])
def test_damaged_record(line):
    with pytest.raises(ValueError):
        records.parse_record(line)


@pytest.mark.parametrize("raw, lines", [
    (b"plain\r", ["plain"]), (b"\r", [""]), (b"\x1b[2J\x1b[01;01H\r", []),
    (b"\x1b[0m\x1b[37m\x1b[40mtext\r", ["text"]), (b"one\x1b[05;01Htwo\r", ["one", "two"]),
    (b"a\rHello\r", ["a", "Hello"])])
def test_line_without_terminal_sequences(raw, lines):
    assert qemu.clean_line(raw) == lines


@pytest.mark.parametrize("end, status, options, good", [
    ({"ok": "1"}, qemu.EXIT_OK, "", True), ({"ok": "1"}, None, "end=halt", True),
    ({"ok": "1"}, 0, "end=reset", True), ({"ok": "1"}, 0, "", False),
    ({"ok": "1"}, 0, "end=halt end=auto", False),
    ({"ok": "1"}, qemu.EXIT_NOT_ALL, "end=halt", False),
    ({"ok": "0"}, qemu.EXIT_OK, "", False), (None, qemu.EXIT_OK, "", False),
    (None, qemu.EXIT_REFUSED, "", False), ({"ok": "1"}, qemu.EXIT_REFUSED, "", False)])
def test_verdict(end, status, options, good):
    assert (run.verdict(end, status, False, options) is None) == good


def test_missing_packages_are_named(tmp_path):
    """On a system without apt, tools/setup names what is missing and fails."""
    for name in ("bash", "sed", "awk", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    found = tool("bash", "tools/setup", "build", "run", PATH=str(tmp_path))
    assert found.returncode == 1
    for package in ("gcc", "qemu-system-x86", "mtools"):
        assert re.search(rf"^    {package} ", found.stdout, re.M), found.stdout


def test_setup_is_silent_when_all_is_there():
    found = tool("tools/setup", "build", "run", "test")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_disk_image(tmp_path):
    image, again = tmp_path / "a.img", tmp_path / "b.img"
    for out, zone in ((image, "UTC"), (again, "Asia/Tokyo")):
        made = tool(sys.executable, "tools/image.py", qemu.BUILD / "esp", out, TZ=zone)
        assert made.returncode == 0, made.stderr
    assert image.read_bytes() == again.read_bytes()

    assert "No problems found" in tool("sgdisk", "-v", image).stdout
    # EF00 is sgdisk's name for the type GUID of an EFI System Partition.
    listing = tool("sgdisk", "-p", image).stdout
    first, size = re.search(r"^ +1 +(\d+) +\d+ +(\S+ MiB) +EF00", listing, re.M).groups()
    assert size == "64.0 MiB"
    volume = tmp_path / "volume"
    with open(image, "rb") as whole:
        whole.seek(int(first) * 512)
        volume.write_bytes(whole.read(64 * 1024 * 1024))
    checked = tool("fsck.fat", "-n", "-v", volume)
    assert checked.returncode == 0 and "32 bit entries" in checked.stdout, checked.stdout
    copy = tmp_path / "copy"
    copy.mkdir()
    assert tool("mcopy", "-s", "-i", volume, "::", copy).returncode == 0
    results = {name: (copy / "reveille" / name).read_bytes() for name in ("last.txt", "last.rec")}
    assert {len(text) for text in results.values()} == {65536}  # room for a result, all blanks
    assert not b"".join(results.values()).strip()
    shutil.rmtree(copy / "reveille")
    assert tool("diff", "-r", qemu.BUILD / "esp", copy).stdout == ""


def test_disk_image_of_nothing_is_refused(tmp_path):
    made = tool(sys.executable, "tools/image.py", tmp_path, tmp_path / "a.img")
    assert made.returncode == 1 and not (tmp_path / "a.img").exists()


def test_make_run_judges():
    good = tool(sys.executable, "tools/run.py", SMP="2", OPTIONS="")
    assert good.returncode == 0 and "Hello from CPU 1! APIC ID: 1\n" in good.stdout, good.stderr
    bad = tool(sys.executable, "tools/run.py", SMP="2", OPTIONS="wake=sideways")
    assert bad.returncode == 1 and "refused" in bad.stderr


OLD_QEMU = """\
#!/bin/bash
[ "$1" != --version ] || {{ echo "QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)"; exit; }}
words=("$@")
for ((i = 0; i < $#; i++)); do
    [ "${{words[i]}}" != -cpu ] || words[i + 1]+=,-x2apic
done
exec {qemu} "${{words[@]}}"
"""


@pytest.fixture
def old_qemu(tmp_path):
    """A folder for PATH: its QEMU says that it is Ubuntu 24.04's and emulates no x2APIC, its apt has no newer."""
    programs = {"qemu-system-x86_64": OLD_QEMU.format(qemu=shutil.which("qemu-system-x86_64")),
                "apt-get": "#!/bin/sh\n[ $1 = indextargets ]\n",
                "apt-cache": "#!/bin/sh\necho '  Candidate: 1:8.2.2+ds-0ubuntu1'\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}", "MAKEFLAGS": "", "SMP": "2", "CPU": "", "OPTIONS": ""}


def test_make_run_with_an_old_qemu(old_qemu):
    done = tool("make", "--no-print-directory", "run", **old_qemu)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "QEMU 8.2.2 cannot emulate an x2APIC: CPU=qemu64, xAPIC only\n"
    said = [record for line in done.stdout.splitlines() if (record := records.parse_record(line))]
    machine = next(record for record in said if record["ev"] == "machine")
    assert machine["apic"] == "xapic" and machine["processor"].startswith("QEMU Virtual CPU "), machine
    assert said[-1]["ev"] == "end" and said[-1]["ok"] == "1" and "setup:" not in done.stdout


@pytest.mark.parametrize("named, complaint", [
    ({"SMP": "256"}, "which SMP=256 needs: at most 255, or QEMU 9"),
    ({"SMP": "1,maxcpus=300"}, "which SMP=1,maxcpus=300 needs: at most 255, or QEMU 9"),
    ({"CPU": "qemu64,+x2apic"}, "which CPU=qemu64,+x2apic asks for: leave it out, or take QEMU 9")])
def test_what_an_old_qemu_cannot_do_is_told(old_qemu, named, complaint):
    for program in ("run", "debug", "stick"):
        done = tool(sys.executable, f"tools/{program}.py", **{**old_qemu, **named})
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr == f"{program}: QEMU 8.2.2 cannot emulate an x2APIC, {complaint}\n"


def test_make_debug_stops_at_every_stage():
    """With a single AP the stops come one after another: three stages, then its C entry. More steps
    than that, since QEMU's single step now and then ends where it began, and GDB then stops there
    again."""
    done = tool(sys.executable, "tools/debug.py", SMP="2", OPTIONS="",
                GDB_ARGS="-batch" + " -ex continue" * 8)
    stops = re.findall(r"(Temporary breakpoint 1, smp_wake|x86_start16_begin: real mode"
                       r"|Breakpoint [345])[ ,]", done.stdout)
    assert list(dict.fromkeys(stops)) == [
        "Temporary breakpoint 1, smp_wake", "x86_start16_begin: real mode", "Breakpoint 3",
        "Breakpoint 4", "Breakpoint 5"], done.stdout + done.stderr
    assert re.search(r"Breakpoint 4, lcpu_start64 \(\) at trampoline/ap_start\.S:\d", done.stdout)
    assert re.search(r"Breakpoint 5, ap_main \(self=0x[1-9a-f]", done.stdout), done.stdout

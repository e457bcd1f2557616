"""Boots of the real image under OVMF, for the tests beside this file: boot(...) and its Result.

A Result holds what a boot said and how it ended. Its checks are strict about whole lines: a
greeting that is torn, doubled, or stands behind other text is a failure, wherever it stands in the
log.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import contract  # noqa: E402
import qemu  # noqa: E402
import records  # noqa: E402
from nvram import variables_of  # noqa: E402
from stick import PARTITION  # noqa: E402

GREETING = re.compile(r"Hello from CPU (\d+)! APIC ID: (\d+)")
TAIL_LINES = 40


def warnings_of(section):
    """The ev=warning of these records, but for one clock against another: how they agree depends on how busy the
    host is."""
    return [r for r in section if r["ev"] == "warning" and r["what"] != "tsc-disagrees"]


@dataclasses.dataclass
class Result:
    lines: list  # readable lines, terminal sequences gone
    raw: bytes  # what the serial port really said
    status: int | None  # the emulator's exit status, None if it had to be ended
    timed_out: bool
    complaints: str  # the emulator's standard error

    @classmethod
    def of(cls, vm, lines):
        """What these lines of a machine, which is gone or about to be ended, come to."""
        return cls(lines, bytes(vm.raw), vm.status, vm.timed_out, vm.stderr())

    @property
    def records(self):
        return contract.checked(records.parse_records(self.lines))

    def all(self, event):
        return [r for r in self.records if r["ev"] == event]

    def one(self, event):
        found = self.all(event)
        assert len(found) == 1, f"{len(found)} records ev={event}\n{self.tail()}"
        return found[0]

    def cpu(self, index):
        found = [r for r in self.all("cpu") if r["cpu"] == str(index)]
        assert len(found) == 1, f"{len(found)} records of CPU {index}\n{self.tail()}"
        return found[0]

    def has(self, pattern):
        """The match of the one line that is wholly `pattern`; fails if there is none."""
        for line in self.lines:
            if match := re.fullmatch(pattern, line):
                return match
        raise AssertionError(f"no line {pattern!r}\n{self.tail()}")

    def greetings(self):
        """[(cpu, apic id)] in the order they came; anything that only resembles a greeting fails.
        """
        found = []
        for line in self.lines:
            if "Hello" in line or "APIC ID:" in line:
                match = GREETING.fullmatch(line)
                assert match, f"not a whole greeting: {line!r}\n{self.tail()}"
                found.append((int(match[1]), int(match[2])))
        return found

    def tail(self):
        how = "out of time" if self.timed_out else f"exit status {self.status}"
        heading = f"--- end of the log, {how} {self.complaints}"
        return "\n".join([heading, *self.lines[-TAIL_LINES:]])


def assert_volume_is_sound(image, count_may_be_old=False):
    """fsck.fat finds nothing on the volume of a disk image; nor that the count of free clusters, which is a hint
    (FAT specification, FSI_Free_Count), is an old one, if that may be."""
    volume = image.with_name("volume.fat")
    with open(image, "rb") as disk:
        disk.seek(PARTITION)
        volume.write_bytes(disk.read(64 << 20))
    checked = subprocess.run(["/sbin/fsck.fat", "-n", str(volume)], capture_output=True, text=True,
                             check=False)
    volume.unlink()
    old_count = count_may_be_old and re.fullmatch(
        r"fsck.*\nFree cluster summary wrong .*\n  Auto-correcting\.\n\nLeaving filesystem unchanged\.\n.*\n",
        checked.stdout)
    assert checked.returncode == 0 or old_count, checked.stdout


def keep_log(vm):
    """In the folder REVEILLE_LOGS, if that is set: NAME.log, what the serial port said, and NAME.machine, what
    was booted, for tools/compare_logs.py. NAME is that of the test, with the number of its boot."""
    folder = os.environ.get("REVEILLE_LOGS")
    if not folder:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "no test").split(" (")[0].split("/")[-1]
    name = re.sub(r"[^A-Za-z0-9.=_,-]+", "_", test)[:150]
    for n in range(1, 1000):
        path = pathlib.Path(folder) / f"{name}.{n}"
        with contextlib.suppress(FileExistsError), open(f"{path}.log", "xb") as log:
            log.write(vm.raw)
            pathlib.Path(f"{path}.machine").write_text(vm.described, encoding="utf-8")
            return


def describe(vm):
    """A machine's fields that are not a default, as text; of a path its last part, since folders are new
    each time; of a stick the options that stand on it."""
    default, fields = type(vm.machine)(), {}
    for field in dataclasses.fields(default):
        value = getattr(vm.machine, field.name)
        if value != getattr(default, field.name):
            fields[field.name] = re.sub(r"/[^ ,'\"]*/", "", str(value))
    if getattr(vm.machine, "stick", None):
        fields["options"] = " ".join(re.sub(r"#.*", "", vm.options_there()).split())
    return json.dumps(fields, sort_keys=True)


def used_store():
    """Firmware's variables after a start, for the firmware in use. Made once, since it takes firmware a
    second to write them at its first start."""
    code, variables = qemu.find_ovmf(qemu.from_environment().ovmf)
    name = hashlib.sha256(f"{code} {code.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    store = qemu.BUILD / f"variables-{name}.fd"
    if variables is None or store.exists():
        return store
    with open(store.with_suffix(".lock"), "w", encoding="ascii") as lock:  # several workers, one maker
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not store.exists():
            with PlainQemu(qemu.Machine(options="check=yes end=debug-exit")) as vm:
                list(vm.lines())
                shutil.copyfile(vm.home / "vars.fd", store.with_suffix(".new"))
            store.with_suffix(".new").rename(store)
    return store


PlainQemu = qemu.Qemu


class Watched(qemu.Qemu):
    """Every machine of these tests: from our first line to the machine's end no variable changes that no
    option asks for, and a machine that is gone leaves a sound volume."""

    shown = False  # on the terminal, too
    before = None  # the variables when our image started

    def __init__(self, machine, *words, **more):
        self.machine = machine
        self.described = describe(self)  # before a stick is written to
        machine.hurry = True
        super().__init__(machine, *words, **more)

    def _firmware(self):
        """Not `pc`, nor a stick or a CD: there firmware goes after the store's entries first."""
        m = self.machine
        used = used_store()
        if m.machine.startswith("q35") and not (m.ovmf or m.stick or m.variables) and used.exists() \
                and not any("cdrom" in word for word in m.extra):
            shutil.copyfile(used, self.home / "vars.fd")
        return super()._firmware()

    def _variables(self):
        kept = self.machine.variables or self.home / "vars.fd"
        return variables_of(kept) if kept.exists() else {}

    def options_there(self):
        if not self.machine.stick:
            return self.machine.options
        return subprocess.run(["mtype", "-i", f"{self.machine.stick}@@{PARTITION}", "::/reveille.cfg"],
                              capture_output=True, text=True, check=False).stdout

    def lines(self):
        for line in super().lines():
            if self.shown:
                print(line, flush=True)
            if self.before is None and line.startswith("REVEILLE ev=start "):
                self.before = self._variables()
            yield line

    def _assert_nothing_is_left(self):
        after = self._variables()
        before = after if self.before is None else self.before
        changed = {name for name, guid in before.keys() | after.keys()
                   if before.get((name, guid)) != after.get((name, guid))}
        options = self.options_there()
        asked = {"BootNext"} if "again=yes" in options else set()
        asked |= {"ReveilleLast"} if "save=nvram" in options else set()
        left = {name for name, _ in after} & {"ReveilleLast", "BootNext"}
        was_there = {name for name, _ in before} & {"ReveilleLast"}  # and may be told and deleted
        # MTC counts firmware's own starts.
        assert changed <= asked | was_there | {"MTC"}, changed
        assert left <= asked | was_there, left
        if self.process.poll() is not None and (self.home / "esp.img").exists():
            assert_volume_is_sound(self.home / "esp.img", count_may_be_old="u-boot" in self.machine.ovmf)

    def __exit__(self, kind, *_):
        keep_log(self)
        try:
            if kind is None and not self.timed_out:
                self._assert_nothing_is_left()
        finally:
            self.close()


qemu.Qemu = Watched


_booted = {}  # machine, as text: its Result


def run(**machine):
    """Boots qemu.Machine(**machine), by the firmware and the accelerator that the environment names, unless
    the test does; once, however many ask, unless it has a stick or variables, whose contents are its own."""
    chosen = qemu.from_environment()
    asked = qemu.Machine(**{"accel": chosen.accel, "ovmf": chosen.ovmf} | machine)
    key = repr(asked)
    if key not in _booted or asked.stick or asked.variables:
        with qemu.Qemu(asked) as vm:
            _booted[key] = Result.of(vm, list(vm.lines()))
    return _booted[key]


def skip_unless_started(result, why):
    """For machines that an older firmware manages and a newer one does not."""
    if not result.all("start"):
        pytest.skip(f"this firmware {why}")


def assert_ended(result, status, **end):
    """The last record is the only ev=end and says so, and the emulator's exit status is this one."""
    assert result.records and result.records[-1]["ev"] == "end", result.tail()
    record = result.one("end")
    assert {key: record.get(key) for key in end} == end, result.tail()
    assert result.status == status, result.tail()


def assert_all_greeted(result, apic_ids, status=qemu.EXIT_OK):
    """Exactly these APs have greeted, each once, in ascending CPU order, and the run counts as
    success. `apic_ids`: {CPU index: APIC ID}; `status` is None where no guest can choose it."""
    assert result.greetings() == sorted(apic_ids.items()), result.tail()
    for cpu, apic_id in apic_ids.items():
        record = result.cpu(cpu)
        assert record["state"] == "online" and record["stage"] == "greeted", record
        assert records.number(record["apic"]) == apic_id, record
    for wake in result.all("wake"):
        assert wake["want"] == wake["up"] == str(len(apic_ids)), wake
    want = str(len(apic_ids))
    assert_ended(result, status, ok="1", want=want, up=want, failed="0")
    # From the first record on every line is ours, and ours end with CR LF.
    ours = result.raw[result.raw.index(b"REVEILLE ev=start"):]
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", ours) is None, result.tail()


def consecutive(count):
    """The APs of a machine with `count` processors whose APIC IDs are their indices."""
    return {cpu: cpu for cpu in range(1, count)}


def pytest_addoption(parser):
    parser.addoption("--serial", action="store_true", help="show what each machine's serial port says; with -s")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes much longer than a plain boot, and so begins first")
    Watched.shown = config.getoption("serial")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def boot():
    return run


@pytest.fixture(scope="session", autouse=True)
def image_is_built():
    if not (qemu.BUILD / "esp/EFI/BOOT/BOOTX64.EFI").exists():
        pytest.exit("build/esp is not there: run make first", returncode=2)

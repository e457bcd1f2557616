"""A machine that boots the image, whoever plays it: what QEMU's (qemu.py) and Bochs's (bochs.py) have in common.

Everything a machine can write to is its own: each boot has a private directory with a copy of the ESP, so
boots can run side by side and leave build/ as it was. A machine ends by itself, by its time-out, or by
close(); it is ended by its own process id, never by name.
Surprise: the emulator gets a session of its own, so that a Ctrl-C meant for GDB or pytest does not reach it;
in return the kernel ends it when we die, however that happens.
"""

import ctypes
import dataclasses
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import image

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("B", "build")

# A machine that has written `ev=end` and still runs was told to halt; so long it may take to power
# off, unless it is seen to rest, for which it is looked at so often.
GRACE_S, LOOK_S = 10, 0.1

# OVMF draws by terminal sequences. Moving the cursor, as a carriage return does, or clearing starts a new
# line for us, all others go.
_CURSOR = re.compile(rb"\x1b\[(?:\d*;\d*H|\d*J)|\r")
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()].|c)")

# A Shell for firmware that does not start its own: OVMF no longer does since 2026.
_SHELL = pathlib.Path("/usr/share/efi-shell-x64/shellx64.efi")

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Failure(Exception):
    """Something outside the image went wrong; the message is for people."""


@dataclasses.dataclass
class Machine:
    """What to boot, and how. Every field has the default of a plain `make run`."""

    smp: str = "4"  # as behind QEMU's -smp
    mem: int = 512  # MiB
    ovmf: str = ""  # firmware's file; empty: the first of those that exist
    options: str = ""  # for \reveille.cfg
    shell: str | None = None  # startup.nsh of a Shell; the image is then \reveille\BOOTX64.EFI only
    firmware: str = ""  # words for tests/firmware/preload.c, which then starts before the image
    esp: pathlib.Path = BUILD / "esp"
    files: dict = dataclasses.field(default_factory=dict)  # more for the ESP's root: name -> path
    config_is_directory: bool = False  # \reveille.cfg is a directory, and not options
    goes_on: bool = False  # ev=end is not the end: a Shell, or somebody it starts, comes after it

    def most_cpus(self):
        """The most processors this machine can have: rules how long its firmware takes."""
        counts = [int(n) for n in re.findall(r"(?:^|cpus=)(\d+)", self.smp)]
        if not counts:
            raise Failure(f"SMP={self.smp}: begins with a number of processors, as in SMP=4 or SMP=6,sockets=2,cores=3")
        return max(counts)


def give_way_to_shell(esp):
    """Moves the image to \\reveille, so that firmware starts a Shell: ours, or its own where there is none."""
    (esp / "reveille").mkdir(exist_ok=True)
    (esp / "EFI/BOOT/BOOTX64.EFI").rename(esp / "reveille/BOOTX64.EFI")
    if _SHELL.exists():
        shutil.copyfile(_SHELL, esp / "EFI/BOOT/BOOTX64.EFI")


def make_disk(machine, home):
    """The disk image of a machine's ESP, in its home."""
    esp, disk = home / "esp", home / "esp.img"
    if not (machine.esp / "EFI/BOOT/BOOTX64.EFI").exists():
        raise Failure(f"{machine.esp}/EFI/BOOT/BOOTX64.EFI is not there: run make first")
    shutil.copytree(machine.esp, esp)
    for name, path in machine.files.items():
        shutil.copyfile(path, esp / name)
    if machine.options or machine.shell is None:
        (esp / "reveille.cfg").write_text(machine.options + "\n")
    if machine.config_is_directory:
        (esp / "reveille.cfg").unlink()
        (esp / "reveille.cfg").mkdir()
        (esp / "reveille.cfg/file.txt").write_text("rounds=7\n")
    if machine.shell is not None:
        give_way_to_shell(esp)
        (esp / "startup.nsh").write_text(machine.shell.replace("\n", "\r\n"))
    if machine.firmware:
        (esp / "reveille").mkdir(exist_ok=True)
        (esp / "EFI/BOOT/BOOTX64.EFI").rename(esp / "reveille/BOOTX64.EFI")
        shutil.copyfile(BUILD / "firmware/preload.EFI", esp / "EFI/BOOT/BOOTX64.EFI")
        (esp / "firmware.cfg").write_text(machine.firmware + "\n")
    image.make_image(esp, disk)
    return disk


def folder_for_sockets():
    """The folder of temporary files, or /tmp if its path is too long: a socket's has at most 107 bytes
    (unix(7)), and ours has a folder of 17 and a name of 3 below it."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len("/reveille-xxxxxxxx/qmp") <= 107 else "/tmp"


def clean_line(raw):
    """A line as bytes, without its line feed, as a list of readable lines without sequences."""
    parts = _CURSOR.sub(b"\n", raw.removesuffix(b"\r")).split(b"\n")
    lines = (_SEQUENCE.sub(b"", part).decode("ascii", "replace") for part in parts)
    return [line for line in lines if len(parts) == 1 or line.strip()]


class Guest:
    """A running machine. Use as a context manager, or call close(). A kind of machine has its own _start, and may
    have its own of what is marked as such below."""

    chooses_status = False  # what the guest does rules the emulator's exit status

    def __init__(self, machine):
        self.machine = machine
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="reveille-", dir=folder_for_sockets()))
        self.raw = bytearray()  # every byte of the serial port
        self.status = None  # the emulator's exit status, None while it runs and if we ended it
        self.timed_out = False
        try:
            self._start()
        except FileNotFoundError as e:
            shutil.rmtree(self.home)
            raise Failure(f"{e.filename} is not there") from None
        except BaseException:
            shutil.rmtree(self.home)
            raise
        self.deadline = time.monotonic() + machine.timeout_s()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _spawn(self, words, **more):
        """The emulator's process, which dies with ours."""
        self._stderr = open(self.home / "stderr", "w+b")
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=self._stderr, start_new_session=True,
                                preexec_fn=_die_with_parent, **more)

    # ---- a kind of machine's own ----

    def _start(self):
        """Sets self.process, and self.port, where what the serial port says is read."""
        raise NotImplementedError

    def _take(self, chunk):
        """What the serial port has said more."""
        self.raw += chunk

    def _heard(self, line):
        """A whole line has been said."""

    def _is_last(self, line):
        """What the machine was started for is done."""
        return line.startswith(b"REVEILLE ev=end ") and not self.machine.goes_on

    def _rests(self):
        """Nothing more comes from a machine that has written its last line."""
        return False

    def _grace_s(self):
        return GRACE_S

    # ---- watching ----

    def lines(self):
        """Yields readable lines as they come, until the machine is gone, has come to rest after its last
        record, or is out of time; self.status and self.timed_out tell which."""
        pending = bytearray()
        until = self.deadline
        while True:
            left = until - time.monotonic()
            ended = until != self.deadline
            if left > 0 and not select.select([self.port], [], [], min(left, LOOK_S) if ended else left)[0]:
                if ended and not self._rests():
                    continue
                left = 0
            if left <= 0:
                self.timed_out = not ended
                self._end()
                break
            chunk = os.read(self.port, 65536)
            if not chunk:
                break
            self._take(chunk)
            pending += chunk
            while (at := pending.find(b"\n")) >= 0:
                line = bytes(pending[:at])
                del pending[: at + 1]
                self._heard(line)
                if self._is_last(line):
                    until = min(self.deadline, time.monotonic() + self._grace_s())
                yield from clean_line(line)
        if pending:
            yield from clean_line(bytes(pending))
        self.wait()

    def wait_for(self, pattern, start=0):
        """The match of these bytes behind `start` of raw, once the serial port has said them: for screens that are drawn
        in place and have no lines. Failure if the machine goes or its time is over before."""
        while not (found := re.compile(pattern, re.S).search(self.raw, start)):
            left = max(0, self.deadline - time.monotonic())
            chunk = os.read(self.port, 65536) if select.select([self.port], [], [], left)[0] else b""
            if not chunk:
                raise Failure(f"never said: {pattern}; at last {bytes(self.raw[-600:])}")
            self._take(chunk)
        return found

    def wait(self):
        """Waits for the machine to go; ends it when its time is over."""
        if self.process.poll() is None:
            try:
                self.process.wait(max(0, self.deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.timed_out = True
                self._end()
        if self.process.returncode is not None and self.process.returncode >= 0:
            self.status = self.process.returncode

    def stderr(self):
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip()

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self):
        self._end()
        self._stderr.close()
        shutil.rmtree(self.home, ignore_errors=True)

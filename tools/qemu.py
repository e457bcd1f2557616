"""QEMU with OVMF: the one place that knows how such a machine is started, watched and ended.

Everything a machine can write to is its own: each boot has a private directory with copies of the
ESP and of the firmware's variables, so boots can run side by side and leave build/ as it was. A
machine ends by itself, by its time-out, or by close(); it is ended by its own process id, never by
name. The ESP is a disk image that mtools made: QEMU's own FAT of a directory dies of an assertion
when firmware writes to it.
Surprise: QEMU gets a session of its own, so that a Ctrl-C meant for GDB or pytest does not reach
it; in return the kernel ends it when we die, however that happens.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import image

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("B", "build")

# What the guest writes to isa-debug-exit comes out as value << 1 | 1.
EXIT_OK, EXIT_NOT_ALL, EXIT_REFUSED = 33, 35, 37

# A machine that has written `ev=end` and still runs was told to halt; so long it may take to power
# off, unless it is seen to rest.
GRACE_S = 10
# And one that starts anew when it resets, until firmware has started us again.
RESTART_S = 60

# OVMF draws by terminal sequences. Moving the cursor, as a carriage return does, or clearing starts a new
# line for us, all others go.
_CURSOR = re.compile(rb"\x1b\[(?:\d*;\d*H|\d*J)|\r")
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()].|c)")


# OVMF looks for a TPM here. Where no device is QEMU reads zeros, not ones as a bus does, which OVMF takes for
# a TPM that is not ready: it waits for it by the clock, 750 ms twice. A page of ones is none.
_TPM_PHYS = 0xFED40000
_ONES_SLOT = 0x1D  # on bus 0, where nothing else is

# A Shell for firmware that does not start its own: OVMF no longer does since 2026.
_SHELL = pathlib.Path("/usr/share/efi-shell-x64/shellx64.efi")
# The Shell's count-down, at its first second.
_SHELL_COUNTS = b" in 5 seconds to skip "

# Firmware that found nothing to start, or nothing more, and now waits for a key.
_GAVE_UP = b"BdsDxe: No bootable option or device was found."

# How often a machine that has written `ev=end` is looked at, how many times each, and after how many changes
# of its registers without a byte it is taken for one that waits for somebody: a guest that powers off is gone
# after one or two.
LOOK_S, LOOKS, MOVES = 0.1, 100, 300
_FLAGS, _INTERRUPTS = re.compile(r"FL=(\w+)"), 0x200  # RFLAGS.IF

# Since then QEMU emulates an x2APIC under TCG. An xAPIC's ID has 8 bits, and 255 means everybody.
_X2APIC_SINCE, _XAPIC_CPUS = 9, 255

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
    cpu: str = "max"
    mem: int = 512  # MiB
    machine: str = "q35"
    accel: str = "tcg,thread=single"
    ovmf: str = ""  # the code file; empty: the first pair of ovmf.txt that exists
    options: str = ""  # for \reveille.cfg
    shell: str | None = None  # startup.nsh of a Shell; the image is then \reveille\BOOTX64.EFI only
    firmware: str = ""  # words for tests/firmware/preload.c, which then starts before the image
    esp: pathlib.Path = BUILD / "esp"
    files: dict = dataclasses.field(default_factory=dict)  # more for the ESP's root: name -> path
    config_is_directory: bool = False  # \reveille.cfg is a directory, and not options
    stick: pathlib.Path | None = None  # a disk image on a USB stick, instead of the ESP
    stick_mode: str = "snapshot=on"  # what is written is lost; "readonly=on", "snapshot=off"
    variables: pathlib.Path | None = None  # firmware's, made if missing; kept, not a private copy
    serial: bool = True
    serial_place: tuple = ("-serial", "chardev:com1")  # another place for what COM1 would be
    vga: str = "std"  # as behind QEMU's -vga
    debug_exit: bool = True
    goes_on: bool = False  # ev=end is not the end: a Shell, or somebody it starts, comes after it
    reset_ends: bool = True  # a reset of the guest ends QEMU, instead of starting the guest anew
    hurry: bool = False  # firmware is spared two waits by the clock: see Qemu._hurry and Qemu._take
    extra: tuple = ()  # further words for QEMU's command line

    def most_cpus(self):
        """The most processors this machine can have: rules how long its firmware takes."""
        return max(int(n) for n in re.findall(r"(?:^|cpus=)(\d+)", self.smp))

    def timeout_s(self):
        """A bound, not an estimate: 20 times the 6 s of an idle host and, a processor, five times
        the 0.2 s that OVMF takes from 64 to 255 of them; 512 took three minutes."""
        return 120 + self.most_cpus()


def from_environment():
    """The Machine that the Makefile's variables describe."""
    e = os.environ
    d = Machine()
    return Machine(smp=e.get("SMP") or d.smp, cpu=e.get("CPU") or d.cpu,
                   mem=int(e.get("MEM") or d.mem), machine=e.get("MACHINE") or d.machine,
                   accel=e.get("ACCEL") or d.accel, ovmf=e.get("OVMF", ""),
                   options=e.get("OPTIONS", ""))


def for_a_user():
    """from_environment(), as far as the QEMU that is there can do it: where it emulates no x2APIC, with a CPU
    that has none, which a line says; Failure where one was asked for."""
    machine, version = from_environment(), qemu_version()
    if not machine.accel.startswith("tcg") or int(version.split(".")[0]) >= _X2APIC_SINCE:
        return machine
    lacks = f"QEMU {version} cannot emulate an x2APIC"
    if machine.most_cpus() > _XAPIC_CPUS:
        raise Failure(f"{lacks}, which SMP={machine.smp} needs: at most {_XAPIC_CPUS}, or QEMU {_X2APIC_SINCE}")
    if re.search(r",(\+x2apic|x2apic=(on|true|yes))\b", machine.cpu):
        raise Failure(f"{lacks}, which CPU={machine.cpu} asks for: leave it out, or take QEMU {_X2APIC_SINCE}")
    machine.cpu = os.environ.get("CPU") or "qemu64"
    print(f"{lacks}: CPU={machine.cpu}, xAPIC only", file=sys.stderr, flush=True)
    return machine


def qemu_version():
    """Such as "8.2.2"."""
    try:
        said = subprocess.run(["qemu-system-x86_64", "--version"], stdin=subprocess.DEVNULL, check=True,
                              capture_output=True, text=True, timeout=60).stdout
    except FileNotFoundError as e:
        raise Failure(f"{e.filename} is not there") from None
    found = re.search(r"version (\d+\.\d+(\.\d+)?)", said)
    if not found:
        raise Failure(f"QEMU does not tell its version: {said.strip()}")
    return found[1]


def find_ovmf(code=""):
    """(code, vars) of the firmware: `code` with the vars beside it, or the first pair in ovmf.txt.
    """
    lines = (ROOT / "tools/ovmf.txt").read_text().splitlines()
    pairs = [tuple(map(pathlib.Path, line.split())) for line in lines if not line.startswith("#")]
    if code:
        code = pathlib.Path(code)
        beside = code.with_name(code.name.replace("CODE", "VARS").replace("code", "vars"))
        beside = beside if beside != code and beside.exists() else None
        pairs = [pair for pair in pairs if pair[0] == code] or [(code, beside)]
    for code, variables in pairs:
        if code.exists() and (variables is None or variables.exists()):
            return code, variables
    raise Failure(f"no OVMF: {code} or its variables are not there (tools/setup run installs it)")


def folder_for_sockets():
    """The folder of temporary files, or /tmp if its path is too long: a socket's has at most 107 bytes
    (unix(7)), and ours has a folder of 17 and a name of 3 below it."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len("/reveille-xxxxxxxx/qmp") <= 107 else "/tmp"


def give_way_to_shell(esp):
    """Moves the image to \\reveille, so that firmware starts a Shell: ours, or its own where there is none."""
    (esp / "reveille").mkdir(exist_ok=True)
    (esp / "EFI/BOOT/BOOTX64.EFI").rename(esp / "reveille/BOOTX64.EFI")
    if _SHELL.exists():
        shutil.copyfile(_SHELL, esp / "EFI/BOOT/BOOTX64.EFI")


def option_value(path):
    """A path as a value in one of QEMU's lists of options, where a comma ends a value."""
    return str(path).replace(",", ",,")


def clean_line(raw):
    """A line as bytes, without its line feed, as a list of readable lines without sequences."""
    parts = _CURSOR.sub(b"\n", raw.removesuffix(b"\r")).split(b"\n")
    lines = (_SEQUENCE.sub(b"", part).decode("ascii", "replace") for part in parts)
    return [line for line in lines if len(parts) == 1 or line.strip()]


class Qemu:
    """A running machine. Use as a context manager, or call close()."""

    def __init__(self, machine, stopped=False, serial_file=None):
        self.machine = machine
        self.serial_file = serial_file  # COM1 goes there, and lines() yields nothing
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="reveille-", dir=folder_for_sockets()))
        self.qmp_path = self.home / "qmp"
        self.gdb_path = self.home / "gdb"
        self.raw = bytearray()  # every byte of the serial port
        self.status = None  # QEMU's exit status, None while it runs and if we ended it
        self.timed_out = False
        self._qmp = None
        self._searched = 0  # so far _take has looked through raw
        self._in_menu = self._asleep = False  # firmware's menu was started; it slept at the last look
        self._seen, self._moves = None, 0  # registers, and how often they have changed without a byte
        try:
            words = self._command_line(stopped)
            self._stderr = open(self.home / "stderr", "w+b")
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=self._stderr, start_new_session=True,
                                            preexec_fn=_die_with_parent)
        except FileNotFoundError as e:
            shutil.rmtree(self.home)
            raise Failure(f"{e.filename} is not there") from None
        except BaseException:
            shutil.rmtree(self.home)
            raise
        self.deadline = time.monotonic() + machine.timeout_s()
        if machine.hurry and not stopped:
            self._hurry()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the command line ----

    def _disk(self):
        m = self.machine
        if m.stick:
            return ["-drive", f"if=none,id=stick,format=raw,{m.stick_mode},"
                    f"file={option_value(m.stick)}",
                    "-device", "qemu-xhci", "-device", "usb-storage,id=stick,drive=stick"]
        esp = self.home / "esp"
        if not (m.esp / "EFI/BOOT/BOOTX64.EFI").exists():
            raise Failure(f"{m.esp}/EFI/BOOT/BOOTX64.EFI is not there: run make first")
        shutil.copytree(m.esp, esp)
        for name, path in m.files.items():
            shutil.copyfile(path, esp / name)
        if m.options or m.shell is None:
            (esp / "reveille.cfg").write_text(m.options + "\n")
        if m.config_is_directory:
            (esp / "reveille.cfg").unlink()
            (esp / "reveille.cfg").mkdir()
            (esp / "reveille.cfg/file.txt").write_text("rounds=7\n")
        if m.shell is not None:
            give_way_to_shell(esp)
            (esp / "startup.nsh").write_text(m.shell.replace("\n", "\r\n"))
        if m.firmware:
            (esp / "reveille").mkdir(exist_ok=True)
            (esp / "EFI/BOOT/BOOTX64.EFI").rename(esp / "reveille/BOOTX64.EFI")
            shutil.copyfile(BUILD / "firmware/preload.EFI", esp / "EFI/BOOT/BOOTX64.EFI")
            (esp / "firmware.cfg").write_text(m.firmware + "\n")
        image.make_image(esp, self.home / "esp.img")
        return ["-drive", f"format=raw,file={option_value(self.home)}/esp.img"]

    def _firmware(self):
        code, variables = find_ovmf(self.machine.ovmf)
        if variables is None:
            return ["-bios", str(code)]
        kept = self.machine.variables or self.home / "vars.fd"
        if not kept.exists():
            shutil.copyfile(variables, kept)
        return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={option_value(code)}",
                "-drive", f"if=pflash,unit=1,format=raw,file={option_value(kept)}"]

    def _command_line(self, stopped):
        m = self.machine
        words = ["qemu-system-x86_64", "-nodefaults", "-vga", m.vga, "-display", "none",
                 "-nic", "none", "-machine", m.machine, "-accel", m.accel,
                 "-cpu", m.cpu, "-smp", m.smp, "-m", str(m.mem), *self._firmware(), *self._disk(),
                 "-qmp", f"unix:{option_value(self.qmp_path)},server=on,wait=off"]
        # mux off and signals off: a byte is a byte, and Ctrl-C belongs to whoever started us.
        com1 = (f"file,id=com1,path={option_value(self.serial_file)}" if self.serial_file
                else "stdio,id=com1,signal=off,mux=off")
        words += ["-chardev", com1, *m.serial_place] if m.serial else ["-serial", "none"]
        if "smm=on" in m.machine:  # firmware's variables are written by its SMM alone
            words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        if m.reset_ends:
            words += ["-no-reboot"]
        if m.debug_exit:
            words += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        if m.hurry and not stopped:
            words += ["-S", *self._page_of_ones()]
        if stopped:
            words += ["-S", "-chardev",
                      f"socket,id=gdb0,path={option_value(self.gdb_path)},server=on,wait=off",
                      "-gdb", "chardev:gdb0"]
        return words + list(m.extra)

    def _page_of_ones(self):
        ones = self.home / "ones"
        ones.write_bytes(b"\xff" * 4096)
        return ["-object", f"memory-backend-file,id=ones,size=4K,mem-path={option_value(ones)},"
                "share=on,readonly=on,rom=on", "-device", f"ivshmem-plain,memdev=ones,addr={_ONES_SLOT:#x}"]

    def _hurry(self):
        """Puts the page of ones, which is the memory of a PCI device, where a TPM would be, before the first
        instruction; firmware has looked there by the time it gives that device another place."""
        def set_register(offset, value):  # of its configuration space, as a processor does by ports
            for port, what in ((0xCF8, 1 << 31 | _ONES_SLOT << 11 | offset), (0xCFC, value)):
                self.monitor(f"o /w {port:#x} {what:#x}")
        set_register(0x18, _TPM_PHYS)  # BAR 2, of 64 bits
        set_register(0x1C, 0)
        set_register(0x04, 2)  # the memory answers
        self.qmp("cont")

    # ---- watching ----

    def _take(self, chunk):
        """What the serial port has said more. A Shell that begins to count the seconds before it runs
        startup.nsh gets the key that it asks for."""
        self.raw += chunk
        asked = self.raw.find(_SHELL_COUNTS, self._searched)
        self._searched = max(0, len(self.raw) - len(_SHELL_COUNTS) + 1) if asked < 0 else asked + 1
        if asked >= 0 and self.machine.hurry:
            self.qmp("send-key", keys=[{"type": "qcode", "data": "ret"}])

    def _rests(self):
        """Nothing more comes from a machine that has written its last record: it has halted, or sleeps in
        firmware's menu, or goes round without a word, by its own progress and not by a time of the host's."""
        was_asleep, self._asleep = self._asleep, False
        try:
            processors = self.monitor("info registers -a").split("CPU#")[1:]
            asleep = bool(processors) and all("HLT=1" in text for text in processors)
            if asleep and (self._in_menu or not any(int(_FLAGS.search(text)[1], 16) & _INTERRUPTS
                                                    for text in processors)):
                self._asleep = True
                return was_asleep  # twice, since QEMU that is about to power off answers once more
            for _ in range(LOOKS if self.machine.reset_ends else 0):  # else it may be firmware, starting again
                now = self.monitor("info registers")
                self._moves += now != self._seen
                self._seen = now
        except (Failure, OSError, ValueError):
            return False  # it is gone
        return self._moves >= MOVES

    def lines(self):
        """Yields readable lines as they come, until the machine is gone, has halted after its last
        record, or is out of time; self.status and self.timed_out tell which."""
        pipe = self.process.stdout.fileno()
        pending = bytearray()
        until = self.deadline
        while True:
            left = until - time.monotonic()
            ended = until != self.deadline
            if left > 0 and not select.select([pipe], [], [], min(left, LOOK_S) if ended else left)[0]:
                if ended and not self._rests():
                    continue
                left = 0
            if left <= 0:
                self.timed_out = not ended
                self._end()
                break
            chunk = os.read(pipe, 65536)
            if not chunk:
                break
            self._take(chunk)
            self._moves = 0
            pending += chunk
            while (at := pending.find(b"\n")) >= 0:
                line = bytes(pending[:at])
                del pending[: at + 1]
                gave_up = _GAVE_UP in line
                self._in_menu = self._in_menu or gave_up or b'"UiApp"' in line
                if gave_up or line.startswith(b"REVEILLE ev=end ") and not self.machine.goes_on:
                    grace = GRACE_S if self.machine.reset_ends else RESTART_S
                    until = min(self.deadline, time.monotonic() + grace)
                yield from clean_line(line)
        if pending:
            yield from clean_line(bytes(pending))
        self.wait()

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
        if self._qmp:
            with contextlib.suppress(OSError):  # a last command may wait there for QEMU that is gone
                self._qmp.close()
        self.process.stdout.close()
        self._stderr.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- QMP ----

    def qmp(self, command, **arguments):
        """Runs one QMP command and returns its answer; Failure if QEMU refuses it."""
        if not self._qmp:
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(10)
            self._connect(link)
            self._qmp = link.makefile("rw")
            link.close()
            self._qmp.readline()
            self.qmp("qmp_capabilities")
        self._qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._qmp.flush()
        while line := self._qmp.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise Failure(f"QMP {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise Failure(f"QMP {command}: QEMU is gone")

    def monitor(self, line):
        """What QEMU's monitor for people answers to a line."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    def _connect(self, link):
        until = time.monotonic() + 10
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return link.connect(str(self.qmp_path))
            if time.monotonic() > until or self.process.poll() is not None:
                raise Failure(f"QEMU opened no QMP socket: {self.stderr()}")
            time.sleep(0.02)

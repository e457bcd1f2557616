"""QEMU with OVMF: the one place that knows how such a machine is started, watched and ended.

What it shares with machines of other emulators is in guest.py. Beside the ESP, firmware's variables are a private
copy too. The ESP is a disk image that mtools made: QEMU's own FAT of a directory dies of an assertion when firmware
writes to it.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import guest
from guest import BUILD, GRACE_S, ROOT, Failure, clean_line, folder_for_sockets  # noqa: F401

# What the guest writes to isa-debug-exit comes out as value << 1 | 1.
EXIT_OK, EXIT_NOT_ALL, EXIT_REFUSED = 33, 35, 37

# A machine that starts anew when it resets has so long, behind `ev=end`, until firmware has started us again.
RESTART_S = 60

# Whose OVMF is newer than that of Debian 12; and a bound for fetching it.
NEWER_SUITE, FETCH_S = "trixie", 300

# OVMF looks for a TPM here. Where no device is QEMU reads zeros, not ones as a bus does, which OVMF takes for
# a TPM that is not ready: it waits for it by the clock, 750 ms twice. A page of ones is none.
_TPM_PHYS = 0xFED40000
_ONES_SLOT = 0x1D  # on bus 0, where nothing else is

# The Shell's count-down, at its first second.
_SHELL_COUNTS = b" in 5 seconds to skip "

# Firmware that found nothing to start, or nothing more, and now waits for a key.
_GAVE_UP = b"BdsDxe: No bootable option or device was found."

# Since then QEMU emulates an x2APIC under TCG. An xAPIC's ID has 8 bits, and 255 means everybody.
_X2APIC_SINCE, _XAPIC_CPUS = 9, 255

# How many times a machine that has written `ev=end` is looked at, and after how many changes of its registers
# without a byte it is taken for one that waits for somebody: a guest that powers off is gone after one or two.
LOOKS, MOVES = 100, 300
_FLAGS, _INTERRUPTS = re.compile(r"FL=(\w+)"), 0x200  # RFLAGS.IF


@dataclasses.dataclass
class Machine(guest.Machine):
    """What to boot, and how. Every field has the default of a plain `make run`. `ovmf` is the code file; empty: the
    first pair of ovmf.txt that exists."""

    cpu: str = "max"
    machine: str = "q35"
    accel: str = "tcg,thread=single"
    stick: pathlib.Path | None = None  # a disk image on a USB stick, instead of the ESP
    stick_mode: str = "snapshot=on"  # what is written is lost; "readonly=on", "snapshot=off"
    variables: pathlib.Path | None = None  # firmware's, made if missing; kept, not a private copy
    serial: bool = True
    serial_place: tuple = ("-serial", "chardev:com1")  # another place for what COM1 would be
    vga: str = "std"  # as behind QEMU's -vga
    debug_exit: bool = True
    reset_ends: bool = True  # a reset of the guest ends QEMU, instead of starting the guest anew
    hurry: bool = False  # firmware is spared two waits by the clock: see Qemu._hurry and Qemu._take
    extra: tuple = ()  # further words for QEMU's command line

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


def ovmf_pairs():
    """[(code, variables)] of all places where systems keep OVMF."""
    lines = (ROOT / "tools/ovmf.txt").read_text().splitlines()
    return [tuple(map(pathlib.Path, line.split())) for line in lines if not line.startswith("#")]


def find_ovmf(code=""):
    """(code, vars) of the firmware: `code` with the vars beside it, or the first pair in ovmf.txt.
    """
    pairs = ovmf_pairs()
    if code:
        code = pathlib.Path(code)
        beside = code.with_name(code.name.replace("CODE", "VARS").replace("code", "vars"))
        beside = beside if beside != code and beside.exists() else None
        pairs = [pair for pair in pairs if pair[0] == code] or [(code, beside)]
    for code, variables in pairs:
        if code.exists() and (variables is None or variables.exists()):
            return code, variables
    raise Failure(f"no OVMF: {code} or its variables are not there (tools/setup run installs it)")


def newer_ovmf():
    """The code file of Debian 13's OVMF with SMM and the Memory Attribute protocol, its variables beside it; fetched
    from the machine's mirror once, whoever asks first; Failure says why it is not to be had."""
    folder = BUILD / f"firmware-{NEWER_SUITE}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "version").exists():
            fetched = subprocess.run([ROOT / "tools/setup", "firmware", NEWER_SUITE, folder], check=False,
                                     capture_output=True, text=True, timeout=FETCH_S)
            if fetched.returncode:
                raise Failure(fetched.stderr.strip().splitlines()[-1])
    return str(folder / "OVMF_CODE_4M.secboot.strictnx.fd")


def option_value(path):
    """A path as a value in one of QEMU's lists of options, where a comma ends a value."""
    return str(path).replace(",", ",,")


class Qemu(guest.Guest):
    """A running machine. Use as a context manager, or call close()."""

    chooses_status = True

    def __init__(self, machine, stopped=False, serial_file=None):
        self.stopped = stopped
        self.serial_file = serial_file  # COM1 goes there, and lines() yields nothing
        self._qmp = None
        self._searched = 0  # so far _take has looked through raw
        self._in_menu = self._asleep = False  # firmware's menu was started; it slept at the last look
        self._seen, self._moves = None, 0  # registers, and how often they have changed without a byte
        super().__init__(machine)
        if machine.hurry and not stopped:
            self._hurry()

    def _start(self):
        self.qmp_path = self.home / "qmp"
        self.gdb_path = self.home / "gdb"
        self.process = self._spawn(self._command_line(self.stopped), stdout=subprocess.PIPE)
        self.port = self.process.stdout.fileno()

    # ---- the command line ----

    def _disk(self):
        m = self.machine
        if m.stick:
            return ["-drive", f"if=none,id=stick,format=raw,{m.stick_mode},"
                    f"file={option_value(m.stick)}",
                    "-device", "qemu-xhci", "-device", "usb-storage,id=stick,drive=stick"]
        disk = guest.make_disk(m, self.home)
        return ["-drive", f"format=raw,file={option_value(disk)}"]

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
        super()._take(chunk)
        self._moves = 0
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

    def _heard(self, line):
        self._in_menu = self._in_menu or _GAVE_UP in line or b'"UiApp"' in line

    def _is_last(self, line):
        return super()._is_last(line) or _GAVE_UP in line

    def _grace_s(self):
        return GRACE_S if self.machine.reset_ends else RESTART_S

    def close(self):
        self._end()
        if self._qmp:
            with contextlib.suppress(OSError):  # a last command may wait there for QEMU that is gone
                self._qmp.close()
        self.process.stdout.close()
        super().close()

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

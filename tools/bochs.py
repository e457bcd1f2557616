"""Bochs with OVMF: the one place that knows how such a machine is started, watched and ended.

What it shares with machines of other emulators is in guest.py. Bochs is a second implementation of the
architecture: it wakes processors, raises faults and keeps registers by its own reading of the manuals. It runs
all processors by turns, and by its own count of instructions, so two runs of one image do the same.
Surprises: Bochs has no exit status that a guest could choose, so a run is judged by its ev=end record, and the
machine is ended soon after. OVMF finds no ACPI tables there, and does not come up again after a reset, so one is
the end, too (docs/bochs.md).
"""

import dataclasses
import os
import re
import subprocess

import guest
import image
import qemu

PROGRAM = "bochs"

# What `bochs --help cpu` lists and cannot run an x64 firmware.
NO_LONG_MODE = {"i386", "i486dx4", "pentium", "pentium_mmx", "amd_k6_2_chomper", "athlon_xp", "p2_klamath",
                "p3_katmai", "p4_willamette", "core_duo_t2400_yonah", "atom_n270"}

# OVMF itself touches no register that these lack, so there an access to one may be what it is on a processor: #GP.
# It does on Intel's, where it reads IA32_PLATFORM_ID (0x17), and on ryzen, which says that it has SEV, without
# MSR_SEV_STATUS (0xC0010131).
STRICT = {"athlon64_clawhammer", "athlon64_venice", "turion64_tyler", "phenom_8650_toliman", "zambezi",
          "trinity_apu"}

# Bochs's time is its count of instructions. So many in a second are what it runs in one on a host of today, so
# that its clocks are near the host's; and below 10 million Reveille refuses the TSC as a clock.
INSTRUCTIONS_PER_S = 50_000_000

# Of a machine, a package, a core. Bochs has 64 timers, of which each processor takes three and the devices, without
# the HPET, the rest.
MOST_CPUS, MOST_CORES, MOST_THREADS = 16, 8, 4

# Behind ev=end: the machine waits for somebody, or leaves, or is firmware's again.
LAST_LINES = (b"The end: ", b"Powering the machine off", b"Resetting the machine", b"BdsDxe: ",
              b"Press a key to return to firmware")
# Nothing comes of a run whose firmware does not survive its processor.
FIRMWARES_FAULT = b"!!!! X64 Exception Type"


@dataclasses.dataclass
class Machine(guest.Machine):
    """What to boot, and how. `ovmf` is the code file, or one with the variables before it; empty: the smallest
    of ovmf.txt, since Bochs before 3.0 takes no more than 2 MiB."""

    model: str = "corei7_haswell_4770"  # of `bochs --help cpu`

    def timeout_s(self):
        """A bound, not an estimate: 20 times the 14 s of an idle host, and 20 s for each processor, which
        takes its turns also while firmware lets it spin."""
        return 280 + 20 * self.most_cpus()


def from_environment():
    """The Machine that the Makefile's variables describe."""
    e, d = os.environ, Machine()
    return Machine(smp=e.get("SMP") or d.smp, mem=int(e.get("MEM") or d.mem), model=e.get("MODEL") or d.model,
                   ovmf=e.get("OVMF", ""), options=e.get("OPTIONS", ""))


def _about():
    """What Bochs says of itself: its version on its standard output, its processors on the other."""
    try:
        return subprocess.run([PROGRAM, "--help", "cpu"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=60, check=False)
    except FileNotFoundError:
        raise guest.Failure(f"{PROGRAM} is not there (tools/setup bochs installs it)") from None


def version():
    """(major, minor)"""
    return tuple(map(int, re.search(r"Bochs x86 Emulator (\d+)\.(\d+)", _about().stdout).groups()))


def models():
    """The names of the processors that this Bochs can be and that have long mode."""
    return models_in(_about().stderr)


def models_in(told):
    listed = re.search(r"Supported CPU models:\n\n((?:\w+\n)+)", told)
    if not listed:
        raise guest.Failure("`bochs --help cpu` lists no processors")
    return [name for name in listed[1].split() if name not in NO_LONG_MODE]


def check_model(model, known):
    if model not in known:
        why = "has no long mode" if model in NO_LONG_MODE else "is none of this Bochs's"
        raise guest.Failure(f"MODEL={model} {why}; it has {' '.join(known)}")


def count(smp):
    """Bochs's count of packages, cores and threads for a value of QEMU's -smp. A bare number is that of packages,
    as it is for Bochs itself: with cores and threads some of its models puzzle OVMF."""
    total, _, rest = smp.partition(",")
    words = dict(word.partition("=")[::2] for word in rest.split(",") if word)
    if not all(value.isdigit() for value in (total, *words.values())) or words.keys() - {
            "sockets", "cores", "threads"}:
        raise guest.Failure(f"SMP={smp}: Bochs takes a number, or number,sockets=,cores=,threads=")
    packages, cores, threads = (int(words.get(name, 1)) for name in ("sockets", "cores", "threads"))
    if not words:
        packages = int(total)
    if packages * cores * threads != int(total) or not int(total):
        raise guest.Failure(f"SMP={smp}: {packages} x {cores} x {threads} processors are not {total}")
    if int(total) > MOST_CPUS or cores > MOST_CORES or threads > MOST_THREADS:
        raise guest.Failure(f"SMP={smp}: Bochs has at most {MOST_CPUS} processors, {MOST_CORES} cores in a package "
                            f"and {MOST_THREADS} threads in a core")
    return f"{packages}:{cores}:{threads}"


def find_firmware(asked=""):
    """The files that make up firmware's image, in order."""
    if asked:
        pair = qemu.find_ovmf(asked)
    else:
        pairs = [pair for pair in qemu.ovmf_pairs() if all(file.exists() for file in pair)]
        if not pairs:
            raise guest.Failure("no OVMF is there (tools/setup bochs installs it)")
        pair = min(pairs, key=lambda files: sum(file.stat().st_size for file in files))
    code, variables = pair
    return [variables, code] if variables else [code]


# What a machine starts: BIOS and that of the screen, and what is booted, and from where.
OVMF_FROM_DISK = ("ovmf.fd", "nothing", "ata0-master: type=disk, mode=flat, path=esp.img\nboot: disk")


def configuration(machine, serial, start=OVMF_FROM_DISK, strict=None):
    """bochsrc: `serial` is the file that COM1 writes to; all others lie in the folder in which Bochs runs. `strict`: is
    a register that does not exist #GP? None: as far as OVMF survives it."""
    bios, screen, drive = start
    ignore = 0 if (machine.model in STRICT if strict is None else strict) else 1
    return f"""\
config_interface: textconfig
display_library: term
romimage: file={bios}
vgaromimage: file={screen}
cpu: model={machine.model}, count={count(machine.smp)}, ips={INSTRUCTIONS_PER_S}, quantum=16
cpu: reset_on_triple_fault=0, ignore_bad_msrs={ignore}
memory: guest={machine.mem}, host={machine.mem}
pci: enabled=1, chipset=i440fx, advopts=nohpet
{drive}
com1: enabled=1, mode=file, dev={serial}
clock: sync=none, time0={image.EPOCH_DEFAULT}
vga: realtime=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
log: log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


class Bochs(guest.Guest):
    """A running machine. Use as a context manager, or call close()."""

    def __init__(self, machine):
        self._told_end = self._over = False
        check_model(machine.model, models())
        super().__init__(machine)

    def _configuration(self, serial):
        guest.make_disk(self.machine, self.home)
        files = find_firmware(self.machine.ovmf)
        (self.home / "ovmf.fd").write_bytes(b"".join(file.read_bytes() for file in files))
        (self.home / "nothing").write_bytes(bytes(512))  # OVMF has no use for the BIOS that Bochs insists on
        return configuration(self.machine, serial)

    def _start(self):
        (self.home / "commands").write_text("c\n")
        self.port, ours = os.pipe()
        try:
            (self.home / "bochsrc").write_text(self._configuration(f"/dev/fd/{ours}"))
            self.process = self._spawn([PROGRAM, "-q", "-f", "bochsrc", "-rc", "commands"], cwd=self.home,
                                       stdout=subprocess.DEVNULL, pass_fds=[ours],
                                       env={**os.environ, "TERM": "vt100"})
        except BaseException:
            os.close(self.port)
            raise
        finally:
            os.close(ours)

    def _heard(self, line):
        self._told_end = self._told_end or line.startswith(b"REVEILLE ev=end ")
        self._over = self._over or FIRMWARES_FAULT in line or self._told_end and line.startswith(LAST_LINES)

    def _is_last(self, line):
        return super()._is_last(line) or FIRMWARES_FAULT in line

    def _rests(self):
        return self._over

    def log(self):
        """Lines of Bochs's own log, without their times."""
        path = self.home / "log"
        return [line[11:] for line in path.read_text(errors="replace").splitlines()] if path.exists() else []

    def complaints(self):
        """What Bochs calls an error or worse, as `[CPU1  ] RDMSR: Unknown register 0x8ff`."""
        return [line[1:] for line in self.log() if line[:1] in ("e", "p")]

    def stderr(self):
        """Why Bochs stopped by itself; nothing else of what it says is for people."""
        said = re.search(r"exiting with the following message:\n(.*)", super().stderr())
        return "\n".join([line for line in self.complaints() if ">>PANIC<<" in line] or (
            [said[1]] if said else []))

    def close(self):
        super().close()
        os.close(self.port)

"""make example: boots a kernel of examples/ by GRUB from a BIOS, in QEMU or Bochs, shows what it says, and judges.

Exit status 0 only if its last line says that all processors work. The machine comes from the variables KERNEL EMULATOR
SMP CPU MEM MACHINE ACCEL MODEL OPTIONS, which are the kernel's command line here.
Surprise: a CD is made for each boot, since the command line stands on it. That takes a fifth of a second.
"""

import os
import pathlib
import re
import subprocess
import sys

import bochs
import guest
import qemu
import run

# GRUB's modules for a BIOS, and of them what this CD needs: grub-mkrescue has GRUB look for those of partitions.
GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
MODULES = ["biosdisk", "echo", "iso9660", "multiboot2", "normal", *(path.stem for path in GRUB.glob("part_*.mod"))]
CONFIGURATION = """\
echo "This kernel has no screen: what it says goes to the serial port COM1."
multiboot2 /boot/kernel {}
boot
"""
SCREEN_ROMS = ("/usr/share/vgabios/vgabios-stdvga.bin", "/usr/share/vgabios/vgabios.bin",
               "/usr/share/bochs/VGABIOS-lgpl-latest.bin", "/usr/share/bochs/VGABIOS-lgpl-latest",
               "/usr/share/seabios/vgabios-stdvga.bin")
BIOS = "/usr/share/bochs/BIOS-bochs-latest"

THE_END = re.compile(r"The end: (?:(\d+) of (\d+) processors work|nobody was woken.*)")
ISO_S = 60


def kernel(name):
    """The kernel that make has built by this name."""
    path = guest.BUILD / "kernel" / name / "kernel"
    if not path.exists():
        raise guest.Failure(f"{path} is not there: make example builds it, with KERNEL=c or KERNEL=rust")
    return path


def make_iso(image, command_line, home):
    """A CD that starts this kernel at once."""
    if not re.fullmatch(r"[\w=,. -]*", command_line):
        raise guest.Failure(f"OPTIONS={command_line}: words of a kernel's command line, such as hang=2, and no signs of GRUB's")
    grub = home / "cd/boot/grub"
    grub.mkdir(parents=True)
    (grub.parent / "kernel").write_bytes(image.read_bytes())
    (grub / "grub.cfg").write_text(CONFIGURATION.format(command_line), encoding="ascii")
    try:
        made = subprocess.run(["grub-mkrescue", "-d", GRUB, f"--install-modules={' '.join(MODULES)}", "--locales=", "--fonts=",
                               "--themes=", "-o", home / "kernel.iso", home / "cd"], capture_output=True, text=True,
                              timeout=ISO_S, check=False)
    except FileNotFoundError as e:
        raise guest.Failure(f"{e.filename} is not there (tools/setup example installs it)") from None
    if made.returncode:
        raise guest.Failure(f"grub-mkrescue: {made.stderr.strip()}")
    return home / "kernel.iso"


class Qemu(qemu.Qemu):
    """A machine with a BIOS. `kernel` is the name of one, `options` its command line."""

    def __init__(self, machine, name="c"):
        self.kernel = kernel(name)
        super().__init__(machine)

    def _firmware(self):
        return []  # QEMU's own is a BIOS

    def _disk(self):
        iso = make_iso(self.kernel, self.machine.options, self.home)
        return ["-cdrom", qemu.option_value(iso)]

    def _is_last(self, line):
        return line.startswith(b"The end: ")


class Bochs(bochs.Bochs):
    """The same in Bochs, by its own BIOS, where a register that does not exist is #GP."""

    def __init__(self, machine, name="c"):
        self.kernel = kernel(name)
        super().__init__(machine)

    def _configuration(self, serial):
        make_iso(self.kernel, self.machine.options, self.home)
        screen = next(filter(os.path.exists, SCREEN_ROMS), None)
        if not screen or not os.path.exists(BIOS):
            raise guest.Failure("Bochs's BIOS is not there (tools/setup bochs installs it)")
        start = BIOS, screen, "ata1-master: type=cdrom, path=kernel.iso, status=inserted\nboot: cdrom"
        return bochs.configuration(self.machine, serial, start, strict=True)

    def _is_last(self, line):
        return line.startswith(b"The end: ")

    def _rests(self):
        return True  # after its last line


def verdict(lines, status, timed_out, chooses_status):
    """Why a boot was no success, or None."""
    ends = [end for end in map(THE_END.fullmatch, lines) if end]
    if not ends:
        return ("the machine was still running when its time was over" if timed_out else
                f"the machine is gone, and the kernel has not said how it went (exit status {status})")
    if ends[-1][1] is None or ends[-1][1] != ends[-1][2]:
        return ends[-1][0].removeprefix("The end: ")
    if chooses_status and status != qemu.EXIT_OK:
        return f"all processors work, yet QEMU's exit status is {status} and not {qemu.EXIT_OK}"
    return None


def main():
    machine, emulator = run.chosen()
    if machine.ovmf:
        raise guest.Failure("OVMF= says nothing to make example, which starts from a BIOS")
    emulator = Bochs if emulator is bochs.Bochs else Qemu
    with emulator(machine, os.environ.get("KERNEL") or "c") as vm:
        lines = []
        for line in vm.lines():
            print(line, flush=True)
            lines.append(line)
        why = verdict(lines, vm.status, vm.timed_out, vm.chooses_status)
        if why and vm.stderr():
            why = f"{why}; {vm.stderr().splitlines()[-1]}"
    if why:
        print("example:", why, file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (guest.Failure, ValueError) as e:
        sys.exit(f"example: {e}")
    except KeyboardInterrupt:
        sys.exit(130)

"""make stick: the disk image on a USB port of a machine without serial port and network, which resets
itself once; afterwards the result is read from it by mtools, as on another machine.

Exit status 0 only if the records on the stick say that all came. Surprise: nothing of what is shown
was heard from the running machine. The stick, build/stick.img, stays for a look.
"""

import shutil
import subprocess
import sys

import qemu
import records

PARTITION = 1 << 20  # bytes before the file system


def mtools(command, image, *files, **more):
    """Runs an mtools command on the volume of a disk image and returns what it wrote."""
    words = [*command.split(), "-i", f"{image.name}@@{PARTITION}", *files]
    return subprocess.run(words, check=True, capture_output=True, cwd=image.parent, **more).stdout


def read(image, name):
    """A file of \\reveille without the blanks behind it."""
    raw = mtools("mtype", image, f"::/reveille/{name}").decode("ascii")
    return raw.replace("\r", "").rstrip() + "\n"


def set_options(image, options):
    config = image.with_name("reveille.cfg")
    config.write_text(options + "\n")
    mtools("mcopy -o", image, str(config), "::/reveille.cfg")


def main():
    machine = qemu.for_a_user()
    machine.stick, machine.stick_mode = qemu.BUILD / "stick.img", "snapshot=off"
    machine.serial, machine.reset_ends = False, False
    shutil.copyfile(qemu.BUILD / "reveille.img", machine.stick)
    set_options(machine.stick, f"{machine.options} again=yes")
    print("booting from the stick, twice, without a serial port...", flush=True)
    with qemu.Qemu(machine) as vm:
        for _ in vm.lines():
            pass
        if vm.timed_out:
            raise qemu.Failure(f"the machine was still running when its time was over; {vm.stderr()}")
    for name in ("last.txt", "last.rec"):
        print(f"\n---- \\reveille\\{name}\n{read(machine.stick, name)}", end="")
    end = records.parse_records(read(machine.stick, "last.rec").splitlines())[-1:]
    return 0 if end and end[0]["ev"] == "end" and end[0].get("ok") == "1" else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (qemu.Failure, ValueError) as e:
        sys.exit(f"stick: {e}")
    except KeyboardInterrupt:
        sys.exit(130)

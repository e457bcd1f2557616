"""make memtest: memtest86+ 7.20 as Debian 13 has its source, once as it is and once with our engine, in QEMU; pictures
of both in build/memtest/. docs/memtest.md

None of its lines stands in our tree: tools/setup fetches it by apt, its own Makefile builds it, and the second one is
linked from the same objects, of which five functions have got another name and ours theirs (examples/memtest/glue.c).
Surprise: a screen is read by memtest86+'s own font, out of the source that was built, so that a text is found as a
person sees it, and no serial port has to be told of.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import qemu
from picture import Picture

PACKAGE, SUITE = "memtest86+", "trixie"
HOME = qemu.BUILD / "memtest"
FETCH_S, BUILD_S = 300, 300
LOOK_S = 1  # reading a picture takes the machine's processor from the guest

# In these objects of memtest86+ these functions become memtest_..., and ours or nobody's take their place; and these
# variables are no longer static.
RENAMED = {"system/smp.o": ("smp_init", "smp_start", "smp_my_cpu_num", "smp_send_nmi"),
           "app/display.o": ("display_start_run",)}
REACHABLE = {"system/smp.o": ("cpu_num_to_apic_id",), "app/main.o": ("start_barrier",)}
# It has a memmove, and is compiled so that it needs no other of the four.
WEAK = ("memmove",)

# The engine's as build/engine/README.md has them, with -fPIE: memtest86+ moves about in memory.
ENGINE_FLAGS = "-std=c11 -ffreestanding -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fPIE -O2".split()
# memtest86+'s own, and what the engine wants of what is compiled into its host.
GLUE_FLAGS = ("-std=gnu11 -Os -march=x86-64 -fpic -ffreestanding -fno-builtin -fno-stack-protector -mno-red-zone "
              "-mgeneral-regs-only -fcf-protection=none -DARCH_BITS=64 -Wall -Wextra -Wshadow -Wconversion").split()

GLUE, MEMORY = qemu.ROOT / "examples/memtest/glue.c", qemu.ROOT / "hw/lib/mem.c"
ENGINE = qemu.BUILD / "engine/reveille.c"

_COLUMNS, _ROWS, _WIDTH, _HEIGHT = 80, 25, 8, 16
_LINES = {0xB3: "|", 0xC1: "-", 0xC2: "-", 0xC4: "-"}  # characters of its frames

# From test 3 on all processors work at once; in those before one after the other, and all wait at a barrier behind each.
ALL_AT_WORK = r"Test #(?:[3-9]|10) .*Using: All Cores"
NEXT_TURN = r"Using: Core #(?!0\b)\d+"
STOCK_FAILS = r"Failed to start CPU core \d+\. Press any key to reboot\.\.\."


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=BUILD_S,
                          **more)
    if done.returncode:
        raise qemu.Failure(f"{words[0]} {words[1]}: {done.stderr.strip()}")
    return done.stdout


# ---- building ----

class NoSource(qemu.Failure):
    """The machine's mirror has no source of memtest86+."""


def source():
    """The folder of memtest86+'s source, which is fetched once."""
    folder = HOME / "source"
    if not (folder / "version").exists():
        shutil.rmtree(folder, ignore_errors=True)
        fetched = subprocess.run([qemu.ROOT / "tools/setup", "upstream", PACKAGE, SUITE, folder], check=False,
                                 capture_output=True, text=True, timeout=FETCH_S)
        if fetched.returncode:
            raise NoSource(fetched.stderr.strip().splitlines()[-1])
    return folder


def make(folder):
    run("make", f"-j{os.cpu_count()}", "-C", folder, "GIT=none", "CC=gcc", "memtest.efi")


def compile_c(out, file, *flags):
    """A warning is shown, and stops nobody: a newer compiler has more of them."""
    done = subprocess.run(["gcc", "-c", *map(str, flags), "-o", out, file], stderr=subprocess.PIPE, text=True, check=False,
                          timeout=BUILD_S)
    if done.returncode:
        raise qemu.Failure(f"{file.name} does not compile:\n{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr, flush=True)


def link_engine(stock, folder):
    """Has in `folder`, beside that of its objects, what its own Makefile then links."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stock, folder)
    theirs = [word for name in ("boot", "system", "lib", "tests", "app") for word in ("-isystem", folder.parent / name)]
    compile_c(folder / "reveille.o", ENGINE, *ENGINE_FLAGS)
    compile_c(folder / "mem.o", MEMORY, *ENGINE_FLAGS)
    compile_c(folder / "glue.o", GLUE, *GLUE_FLAGS, *theirs, f"-I{ENGINE.parent}")
    run("objcopy", *(f"--weaken-symbol={name}" for name in WEAK), folder / "mem.o")
    for name in RENAMED.keys() | REACHABLE.keys():
        words = [f"--redefine-sym={function}=memtest_{function}" for function in RENAMED.get(name, ())]
        words += [f"--globalize-symbol={variable}" for variable in REACHABLE.get(name, ())]
        run("objcopy", *words, folder / name)
    # One more object, inside of one that its Makefile knows.
    (folder / "system/smp.o").rename(folder / "smp.o")
    parts = [folder / f"{name}.o" for name in ("smp", "glue", "reveille", "mem")]
    run("ld", "-r", "-o", folder / "system/smp.o", *parts)


def is_old(made, *of):
    return not made.exists() or any(path.stat().st_mtime > made.stat().st_mtime for path in of)


def build():
    """(as it is, with the engine): folders with an EFI/BOOT/BOOTX64.EFI. NoSource says why there is none."""
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stock = source() / "build64"
        ours = stock.with_name("reveille64")
        made = [HOME / name / "EFI/BOOT/BOOTX64.EFI" for name in ("stock", "reveille")]
        inputs = (GLUE, MEMORY, ENGINE, ENGINE.with_suffix(".h"), pathlib.Path(__file__))
        if is_old(made[0]) or is_old(made[1], *inputs):
            make(stock)
            link_engine(stock, ours)
            make(ours)
            for folder, image in zip((stock, ours), made):
                image.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / "memtest.efi", image)
    return [image.parents[2] for image in made]


# ---- the screen ----

def glyphs():
    """{the 16 bytes of a glyph: its character} of memtest86+'s font."""
    numbers = re.findall(r"^\s*0x([0-9a-f]{2}),", (source() / "system/font.c").read_text("ascii", "replace"), re.M)
    font = bytes(int(number, 16) for number in numbers)
    known = {}
    for at in range(0, len(font), _HEIGHT):
        code = at // _HEIGHT
        known.setdefault(font[at:at + _HEIGHT], chr(code) if 32 <= code < 127 else _LINES.get(code, " "))
    return known


def rows_of(picture, known):
    """The 25 rows of a text screen in the middle of a picture, blanks at their ends left out; a cell that shows no
    character of the font is a question mark."""
    left, top = (picture.width - _COLUMNS * _WIDTH) // 2, (picture.height - _ROWS * _HEIGHT) // 2
    if left < 0 or top < 0:
        return []
    return ["".join(_character(picture, left + column * _WIDTH, top + row * _HEIGHT, known)
                    for column in range(_COLUMNS)).rstrip() for row in range(_ROWS)]


def _character(picture, x, y, known):
    cell = []
    for line in range(y, y + _HEIGHT):
        start = 3 * (line * picture.width + x)
        cell.append([picture.pixels[at:at + 3] for at in range(start, start + 3 * _WIDTH, 3)])
    background = cell[0][0]
    bits = bytes(sum((pixel != background) << 7 - i for i, pixel in enumerate(line)) for line in cell)
    inverse = bytes(255 - byte for byte in bits)
    return known.get(bits) or known.get(inverse) or "?"


def await_screen(vm, pattern, name):
    """The rows of the first screen on which `pattern` is found; the picture stays in build/memtest/NAME.png. Failure
    with what was seen last, if there is none in the machine's time."""
    known, dump, rows = glyphs(), vm.home / "screen.ppm", []
    while time.monotonic() < vm.deadline and vm.process.poll() is None:
        vm.qmp("screendump", filename=str(dump))
        picture = Picture.read(dump)
        rows = rows_of(picture, known)
        if re.search(pattern, "\n".join(rows), re.S):
            picture.png(HOME / f"{name}.png")
            return rows
        time.sleep(LOOK_S)
    raise qemu.Failure("\n".join([f"no screen with {pattern!r}, but {vm.stderr()}", *rows]))


def machine(esp, **more):
    """A machine that starts what is in this folder, and has no serial port for it. memtest86+ is there to look at
    memory: a little is enough."""
    chosen = qemu.from_environment()
    return qemu.Machine(**{"esp": esp, "mem": 256, "serial": False, "debug_exit": False, "accel": chosen.accel,
                           "ovmf": chosen.ovmf, **more})


# ---- the command ----

def main():
    chosen = qemu.for_a_user()
    words = {"smp": chosen.smp, "cpu": chosen.cpu, "machine": chosen.machine}
    if os.environ.get("MEM"):
        words["mem"] = chosen.mem
    at_work = ALL_AT_WORK if chosen.most_cpus() <= 16 else NEXT_TURN
    stock, ours = build()
    print(f"{(source() / 'version').read_text().strip()}, as {SUITE} has its source", flush=True)
    for name, esp, firmware, pattern, what in (
            ("stock-dead", stock, "madt=one-more", STOCK_FAILS, "as it is, with a processor that never comes"),
            ("all", ours, "", at_work, "with the engine"),
            ("dead", ours, "madt=one-more", at_work, "with the engine and a processor that never comes")):
        print(f"\n{what}: {os.path.relpath(HOME / name)}.png", flush=True)
        with qemu.Qemu(machine(esp, firmware=firmware, **words)) as vm:
            rows = await_screen(vm, pattern, name)
        print("\n".join(f"    {row}" for row in rows if row), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (qemu.Failure, ValueError) as e:
        sys.exit(f"memtest: {e}")
    except KeyboardInterrupt:
        sys.exit(130)

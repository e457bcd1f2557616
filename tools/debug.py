"""make debug: a run stopped where the wake begins, with GDB attached and all symbols in place.

Why it boots twice: the image is loaded anywhere and the trampoline's page is found at run time, yet
there is no moment between the records that tell both and the first STARTUP when a debugger could
step in without a race. OVMF puts both at the same place in an identical boot. So the first boot
runs to its end and tells where, and the second starts stopped, with a break point at smp_wake.
GDB_ARGS goes to GDB: `make debug GDB_ARGS="-batch -ex continue -ex bt"` for a script.

Surprise: the three stages get their break points only at smp_wake, since firmware starts its own
processors in low memory too, maybe in the same page; and as hardware break points, since a software
one would be copied away, or found by the trampoline's own read-back.
"""

import os
import re
import shlex
import signal
import subprocess
import sys

import qemu
import records

STAGES = ("x86_start16_begin", "lcpu_start32", "lcpu_start64")
WAKE, AP_ENTRY = "smp_wake", "ap_main"

# In real mode GDB takes IP for an address. QEMU stops at the linear one, and again and again, since
# GDB does not know it for its break point and never steps over it: so the stage's break point goes
# off there.
SCRIPT = """\
set pagination off
set confirm off
set breakpoint pending off
set architecture i386:x86-64
file {image} -o {base:#x}
add-symbol-file {trampoline} -o {page:#x}
target remote {socket}
thbreak *{wake:#x}
continue
define hook-stop
  if $_thread != 0
    if ($cr0 & 1) == 0
      printf "{stage0}: real mode, CS:IP %#x:%#x, linear %#x\\n", $cs, $rip, ($cs << 4) + $rip
      disable $stage0
    end
  end
end
hbreak *{stages[0]:#x}
set $stage0 = $bpnum
hbreak *{stages[1]:#x}
hbreak *{stages[2]:#x}
hbreak *{ap_entry:#x}
echo \\nStopped at {wake_name}, before the first message. The next stops are the three stages\\n
echo and the AP's entry; "continue" goes there. "info threads" lists the processors.\\n
"""


def symbols(path):
    """{name: value} of an ELF file."""
    listing = subprocess.run(["nm", str(path)], check=True, capture_output=True, text=True).stdout
    return {words[-1]: int(words[0], 16) for line in listing.splitlines()
            if len(words := line.split()) == 3}


def learn_places(machine):
    """(base of the image, page of the trampoline), from a boot to the end."""
    base = page = None
    with qemu.Qemu(machine) as vm:
        for line in vm.lines():
            record = records.parse_record(line) or {}
            if record.get("ev") == "image":
                base = records.number(record["base"])
            if record.get("ev") == "trampoline":
                page = records.number(record["page"])
    if base is None or page is None:
        raise qemu.Failure("a plain run ends before its ev=trampoline record: see make run")
    return base, page


def gdb_word(path):
    """A path as one word of a GDB command."""
    return re.sub(r"([\s\\'\"])", r"\\\1", str(path))


def write_script(vm, base, page):
    places = qemu.BUILD / "BOOTX64.debug", qemu.BUILD / "trampoline/ap_start.elf"
    image, stage = map(symbols, places)
    script = vm.home / "start.gdb"
    script.write_text(SCRIPT.format(
        image=gdb_word(places[0]), trampoline=gdb_word(places[1]), base=base, page=page, socket=vm.gdb_path, wake=base + image[WAKE],
        stages=[page + stage[name] for name in STAGES], stage0=STAGES[0],
        ap_entry=base + image[AP_ENTRY], wake_name=WAKE))
    return script


def main():
    machine = qemu.for_a_user()
    print("debug: a first boot, to learn where the image and the trampoline lie", flush=True)
    base, page = learn_places(machine)
    print(f"debug: image at {base:#x}, trampoline at {page:#x}; now with GDB", flush=True)
    with qemu.Qemu(machine, stopped=True, serial_file=qemu.BUILD / "debug.log") as vm:
        vm.qmp("query-status")  # QEMU listens for GDB by now
        print(f"debug: the serial port goes to {qemu.BUILD / 'debug.log'}", flush=True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is GDB's
        gdb = ["gdb", "-q", "-nx", "-x", str(write_script(vm, base, page))]
        arguments = shlex.split(os.environ.get("GDB_ARGS", ""))
        if "-batch" in arguments:
            gdb.insert(1, "-batch")
            arguments.remove("-batch")
        return subprocess.run(gdb + arguments, preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL)).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (qemu.Failure, ValueError) as e:
        sys.exit(f"debug: {e}")
    except FileNotFoundError as e:
        sys.exit(f"debug: {e.filename} is not there")
    except KeyError as e:
        sys.exit(f"debug: no symbol {e}")

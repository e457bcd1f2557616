"""Debian's own Linux kernel, for machines that boot it after us or beside us.

`kernel(flavour)` gives a vmlinuz, fetched by tools/setup the first time and kept under
build/linux/; flavour is `release` or `backports`. Nothing is installed.
Surprise: no root file system. The kernel brings up its processors, finds no root, panics and
resets, which is how a boot of it ends.
"""

import fcntl
import re
import subprocess
import sys

import qemu

FLAVOURS = ("release", "backports")
FETCH_S = 600

# lpj: without it each processor's delay calibration rules the figure; no_timer_check: a loaded host
# makes the timer's test fail; the rest ends the boot.
COMMAND_LINE = ("console=ttyS0,115200 printk.time=1 lpj=4000000 no_timer_check panic=-1 "
                "ignore_loglevel")

_BRINGING = re.compile(r"\[\s*(\d+\.\d+)\] smp: Bringing up secondary CPUs")
_BROUGHT = re.compile(r"\[\s*(\d+\.\d+)\] smp: Brought up (\d+) nodes?, (\d+) CPUs?")


def kernel(flavour="release"):
    """The path of a kernel of Debian's."""
    if flavour not in FLAVOURS:
        raise qemu.Failure(f"no kernel {flavour}: it is one of {' '.join(FLAVOURS)}")
    home = qemu.ROOT / "build/linux" / flavour
    home.mkdir(parents=True, exist_ok=True)
    with open(home / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "version").exists():
            done = subprocess.run([qemu.ROOT / "tools/setup", "kernel", flavour, home],
                                  timeout=FETCH_S, capture_output=True, text=True, check=False)
            if done.returncode:
                raise qemu.Failure(f"no kernel: {done.stderr.strip()}")
    return home / "vmlinuz"


def version(flavour="release"):
    """As `package version`."""
    return (kernel(flavour).parent / "version").read_text().strip()


def brought_up(lines):
    """(CPUs, microseconds from "Bringing up" to "Brought up") of a kernel's log; None without."""
    start = None
    for line in lines:
        if match := _BRINGING.search(line):
            start = float(match[1])
        if (match := _BROUGHT.search(line)) and start is not None:
            return int(match[3]), round((float(match[1]) - start) * 1e6)
    return None


if __name__ == "__main__":
    try:
        print(kernel(*sys.argv[1:]))
    except qemu.Failure as e:
        sys.exit(f"linux: {e}")

"""make bench: wakes and calls side by side on one kind of machine, and the table and plots of them.

Every size is booted RUNS times, each time as: Reveille with its defaults (null trampolines,
firmware's StartupAllAPs and every strategy in one run), Reveille with the manual's delays, each null
trampoline and each strategy in a boot of its own, whose first wake is the cold one, a whole run
with all its lines, the exercises for processors that are awake, and Debian's own kernels. Variables: SIZES="4 64", RUNS=5, BENCH=long (288 and
512, too) or calls (the defaults, calls and sums alone: a few minutes), BASE=COMMIT (the defaults by that commit's image, turn by turn), RESUME=1 (boots that are
kept in runs.json are not repeated; only of the same image, base and machine).
Surprise: one boot at a time, on purpose. Two would take each other's processor. Nor is a boot bound to
one processor of the host: Linux, which prints as it brings up, would take 1.6 times as long.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import time

import bench_report
import linux
import qemu
import records

HOME = qemu.ROOT / "build/bench"
CPU = "qemu64,+x2apic"  # family 15: init_us=auto is 10 us. `max` says family 6 of AMD: 10 ms
CALLED_CPU = CPU + ",+monitor"  # for MWAIT
# A sum by two processors that run at the same time, each on a core of the host.
THREADS, ADDING = "tcg,thread=multi", 2
STRATEGIES = ("parallel", "broadcast", "one-by-one")
ROUNDS = 31  # of the defaults: one is cold, and a burst of the host's spoils a few of the others
MANUAL_ROUNDS = 6  # one by one and with the manual's delays, one takes 2.6 s with 255 processors
SIZES, LONG_SIZES = (2, 4, 16, 64, 255), (288, 512)
LINUX_MOST = 64  # 6.1 did not bring up 255 within 22 minutes of TCG
# The whole run's wall clock: without what QEMU adds by itself, and with it (see bench_report). The host
# clears the guest's memory before, not at the first look for the last run's journal.
PREPARED = {"extra": ("-mem-prealloc",)}
PLAIN = {"plain": {"vga": "none", "serial_place": ("-device", "pci-serial,chardev=com1"), **PREPARED},
         "plain-com1": PREPARED}
ICOUNT_SIZES = (4, 16)
ICOUNT = ("-icount", "shift=3,sleep=off", "-rtc", "clock=vm")


@dataclasses.dataclass
class Patient(qemu.Machine):
    """A machine whose guest may be an operating system."""

    def timeout_s(self):
        return 300 + 4 * self.most_cpus()


def strategies_of(run):
    """Another one first in each run, since only the first of a boot is cold."""
    first = run % len(STRATEGIES)
    return STRATEGIES[first:] + STRATEGIES[:first]


def memory_mib(size):
    """The same for everybody; Linux needs the most."""
    return 1024 + 8 * size


def reveille(size, options, esp=None, **more):
    """One boot; its records. One that does not end counts as a run in which nobody came."""
    machine = Patient(smp=str(size), mem=memory_mib(size), options=f"log=quiet {options}",
                      esp=esp or HOME / "esp", **({"cpu": CPU} | more))
    with qemu.Qemu(machine) as vm:
        lines = list(vm.lines())
    told = records.parse_records(lines)
    if not told or told[-1]["ev"] != "end":
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        place = HOME / f"not-ended-{size}-{time.strftime('%H%M%S')}.log"
        place.write_bytes(vm.raw)
        how = "was out of time" if vm.timed_out else f"was gone (QEMU exit status {vm.status})"
        print(f"bench: with {size} processors and {options} the machine {how} before ev=end; its last line: "
              f"{last or 'none'}; all of them: {place.relative_to(qemu.ROOT)}", file=sys.stderr)
        return [{"ev": "end", "ok": "0", "want": str(size - 1), "up": "0", "failed": str(size - 1), "last": last}]
    return told


def linux_us(size, flavour):
    """Microseconds from "Bringing up" to "Brought up" of a kernel, None if it did not get there."""
    script = "fs0:\n\\vmlinuz.efi " + linux.COMMAND_LINE + "\n"
    machine = Patient(smp=str(size), cpu=CPU, mem=memory_mib(size), shell=script, debug_exit=False,
                      goes_on=True, files={"vmlinuz.efi": linux.kernel(flavour)})
    lines = []
    with qemu.Qemu(machine) as vm:
        for line in vm.lines():
            lines.append(line)
            if "smp: Brought up" in line:
                break
    found = linux.brought_up(lines)
    return {"cpus": found[0], "us": found[1]} if found else None


class Runs:
    """What was measured, kept after each boot, and of what it was measured."""

    def __init__(self, resume, subject):
        self.path = HOME / "runs.json"
        self.subject = subject
        self.kept = {}
        if resume and self.path.exists():
            old = json.loads(self.path.read_text())
            if old.get("subject") != subject:
                raise ValueError(f"{self.path.relative_to(qemu.ROOT)} was measured of {old.get('subject')}, this is "
                                 f"{subject}: leave RESUME out to begin anew")
            self.kept = old["runs"]

    def measure(self, key, boot, *arguments, **more):
        if key in self.kept:
            return
        start = time.monotonic()
        self.kept[key] = boot(*arguments, **more)
        self.path.write_text(json.dumps({"subject": self.subject, "runs": self.kept}))
        print(f"bench: {key}: {time.monotonic() - start:.0f} s", flush=True)


def defaults(run):
    order = strategies_of(run)
    return f"bench=null compare=firmware rounds={ROUNDS} sweep=wake:{','.join(order)}"


def manual(run):
    return (f"init_us=10000 sipi_us=200 sipis=2 rounds={MANUAL_ROUNDS} "
            f"sweep=wake:{','.join(strategies_of(run))}")


def git(*words):
    return subprocess.run(["git", "-C", str(qemu.ROOT), *words], check=True, capture_output=True,
                          text=True).stdout.strip()


def build_base(commit):
    """The ESP of another commit, built in a work tree of its own."""
    tree = HOME / "base"
    if tree.exists():
        git("worktree", "remove", "--force", str(tree))
    git("worktree", "prune")  # make clean may have taken the tree, and git not know it
    git("worktree", "add", "--detach", str(tree), commit)
    subprocess.run(["make", "-C", str(tree), "B=build", "all"], check=True,
                   stdout=subprocess.DEVNULL)
    return tree / "build/esp"


def sizes_of_image():
    """{name: bytes} of what has a limit, from the build."""
    told = subprocess.run([sys.executable, qemu.ROOT / "tools/check_trampoline.py",
                           qemu.BUILD / "trampoline/ap_start.o"], check=True, capture_output=True,
                          text=True).stdout
    return {"image": (qemu.BUILD / "BOOTX64.EFI").stat().st_size,
            "trampoline": int(re.search(r"code=(\d+)", told)[1])}


def host_ms():
    """Milliseconds of this machine in which 4,096 fake processors are planned, woken and accounted for."""
    start = time.monotonic()
    told = subprocess.run([qemu.BUILD / "host/unit/smp/test_scale", "test_nearly_all_come_by_parallel"], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    ms = round((time.monotonic() - start) * 1000)
    if "PASSED  ] 1 test" not in told:
        raise ValueError(f"test_scale has no such test: {told.strip()}")
    return ms


def measure_calls(runs, size, run):
    runs.measure(f"{size}/{run}/calls", reveille, size, "run=all compare=firmware", cpu=CALLED_CPU)


def measure_size(runs, size, count, base):
    for run in range(count):
        for kind, machine in PLAIN.items():
            runs.measure(f"{size}/{run}/{kind}", reveille, size, "log=normal", **machine)
        runs.measure(f"{size}/{run}/cold-null-real", reveille, size, "bench=null")
        runs.measure(f"{size}/{run}/cold-null-long", reveille, size, "bench=null-long")
        for strategy in STRATEGIES:
            runs.measure(f"{size}/{run}/cold-{strategy}", reveille, size, f"wake={strategy}")
        runs.measure(f"{size}/{run}/defaults", reveille, size, defaults(run))
        if base:
            runs.measure(f"{size}/{run}/base", reveille, size, defaults(run), esp=base)
        runs.measure(f"{size}/{run}/manual", reveille, size, manual(run))
        measure_calls(runs, size, run)
        if size <= LINUX_MOST:
            for flavour in linux.FLAVOURS:
                runs.measure(f"{size}/{run}/linux-{flavour}", linux_us, size, flavour)


def host(flavours):
    """The machine, without its name, and these kernels."""
    model = next((line.split(":", 1)[1].strip()
                  for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True,
                             check=True).stdout.splitlines()[0]
    return {"processor": model, "cores": os.cpu_count(), "qemu": version,
            "date": time.strftime("%Y-%m-%d"), "cpu": CPU, "linux": linux.COMMAND_LINE,
            "linux_most": LINUX_MOST,
            "kernels": {flavour: linux.version(flavour) for flavour in flavours}}


def measure_all(runs, sizes, count, base):
    runs.measure("0/0/sizes", sizes_of_image)
    for run in range(count):
        runs.measure(f"4096/{run}/host", host_ms)
    for size in sizes:
        measure_size(runs, size, count, base)
    for size in (n for n in ICOUNT_SIZES if n in sizes):
        for run in range(2):
            runs.measure(f"{size}/{run}/icount", reveille, size, "wake=broadcast", extra=ICOUNT)


def measure_the_awake(runs, sizes, count):
    for run in range(count):
        for size in sizes:
            runs.measure(f"{size}/{run}/defaults", reveille, size, defaults(run))
            measure_calls(runs, size, run)


def main():
    e = os.environ
    calls_alone = e.get("BENCH") == "calls"
    sizes = [int(n) for n in e.get("SIZES", "").split()] or list(SIZES)
    if e.get("BENCH") == "long":
        sizes += [n for n in LONG_SIZES if n not in sizes]
    count = int(e.get("RUNS") or 5)
    HOME.mkdir(parents=True, exist_ok=True)
    # The image is the one of now, whatever is built meanwhile.
    shutil.rmtree(HOME / "esp", ignore_errors=True)
    shutil.copytree(qemu.BUILD / "esp", HOME / "esp")
    image = (HOME / "esp/EFI/BOOT/BOOTX64.EFI").read_bytes()
    flavours = () if calls_alone else linux.FLAVOURS
    subject = {"commit": git("describe", "--always", "--dirty"), "image": hashlib.sha256(image).hexdigest(),
               "base": git("rev-parse", e["BASE"]) if e.get("BASE") else None, "host": host(flavours)}
    subject["host"].pop("date")
    runs = Runs(e.get("RESUME") == "1", subject)
    if calls_alone:
        measure_the_awake(runs, sizes, count)
    else:
        measure_all(runs, sizes, count, build_base(e["BASE"]) if e.get("BASE") else None)
    for run in range(count):
        runs.measure(f"{ADDING}/{run}/sum", reveille, ADDING, "run=sum", cpu=CALLED_CPU, accel=THREADS)
    if calls_alone:
        report = bench_report.markdown_of_calls(runs.kept, subject["commit"], host(flavours))
    else:
        report = bench_report.markdown(runs.kept, subject["commit"], host(flavours), e.get("BASE"))
        bench_report.plot(runs.kept, HOME)
    (HOME / "bench.md").write_text(report)
    print(report)
    print(f"bench: {HOME.relative_to(qemu.ROOT)}/bench.md, runs.json" + ("" if calls_alone else ", warm.svg, cold.svg"))


if __name__ == "__main__":
    try:
        main()
    except (qemu.Failure, ValueError, subprocess.CalledProcessError) as e:
        sys.exit(f"bench: {e}")
    except KeyboardInterrupt:
        sys.exit(130)

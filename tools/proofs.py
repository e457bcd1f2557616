"""make proofs: boots the image on every firmware and emulator, in every way of running, and writes the table of
docs/proofs.md: a date and a figure in each cell.

ONLY="bochs- uboot" runs the rows whose names contain one of these words; ONLY=mutants, coverage or distributions
the other witnesses, whose figure is the last line that their command prints. What is not run keeps its cell, and so
the date on which it was seen. Exit status 1 if a cell is not as it should be; such a cell says FAILED. Surprise: a
refusal may be right (U-Boot does not say how its processors wait), so a row names the ones it expects.
"""

import concurrent.futures
import dataclasses
import datetime
import os
import re
import subprocess
import sys

import bochs
import qemu
import records

PAGE = qemu.ROOT / "docs/proofs.md"
UBOOT = "/usr/lib/u-boot/qemu-x86_64/u-boot.rom"
NEWER = "newer"  # in place of a file: qemu.newer_ovmf()'s
NO_RESET = "OVMF does not come up again after a reset in Bochs"
BOOTS_AT_A_TIME = 2  # two-core machines; a boot under one-thread TCG fills a core
HOUR = 3600


class Wrong(Exception):
    """A run was not what it should be; the message is the cell's."""


@dataclasses.dataclass
class Row:
    name: str
    title: str
    machine: dict
    cpus: int = 4
    refuses: dict = dataclasses.field(default_factory=dict)  # way: what= of the ev=error that is right there
    lacks: dict = dataclasses.field(default_factory=dict)  # way: why it cannot be tried there

    def boot(self, **more):
        emulator, machine = (bochs.Bochs, bochs.Machine) if "model" in self.machine else (qemu.Qemu, qemu.Machine)
        words = {"smp": str(self.cpus)} | self.machine | more
        if words.get("ovmf") == NEWER:
            words["ovmf"] = qemu.newer_ovmf()
        return emulator(machine(**words))


ROWS = [
    Row("q35", "QEMU q35, OVMF, x2APIC", {}),
    Row("pc", "QEMU pc, OVMF, xAPIC", {"machine": "pc", "cpu": "qemu64"}),
    Row("threads", "QEMU q35, OVMF, a host thread for each of 16", {"accel": "tcg,thread=multi"}, cpus=16),
    Row("many", "QEMU q35, OVMF, 255 processors", {"cpu": "qemu64,+x2apic"}, cpus=255),
    Row("no-acpi", "QEMU q35, OVMF, no ACPI", {"machine": "q35,acpi=off"}),
    Row("uboot", "QEMU pc, U-Boot", {"machine": "pc", "ovmf": UBOOT},
        refuses={"exit=no": "parking", "wake=firmware": "mp-services"}),
    Row("smm", "QEMU q35, OVMF of Debian 13 with SMM", {"machine": "q35,smm=on", "ovmf": NEWER}),
    Row("strict", "the same, memory strictly written or executed",
        {"machine": "q35,smm=on", "ovmf": NEWER, "firmware": "strict"}),
    *(Row(f"bochs-{model}", f"Bochs {model}, OVMF", {"model": model}, cpus=cpus, lacks={"harvest": NO_RESET})
      for model, cpus in (("corei7_haswell_4770", 4), ("ryzen", 8), ("turion64_tyler", 4))),
]


# ---- the ways to run: options, and what the records come to ----

def only(found, event):
    if len(found := [r for r in found if r["ev"] == event]) != 1:
        raise Wrong(f"{len(found)} records ev={event}")
    return found[0]


def woken(row, found, rounds):
    """How many of all wakes' processors greeted, and the median of when the last one did."""
    wakes = [r for r in found if r["ev"] == "wake"]
    up, want = (sum(int(r[key]) for r in wakes) for key in ("up", "want"))
    if only(found, "end")["ok"] != "1" or up != want or want != rounds * (row.cpus - 1):
        raise Wrong(f"{up} of {rounds * (row.cpus - 1)}")
    last_us = sorted(int(r["last_us"]) for r in wakes)[len(wakes) // 2]
    return f"{up} of {want}, {last_us / 1000:.1f} ms"


FAULTS = {1: ("hang-real", "stopped-in-real"), 2: ("ud-long", "fault"), 3: ("wrong-id", "wrong-id")}


def accused(row, found, _):
    causes = {int(r["cpu"]): r.get("cause") for r in found if r["ev"] == "cpu" and r["state"] != "bsp"}
    right = {cpu: FAULTS.get(cpu, (None, None))[1] for cpu in range(1, row.cpus)}
    if causes != right:
        raise Wrong(f"causes {causes}")
    return f"{len(FAULTS)} of {len(FAULTS)} causes, {row.cpus - 1 - len(FAULTS)} others greeted"


def given_back(row, found, rounds):
    woken(row, found, rounds)
    giveback = only(found, "giveback")
    if giveback["aps"] != str(row.cpus - 1) or giveback["back"] != giveback["aps"]:
        raise Wrong(f"{giveback['back']} of {row.cpus - 1} back")
    return f"{giveback['back']} of {giveback['aps']} back"


def harvested(row, found, _):
    harvest = only(found, "harvest")
    if (harvest["complete"], harvest["saved"]) != ("1", "1"):
        raise Wrong("the result was not saved whole")
    return f"{harvest['lines']} lines"


@dataclasses.dataclass
class Way:
    name: str
    title: str
    options: str
    figure: object
    rounds: int = 1
    until: str = ""  # the machine is ended after this record
    machine: dict = dataclasses.field(default_factory=dict)


INJECT = "inject=" + ",".join(f"{fault}:{cpu}" for cpu, (fault, _) in FAULTS.items())
WAYS = [
    Way("parallel", "parallel, 3 rounds", "rounds=3", woken, 3),
    Way("one-by-one", "the manual's loop", "wake=one-by-one init_us=10000 sipi_us=200 sipis=2", woken),
    Way("broadcast", "broadcast, 3 rounds", "wake=broadcast rounds=3", woken, 3),
    Way("faults", "three faults", INJECT, accused),
    Way("exit=no", "`exit=no`", "exit=no end=debug-exit", given_back),
    Way("wake=firmware", "`wake=firmware exit=no`", "wake=firmware exit=no end=debug-exit", given_back),
    Way("harvest", "`end=reset`, the next start", "end=reset", harvested, until="harvest",
        machine={"reset_ends": False, "goes_on": True}),
]

# name: (title, command, how its last line has to look)
WITNESSES = {
    "loaders": ("README's lines, without our tools: plain QEMU, GRUB, systemd-boot, rEFInd, PXE, iPXE",
                "make boot-test T=test_loaders", r"=+ \d+ passed(?:, \d+ (?:deselected|skipped))* in .*"),
    "mutants": ("the product broken on purpose", "make mutants", r"mutants: (\d+) of \1 noticed"),
    "coverage": ("lines of the parsers that the fuzzers reach", "make coverage", r".+"),
    "distributions": ("all tests on other releases", "make distributions TEST=yes", r".+, 0 failed.*"),
}


# ---- running ----

def run_cell(row, way):
    """The cell of a row and a way, and whether it is as it should be."""
    if way.name in row.lacks:
        return row.lacks[way.name], True
    try:
        with row.boot(options=way.options, **way.machine) as vm:
            found = []
            for record in filter(None, map(records.parse_record, vm.lines())):
                found.append(record)
                if record["ev"] == way.until:
                    break
            if vm.timed_out:
                raise Wrong("out of time")
        errors = [r["what"] for r in found if r["ev"] == "error"]
        if way.name in row.refuses:
            if errors != [row.refuses[way.name]]:
                raise Wrong(f"not refused: {errors}")
            return f"{today()}: refused, {errors[0]}", True
        if errors:
            raise Wrong(f"refused, {errors[0]}")
        return f"{today()}: {way.figure(row, found, way.rounds)}", True
    except (Wrong, qemu.Failure, ValueError) as e:
        return f"{today()}: FAILED, {e}", False


def run_witness(name):
    _, command, pattern = WITNESSES[name]
    # ONLY is a choice among our rows, and would be one among the witness's own. And a make that knows itself below
    # another one adds a last line.
    ours = ("ONLY", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    try:
        done = subprocess.run(command.split(), cwd=qemu.ROOT, timeout=4 * HOUR, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return f"{today()}: FAILED, out of time", False
    last = (done.stdout.split("\n")[:-1] or [""])[-1]
    good = done.returncode == 0 and re.fullmatch(pattern, last) is not None
    return f"{today()}: {'' if good else 'FAILED, '}{last.strip('= ')}", good


def today():
    return datetime.date.today().isoformat()


# ---- the page ----

def read_table(page, name):
    """{row's title: [its other cells]} of the table that stands under the comment <!-- NAME -->."""
    body = re.search(rf"<!-- {name} -->\n((?:\|.*\n)*)", page)
    if not body:
        raise qemu.Failure(f"{PAGE}: the line <!-- {name} --> is not there")
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in body[1].splitlines()]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def write_table(page, name, head, rows):
    lines = [head, ["---"] * len(head), *rows]
    text = "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
    return re.sub(rf"(<!-- {name} -->\n)(?:\|.*\n)*", lambda m: m[1] + text, page)


def update(page, cells, witnesses):
    """The page with these new cells: {(row, way): text} and {witness: text}; the others stay as they are. A column
    is known by its place, so a page with another number of columns has nothing to keep."""
    kept = read_table(page, "boots")
    rows = []
    for row in ROWS:
        old = kept.get(row.title, [])
        old = old if len(old) == len(WAYS) else ["not run"] * len(WAYS)
        rows.append([row.title, *(cells.get((row.name, way.name), was) for way, was in zip(WAYS, old))])
    page = write_table(page, "boots", ["firmware and machine", *(way.title for way in WAYS)], rows)
    kept = read_table(page, "witnesses")
    rows = [[title, f"`{command}`", witnesses.get(name, (kept.get(title) or ["not run"])[-1])]
            for name, (title, command, _) in WITNESSES.items()]
    return write_table(page, "witnesses", ["what", "command", "last line"], rows)


def chosen(words):
    """([row], [name of a witness]) that these words ask for: all rows and no witness, if there are none."""
    rows = [row for row in ROWS if any(word in row.name for word in words)]
    witnesses = [name for name in WITNESSES if name in words]
    unknown = [word for word in words if word not in witnesses and not any(word in row.name for row in rows)]
    if unknown:
        names = ", ".join([row.name for row in ROWS] + list(WITNESSES))
        raise qemu.Failure(f"ONLY={' '.join(unknown)}: there are {names}")
    return (rows, witnesses) if words else (ROWS, [])


def main():
    rows, names = chosen(os.environ.get("ONLY", "").split())
    cells, witnesses, bad = {}, {}, 0
    with concurrent.futures.ThreadPoolExecutor(BOOTS_AT_A_TIME) as pool:
        running = {pool.submit(run_cell, row, way): (row, way) for row in rows for way in WAYS}
        for done in concurrent.futures.as_completed(running):
            row, way = running[done]
            cells[row.name, way.name], good = done.result()
            bad += not good
            print(f"{row.name}, {way.name}: {cells[row.name, way.name]}", flush=True)
    for name in names:
        witnesses[name], good = run_witness(name)
        bad += not good
        print(f"{name}: {witnesses[name]}", flush=True)
    PAGE.write_text(update(PAGE.read_text(encoding="utf-8"), cells, witnesses), encoding="utf-8")
    count = len(cells) + len(witnesses)
    print(f"proofs: {count - bad} of {count} as they should be, in {PAGE.relative_to(qemu.ROOT)}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, qemu.Failure, ValueError) as e:
        sys.exit(f"proofs: {e}")
    except KeyboardInterrupt:
        sys.exit(130)

"""What make bench says: figures out of kept runs, the table in Markdown, the plot by gnuplot.

Pure but for plot(). A kept run is a list of records under a key "SIZE/RUN/KIND"; a figure is the
list of its values, one for each run, in microseconds. Ratios are made within a run, and their
median is told.
"""

import collections
import statistics
import subprocess

import finish_image

ICOUNT_NS = 8  # of an instruction, with shift=3

# (name, numerator, denominator, limit, sizes): at most `limit`, or at least if it is negative.
NULL, BROADCAST, PARALLEL = "null long", "defaults broadcast", "defaults parallel"
TARGETS = (
    ("broadcast, warm, over the long-mode null trampoline", f"{BROADCAST} warm", f"{NULL} warm", 2.0, (4, 64, 255)),
    ("the same, if it can be", f"{BROADCAST} warm", f"{NULL} warm", 1.5, (64,)),
    ("broadcast, cold, over the long-mode null trampoline", f"{BROADCAST} cold", f"{NULL} cold", 3.0, (4, 64, 255)),
    ("StartupAllAPs over parallel, warm", "firmware warm", f"{PARALLEL} warm", -20.0, (4,)),
    ("StartupAllAPs over parallel, warm", "firmware warm", f"{PARALLEL} warm", -10.0, (64,)),
    ("StartupAllAPs over parallel, warm", "firmware warm", f"{PARALLEL} warm", -5.0, (255,)),
    ("StartupAllAPs over broadcast, warm", "firmware warm", f"{BROADCAST} warm", -20.0, (4,)),
    ("StartupAllAPs over broadcast, warm", "firmware warm", f"{BROADCAST} warm", -10.0, (64,)),
    ("StartupAllAPs over broadcast, warm", "firmware warm", f"{BROADCAST} warm", -5.0, (255,)),
    ("parallel over broadcast, warm", f"{PARALLEL} warm", f"{BROADCAST} warm", 1.5, (64,)),
    ("parallel over broadcast, warm", f"{PARALLEL} warm", f"{BROADCAST} warm", 2.0, (255,)),
    ("Linux, release, over parallel, cold", "linux release", f"{PARALLEL} cold", -10.0, (16, 64)),
    ("Linux, backports, over parallel, cold", "linux backports", f"{PARALLEL} cold", -10.0, (16, 64)),
)
# (name, kind of boot, numerator, denominator, at least, sizes), in nanoseconds: call_figures.
CALL_TARGETS = (
    ("StartupAllAPs over an empty call to all, parked by MWAIT", "calls", "firmware", "call mwait", 10, (64,)),
    ("StartupAllAPs over an empty call to all, parked by PAUSE", "calls", "firmware", "call pause", 10, (64,)),
    ("a sum by one processor over the same by two at once", "sum", "alone", "sum mwait", 1.7, (2,)),
)
LIMITS = {"image": ("the image, bytes", finish_image.MAX_BYTES), "trampoline": ("the trampoline's code, bytes", 576)}
HOST_MS_MOST = 1000

ROWS = (
    ("null trampoline, real mode", "null real"), ("null trampoline, long mode", "null long"),
    ("Reveille, broadcast", "defaults broadcast"), ("Reveille, parallel (the default)", "defaults parallel"),
    ("Reveille, one by one", "defaults one-by-one"),
    ("broadcast, the manual's delays", "manual broadcast"), ("parallel, the manual's delays", "manual parallel"),
    ("one by one, the manual's delays", "manual one-by-one"),
    ("firmware's StartupAllAPs", "firmware"), ("Linux, the release's", "linux release"),
    ("Linux, backports'", "linux backports"),
)


def groups_of(run):
    """[(strategy, [ev=wake records])] of a run with sweep=wake:..., in its order."""
    found, wakes = [], []
    for record in run:
        if record["ev"] == "wake":
            wakes.append(record)
        elif record["ev"] == "sweep":
            found.append((record["value"], wakes))
            wakes = []
    return found


def figures_of(run, kind):
    """{figure name: microseconds} of one run; only what all processors came in. Of the manual's delays the
    strategy that came first in this boot is cold."""
    found = {}
    for position, (strategy, wakes) in enumerate(groups_of(run)):
        if any(wake["up"] != wake["want"] for wake in wakes):
            continue
        if kind == "manual" and position == 0:
            found[f"{kind} {strategy} cold"] = int(wakes[0]["last_us"])
        if len(wakes) > 1:
            found[f"{kind} {strategy} warm"] = statistics.median_low(
                int(wake["last_us"]) for wake in wakes[1:])
        found[f"{kind} {strategy} icr_writes"] = max(int(wake["icr_writes"]) for wake in wakes)
    if kind == "manual":
        return found
    for record in run:
        if record["ev"] == "null" and record["up"] == record["cpus"]:
            found[f"null {record['mode']} warm"] = int(record["warm_median_us"])
        elif record["ev"] == "firmware":
            found["firmware cold"] = int(record["cold_us"])
            found["firmware warm"] = int(record["warm_us"])
    return found


def cold_figures_of(run, kind):
    """The same of a boot of its own: "cold-broadcast" and the like, or a null trampoline."""
    for record in run:
        if kind.startswith("cold-null-") and record["ev"] == "null":
            name = f"null {record['mode']} cold"
            return {name: int(record["cold_us"])} if record["up"] == record["cpus"] else {}
        if not kind.startswith("cold-null-") and record["ev"] == "wake":
            name = f"defaults {record['wake']} cold"
            return {name: int(record["last_us"])} if record["up"] == record["want"] else {}
    return {}


def figures(kept):
    """{size: {figure: {run: microseconds}}}, from every wake that was kept but icount and base."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    for key, value in kept.items():
        size, run, kind = key.split("/")
        named = {}
        if kind.startswith("linux-"):
            if value and value["cpus"] == int(size):
                named = {"linux " + kind[6:]: value["us"]}
        elif kind in ("defaults", "manual"):
            named = figures_of(value, kind)
        elif kind.startswith("cold-"):
            named = cold_figures_of(value, kind)
        for name, us in named.items():
            found[int(size)][name][int(run)] = us
    return found


def call_figures_of(records):
    """{figure name: nanoseconds} of a boot with run=: by how its processors did wait; nothing where somebody was
    missing, or a sum was wrong."""
    found = {}
    for record in records:
        if record["ev"] == "firmware":
            found["firmware"] = int(record["warm_us"]) * 1000
        if record["ev"] != "run" or "lost" in record or record["rounds"] == "0" or record.get("sum") == "wrong":
            continue
        name = f"{record['run']} {record['parking']}"
        found[name], found[f"{name} worst"] = int(record["median_ns"]), int(record["max_ns"])
        if record["run"] == "call":
            found[f"{name} one"] = int(record["one_median_ns"])
        if record["run"] == "sum":
            found["alone"] = int(record["alone_ns"])
    return found


def call_figures(kept, kind):
    """{size: {figure: {run: nanoseconds}}} of the boots of this kind."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    for key, value in kept.items():
        size, run, of = key.split("/")
        for name, ns in call_figures_of(value).items() if of == kind else ():
            found[int(size)][name][int(run)] = ns
    return found


def ratio(figures_of_size, above, below):
    """The median of the ratios, run by run; of the medians where no run has both. None without."""
    one, other = figures_of_size.get(above, {}), figures_of_size.get(below, {})
    pairs = [one[run] / other[run] for run in one if other.get(run)]
    if pairs:
        return statistics.median(pairs)
    if one and other and statistics.median(other.values()):
        return statistics.median(one.values()) / statistics.median(other.values())
    return None


def cell(values):
    """Median and spread: `49 (46..55, n=5)`."""
    if not values:
        return "not there"
    listed = list(values.values())
    text = f"{statistics.median_low(listed):,}"
    return text if len(listed) == 1 else f"{text} ({min(listed):,}..{max(listed):,}, n={len(listed)})"


def table(size, found):
    lines = [f"### {size} processors", "", "| | cold, us | warm, us | messages |", "|---|---|---|---|"]
    for title, name in ROWS:
        if name.startswith("linux"):
            lines.append(f"| {title} | {cell(found.get(name))} | | |")
            continue
        writes = found.get(f"{name} icr_writes", {})
        lines.append(f"| {title} | {cell(found.get(name + ' cold'))} | {cell(found.get(name + ' warm'))} | "
                     f"{cell(writes) if writes else ''} |")
    return lines + [""]


def row(what, size, bound, measured, met):
    return f"| {what} | {size} | {bound} | {measured} | {'met' if met else 'NOT MET'} |"


def judge_all_greet(kept):
    """One row for each size: the least that ever greeted."""
    least = {}
    for key, value in kept.items():
        size, _, kind = key.split("/")
        for record in value if isinstance(value, list) else []:
            if record["ev"] == "end":
                up = int(record["up"])
                least[int(size)] = min(up, least.get(int(size), up))
    return [row("processors that greet", size, size - 1, up, up == size - 1) for size, up in sorted(least.items())]


def not_ended(kept):
    """The boots without an ev=end, and the last line that each of them wrote."""
    rows = []
    for key, value in sorted(kept.items()):
        size, run, kind = key.split("/")
        for record in value if isinstance(value, list) else []:
            if "last" in record:
                last = record["last"].replace("|", "\\|")
                rows.append(f"| {size} | {run} | {kind} | " + (f"`{last}` |" if last else "nothing |"))
    if not rows:
        return []
    return ["## Boots that did not end", "", "Each counts above as one in which nobody came.", "",
            "| processors | run | boot | the last line on the serial port |", "|---|---|---|---|", *rows, ""]


def judge_sizes(kept):
    lines = [row(LIMITS[name][0], "", f"at most {LIMITS[name][1]:,}", f"{size:,}", size <= LIMITS[name][1])
             for name, size in kept.get("0/0/sizes", {}).items()]
    memory = [record for key, value in kept.items() if key.split("/")[2].startswith("plain")
              for record in value if record["ev"] == "memory"]
    if memory:
        low, per = (max(int(record[key]) for record in memory) for key in ("low_bytes", "per_cpu_bytes"))
        lines += [row("memory below 1 MiB, bytes", "", "one page", f"{low:,}", low == 4096),
                  row("memory of a processor, bytes", "", "at most 24,576", f"{per:,}", per <= 24576)]
    host = [value for key, value in kept.items() if key.endswith("/host")]
    if host:
        ms = statistics.median_low(host)
        lines.append(row("a parallel wake through the fakes and its account, under ASan, ms of the host", "4,096",
                         f"below {HOST_MS_MOST:,}", f"{ms:,} ({min(host):,}..{max(host):,})", ms < HOST_MS_MOST))
    return lines


def judge_calls(kept):
    lines = []
    for name, kind, above, below, least, sizes in CALL_TARGETS:
        found = call_figures(kept, kind)
        for size in (n for n in sizes if n in found):
            value = ratio(found[size], above, below)
            lines.append(row(name, size, f"at least {least:g}", f"{value:.2f}" if value else "not measured",
                             bool(value) and value >= least))
    return lines


def judge(kept):
    all_figures = figures(kept)
    lines = ["| what | processors | bound | measured | |", "|---|---|---|---|---|"]
    for size in sorted(all_figures):
        writes = all_figures[size].get("defaults broadcast icr_writes")
        if writes:
            most = max(writes.values())
            lines.append(row("messages of a broadcast", size, 2, most, most == 2))
    for name, above, below, limit, sizes in TARGETS:
        for size in sizes:
            bound = f"at most {limit}" if limit > 0 else f"at least {-limit:g}"
            value = ratio(all_figures.get(size, {}), above, below)
            if value is None:
                if size in all_figures:
                    lines.append(row(name, size, bound, "not measured", False))
                continue
            lines.append(row(name, size, bound, f"{value:.2f}", value <= limit if limit > 0 else value >= -limit))
    return lines + judge_calls(kept) + judge_all_greet(kept) + judge_sizes(kept) + [""]


def slope(points):
    """Least squares: (microseconds for each processor, at none) through [(size, microseconds)]."""
    if len(points) < 2:
        return None
    mean_x = statistics.mean(x for x, _ in points)
    mean_y = statistics.mean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    per = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return per, mean_y - per * mean_x


PARTS = ("prepare_us", "leave_us", "wake_us", "report_us", "total_us")


def times_of(kept, kind):
    """{size: {part: median}} over the runs of a kind."""
    listed = collections.defaultdict(lambda: collections.defaultdict(list))
    for key, value in kept.items():
        size, _, of = key.split("/")
        for record in value if of == kind else []:
            if record["ev"] == "times":
                for part in PARTS:
                    listed[int(size)][part].append(int(record[part]))
    return {size: {part: statistics.median_low(us) for part, us in parts.items()}
            for size, parts in sorted(listed.items())}


def whole_runs(kept):
    lines = ["## A whole run", "", "From the image's first instruction to the end of the accounts, every line on a serial "
             "port; medians, in ms. `prepare` is all before the exit, `leave` saving what is known, the "
             "exit, and firmware's end of it; `wake` has the greetings in it, and `report` the account of each processor. "
             "The host has cleared the guest's memory before (`-mem-prealloc`): else it does so when Reveille looks "
             "for the last run's journal, a few ms for each of six pieces.", ""]
    for kind, title in (
            ("plain", "A serial port on PCI, and no display: what the run itself takes."),
            ("plain-com1", "COM1 and a display, as `make run` has them. QEMU tells the interrupt line of an ISA serial "
             "port to every processor at each byte, so that N lines to COM1 cost N times N there, and firmware scrolls "
             "its screen once for each line before the exit. The difference to the first table is not Reveille's.")):
        found = times_of(kept, kind)
        if not found:
            continue
        lines += [title, "", "| processors | prepare | leave | wake | report | all | all, for each processor more |",
                  "|---|---|---|---|---|---|---|"]
        before = None
        for size, parts in found.items():
            per = f"{(parts['total_us'] - before[1]) / 1000 / (size - before[0]):.2f}" if before else ""
            lines.append(f"| {size} | " + " | ".join(f"{parts[part] / 1000:,.1f}" for part in PARTS) + f" | {per} |")
            before = size, parts["total_us"]
        line = slope([(size, parts["total_us"]) for size, parts in found.items()]) if kind == "plain" else None
        if line and line[1] >= 0:
            lines += ["", f"By least squares {line[0] / 1000:.2f} ms for each processor, and {line[1] / 1000:,.0f} ms "
                      "without any."]
        lines.append("")
    return lines


def floors(kept):
    """What the machine itself costs, and what is on top of it: the most that any ratio can be."""
    rows = []
    for size, found in sorted(figures(kept).items()):
        null, ours, each, firmware = (
            statistics.median_low(found[name].values()) if found.get(name) else None
            for name in (f"{NULL} warm", f"{BROADCAST} warm", f"{PARALLEL} warm", "firmware warm"))
        if size > 1 and None not in (null, ours, each, firmware):
            rows.append(f"| {size} | {null:,} | {(ours - null) / (size - 1):.1f} | {(each - ours) / (size - 1):.1f} | "
                        f"{firmware / null:.1f} | {firmware / each:.1f} |")
    if not rows:
        return []
    return ["## The floor, and what is on top of it", "", "Warm, medians. The null trampoline in long mode is what the "
            "emulator takes to reset the processors and to bring each of them to long mode; nothing that wakes them can take "
            "less. On top of it Reveille's APs find their record, stamp each stage, load their own tables and stack, and check "
            "in, and `parallel` sends two messages to each instead of two to all. StartupAllAPs over the floor is the most "
            "that its ratio to any wake could be.", "",
            "| processors | floor, us | Reveille's way, us more for each AP | its own messages, us more for each AP | "
            "StartupAllAPs over the floor | over parallel |", "|---|---|---|---|---|---|", *rows, ""]


# A cold broadcast, step by step, in microseconds since the first message: the record, its key, what divides it.
STEPS = (("the last message is sent", "wake", "send_us", 1), ("the first AP is in real mode", "stages", "real_min_ns", 1000),
         ("the first AP is in C", "wake", "first_us", 1), ("the median AP is in C", "wake", "median_us", 1),
         ("the last AP is in C", "wake", "last_us", 1))


def cold_steps(kept):
    listed = collections.defaultdict(lambda: collections.defaultdict(list))
    for key, value in kept.items():
        size, _, kind = key.split("/")
        records = {record["ev"]: record for record in value} if kind == "cold-broadcast" else {}
        if not {"wake", "stages"} <= records.keys() or records["wake"]["up"] != records["wake"]["want"]:
            continue
        for title, event, name, divisor in STEPS:
            listed[int(size)][title].append(round(int(records[event][name]) / divisor))
    if not listed:
        return []
    medians = {size: [statistics.median_low(steps[title]) for title, *_ in STEPS] for size, steps in sorted(listed.items())}
    least = min(medians, key=lambda size: abs(size - 4))
    _, _, first, _, last = medians[least]
    lines = ["## Where a cold broadcast's time goes", "", f"Microseconds since the first message, medians. With {least} "
             f"processors {100 * first // last} % of it pass before the first of them is in C: the translation of the BSP's "
             "code up to its first look at who has come, and of the AP's from real mode to C. The null trampoline has a "
             "fraction of that code.", "",
             "| processors | " + " | ".join(title for title, *_ in STEPS) + " |", "|---" * (len(STEPS) + 1) + "|"]
    lines += [f"| {size} | " + " | ".join(f"{us:,}" for us in row_of) + " |" for size, row_of in medians.items()]
    return lines + [""]


def warm_steps(kept):
    """What passes before the first AP of a warm wake, and what each further one adds."""
    listed = collections.defaultdict(list)
    for key, value in kept.items():
        size, _, kind = key.split("/")
        for record in value if kind == "defaults" else []:
            if record["ev"] == "sweep" and record["lost"] == "0" and int(record["want"]) > 1:
                first, last = int(record["first_us"]), int(record["last_us"])
                listed[int(size), record["value"]].append((first, (last - first) / (int(record["want"]) - 1)))
    if not listed:
        return []
    lines = ["## Where a warm wake's time goes", "", "Medians. Before the first AP runs an instruction, the emulator "
             "takes the messages apart and resets those who are meant. Then they come one after the other, each with all "
             "its way to C. On it CR0.PE, CR4.PAE and CR0.PG each make the emulator forget the processor's TLB and its "
             "table of jumps; the null trampoline, from real mode to long mode in one step, has one fewer.", "",
             "| processors | strategy | the first AP is in C, us | each further one, us |", "|---|---|---|---|"]
    for (size, strategy), steps in sorted(listed.items()):
        first, further = (statistics.median_low(column) for column in zip(*steps))
        lines.append(f"| {size} | {strategy} | {first:,} | {further:.1f} |")
    return lines + [""]


def us(values):
    """The median of nanoseconds, in microseconds."""
    return f"{statistics.median_low(values.values()) / 1000:,.1f}" if values else "not there"


def calls(kept):
    found = call_figures(kept, "calls")
    if not found:
        return []
    lines = ["## Calls", "", "`run=all`, medians in us, each of the median over all rounds of a boot; worst: of its "
             "slowest round. A call of an empty function to all APs, from before the first message or store to when the "
             "last return was seen, by how they wait for it; and StartupAllAPs of an empty procedure in the same boot. "
             "Parked by INIT a call is a wake, with `sipi_us` before it, and 0.7 ms in which QEMU lets go of the code of the "
             "page whose marks are cleared. A passing of a barrier is by all processors, the BSP among them.", "",
             "| processors | parked by | call to all | worst | call to one | StartupAllAPs | over the call to all |",
             "|---|---|---|---|---|---|---|"]
    for size, of in sorted(found.items()):
        for parking in ("mwait", "pause", "nmi", "init"):
            name = f"call {parking}"
            over = ratio(of, "firmware", name)
            lines.append(f"| {size} | {parking} | {us(of.get(name))} | {us(of.get(name + ' worst'))} | "
                         f"{us(of.get(name + ' one'))} | {us(of.get('firmware'))} | "
                         + (f"{over:,.1f} |" if over else "|"))
    lines += ["", "| processors | a barrier | worst | a sum alone | by all, in turns |", "|---|---|---|---|---|"]
    for size, of in sorted(found.items()):
        lines.append(f"| {size} | {us(of.get('barrier pause'))} | {us(of.get('barrier pause worst'))} | "
                     f"{us(of.get('alone'))} | {us(of.get('sum mwait'))} |")
    for size, of in sorted(call_figures(kept, "sum").items()):
        lines += ["", f"Where processors run at the same time, `thread=multi`, {size} of them: the sum takes one "
                  f"{us(of.get('alone'))} us, and both {us(of.get('sum mwait'))} us."]
    return lines + [""]


def icount(kept):
    rows = []
    for key, value in sorted(kept.items(), key=lambda item: int(item[0].split("/")[0])):
        size, run, kind = key.split("/")
        for record in value if kind == "icount" else []:
            if record["ev"] == "stages":
                counts = (round(int(record[name]) / ICOUNT_NS) for name in (
                    "protected_median_ns", "long_median_ns", "c_median_ns"))
                rows.append(f"| {size} | {int(run) + 1} | " + " | ".join(map(str, counts)) + " |")
    if not rows:
        return []
    return ["## By counted instructions", "", "With `-icount` time is the number of instructions, so a run repeats. "
            "From an AP's first stamp in real mode, in instructions of its own, the median of all:", "",
            "| processors | run | protected mode | long mode | C |", "|---|---|---|---|---|", *rows, ""]


def before_and_after(kept, commit):
    base = figures({key.replace("/base", "/defaults"): value for key, value in kept.items()
                    if key.endswith("/base")})
    now = figures(kept)
    if not base or not commit:
        return []
    lines = [f"## Against {commit}", "", "| processors | figure | then, us | now, us | now / then |",
             "|---|---|---|---|---|"]
    for size in sorted(base):
        for name in sorted(base[size]):
            if name.endswith(("cold", "warm")):
                both = {"now": now[size].get(name, {}), "then": base[size][name]}
                value = ratio(both, "now", "then")
                if value is not None:
                    lines.append(f"| {size} | {name} | {cell(both['then'])} | {cell(both['now'])} | {value:.2f} |")
    return lines + [""]


def boots_told(kept):
    """How often each size was booted: "5 of 2, 4 and 16, 3 of 255"."""
    counts = collections.Counter(int(key.split("/")[0]) for key in kept if key.endswith("/defaults"))
    sizes = collections.defaultdict(list)
    for size, runs in sorted(counts.items()):
        sizes[runs].append(str(size))
    return ", ".join(f"{runs} runs with {' '.join(names)} processors" for runs, names in sizes.items())


def markdown(kept, commit, host, base=None):
    all_figures = figures(kept)
    lines = [
        "# Wakes side by side", "",
        f"Measured on {host['date']} of {commit}: {host['qemu']}, `-accel tcg,thread=single -cpu {host['cpu']}`, on "
        f"{host['cores']} cores of {host['processor']}; {boots_told(kept)}. Kernels: "
        + ", ".join(f"{name} {text}" for name, text in sorted(host["kernels"].items())) + ".", "",
        "A figure is the median (smallest..largest) over n boots, from the first message to the last arrival by "
        "the processors' own stamps; firmware's is around its own call, Linux's from \"Bringing up secondary CPUs\" "
        "to \"Brought up\". Cold is the first wake of a boot: the null trampolines and each strategy have boots of "
        "their own for it; with the manual's delays only the strategy is cold that came first in its boot. Warm is the median of the next ones, in one boot for all. `make bench` repeats all of it.", "",
        "How to read it: in one-thread TCG the processors take turns on one core of the host, so nothing runs at "
        "the same time and every figure grows with their number; the null trampolines show that floor. A cold wake is "
        "also the first time that TCG meets the code of it, and translates it block by block. StartupAllAPs "
        "runs its procedure and waits for the ticks of its timer.", "",
        "Linux does more than wake: for each processor it makes an idle thread, runs its hotplug states, synchronizes "
        f"clocks, and prints. Its command line is `{host['linux']}`; what it prints between the two lines goes to the "
        f"same serial port and is in its figure. It is not started above {host['linux_most']} processors: with 255 the "
        "release's kernel had not brought them up after 22 minutes of TCG.", "",
        "## What was to be shown", "", *judge(kept), *not_ended(kept), "## Figures", "", "![warm wakes](warm.svg)", "",
        "![cold wakes](cold.svg)", ""]
    for size in sorted(all_figures):
        lines += table(size, all_figures[size])
    lines += floors(kept) + cold_steps(kept) + warm_steps(kept) + calls(kept) + whole_runs(kept) + icount(kept)
    lines += before_and_after(kept, base)
    return "\n".join(lines).rstrip() + "\n"


def markdown_of_calls(kept, commit, host):
    """What BENCH=calls says: of wakes only what calls are held against."""
    found = figures(kept)
    lines = [f"Measured on {host['date']} of {commit}: {host['qemu']}, on {host['cores']} cores of {host['processor']}; "
             f"{boots_told(kept)}.", "", "| what | processors | bound | measured | |", "|---|---|---|---|---|"]
    for name, above, below, limit, sizes in TARGETS:
        for size in (n for n in sizes if limit < 0 and below == f"{PARALLEL} warm" and n in found):
            value = ratio(found[size], above, below)
            lines.append(row(name, size, f"at least {-limit:g}", f"{value:.2f}" if value else "not measured",
                             bool(value) and value >= -limit))
    return "\n".join(lines + judge_calls(kept) + ["", *calls(kept)]).rstrip() + "\n"


SHOWN = ((NULL, "null trampoline, long mode"), (BROADCAST, "Reveille, broadcast"), (PARALLEL, "Reveille, parallel"),
         ("defaults one-by-one", "Reveille, one by one"), ("firmware", "StartupAllAPs"),
         ("linux release", "Linux, release"), ("linux backports", "Linux, backports"))


def plot(kept, home):
    """warm.svg and cold.svg in `home`: wakes over the number of processors, both axes logarithmic. Linux wakes
    once in a boot, and stands in both."""
    all_figures = figures(kept)
    sizes = ", ".join(str(size) for size in sorted(all_figures))
    for heat in ("warm", "cold"):
        parts, blocks = [], []
        for name, title in SHOWN:
            figure = name if name.startswith("linux") else f"{name} {heat}"
            points = [(size, statistics.median_low(found[figure].values()))
                      for size, found in sorted(all_figures.items()) if found.get(figure)]
            if points:
                parts.append(f"'-' using 1:2 with linespoints linewidth 2 title '{title}'")
                blocks.append("".join(f"{x} {y}\n" for x, y in points) + "e\n")
        if not parts:
            continue
        script = (f"set terminal svg size 900,560 font 'sans,13' background 'white'\nset output '{heat}.svg'\n"
                  f"set logscale xy\nset xtics ({sizes})\nset grid\nset key left top\n"
                  f"set xlabel 'processors'\nset ylabel 'microseconds, {heat}'\nplot " + ", ".join(parts) + "\n"
                  + "".join(blocks))
        subprocess.run(["gnuplot"], input=script, text=True, check=True, cwd=home)

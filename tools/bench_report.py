"""What make bench says: figures out of kept runs, the table in Markdown, the plot by gnuplot.

Pure but for plot(). A kept run is a list of records under a key "SIZE/RUN/KIND"; a figure is the
list of its values, one for each run, in microseconds. Ratios are made within a run, and their
median is told.
"""

import collections
import statistics
import subprocess

ICOUNT_NS = 8  # of an instruction, with shift=3

# (name, numerator, denominator, limit, sizes): at most `limit`, or at least if it is negative.
TARGETS = (
    ("broadcast, warm, over the long-mode null trampoline", "defaults broadcast warm", "null long warm",
     2.0, (4, 64, 255)),
    ("broadcast, cold, over the long-mode null trampoline", "defaults broadcast cold", "null long cold",
     3.0, (4, 64, 255)),
    ("StartupAllAPs over parallel, warm", "firmware warm", "defaults parallel warm", -20.0, (4,)),
    ("StartupAllAPs over parallel, warm", "firmware warm", "defaults parallel warm", -10.0, (64,)),
    ("StartupAllAPs over parallel, warm", "firmware warm", "defaults parallel warm", -5.0, (255,)),
    ("parallel over broadcast, warm", "defaults parallel warm", "defaults broadcast warm", 1.5, (64,)),
    ("parallel over broadcast, warm", "defaults parallel warm", "defaults broadcast warm", 2.0, (255,)),
    ("Linux, release, over parallel, cold", "linux release", "defaults parallel cold", -10.0, (16, 64)),
    ("Linux, backports, over parallel, cold", "linux backports", "defaults parallel cold", -10.0, (16, 64)),
)

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
    """{figure name: microseconds} of one run; only what all processors came in."""
    found = {}
    for position, (strategy, wakes) in enumerate(groups_of(run)):
        if any(wake["up"] != wake["want"] for wake in wakes):
            continue
        if position == 0:
            found[f"{kind} {strategy} cold"] = int(wakes[0]["last_us"])
        if len(wakes) > 1:
            found[f"{kind} {strategy} warm"] = statistics.median_low(
                int(wake["last_us"]) for wake in wakes[1:])
        found[f"{kind} {strategy} icr_writes"] = max(int(wake["icr_writes"]) for wake in wakes)
    if kind == "manual":
        return found
    for record in run:
        if record["ev"] == "null" and record["up"] == record["cpus"]:
            found[f"null {record['mode']} cold"] = int(record["cold_us"])
            found[f"null {record['mode']} warm"] = int(record["warm_median_us"])
        elif record["ev"] == "firmware":
            found["firmware cold"] = int(record["cold_us"])
            found["firmware warm"] = int(record["warm_us"])
    return found


def figures(kept):
    """{size: {figure: {run: microseconds}}}, from everything that was kept but icount and base."""
    found = collections.defaultdict(lambda: collections.defaultdict(dict))
    for key, value in kept.items():
        size, run, kind = key.split("/")
        if kind.startswith("linux-"):
            if value and value["cpus"] == int(size):
                found[int(size)]["linux " + kind[6:]][int(run)] = value["us"]
        elif kind in ("defaults", "manual"):
            for name, us in figures_of(value, kind).items():
                found[int(size)][name][int(run)] = us
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


def judge(all_figures):
    lines = ["| what | processors | bound | measured | |", "|---|---|---|---|---|"]
    for size in sorted(all_figures):
        writes = all_figures[size].get("defaults broadcast icr_writes")
        if writes:
            most = max(writes.values())
            lines.append(f"| messages of a broadcast | {size} | 2 | {most} | {'met' if most == 2 else 'NOT MET'} |")
    for name, above, below, limit, sizes in TARGETS:
        for size in sizes:
            value = ratio(all_figures.get(size, {}), above, below)
            if value is None:
                continue
            met = value <= limit if limit > 0 else value >= -limit
            bound = f"at most {limit}" if limit > 0 else f"at least {-limit:g}"
            lines.append(f"| {name} | {size} | {bound} | {value:.2f} | {'met' if met else 'NOT MET'} |")
    return lines + [""]


def slope(points):
    """Least squares: (microseconds for each processor, at none) through [(size, microseconds)]."""
    if len(points) < 2:
        return None
    mean_x = statistics.mean(x for x, _ in points)
    mean_y = statistics.mean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    per = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return per, mean_y - per * mean_x


def whole_runs(kept):
    points = []
    for key, value in kept.items():
        size, _, kind = key.split("/")
        for record in value if kind == "plain" else []:
            if record["ev"] == "times":
                points.append((int(size), int(record["total_us"])))
    if not points:
        return []
    lines = ["## A whole run", "", "From the image's first instruction to the last record, with every line on the "
             "serial port:", "", "| processors | ms |", "|---|---|"]
    lines += [f"| {size} | {us / 1000:,.0f} |" for size, us in sorted(points)]
    if line := slope(points):
        lines += ["", f"By least squares {line[0] / 1000:.1f} ms for each processor, and {line[1] / 1000:,.0f} ms "
                  "without any."]
    return lines + [""]


def icount(kept):
    rows = []
    for key, value in sorted(kept.items()):
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
    if not base:
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


def markdown(kept, host, commit=None):
    all_figures = figures(kept)
    lines = [
        "# Wakes side by side", "",
        f"Measured on {host['date']}: {host['qemu']}, `-accel tcg,thread=single -cpu qemu64,+x2apic`, on "
        f"{host['cores']} cores of {host['processor']}. Kernels: "
        + ", ".join(f"{name} {text}" for name, text in sorted(host["kernels"].items())) + ".", "",
        "A figure is the median (smallest..largest) over n boots, from the first message to the last arrival by "
        "the processors' own stamps; firmware's is around its own call, Linux's from \"Bringing up secondary CPUs\" "
        "to \"Brought up\". Cold is the first wake of a boot, warm the median of the next ones. `make bench` "
        "repeats all of it.", "",
        "How to read it: in one-thread TCG the processors take turns on one core of the host, so nothing runs at "
        "the same time and every figure grows with their number; the null trampolines show that floor. Linux does "
        "more than wake: for each processor it makes an idle thread, runs its hotplug states, and synchronizes "
        "clocks; StartupAllAPs runs its procedure and waits for the ticks of its timer.", "",
        "A cold wake is also the first time that TCG meets the APs' code, and translates it block by block. That is "
        "the host's work: most of it passes before the first AP has arrived, and where the first wake of a boot "
        "was by another strategy, the first broadcast already takes what a warm one does. The null trampoline has a "
        "fraction of that code, so with 4 processors, where the wake itself is short, the translation rules the ratio of "
        "the cold ones; from 64 on it does not.", "",
        "## What was to be shown", "", *judge(all_figures), "## Figures", "", "![wake times](bench.svg)", ""]
    for size in sorted(all_figures):
        lines += table(size, all_figures[size])
    lines += whole_runs(kept) + icount(kept) + before_and_after(kept, commit)
    return "\n".join(lines).rstrip() + "\n"


def plot(kept, home):
    """bench.svg in `home`: warm wakes over the number of processors, both logarithmic."""
    all_figures = figures(kept)
    shown = [("null long warm", "null trampoline, long mode"), ("defaults broadcast warm", "Reveille, broadcast"),
             ("defaults parallel warm", "Reveille, parallel"), ("defaults one-by-one warm", "Reveille, one by one"),
             ("firmware warm", "StartupAllAPs"), ("linux release", "Linux, release"),
             ("linux backports", "Linux, backports")]
    parts, blocks = [], []
    for name, title in shown:
        points = [(size, statistics.median_low(found[name].values()))
                  for size, found in sorted(all_figures.items()) if found.get(name)]
        if points:
            parts.append(f"'-' using 1:2 with linespoints linewidth 2 title '{title}'")
            blocks.append("".join(f"{x} {y}\n" for x, y in points) + "e\n")
    if not parts:
        return
    sizes = ", ".join(str(size) for size in sorted(all_figures))
    script = ("set terminal svg size 900,560 font 'sans,13' background 'white'\nset output 'bench.svg'\n"
              f"set logscale xy\nset xtics ({sizes})\nset grid\nset key left top\n"
              "set xlabel 'processors'\nset ylabel 'microseconds, warm'\nplot " + ", ".join(parts) + "\n"
              + "".join(blocks))
    subprocess.run(["gnuplot"], input=script, text=True, check=True, cwd=home)

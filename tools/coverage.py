"""make coverage: which lines of the parsers the fuzzers run, beside those that the unit tests run, as a page.

tests/fuzz/parsers.txt lists the parsers. Writes build/coverage/index.html and a page of lines for each source;
the last line on the terminal names the parser that is reached least. Exit status 1 if a parser is below 90 %
by fuzzing and its row gives no reason, or if a fuzzer fails. COVERAGE_SECONDS is what each fuzzer runs beyond
its kept inputs; `coverage.py kept` runs those alone, and no unit test. Surprise: all is built once more, by
clang, with counters in it, and each fuzzer is counted by itself, so that the page can say which one it was.
"""

import collections
import concurrent.futures
import html
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
B = os.environ.get("B", "build")
PAGES = ROOT / B / "coverage"
OBJECTS = f"{B}/coverage/objects"
PARSERS = ROOT / "tests/fuzz/parsers.txt"
SECONDS = int(os.environ.get("COVERAGE_SECONDS", "10"))
LEAST = 90.0  # percent of a parser's lines
BUILD_S, RUN_S = 900, 120
# ThreadSanitizer goes with neither ASan nor these counters, and its program has parsers of no kind.
OTHERS = ("test_threads", "test_calls")

Parser = collections.namedtuple("Parser", "reads source functions excuse")
# The numbers of its lines: all that there are to run, those that fuzzers ran, and unit tests; {fuzzer: how many}.
Measured = collections.namedtuple("Measured", "parser lines fuzzed tested by")


def parsers(text):
    """The rows of parsers.txt: what is read | the source, and its functions if not all of it | why not 90 %."""
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) not in (2, 3) or not all(cells):
            raise ValueError(f"not a parser: what it reads | source [function ...] [| why less]: {line}")
        source, *functions = cells[1].split()
        found.append(Parser(cells[0], source, tuple(functions), cells[2] if len(cells) == 3 else ""))
    return found


def extents(text, functions):
    """The numbers of the lines of these functions in a source; of all but those with a minus before them; of
    all there are, if none is named. As all ours are, a function is taken to begin in the first column and to
    end with a brace there."""
    lines = text.splitlines()
    found = {True: set(), False: set()}
    for word in functions:
        name = word.removeprefix("-")
        starts = [i for i, line in enumerate(lines)
                  if re.match(rf"[a-z].*\b{name}\(", line)
                  and next(line for line in lines[i:] if line == "{" or line.endswith(";")) == "{"]
        if len(starts) != 1:
            raise ValueError(f"{name} is defined {len(starts)} times")
        found[name == word] |= set(range(starts[0] + 1, lines.index("}", starts[0]) + 2))
    return (found[True] or set(range(1, len(lines) + 1))) - found[False]


def macros(text):
    """The numbers of the lines of a source's directives, which llvm-cov counts where it expands a macro."""
    found, more = set(), False
    for number, line in enumerate(text.splitlines(), 1):
        if more or line.startswith("#"):
            found.add(number)
            more = line.endswith("\\")
    return found


def counts(lcov):
    """{source below the root: {line: how often it ran}} of what llvm-cov exports."""
    found, lines = {}, {}
    for line in lcov.splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            path = pathlib.Path(value)
            lines = found.setdefault(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path), {})
        elif key == "DA":
            number, count = map(int, value.split(",")[:2])
            lines[number] = max(lines.get(number, 0), count)
    return found


def ran(counted, source):
    return {line for line, count in counted.get(source, {}).items() if count > 0}


def measure(parser, text, by_fuzzer, by_tests):
    wanted = extents(text, parser.functions) - macros(text)
    there = {line for counted in (*by_fuzzer.values(), by_tests) for line in counted.get(parser.source, {})}
    runs = {name: ran(counted, parser.source) & wanted for name, counted in by_fuzzer.items()}
    return Measured(parser, there & wanted, set().union(*runs.values()), ran(by_tests, parser.source) & wanted,
                    {name: len(lines) for name, lines in runs.items() if lines})


def percent(some, all_lines):
    return 100.0 * len(some) / len(all_lines) if all_lines else 0.0


def label(parser):
    return " ".join([parser.source, *parser.functions])


# ---- what runs ----

def tool(name):
    """The one that belongs to this clang: another version's does not read its counters."""
    done = subprocess.run(["clang", f"--print-prog-name={name}"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def build(*targets):
    done = subprocess.run(["make", "--no-print-directory", "-k", f"-j{os.cpu_count()}", f"B={OBJECTS}",
                           "COVERAGE=1", "HOSTCC=clang", *targets], cwd=ROOT, timeout=BUILD_S, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\ncoverage: the build failed")


def run(program, *words):
    """A program to its end, whose counters stand beside it then; what it said, if it failed."""
    done = subprocess.run([program, *words], cwd=ROOT, timeout=RUN_S + SECONDS, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env={**os.environ, "LLVM_PROFILE_FILE": f"{program}.profraw"})
    return done.stdout if done.returncode else ""


def count(programs):
    """What these programs ran, together."""
    profile = f"{programs[0]}.profdata"
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", "-o", profile,
                    *(f"{p}.profraw" for p in programs)], check=True, timeout=RUN_S)
    objects = [word for p in programs for word in ("-object", str(p))]
    done = subprocess.run([tool("llvm-cov"), "export", "-format=lcov", f"-instr-profile={profile}", *objects],
                          check=True, timeout=RUN_S, text=True, stdout=subprocess.PIPE)
    return counts(done.stdout)


def fuzz(name, seconds):
    """What one fuzzer ran: of its kept inputs, and then of what it made of them in so many seconds."""
    program = ROOT / OBJECTS / "host/fuzz" / f"fuzz_{name}"
    kept, found = ROOT / "tests/fuzz/corpus" / name, PAGES / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    words = [f"-max_total_time={seconds}", "-timeout=10", f"-artifact_prefix={found.parent}/{name}-",
             found, kept]
    failure = run(program, *(words if seconds else ["-runs=0", kept]))
    return (None, failure) if failure else (count([program]), "")


def by_fuzzers(seconds):
    names = sorted(p.stem.removeprefix("fuzz_") for p in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
    build(*(f"{OBJECTS}/host/fuzz/fuzz_{name}" for name in names))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(names, pool.map(lambda name: fuzz(name, seconds), names)))
    for name, (_, failure) in found.items():
        if failure:
            sys.exit(f"{failure[-4000:]}\ncoverage: the fuzzer {name} failed")
    return {name: counted for name, (counted, _) in found.items()}


def by_units():
    sources = sorted((ROOT / "tests/unit").glob("*/test_*.c"))
    programs = [f"{OBJECTS}/host/unit/{s.parent.name}/{s.stem}" for s in sources if s.stem not in OTHERS]
    build(*programs)
    programs = [ROOT / p for p in programs]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for program, failure in zip(programs, pool.map(run, programs)):
            if failure:
                sys.exit(f"{failure[-4000:]}\ncoverage: {program.name} failed")
    return count(programs)


# ---- the pages ----

STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 76em; color: #222 }
table { border-collapse: collapse; width: 100% } th { text-align: left; border-bottom: 2px solid #888 }
td, th { padding: .25em .7em; vertical-align: top } tr:nth-child(even) td { background: #f6f6f6 }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
code { font-size: 90% }
.low { background: #fbd7d7 !important; font-weight: bold } .why { color: #777; font-size: 90% }
pre { font-size: 13px; line-height: 1.35 } pre span { display: block } .no { background: #fbd7d7 }
.half { background: #fdf0c9 } .yes { background: #e3f4e0 } .rest { color: #999 }
"""


def page(title, body):
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f"<style>{STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>\n{body}</body></html>\n")


def lines_page(source, text, by_fuzzer, by_tests, wanted):
    """A source, line by line, with how often the fuzzers ran it, all together, and the unit tests."""
    rows = [f'<span class="rest">{"fuzzers":>7} {"tests":>7} {"line":>5}</span>']
    for number, line in enumerate(text.splitlines(), 1):
        fuzzed = sum(counted.get(source, {}).get(number, 0) for counted in by_fuzzer.values())
        tests = by_tests.get(source, {}).get(number, 0)
        kind = "rest" if number not in wanted else "yes" if fuzzed else "half" if tests else "no"
        shown = f"{short(fuzzed):>7} {short(tests):>7}" if number in wanted else f"{'':15}"
        rows.append(f'<span class="{kind}">{shown} {number:>5}  {html.escape(line)}</span>')
    key = ("How often the fuzzers ran a line, all together, and the unit tests. Red: nobody did; yellow: the "
           "unit tests alone; grey: no code, or not the parser's.")
    return page(source, f'<p><a href="../index.html">All parsers</a>. {key}</p>\n<pre>{"".join(rows)}</pre>')


def short(number):
    for limit, sign in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if number >= limit:
            return f"{number // (10 ** {'G': 9, 'M': 6, 'k': 3}[sign])}{sign}"
    return str(number)


def link_of(parser):
    return f"lines/{parser.source.replace('/', '_')}.html"


def row(one):
    share, tested = percent(one.fuzzed, one.lines), percent(one.tested, one.lines)
    both = percent(one.fuzzed | one.tested, one.lines)
    part = "all but " if one.parser.functions and one.parser.functions[0][0] == "-" else ""
    functions = part + ", ".join(name.removeprefix("-") for name in one.parser.functions)
    why = f'<div class="why">{html.escape(one.parser.excuse)}</div>' if one.parser.excuse else ""
    by = ", ".join(sorted(one.by, key=lambda name: (-one.by[name], name)))
    return (f'<tr><td>{html.escape(one.parser.reads)}{why}</td><td><a href="{link_of(one.parser)}">'
            f'<code>{one.parser.source}</code></a><div class="why">{functions}</div></td>'
            f'<td class="n">{len(one.lines)}</td>'
            f'<td class="n{" low" if share < LEAST else ""}">{share:.1f} %</td>'
            f'<td class="n">{tested:.1f} %</td><td class="n">{both:.1f} %</td><td>{by}</td></tr>')


def write_pages(measured, by_fuzzer, by_tests, told):
    (PAGES / "lines").mkdir(parents=True, exist_ok=True)
    wanted = collections.defaultdict(set)
    for one in measured:
        wanted[one.parser.source] |= one.lines
    for one in measured:
        source = one.parser.source
        text = (ROOT / source).read_text(encoding="utf-8")
        (PAGES / link_of(one.parser)).write_text(
            lines_page(source, text, by_fuzzer, by_tests, wanted[source]), encoding="utf-8")
    head = ('<tr><th>reads</th><th>source</th><th class="n">lines</th><th class="n">fuzzers</th>'
            '<th class="n">unit tests</th><th class="n">both</th><th>fuzzers, by what they reach</th></tr>')
    body = (f"<p>Lines of each parser that ran: under the fuzzers, with their kept inputs and {SECONDS} s each; "
            f"under the unit tests; under both together. {html.escape(told)}.</p>\n"
            f"<table>{head}\n{chr(10).join(map(row, measured))}</table>\n")
    title = "Reveille: the parsers and who reaches them"
    (PAGES / "index.html").write_text(page(title, body), encoding="utf-8")


# ---- what is told ----

def verdict(measured):
    """(exit status, the last line)."""
    low = [one for one in measured if percent(one.fuzzed, one.lines) < LEAST]
    unexcused = [one for one in low if not one.parser.excuse]
    least = min(unexcused or [one for one in measured if not one.parser.excuse] or measured,
                key=lambda one: percent(one.fuzzed, one.lines))
    below = f"{len(unexcused) or 'none'} below {LEAST:.0f} %"
    if len(low) > len(unexcused):
        below += f" but {len(low) - len(unexcused)} with a reason"
    return bool(unexcused), (f"coverage: {len(measured)} parsers, {below}; the lowest is "
                             f"{label(least.parser)}, {percent(least.fuzzed, least.lines):.1f} % by fuzzing")


def main():
    kept = sys.argv[1:] == ["kept"]
    if sys.argv[1:] and not kept:
        sys.exit("usage: coverage.py [kept]")
    rows = parsers(PARSERS.read_text(encoding="utf-8"))
    by_fuzzer = by_fuzzers(0 if kept else SECONDS)
    by_tests = {} if kept else by_units()
    measured = [measure(one, (ROOT / one.source).read_text(encoding="utf-8"), by_fuzzer, by_tests)
                for one in rows]
    status, told = verdict(measured)
    for one in sorted(measured, key=lambda one: -percent(one.fuzzed, one.lines)):
        if not kept or percent(one.fuzzed, one.lines) < LEAST:
            missed = ",".join(map(str, sorted(one.lines - one.fuzzed)))
            why = f" ({one.parser.excuse})" if one.parser.excuse else ""
            print(f"{percent(one.fuzzed, one.lines):6.1f} %  {label(one.parser)}{why}"
                  + (f"  not reached: {missed[:60]}" if missed else ""))
    if not kept:
        write_pages(measured, by_fuzzer, by_tests, told.removeprefix("coverage: "))
        print(f"{B}/coverage/index.html")
    print(told)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())

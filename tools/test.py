"""make test: everything that can go red, in order, with a heading each; the last line counts. make quick: what
has changed, the unit tests and one boot.

Build twice and compare, the image by clang, unit tests, Python's tests, fuzzers, boots two at a
time. A section that breaks down counts as a failure, and the next one still runs; exit status 0
only if nothing failed. Surprise: a cmocka program that dies half-way counts as one failure more
than it could report.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

import finish_image
import matrix

ROOT = pathlib.Path(__file__).resolve().parent.parent
B = os.environ.get("B", "build")
# As `make B=...` puts it, seen from the root of the tree.
BUILD = ROOT / B
# Built from nothing, with every warning an error; the unit tests come from there.
AGAIN = f"{B}/again"
CLANG = os.environ.get("CLANG", "clang")
FUZZ_SECONDS = os.environ.get("FUZZ_SECONDS", "8")
BOOTS_AT_A_TIME = "2"  # two-core machines; a boot under one-thread TCG fills a core
JOBS = f"-j{os.cpu_count()}"
ONE_BOOT = "test_every_sign_of_the_checklist"  # make quick's
MINUTES = 60

# A test program has its own bounds; these end what has lost them.
UNIT_S, BUILD_S, PYTEST_S, BOOTS_S = 2 * MINUTES, 5 * MINUTES, 5 * MINUTES, 25 * MINUTES


PREFIX = {"unit": "test", "fuzz": "fuzz"}
# Of one source, and by another compiler.
TWINS = {"unit": ["smp/test_threads_clang", "smp/test_calls_clang"], "fuzz": []}


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, name, good):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(name)
            print(f"FAILED {name}", flush=True)

    def line(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def heading(text):
    print(f"\n==== {text}", flush=True)


def command(words, seconds, capture=False):
    """(exit status, output) of a program; status 124 when its time is over."""
    try:
        done = subprocess.run(words, cwd=ROOT, timeout=seconds, text=True, errors="replace",
                              stdout=subprocess.PIPE if capture else None,
                              stderr=subprocess.STDOUT if capture else None)
        return done.returncode, done.stdout or ""
    except subprocess.TimeoutExpired as e:
        print(f"out of time after {seconds} s: {' '.join(map(str, words))}")
        return 124, (e.stdout or b"").decode(errors="replace")


def make(*words, build=B):
    """Makes targets, a warning being an error; output is shown only if it fails."""
    words = ["make", "--no-print-directory", "-k", JOBS, "WERROR=1", f"B={build}", *words]
    status, output = command(words, BUILD_S, capture=True)
    if status:
        print(output)
    return status == 0


def programs(kind, build=B):
    """The programs of tests/KIND as paths below the host/ of a build."""
    folder = ROOT / "tests" / kind
    sources = folder.rglob(f"{PREFIX[kind]}_*.c")
    names = [*(source.relative_to(folder).with_suffix("") for source in sources), *TWINS[kind]]
    return sorted(f"{build}/host/{kind}/{name}" for name in names)


def test_builds(counts):
    heading("the image: proofs of the build, twice the same bytes, by clang too, no warnings")
    clang = f"{B}/again-clang"
    command(["rm", "-rf", AGAIN, clang], BUILD_S)
    counts.add("the image builds from nothing", make("all", "firmware", build=AGAIN))
    counts.add("the host programs build from nothing", make("host", build=AGAIN))
    images = [BUILD / "BOOTX64.EFI", ROOT / AGAIN / "BOOTX64.EFI"]
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() if p.exists() else None for p in images]
    print("\n".join(f"{d} {p.relative_to(ROOT) if p.is_relative_to(ROOT) else p}"
                    for d, p in zip(digests, images)))
    counts.add("two builds are the same bytes", digests[0] is not None and digests[0] == digests[1])
    size = images[0].stat().st_size if images[0].exists() else None
    print(f"{size} bytes")
    counts.add(f"the image has at most {finish_image.MAX_BYTES} bytes",
               size is not None and size <= finish_image.MAX_BYTES)
    counts.add("clang builds the image", make(f"CC={CLANG}", "all", "firmware", build=clang))
    counts.add("both compilers, and rustc, build the kernels of examples/", make("kernels", build=AGAIN))


def test_units(counts, build):
    heading("unit tests, under ASan and UBSan; races, under TSan")
    make(*programs("unit", build), build=build)
    for program in programs("unit", build):
        name = pathlib.Path(program).name
        if not (ROOT / program).exists():
            counts.add(f"{name} (not built)", False)
            continue
        status, output = command([ROOT / program], UNIT_S, capture=True)
        passed, failed, skipped = (
            sum(map(int, re.findall(rf"\[ +{word} +\] +(?:\w+: )?(\d+) test", output)))
            for word in ("PASSED", "FAILED", "SKIPPED"))
        print(f"{name}: {passed} passed, {failed} failed", flush=True)
        counts.passed += passed
        counts.skipped += skipped
        if failed:
            counts.failures.append(name)
        counts.failed += failed
        if status or failed:
            print(output)
        if passed + failed == 0 or (status and not failed):
            counts.add(f"{name} (exit status {status})", False)


def test_python(counts, folder, seconds, *options):
    results = BUILD / f"pytest-{folder}.xml"
    results.unlink(missing_ok=True)
    status, _ = command([sys.executable, "-B", "-m", "pytest", f"tests/{folder}", "--tb=short",
                         "-p", "no:cacheprovider", f"--junitxml={results}", *options], seconds)
    if status == 5:  # pytest found no test there
        return
    if not results.exists():
        counts.add(f"pytest tests/{folder} (exit status {status})", False)
        return
    cases = list(xml.etree.ElementTree.parse(results).iter("testcase"))
    for case in cases:
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("skipped") is not None:
            counts.skipped += 1
        else:
            bad = case.find("failure") is not None or case.find("error") is not None
            counts.passed += not bad
            counts.failed += bad
            counts.failures += [name] * bad
    if status not in (0, 1):
        counts.add(f"pytest tests/{folder} (exit status {status})", False)


def fuzz(program):
    return command(["tests/fuzz/run", program, FUZZ_SECONDS], int(FUZZ_SECONDS) + UNIT_S, capture=True)


def test_fuzzers(counts):
    heading(f"fuzzers, {FUZZ_SECONDS} s each")
    make(*programs("fuzz"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for program, (status, output) in zip(programs("fuzz"), pool.map(fuzz, programs("fuzz"))):
            print(output if status else "\n".join(output.splitlines()[-2:]), flush=True)
            counts.add(pathlib.Path(program).name, status == 0)


def test_kept_inputs(counts):
    heading("the parsers, by the fuzzers' kept inputs")
    status, output = command([sys.executable, "-B", "tools/coverage.py", "kept"], BUILD_S, capture=True)
    print(output.strip(), flush=True)
    counts.add("the kept inputs reach 90 % of each parser", status == 0)


def test_host_programs(counts, build):
    heading("tests of host programs and tools")
    os.environ["REVEILLE_BUILD"] = str(ROOT / build)
    test_python(counts, "unit", PYTEST_S)


def quick(counts):
    """In the build as it is: what has changed is built."""
    heading("the image and the host programs")
    counts.add("the image builds", make("all", "host"))
    test_units(counts, B)
    test_host_programs(counts, B)
    heading("one boot")
    test_python(counts, "boot", BOOTS_S, "-k", ONE_BOOT)


def everything(counts):
    test_builds(counts)
    test_units(counts, AGAIN)
    test_host_programs(counts, AGAIN)
    test_fuzzers(counts)
    test_kept_inputs(counts)
    heading(f"boots, {BOOTS_AT_A_TIME} at a time")
    cells = BUILD / "matrix.txt"
    cells.unlink(missing_ok=True)
    test_python(counts, "boot", BOOTS_S, "-n", BOOTS_AT_A_TIME, "-v")
    if cells.exists():
        heading("faults injected, and the verdicts on them")
        print("\n".join(matrix.table(cells.read_text(encoding="ascii").splitlines())))


def main():
    if sys.argv[1:] not in ([], ["quick"]):
        sys.exit("usage: test.py [quick]")
    started = time.monotonic()
    counts = Counts()
    quick(counts) if sys.argv[1:] else everything(counts)
    heading(f"after {time.monotonic() - started:.0f} s")
    for name in counts.failures:
        print(f"FAILED {name}")
    print(counts.line())
    return 1 if counts.failed or not counts.passed else 0


if __name__ == "__main__":
    sys.exit(main())

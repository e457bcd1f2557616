"""make hostile: runs the tests that docs/hostile.md names and prints a line for each of its rows.

A row's last cell names its tests, as `tests/boot/test_x.py::test_y` or `tests/unit/ROOM/test_x.c::test_y`.
Surprise: a row passes only if each of its tests ran and passed; a test that was skipped, renamed or
never started is a failure, so the page cannot promise what nothing shows.
"""

import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
B = os.environ.get("B", "build")
BUILD = ROOT / B
PAGE = ROOT / "docs/hostile.md"
BOOTS_AT_A_TIME = "2"  # two-core machines; a boot under one-thread TCG fills a core
MINUTE = 60
TEST = re.compile(r"`(tests/[\w/]+/test_\w+\.(?:py|c))::(test_\w+)`")


def rows(page):
    """[(what happens, [(file, test), ...])] of the page's tables. A row of another shape is an error, so
    that none is passed over."""
    found = []
    for line in page.splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        tests = TEST.findall(cells[-1]) if len(cells) == 3 else []
        if cells[0] in ("what happens", "---"):
            continue
        if not tests or len(tests) != len(cells[2].split()):
            raise ValueError(f"not a case, what is done and its tests: {line}")
        found.append((cells[0].replace("`", ""), tests))
    return found


def run_python(tests, folder):
    """{(file, test): passed} of the pytest tests in tests/`folder`; every case of a parametrized one
    must pass."""
    names = [f"{file}::{test}" for file, test in tests]
    results = BUILD / f"hostile-{folder}.xml"
    results.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-B", "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider",
                    "-n", BOOTS_AT_A_TIME if folder == "boot" else "0",
                    f"--junitxml={results}", *names], cwd=ROOT, timeout=30 * MINUTE, check=False)
    passed = {}
    cases = xml.etree.ElementTree.parse(results).iter("testcase") if results.exists() else ()
    for case in cases:
        key = (case.get("classname").replace(".", "/") + ".py", case.get("name").split("[")[0])
        bad = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        passed[key] = passed.get(key, True) and not bad
    return passed


def run_units(tests):
    """{(file, test): passed} of the cmocka tests, from their programs' TAP."""
    passed = {}
    for file in sorted({file for file, _ in tests}):
        program = f"host/{pathlib.Path(file).relative_to('tests').with_suffix('')}"
        subprocess.run(["make", "--no-print-directory", f"B={B}", f"{B}/{program}"],
                       cwd=ROOT, timeout=5 * MINUTE, check=False)
        if not (BUILD / program).exists():
            continue
        done = subprocess.run([BUILD / program], cwd=ROOT, timeout=2 * MINUTE, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
        outcomes = re.findall(r"^(not ok|ok) \d+ - (\w+)(.*)$", done.stdout, re.M)
        for outcome, test, rest in outcomes:
            passed[file, test] = outcome == "ok" and "SKIP" not in rest
        if any(outcome != "ok" for outcome, _, _ in outcomes):
            print(done.stdout)
    return passed


def main():
    os.environ["REVEILLE_BUILD"] = str(BUILD)  # for the tests of host programs
    cases = rows(PAGE.read_text(encoding="utf-8"))
    tests = sorted({test for _, named in cases for test in named})
    passed = run_units([t for t in tests if t[0].endswith(".c")])
    for folder in ("unit", "boot"):
        python = [t for t in tests if t[0].startswith(f"tests/{folder}/") and t[0].endswith(".py")]
        if python:
            passed |= run_python(python, folder)
    failed = 0
    for what, named in cases:
        missing = [f"{file}::{test}" for file, test in named if not passed.get((file, test))]
        good = named and not missing
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {what}")
        for name in missing:
            print(f"         {name}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())

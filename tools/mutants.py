"""make mutants: breaks the product in the ways that tests/mutants.toml names, one at a time, and tells which
tests notice. The last line counts them; exit status 0 only if each was noticed. ONLY=name runs one, and
ONLY="fence-* late-*" some.

All happens in copies of the tree below build/mutants/, one for each core, so that a mutant costs the build
of one file. First the tests that will be asked have to pass on what is not broken. Who outlives the tests that
its entry names is shown to all the others before it counts as a survivor.
Surprise: a mutant that does not build is no mutant but an error of the table, unless its entry has the words
by which a check of the build refuses it; and an old text that does not stand exactly once in its file is one,
too (tests/unit/tools/test_mutants.py sees to that in `make test`).
"""

import collections
import concurrent.futures
import dataclasses
import fcntl
import fnmatch
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
B = os.environ.get("B", "build")
TABLE = ROOT / "tests/mutants.toml"
COPIES = ROOT / B / "mutants"

# The copies lack them: that an old text is not there any more is no news of a mutant.
ABOUT_MUTANTS = {"tests/mutants.toml", "tests/unit/tools/test_mutants.py"}

# So many times as long as on what is not broken, and so long at least: then a test hangs.
SLOWER, PATIENCE_S = 20, 30
BUILD_S, ALL_UNITS_S, ALL_BOOTS_S = 600, 300, 2700
NAMES_SHOWN = 3
COPIES_MOST = 8  # each takes 50 MB of the disk, and a boot 512 MB of memory

HUNG = "hung"
# What a program dies of that no test of it has failed in.
SANITIZED = re.compile(r"\w+Sanitizer: [\w-]+( race)?|runtime error: .*")


@dataclasses.dataclass
class Mutant:
    name: str
    breaks: str  # what is wrong then, in a sentence
    file: str
    old: str  # stands exactly once in the file
    new: str
    ask: list = dataclasses.field(default_factory=list)  # ROOM/test_x, or a test as pytest names it
    build: str = ""  # instead of tests: words of the check of the build that refuses it
    no_test: str = ""  # instead of both: why none can notice; it is not run, and not counted


def read_table(text):
    """The mutants of a table, and what is wrong with it as a list of sentences."""
    mutants, wrong = [], []
    fields = {field.name for field in dataclasses.fields(Mutant)}
    for name, entry in tomllib.loads(text).items():
        unknown = set(entry) - fields
        missing = {"breaks", "file", "old", "new"} - set(entry)
        if unknown or missing:
            wrong.append(f"{name}: unknown {sorted(unknown)}, missing {sorted(missing)}")
        else:
            mutants.append(Mutant(name=name, **entry))
    return mutants, wrong + [sentence for mutant in mutants for sentence in faults(mutant)]


def faults(mutant):
    """What is wrong with an entry."""
    path = ROOT / mutant.file
    if not path.is_file():
        yield f"{mutant.name}: there is no file {mutant.file}"
        return
    count = path.read_text(encoding="utf-8").count(mutant.old) if mutant.old else 0
    if count != 1:
        yield f"{mutant.name}: the old text stands {count} times in {mutant.file}, and not once"
    if mutant.new == mutant.old:
        yield f"{mutant.name}: nothing changes"
    if sum(bool(ways) for ways in (mutant.ask, mutant.build, mutant.no_test)) != 1:
        yield f"{mutant.name}: one of ask=, build= and no_test= is wanted"
    for test in mutant.ask:
        if not source_of(test).is_file():
            yield f"{mutant.name}: there is no test {test}"


def is_program(test):
    return not test.startswith("tests/")


def source_of(test):
    return ROOT / (f"tests/unit/{test}.c" if is_program(test) else test.split("::")[0])


def programs(tree):
    folder = tree / "tests/unit"
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/test_*.c"))


# ---- a copy of the tree ----


class Refused(Exception):
    """What is no answer to whether somebody notices: a sentence, and what was said before it."""

    def __init__(self, sentence, output=""):
        super().__init__(sentence)
        self.output = output


class Copy:
    def __init__(self, path):
        self.path = path
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("B", "MAKEFLAGS", "MFLAGS", "REVEILLE_LOGS")}
        self.environment["REVEILLE_BUILD"] = str(path / "build")

    def take_tree(self):
        """A copy of the tree as it is, with nothing built: what an interrupted run left is not believed."""
        def left_out(folder, names):
            here = pathlib.Path(folder).relative_to(ROOT)
            return [name for name in names if name in (".git", "__pycache__") or
                    str(here / name) in {"build", B, *ABOUT_MUTANTS}]
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(ROOT, self.path, symlinks=True, ignore=left_out)

    def take_copy(self, other):
        """A copy of another one with what is built there: times and relative paths are the same."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(other.path, self.path, symlinks=True)

    def run(self, words, seconds):
        """(exit status, output); HUNG instead of the status when the time is over."""
        try:
            done = subprocess.run(words, cwd=self.path, env=self.environment, timeout=seconds, text=True,
                                  errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            return done.returncode, done.stdout
        except subprocess.TimeoutExpired:
            return HUNG, ""

    def build(self, *targets):
        status, output = self.run(["make", "--no-print-directory", f"-j{os.cpu_count()}", *targets], BUILD_S)
        if status != 0:
            raise Refused(f"it does not build: {first_complaint(output)}", output)

    def build_for(self, tests):
        targets = {f"build/host/unit/{test}" for test in tests if is_program(test)}
        if any(test.startswith("tests/unit/") for test in tests):
            targets |= {"all", "host"}
        if any(test.startswith("tests/boot/") for test in tests):
            targets |= {"all", "firmware", "image"}
        if any("test_kernels" in test for test in tests):
            targets |= {"kernels"}
        if targets:
            self.build(*sorted(targets))

    def ask(self, test, seconds):
        """Which tests fail: [] if all pass."""
        if is_program(test):
            status, output = self.run([f"build/host/unit/{test}"], seconds)
            failed = [f"{test}: {name}" for name in
                      dict.fromkeys(re.findall(r"^\[  FAILED  \] (\w+)$", output, re.M))]
        else:
            status, output = self.run(pytest(test), seconds)
            failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
        if status == HUNG:
            return [f"{test}: {HUNG}"]
        if status != 0 and not failed and not is_program(test):
            raise Refused(f"{test} does not run", output)
        return failed if failed or status == 0 else [f"{test}: {last_words(output, status)}"]

    def must_pass(self, test):
        """The seconds that a test takes on what is not broken; it is an error if it fails, or is skipped."""
        started = time.monotonic()
        if is_program(test):
            status, output = self.run([f"build/host/unit/{test}"], ALL_UNITS_S)
        else:
            status, output = self.run(pytest(test), ALL_BOOTS_S)
            if status == 0 and re.search(r"\d+ skipped", output):
                status = "skipped"
        if status != 0:
            raise Refused(f"{test} does not pass before anything is broken ({status})", output)
        return time.monotonic() - started


def first_complaint(output):
    """The line of make's output that says most."""
    lines = output.splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "nothing said")


def last_words(output, status):
    """The test in which a program died, and of what."""
    died = SANITIZED.search(output)
    running = re.findall(r"^\[ RUN +\] (\w+)", output[:died.start()] if died else output, re.M)
    reason = died[0] if died else f"exit status {status}"
    return f"{running[-1]} ({reason})" if running else reason


def pytest(*words):
    return [sys.executable, "-B", "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", *words]


# ---- one mutant ----


@dataclasses.dataclass
class Outcome:
    mutant: Mutant
    seconds: float
    noticed: list  # tests, by name
    by_those_asked: bool = True
    error: str = ""

    def text(self):
        if self.error:
            return f"ERROR: {self.error}"
        if not self.noticed:
            return "SURVIVES"
        return brief(self.noticed) + ("" if self.by_those_asked else " (none of those asked first)")


def brief(names):
    """The first of them, each program named once."""
    shown, last = [], None
    for name in names[:NAMES_SHOWN]:
        program, _, test = name.rpartition(": ")
        shown.append(test if program and program == last else name)
        last = program
    more = len(names) - NAMES_SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def ask_all(copy):
    """Everybody, in the order of what they cost; who notices first is enough."""
    units = programs(copy.path)
    copy.build("all", "host", "firmware", "image", "kernels", *(f"build/host/unit/{test}" for test in units))
    for test in units:
        if failed := copy.ask(test, ALL_UNITS_S):
            return failed
    return copy.ask("tests/unit", ALL_UNITS_S) or copy.ask("tests/boot", ALL_BOOTS_S)


def witness(name):
    """Whom to ask for this test alone; of a program all."""
    program = name.split(": ")[0]
    return program if is_program(program) or name.endswith(f": {HUNG}") else name


def noticed_by(copy, mutant, patience):
    """(the tests that fail, whether those that were asked first were enough)."""
    if mutant.build:
        copy.build("all", "host")
    copy.build_for(mutant.ask)
    failed = [name for test in mutant.ask for name in copy.ask(test, patience[test])]
    return (failed, True) if failed else (ask_all(copy), False)


def try_mutant(copy, mutant, patience):
    """Breaks one thing, asks, and puts it back."""
    started = time.monotonic()
    path = copy.path / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    noticed, by_those_asked, error = [], True, ""
    try:
        noticed, by_those_asked = noticed_by(copy, mutant, patience)
    except Refused as e:
        if mutant.build and mutant.build in e.output:
            noticed = [f"the build: {mutant.build}"]
        else:
            error = str(e)
    finally:
        path.write_text(text, encoding="utf-8")
    try:
        if not by_those_asked:  # then nobody has seen these pass yet
            witnesses = list(dict.fromkeys(witness(name) for name in noticed))
            copy.build_for(witnesses)
            for test in witnesses:
                copy.must_pass(test)
    except Refused as e:
        noticed, error = [], str(e)
    return Outcome(mutant, time.monotonic() - started, noticed, by_those_asked, error)


# ---- all ----


class Pool:
    """As many copies as cores, and somebody who works in each."""

    def __init__(self, count):
        self.copies = [Copy(COPIES / str(number)) for number in range(1, count + 1)]
        self.free = queue.SimpleQueue()
        for copy in self.copies:
            self.free.put(copy)
        self.executor = concurrent.futures.ThreadPoolExecutor(count)

    def in_a_copy(self, what, *words):
        copy = self.free.get()
        try:
            return what(copy, *words)
        finally:
            self.free.put(copy)

    def submit(self, what, *words):
        return self.executor.submit(self.in_a_copy, what, *words)

    def prepare(self, tests):
        """Builds, copies what is built, and asks all of these tests; returns how long each may take."""
        first, *others = self.copies
        first.take_tree()
        first.build_for(tests)
        for copy in others:
            copy.take_copy(first)
        futures = {test: self.submit(Copy.must_pass, test) for test in tests}
        return {test: max(PATIENCE_S, SLOWER * future.result()) for test, future in futures.items()}


def alone():
    """Keeps others out of the copies as long as what it returns is open."""
    COPIES.mkdir(parents=True, exist_ok=True)
    lock = open(COPIES / "lock", "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(f"another run is at work in {COPIES}") from None
    return lock


def say(text):
    print(text, flush=True)


def run(mutants):
    with alone():
        pool = Pool(min(os.cpu_count(), len(mutants), COPIES_MOST))
        try:
            return try_all(mutants, pool)
        finally:
            pool.executor.shutdown(cancel_futures=True)  # after Ctrl-C nothing more is begun


def try_all(mutants, pool):
    asked = dict.fromkeys(test for mutant in mutants for test in mutant.ask)
    tests = sorted(asked, key=is_program)  # boots first
    say(f"{len(mutants)} mutants in {len(pool.copies)} copies of the tree; first it is built, and the "
        f"{len(tests)} tests that will be asked have to pass")
    patience = pool.prepare(tests)
    slowest_first = sorted(mutants, key=lambda mutant: -sum(patience[test] for test in mutant.ask))
    futures = [pool.submit(try_mutant, mutant, patience) for mutant in slowest_first]
    outcomes = []
    for future in concurrent.futures.as_completed(futures):
        outcome = future.result()
        outcomes.append(outcome)
        say(f"{len(outcomes):3}/{len(mutants)} {outcome.mutant.name:28} {outcome.seconds:5.0f} s  "
            f"{outcome.text()}")
    return outcomes


def summary(outcomes, excused):
    """The lines at the end, and the exit status."""
    lines = []
    rooms = collections.Counter(outcome.mutant.file.split("/")[0] for outcome in outcomes)
    lines.append("by room: " + ", ".join(f"{room} {count}" for room, count in sorted(rooms.items())))
    lines += [f"no test can notice {mutant.name} ({mutant.breaks}): {mutant.no_test}" for mutant in excused]
    lines += [f"{'error' if o.error else 'survives'}: {o.mutant.name} in {o.mutant.file}: {o.mutant.breaks}"
              for o in outcomes if not o.noticed]
    noticed = sum(bool(outcome.noticed) for outcome in outcomes)
    lines.append(f"mutants: {noticed} of {len(outcomes)} noticed")
    return lines, 0 if noticed == len(outcomes) else 1


def main():
    mutants, wrong = read_table(TABLE.read_text(encoding="utf-8"))
    if wrong:
        sys.exit("\n".join(wrong))
    wanted = os.environ.get("ONLY", "").split() or ["*"]
    chosen = [mutant for mutant in mutants
              if any(fnmatch.fnmatch(mutant.name, pattern) for pattern in wanted)]
    excused = [mutant for mutant in chosen if mutant.no_test]
    chosen = [mutant for mutant in chosen if not mutant.no_test]
    if not chosen:
        sys.exit(f"no mutant of that name: {' '.join(wanted)}")
    started = time.monotonic()
    try:
        outcomes = run(chosen)
    except Refused as e:
        sys.exit(f"{e.output[-5000:]}\n{e}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    say(f"after {time.monotonic() - started:.0f} s")
    lines, status = summary(outcomes, excused)
    say("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())

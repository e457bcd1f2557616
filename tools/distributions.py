"""make distributions: a new user's `make run` on each Debian that README names, and on testing; with TEST=yes
the whole `make test` on those with newer compilers than ours, by the newest GCC and clang that each packages.

For each a chroot by mmdebstrap, from the mirror that the machine itself uses, with git and make and nothing
else; in it a clone of HEAD. One line each at the end, the tests that failed below it, and exit status 0 only
if none failed and at least one was tried; a release that cannot be set up here is told as skipped. SUITES=
names others, KEEP=yes leaves the chroots and says where.
Surprise: what is mounted for a chroot is mounted in a name space of its own and is gone with the last
process in it, however that ends, so removing the folder afterwards is safe.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / os.environ.get("B", "build")
MINUTE = 60
# A bound, not an estimate: some 100 packages to set up.
SET_UP_S = 15 * MINUTE
# What the machine's apt was told of its mirror holds in the chroot, too.
APT_OPTIONS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries",
               "Acquire::http::Proxy", "Acquire::https::Proxy")

# Beside the tree, what a user's commands may expect of a machine: /proc, /dev, /sys. The kernel's settings
# are the machine's, and a package of the chroot's would make them its own. It becomes the root of the name
# space: in a mere chroot nobody gets a user name space (user_namespaces(7)), as a test wants one.
ENTER = """\
set -e
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --rbind /dev dev
mount --rbind /sys sys
mount --move . /
exec chroot . /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    LC_ALL=C.UTF-8 sh -ec "$2"
"""
CLONE = """\
cd /root
git -c advice.detachedHead=no -c init.defaultBranch=main clone -q reveille.bundle reveille
cd reveille
"""
# The newest compilers are told to make, and to VERSIONS; the release's own come along by tools/setup.
TEST = """\
export DEBIAN_FRONTEND=noninteractive
newest() { apt-cache search --names-only "^$1-[0-9]+\\$" | sed 's/ .*//' | sort -V | tail -n 1; }
apt-get -q update
gcc=$(newest gcc) clang=$(newest clang)
apt-get -q -y install --no-install-recommends $gcc $clang libclang-rt-${clang#clang-}-dev llvm-${clang#clang-}
echo "gcc=$gcc clang=$clang" >/root/compilers
make test CC=$gcc HOSTCC=$gcc CLANG=$clang
"""
VERSIONS = """\
. /etc/os-release
gcc=gcc clang=
[ ! -e /root/compilers ] || . /root/compilers
echo "name=$PRETTY_NAME"
echo "gcc=$($gcc -dumpfullversion)"
[ -z "$clang" ] || echo "clang=$($clang -dumpversion)"
echo "ld=$(ld --version | sed -n '1s/.* //p')"
echo "gnu-efi=$(dpkg-query -W -f '${Version}' gnu-efi)"
echo "ovmf=$(dpkg-query -W -f '${Version}' ovmf)"
echo "qemu=$(qemu-system-x86_64 --version | sed -n '1s/.*version \\([^ ]*\\).*/\\1/p')"
"""


@dataclasses.dataclass
class Trial:
    """What is done in each chroot."""

    name: str
    suites: tuple
    script: str
    seconds: int  # a bound
    success: str  # a line that only a good run says


# Some 200 packages to install, and one boot, which has its own bound.
RUN = Trial("make run", ("trixie", "bookworm", "testing"), "make run", 30 * MINUTE, r"^REVEILLE ev=end ok=1 ")
# As many packages, and an hour for what takes up to 20 minutes on a quiet machine.
WHOLE = Trial("make test", ("trixie", "testing"), TEST, RUN.seconds + 60 * MINUTE, r"^\d+ passed, 0 failed")


class Skipped(Exception):
    """The release is not to be had here; the message says why."""


@dataclasses.dataclass
class Outcome:
    suite: str
    verdict: str  # "ok", "FAILED", "skipped"
    why: str = ""
    seconds: float = 0
    versions: dict = dataclasses.field(default_factory=dict)
    failures: list = dataclasses.field(default_factory=list)  # lines

    def text(self):
        programs = [f"{name} {version or '?'}" for name, version in self.versions.items() if name != "name"]
        facts = [f"{self.versions['name']}:" if self.versions else "", ", ".join(programs),
                 f"({self.seconds:.0f} s)", self.why]
        line = " ".join([f"{self.verdict:7} {self.suite:9}", *filter(None, facts)])
        return "\n    ".join([line, *self.failures])


def command(words, seconds, log):
    """The exit status of a program and all that it started; None when its time is over."""
    process = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def apt_options():
    dump = subprocess.run(["apt-config", "dump", "--no-empty"], check=True, capture_output=True, text=True)
    pattern = re.compile(rf"(?:{'|'.join(APT_OPTIONS)}) .*;")
    return [line for line in dump.stdout.splitlines() if pattern.fullmatch(line)]


def first_complaint(log):
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if line.startswith(("E: ", "setup: "))), "no message")


def set_up(suite, chroot, sources, log):
    with open(log, "w", encoding="utf-8") as out:
        if command([ROOT / "tools/setup", "sources", suite, sources], MINUTE, out):
            raise Skipped(first_complaint(log))
        source = next(sources.iterdir())
        include = "git,make" + (",ca-certificates" if "https:" in source.read_text() else "")
        words = ["mmdebstrap", "--mode=root", "--variant=apt", f"--include={include}",
                 *(f"--aptopt={option}" for option in apt_options()), suite, chroot, source]
        status = command(words, SET_UP_S, out)
    if status is None:
        raise Skipped(f"not set up in {SET_UP_S} s")
    if status:
        raise Skipped(first_complaint(log))


def versions(chroot):
    told = subprocess.run(["chroot", chroot, "sh", "-c", VERSIONS], capture_output=True, text=True, check=False,
                          timeout=MINUTE).stdout
    return dict(line.split("=", 1) for line in told.splitlines())


@contextlib.contextmanager
def folder():
    """A temporary one, since mmdebstrap does not take every path."""
    home = tempfile.mkdtemp(prefix="reveille-")
    try:
        yield home
    finally:
        if os.environ.get("KEEP") == "yes":
            print(f"distributions: kept {home}/root", flush=True)
        else:
            shutil.rmtree(home)


def judge(trial, status, log):
    """What went wrong, or nothing; a count of tests, or none; and the lines of those that failed."""
    text = log.read_text(errors="replace")
    counts = re.findall(r"^\d+ passed, \d+ failed(?:, \d+ skipped)?$", text, re.M)[-1:]
    if status == 0 and re.search(trial.success, text, re.M):
        return "", counts, []
    wrong = f"out of time after {trial.seconds} s" if status is None else f"exit status {status}"
    summary = text.rpartition("\n==== after ")[2]  # tools/test.py's, or all that came before the end
    failed = dict.fromkeys(re.findall(r"^FAILED .*", summary, re.M))
    return f"{trial.name}: {wrong}, see {log}", counts, list(failed)


def try_suite(trial, suite, bundle, log):
    started = time.monotonic()
    with folder() as home:
        os.chmod(home, 0o755)  # apt downloads as a user of its own
        chroot, sources = pathlib.Path(home, "root"), pathlib.Path(home, "sources")
        sources.mkdir()
        try:
            set_up(suite, chroot, sources, log)
        except Skipped as e:
            return Outcome(suite, "skipped", str(e), time.monotonic() - started)
        shutil.copyfile(bundle, chroot / "root/reveille.bundle")
        for name in ("resolv.conf", "hosts"):
            shutil.copyfile(f"/etc/{name}", chroot / "etc" / name)
        with open(log, "a", encoding="utf-8") as out:
            words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh", chroot,
                     CLONE + trial.script]
            status = command(words, trial.seconds, out)
        wrong, counts, failures = judge(trial, status, log)
        return Outcome(suite, "FAILED" if wrong else "ok", "; ".join(filter(None, [*counts, wrong])),
                       time.monotonic() - started, versions(chroot), failures)


def make_bundle(bundle):
    """HEAD as one file. The tree may be another user's, when root tries it."""
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT]
    dirty = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    if dirty:
        print("distributions: HEAD is tried, and the tree has changes that are not in it:\n" + dirty, end="")
    subprocess.run([*git, "bundle", "create", "--quiet", bundle, "HEAD"], check=True)


def main():
    trial = WHOLE if os.environ.get("TEST") == "yes" else RUN
    logs = BUILD / "distributions"
    logs.mkdir(parents=True, exist_ok=True)
    bundle = logs / "reveille.bundle"
    make_bundle(bundle)
    outcomes = []
    for suite in os.environ.get("SUITES", "").split() or trial.suites:
        log = logs / f"{suite}.log"
        print(f"distributions: {trial.name} on {suite}, in full in {log}", flush=True)
        outcomes.append(try_suite(trial, suite, bundle, log))
    print(*(outcome.text() for outcome in outcomes), sep="\n")
    counts = {word: sum(o.verdict == word for o in outcomes) for word in ("ok", "FAILED", "skipped")}
    print(f"{counts['ok']} passed, {counts['FAILED']} failed, {counts['skipped']} skipped")
    return 1 if counts["FAILED"] or not counts["ok"] else 0


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("distributions: a chroot is root's to make: sudo make distributions")
    try:
        sys.exit(main())
    except (OSError, subprocess.SubprocessError) as e:
        sys.exit(f"distributions: {e}")
    except KeyboardInterrupt:
        sys.exit(130)

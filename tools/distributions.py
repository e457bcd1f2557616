"""make distributions: a new user's `make run` on each Debian that README names, and on testing.

For each a chroot by mmdebstrap, from the mirror that the machine itself uses, with git and make and nothing
else; in it a clone of HEAD, and `make run`. One line each at the end, and exit status 0 only if none failed
and at least one was tried; a release that cannot be set up here is told as skipped. SUITES= names others.
Surprise: what is mounted for a chroot is mounted in a name space of its own and is gone with the last
process in it, however that ends, so removing the folder afterwards is safe.
"""

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
SUITES = ("trixie", "bookworm", "testing")
MINUTE = 60
# Bounds, not estimates: some 100 packages to set up, some 200 to install and one boot, which has its own.
SET_UP_S, RUN_S = 15 * MINUTE, 30 * MINUTE
# What the machine's apt was told of its mirror holds in the chroot, too.
APT_OPTIONS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries",
               "Acquire::http::Proxy", "Acquire::https::Proxy")

# Beside the tree, what `make run` may expect of a machine: /proc, /dev, /sys.
RUN = """\
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --rbind /sys "$1/sys"
exec chroot "$1" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    LC_ALL=C.UTF-8 sh -c 'git clone -q /root/reveille.bundle /root/reveille && cd /root/reveille && make run'
"""
VERSIONS = """\
. /etc/os-release
echo "name=$PRETTY_NAME"
echo "gcc=$(gcc -dumpfullversion)"
echo "ld=$(ld --version | sed -n '1s/.* //p')"
echo "gnu-efi=$(dpkg-query -W -f '${Version}' gnu-efi)"
echo "qemu=$(qemu-system-x86_64 --version | sed -n '1s/.*version \\([^ ]*\\).*/\\1/p')"
"""


class Skipped(Exception):
    """The release is not to be had here; the message says why."""


@dataclasses.dataclass
class Outcome:
    suite: str
    verdict: str  # "ok", "FAILED", "skipped"
    why: str = ""
    seconds: float = 0
    versions: dict = dataclasses.field(default_factory=dict)

    def line(self):
        v = self.versions
        programs = [f"{name} {v.get(name) or '?'}" for name in ("gcc", "ld", "gnu-efi", "qemu")] if v else []
        facts = [f"{v['name']}:" if v else "", ", ".join(programs), f"({self.seconds:.0f} s)", self.why]
        return " ".join([f"{self.verdict:7} {self.suite:9}", *filter(None, facts)])


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


def try_suite(suite, bundle, log):
    """Everything in a temporary folder, since mmdebstrap does not take every path."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="reveille-") as home:
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
            status = command(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", RUN, "sh",
                              chroot], RUN_S, out)
        lines = log.read_text(errors="replace").splitlines()
        good = status == 0 and any(re.match(r"REVEILLE ev=end ok=1 ", line) for line in lines)
        why = "" if good else (f"make run: out of time after {RUN_S} s" if status is None
                               else f"make run: exit status {status}") + f", see {log}"
        return Outcome(suite, "ok" if good else "FAILED", why, time.monotonic() - started, versions(chroot))


def make_bundle(bundle):
    """HEAD as one file. The tree may be another user's, when root tries it."""
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT]
    dirty = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    if dirty:
        print("distributions: HEAD is tried, and the tree has changes that are not in it:\n" + dirty, end="")
    subprocess.run([*git, "bundle", "create", "--quiet", bundle, "HEAD"], check=True)


def main():
    logs = BUILD / "distributions"
    logs.mkdir(parents=True, exist_ok=True)
    bundle = logs / "reveille.bundle"
    make_bundle(bundle)
    outcomes = []
    for suite in os.environ.get("SUITES", "").split() or SUITES:
        log = logs / f"{suite}.log"
        print(f"distributions: {suite}, in full in {log}", flush=True)
        outcomes.append(try_suite(suite, bundle, log))
    print(*(outcome.line() for outcome in outcomes), sep="\n")
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

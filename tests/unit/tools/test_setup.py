"""tools/setup's choice of a QEMU, by an apt of our own: from the release, from its backports, or an old one.

Surprise: PATH has nothing but this apt and what setup may assume of a fresh machine, so no program of the
machine's own counts as installed; of what `run` needs only QEMU is then missing.
"""

import pathlib
import shutil
import subprocess

import pytest

QEMU = "qemu-system-x86_64"
ROOT = pathlib.Path(__file__).resolve().parents[3]
ASSUMED = "awk basename bash cat chmod dirname env head ln mktemp readlink rm sed".split()

# What apt-get is told to do stands in apt.log. A suite's QEMU is in the file of its name, if there is one.
APT_GET = """\
echo "$*" >>{home}/apt.log
suite=release
[[ "$*" != *sourceparts* ]] || suite=backports
case " $* " in
*" indextargets "*) cat {home}/entry ;;
*" update "*) [ -e {home}/$suite ] ;;
*" install "*qemu-system-x86*)
    printf '#!/bin/bash\\necho "QEMU emulator version %s (Debian)"\\n' "$(cat {home}/$suite)" >{home}/{qemu}
    chmod 755 {home}/{qemu} ;;
esac
"""
APT_CACHE = """\
suite=release
[[ "$*" != *sourceparts* ]] || suite=backports
echo "  Candidate: 1:$(cat {home}/$suite)+ds-1"
"""
SOURCE = "Types: deb\nURIs: http://mirror.example/debian\nSuites: stable\nComponents: main\n"


class Fresh:
    """A machine whose release, and the backports of it, have these versions of QEMU."""

    def __init__(self, home, release=None, backports=None, debian=True, installed=None):
        self.home = home
        for name in ASSUMED:
            (home / name).symlink_to(shutil.which(name))
        self.program("id", "echo 0")
        if installed:
            self.program(QEMU, f'echo "QEMU emulator version {installed} (Debian)"')
        if not release:
            return
        self.program("apt-get", APT_GET.format(home=home, qemu=QEMU))
        self.program("apt-cache", APT_CACHE.format(home=home))
        self.program("apt-config", f"echo d={home}/parts")
        (home / "machine.sources").write_text(SOURCE)
        (home / "entry").write_text(f"{home}/machine.sources:1\n" if debian else "")
        for suite, version in (("release", release), ("backports", backports)):
            if version:
                (home / suite).write_text(version)

    def program(self, name, text):
        (self.home / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.home / name).chmod(0o755)

    def setup(self, *roles, **environment):
        return subprocess.run(["bash", "tools/setup", *(roles or ("run",))], cwd=ROOT, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
                              env={"PATH": str(self.home), "OVMF": "a.fd", **environment})

    def asked(self):
        """What apt-get was told to do since the last time, but for looking at its sources."""
        log = self.home / "apt.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if "indextargets" not in line]


def assert_good(done):
    assert done.returncode == 0, done.stdout + done.stderr


def assert_silent(done):
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_release_has_one(tmp_path):
    machine = Fresh(tmp_path, release="10.0.2")
    assert_good(machine.setup())
    assert machine.asked() == ["-q -y update", "-q -y install --no-install-recommends qemu-system-x86"]
    assert_silent(machine.setup())
    assert machine.asked() == []


def test_the_backports_have_one(tmp_path):
    machine = Fresh(tmp_path, release="7.2", backports="10.0.2")
    assert_good(machine.setup())
    asked = machine.asked()
    assert [line.split()[2:][-1] for line in asked] == ["update", "update", "qemu-system-x86"], asked
    assert "sourceparts" in asked[1] and "sourceparts" in asked[2]
    assert_silent(machine.setup())


@pytest.mark.parametrize("backports, debian", [(None, True), ("7.2", True), (None, False)],
                         ids=["no-such-suite", "none-newer", "not-debian"])
def test_no_newer_one_is_to_be_had(tmp_path, backports, debian):
    machine = Fresh(tmp_path, release="8.2.2", backports=backports, debian=debian)
    done = machine.setup()
    assert_good(done)
    assert "QEMU is older than 9 here: taking 8, which emulates no x2APIC\n" in done.stdout
    assert machine.asked()[-1] == "-q -y install --no-install-recommends qemu-system-x86"


def test_an_old_one_is_not_looked_at_twice(tmp_path):
    machine = Fresh(tmp_path, release="8.2.2", debian=False, installed="8.2.2")
    assert_silent(machine.setup())
    assert machine.asked() == []


@pytest.mark.parametrize("role", ["test", "bench"])
@pytest.mark.parametrize("installed", [None, "8.2.2"])
def test_an_old_one_is_no_use_to_tests_and_bench(tmp_path, role, installed):
    machine = Fresh(tmp_path, release="8.2.2", debian=False, installed=installed)
    done = machine.setup("run", role)
    assert done.returncode == 1
    assert done.stderr == ("setup: the tests and the bench need QEMU 9 or newer, for its x2APIC, and apt has "
                           "8; make run goes without\n")
    assert machine.asked() == ["-q -y update"]  # nothing else is installed in vain


def test_one_that_is_too_old(tmp_path):
    done = Fresh(tmp_path, release="5.2", debian=False, installed="5.2").setup()
    assert done.returncode == 1 and done.stderr == "setup: QEMU has to be 7 or newer, and apt has 5\n"


def test_an_old_one_that_is_there_by_choice(tmp_path):
    machine = Fresh(tmp_path, release="7.2", backports="10.0.2", installed="7.2")
    assert_silent(machine.setup(OLD_QEMU="1"))
    done = machine.setup()
    assert_good(done)
    assert "with OLD_QEMU=1 the one that is there will do, without an x2APIC\n" in done.stdout
    assert "sourceparts" in machine.asked()[-1]


def test_an_old_one_without_apt(tmp_path):
    machine = Fresh(tmp_path, installed="8.1.3")
    assert_silent(machine.setup())
    done = machine.setup("run", "test")
    assert done.returncode == 1 and "QEMU has to be 9 or newer\n" in done.stdout
    assert done.stderr.startswith("setup: no apt here")


# Keeps what it was told of sources, and has the one package that {home}/packages names.
APT_OF_SOURCES = """\
case " $* " in
*" indextargets "*) cat {home}/entry ;;
*" update "*) cat "$(sed -E 's/.*sourceparts=([^ ]*).*/\\1/' <<<"$*")"/* >{home}/sources ;;
*" source --download-only --tar-only {package} ") cp {home}/orig.tar.gz "{package}_7.20.orig.tar.gz" ;;
*) exit 100 ;;
esac
"""
LINE = "deb [arch=amd64] http://mirror.example/debian stable main\n"


@pytest.mark.parametrize("name, source, asked", [
    ("machine.sources", SOURCE, SOURCE.replace("deb\n", "deb-src\n", 1).replace("stable", "trixie")),
    ("machine.list", LINE, LINE.replace("deb ", "deb-src ").replace("stable", "trixie"))], ids=["deb822", "one-line"])
def test_what_a_source_package_was_made_from(tmp_path, name, source, asked):
    machine = Fresh(tmp_path)
    for word in ("cp", "gzip", "mkdir", "tar", "tr"):
        (tmp_path / word).symlink_to(shutil.which(word))
    machine.program("apt-get", APT_OF_SOURCES.format(home=tmp_path, package="memtest86+"))
    (tmp_path / name).write_text(source)
    (tmp_path / "entry").write_text(f"{tmp_path}/{name}:1\n")
    (tmp_path / "memtest86plus-7.20").mkdir()
    (tmp_path / "memtest86plus-7.20/README.md").write_text("of theirs")
    subprocess.run(["tar", "-czf", "orig.tar.gz", "memtest86plus-7.20"], cwd=tmp_path, check=True)
    folder = tmp_path / "made here"
    assert_good(machine.setup("upstream", "memtest86+", "trixie", str(folder)))
    assert (tmp_path / "sources").read_text().rstrip() == asked.rstrip()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "README.md": "of theirs", "version": "memtest86+ 7.20\n"}
    nowhere = machine.setup("upstream", "memtest87", "trixie", str(folder))
    assert nowhere.returncode == 1
    assert nowhere.stderr.splitlines()[-1] == "setup: the machine's mirror has no source of memtest87 in trixie"

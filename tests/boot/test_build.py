"""The build on other machines: a tree in a folder of any name, other compilers, warnings."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

import debug
import finish_image
import qemu

# Whatever a shell, make, QEMU, mtools, GDB or xorriso might read something into.
ODD = "a b (c) [d] & e's, {f} \"g\"/x#y $z:w;v=u@@t%p\\q*r"
BUILD_S = 300
# As the make that runs the tests was told, by its command line.
COMPILER = re.findall(r"(?<!\S)CC=\S+", os.environ.get("MAKEFLAGS", ""))
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "B", "WERROR")}


def copy_tree(to):
    def not_source(folder, names):
        return [n for n in names if n in (".git", "__pycache__")
                or pathlib.Path(folder) == qemu.ROOT and n == "build"]
    shutil.copytree(qemu.ROOT, to, ignore=not_source)
    return to


def run(*words, cwd, **environment):
    return subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True,
                          errors="replace", timeout=BUILD_S, check=False,
                          env={**ENVIRONMENT, **environment})


def make(*words, cwd=qemu.ROOT, **environment):
    return run("make", "--no-print-directory", *words, cwd=cwd, **environment)


@pytest.mark.slow
def test_a_folder_of_any_name(tmp_path):
    """The same bytes as elsewhere, the host's programs, and a boot from there."""
    tree = copy_tree(tmp_path / ODD / "reveille")
    built = make("-j2", *COMPILER, "all", "host", "iso", "build/host/unit/hw/test_sort", cwd=tree)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tree / "build/BOOTX64.EFI").read_bytes() == (qemu.BUILD / "BOOTX64.EFI").read_bytes()
    assert run(tree / "build/host/unit/hw/test_sort", cwd="/").returncode == 0
    assert (tree / "build/reveille.iso").stat().st_size > 1 << 20
    with tempfile.TemporaryDirectory(prefix="a, (b)&'c") as temporary:
        booted = make("run", "SMP=2", "OPTIONS=", "OVMF=", cwd=tree, TMPDIR=temporary)
    assert booted.returncode == 0, booted.stdout + booted.stderr
    assert "Hello from CPU 1! APIC ID: 1\n" in booted.stdout


def test_a_long_path_for_temporary_files(tmp_path, monkeypatch):
    """A socket's path has at most 107 bytes."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with qemu.Qemu(qemu.Machine(smp="1"), stopped=True) as vm:
        assert vm.qmp("query-status")["status"] == "prelaunch"


def test_gdb_takes_a_path_of_any_name(tmp_path):
    symbols = tmp_path / ODD / "symbols"
    symbols.parent.mkdir(parents=True)
    shutil.copyfile(qemu.BUILD / "BOOTX64.debug", symbols)
    script = tmp_path / "script"
    script.write_text(f"file {debug.gdb_word(symbols)}\ninfo address smp_wake\n")
    done = run("gdb", "-q", "-nx", "-batch", "-x", script, cwd="/")
    assert 'Symbol "smp_wake" is a function' in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["a b", "a:b", "a(b)", "a'b", "a,b", "a$$b", "a\\#b", "a\\b", ""])
def test_a_build_folder_that_make_cannot_name_is_refused(folder):
    done = make("-n", f"B={folder}", "all")
    assert done.returncode == 2
    assert re.fullmatch(r"Makefile:\d+: \*\*\* B=.*: make cannot build in a folder of that name: "
                        r"choose one without .*\n", done.stderr), done.stderr


@pytest.mark.slow
def test_a_warning_stops_make_test_alone(tmp_path):
    tree = copy_tree(tmp_path / "reveille")
    with open(tree / "hw/lib/sort.c", "a", encoding="ascii") as source:
        source.write("\nstatic int unused(void)\n{\n    return 1;\n}\n")
    plain = make("build/image/hw/lib/sort.o", "build/host/hw/lib/sort.o", cwd=tree)
    assert plain.returncode == 0 and plain.stderr.count("[-Wunused-function]") == 2, plain.stderr
    script = "import test; c = test.Counts(); test.test_builds(c); print(*c.failures, sep='; ')"
    strict = run(sys.executable, "-B", "-c", script, cwd=tree / "tools")
    assert strict.stdout.splitlines()[-1].split("; ") == [
        "the image builds from nothing", "the host programs build from nothing",
        "two builds are the same bytes",
        f"the image has at most {finish_image.MAX_BYTES} bytes",  # there is none
        "clang builds the image"], strict.stdout + strict.stderr


def compilers():
    """The name of every GCC and clang on this machine; one of several names of the same program."""
    found = {}
    for folder in os.environ["PATH"].split(os.pathsep):
        for path in pathlib.Path(folder).glob("*"):
            if re.fullmatch(r"(gcc|clang)(-\d+)?", path.name):
                found[path.resolve()] = path.name
    return sorted(found.values())


@pytest.mark.slow
def test_every_compiler_that_is_here_builds_the_image(tmp_path):
    assert compilers()
    for compiler in compilers():
        clang = [f"CLANG={compiler}"] if compiler.startswith("clang") else []
        done = make("-j2", f"CC={compiler}", *clang, f"B={tmp_path}/{compiler}", "WERROR=1", "all",
                    "firmware")
        assert done.returncode == 0, f"{compiler}\n{done.stdout}{done.stderr}"


def test_nothing_of_gnu_efi_but_headers_is_asked_for(tmp_path):
    """Its start-up code and its library move and change from one release to the next."""
    told = make("-n", f"B={tmp_path}/build", "all", "firmware").stdout
    asked = set(re.findall(r"\S*efi\S*", told.replace(str(tmp_path), "")))
    outside = {word for word in asked if word.startswith(("/usr", "-l", "-L"))}
    assert outside == {"/usr/include/efi", "/usr/include/efi/x86_64"}

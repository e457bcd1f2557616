"""tools/example.py: when `make example` is a success, and what stands on the CD."""

import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import example  # noqa: E402
import guest  # noqa: E402

GOOD = "The end: 4 of 4 processors work"


@pytest.mark.parametrize("lines, status, timed_out, chooses, why", [
    (["Hello", GOOD], 33, False, True, None),
    ([GOOD], None, True, False, None),  # an emulator that was ended behind the last line
    ([GOOD], 35, False, True, "all processors work, yet QEMU's exit status is 35 and not 33"),
    (["The end: 3 of 4 processors work"], 35, False, True, "3 of 4 processors work"),
    (["The end: nobody was woken"], 37, False, True, "nobody was woken"),
    (["The end: nobody was woken: no memory"], 37, False, True, "nobody was woken: no memory"),
    ([GOOD + "?"], 33, False, True, "the machine is gone, and the kernel has not said how it went (exit status 33)"),
    ([], None, True, True, "the machine was still running when its time was over"),
])
def test_verdict(lines, status, timed_out, chooses, why):
    assert example.verdict(lines, status, timed_out, chooses) == why


def test_no_such_kernel():
    with pytest.raises(guest.Failure, match="make example builds it"):
        example.kernel("none")


def test_grub_is_told_nothing(tmp_path):
    with pytest.raises(guest.Failure, match="no signs of GRUB's"):
        example.make_iso(tmp_path / "image", "hang=2; reboot", tmp_path)


@pytest.mark.skipif(not example.GRUB.exists() or not shutil.which("grub-mkrescue"), reason="no GRUB for a BIOS")
def test_command_line_stands_on_the_cd(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"a kernel")
    iso = example.make_iso(image, "hang=2", tmp_path)
    data = iso.read_bytes()
    assert b"multiboot2 /boot/kernel hang=2\n" in data and b"a kernel" in data

"""tools/usb.py: which disks are written to, on machines made of files."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import usb  # noqa: E402

IMAGE_BYTES = 64 << 20
MAJOR = 250


class Disks:
    def __init__(self, root):
        self.sysfs, self.proc = root / "sys", root / "proc"
        self.proc.mkdir(parents=True)

    def add(self, name, removable="1", sectors=1 << 20, partitions=("1",)):
        disk = self.sysfs / name
        (disk / "device").mkdir(parents=True)
        (disk / "holders").mkdir()
        (disk / "removable").write_text(f"{removable}\n")
        (disk / "dev").write_text(f"{MAJOR}:0\n")
        (disk / "size").write_text(f"{sectors}\n")
        (disk / "device/model").write_text("Flash Disk\n")
        for number in partitions:
            part = disk / f"{name}{number}"
            (part / "holders").mkdir(parents=True)
            (part / "partition").write_text(number)
            (part / "dev").write_text(f"{MAJOR}:{number}\n")
            (part / "size").write_text("2048\n")
            (self.sysfs / part.name).symlink_to(part)

    def examine(self, device="/dev/sdx"):
        return usb.examine(device, IMAGE_BYTES, self.sysfs, self.proc)


@pytest.fixture
def disks(tmp_path):
    return Disks(tmp_path)


def test_what_will_be_erased_is_shown(disks):
    disks.add("sdx")
    assert disks.examine() == ["/dev/sdx: Flash Disk, 536 MB", "  sdx1: 1 MB"]


@pytest.mark.parametrize("words, why", [
    ({"removable": "0"}, "not removable"), ({"sectors": 1000}, "has 512000 bytes"),
    ({"removable": ""}, "not removable")])
def test_a_wrong_disk_is_refused(disks, words, why):
    disks.add("sdx", **words)
    with pytest.raises(usb.Refused, match=why):
        disks.examine()


@pytest.mark.parametrize("number", ["250:0", "250:1"])
def test_a_disk_mounted_under_another_name_is_refused(disks, number):
    """A live system's /dev/root is no node of any disk: only the numbers tell."""
    disks.add("sdx")
    (disks.proc / "self").mkdir()
    (disks.proc / "self/mountinfo").write_text(f"22 1 {number} / / rw - ext4 /dev/root rw\n")
    with pytest.raises(usb.Refused, match="in use: / "):
        disks.examine()


def test_writing(tmp_path):
    image, target = tmp_path / "image", tmp_path / "target"
    image.write_bytes(b"new" * 1000)
    target.write_bytes(b"o" * 5000)
    usb.write(image, target)
    assert target.read_bytes() == b"new" * 1000 + b"o" * 2000


def test_no_disk_and_a_partition_are_refused(disks):
    disks.add("sdx")
    with pytest.raises(usb.Refused, match="no disk"):
        disks.examine("/dev/sdy")
    with pytest.raises(usb.Refused, match="is a partition"):
        disks.examine("/dev/sdx1")


@pytest.mark.parametrize("table, line", [
    ("mounts", "/dev/sdx1 /media/stick vfat rw 0 0\n"), ("mounts", "/dev/sdx /mnt vfat rw 0 0\n"),
    ("swaps", "Filename Type Size\n/dev/sdx1 partition 100 0\n")])
def test_a_disk_in_use_is_refused(disks, table, line):
    disks.add("sdx")
    (disks.proc / table).write_text(line)
    with pytest.raises(usb.Refused, match="in use"):
        disks.examine()


def test_a_disk_that_something_is_built_on_is_refused(disks):
    disks.add("sdx")
    (disks.sysfs / "sdx/sdx1/holders/dm-0").mkdir()
    with pytest.raises(usb.Refused, match="held by dm-0"):
        disks.examine()


def test_anothers_mount_does_not_matter(disks):
    disks.add("sdx")
    (disks.proc / "mounts").write_text("/dev/sdxy1 /home ext4 rw 0 0\nproc /proc proc rw 0 0\n")
    assert disks.examine()


def test_the_command_refuses_a_file_and_nothing():
    for words in ([], [""], ["/dev/null"]):
        done = subprocess.run([sys.executable, str(ROOT / "tools/usb.py"), str(ROOT / "Makefile"),
                               *words], capture_output=True, text=True, input="yes\n", check=False)
        assert done.returncode == 1
        assert "usb" in done.stderr

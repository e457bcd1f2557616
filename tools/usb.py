"""usb.py IMAGE DEVICE: writes the disk image to a whole, removable, unmounted disk, after asking.

Refuses a partition, a disk that is not removable, one that is mounted or holds swap, one that this
machine runs from, and one that is too small. Shows what will be erased; only the word `yes` goes on.
Surprise: USB disks in an enclosure are not "removable" for the kernel; they are refused on purpose.
"""

import os
import pathlib
import shutil
import stat
import sys

SECTOR = 512


class Refused(Exception):
    """Why this device is not written to."""


def lines_of(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def words_of(path):
    return " ".join(lines_of(path)).split()


def users(name, sysfs, proc):
    """What of this disk is in use: its own nodes and its partitions', and what is built on them."""
    disk = sysfs / name
    nodes = [name] + sorted(p.parent.name for p in disk.glob("*/partition"))
    found = []
    for table in ("mounts", "swaps"):
        for line in lines_of(proc / table):
            words = line.split()
            if words and words[0].startswith("/dev/") and \
                    pathlib.Path(os.path.realpath(words[0])).name in nodes:
                found.append(f"{words[0]} ({words[1] if table == 'mounts' else 'swap'})")
    numbers = {" ".join(words_of(sysfs / node / "dev")) for node in nodes}
    for line in lines_of(proc / "self/mountinfo"):
        words = line.split()  # proc(5): the third is major:minor, the fifth the mount point
        if len(words) > 4 and words[2] in numbers and not found:
            found.append(f"{words[4]} ({words[2]})")
    for node in nodes:
        holders = disk / "holders" if node == name else disk / node / "holders"
        found += [f"{node} (held by {holder.name})" for holder in sorted(holders.glob("*"))]
    return found


def examine(device, image_bytes, sysfs=pathlib.Path("/sys/class/block"),
            proc=pathlib.Path("/proc")):
    """Lines about what will be erased; Refused if it must not be."""
    name = pathlib.Path(os.path.realpath(device)).name
    disk = sysfs / name
    if not disk.exists():
        raise Refused(f"{device} is no disk")
    if (disk / "partition").exists():
        raise Refused(f"{device} is a partition: name the whole disk")
    if words_of(disk / "removable") != ["1"]:
        raise Refused(f"{device} is not removable: it may be this machine's own disk")
    if in_use := users(name, sysfs, proc):
        raise Refused(f"{device} is in use: {', '.join(in_use)}; unmount it first")
    size = int((words_of(disk / "size") or ["0"])[0]) * SECTOR
    if size < image_bytes:
        raise Refused(f"{device} has {size} bytes, and the image {image_bytes}")
    model = " ".join(words_of(disk / "device/vendor") + words_of(disk / "device/model"))
    lines = [f"{device}: {model or 'no model name'}, {size // 1_000_000} MB"]
    lines += [f"  {p.parent.name}: {int(words_of(p.parent / 'size')[0]) * SECTOR // 1_000_000} MB"
              for p in sorted(disk.glob("*/partition"))]
    return lines


def write(image, device):
    # The kernel refuses O_EXCL for a disk that it uses itself, by whatever name.
    handle = os.open(device, os.O_WRONLY | os.O_EXCL)
    with open(image, "rb") as source, open(handle, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())


def main(image, device):
    image = pathlib.Path(image)
    try:
        lines = examine(device, image.stat().st_size)
        if not stat.S_ISBLK(os.stat(device).st_mode):
            raise Refused(f"{device} is no block device")
        print("usb: ALL of this will be erased:", *lines, sep="\n")
        print("usb: type yes to go on: ", end="", flush=True)
        if sys.stdin.readline().strip() != "yes":
            raise Refused("nothing was written")
        write(image, device)
    except (Refused, OSError) as e:
        sys.exit(f"usb: {e}")
    print(f"usb: {device} is ready; take it out and boot from it")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2]:
        sys.exit("usage: make usb DEV=/dev/sdX")
    main(*sys.argv[1:])

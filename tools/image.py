"""image.py DIR OUT: a disk image for `dd`: GPT with one FAT32 EFI System Partition that holds DIR.
image.py --cd DIR OUT: a small FAT16 volume with the same, which a CD boots (El Torito).

The result's files are there from the beginning, full of blanks, so that a run only overwrites them.
Needs mtools and no root. The same content gives the same bytes, anywhere and at any time: serial
number and GUIDs are made from the content, times from SOURCE_DATE_EPOCH, and files go in by sorted
name.
Surprise: firmware goes by the number of clusters alone when it tells FAT32 from FAT16, so the file
system is larger than it needs to be (64 MiB of single-sector clusters).
"""

import binascii
import hashlib
import os
import pathlib
import struct
import subprocess
import sys
import uuid

SECTOR = 512
PARTITION_FIRST = 2048  # 1 MiB: aligned for every kind of flash
PARTITION_SECTORS = 64 * 1024 * 1024 // SECTOR  # FAT32 from 65525 clusters on; a sector each
CD_SECTORS = 8 * 1024 * 1024 // SECTOR  # a boot catalog counts in 16 bits
ENTRY_COUNT, ENTRY_BYTES, HEADER_BYTES = 128, 128, 92  # UEFI specification, "GUID Partition Table"
ENTRY_SECTORS = ENTRY_COUNT * ENTRY_BYTES // SECTOR
# The backup of the table behind the partition, entries first, header last.
DISK_SECTORS = PARTITION_FIRST + PARTITION_SECTORS + ENTRY_SECTORS + 1
ESP_TYPE = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
# The result of a run with 255 processors takes half of it.
RESULTS = ("last.txt", "last.rec", "previous.txt", "previous.rec")
RESULT_BYTES = 64 * 1024
BLANKS = (b" " * 63 + b"\n") * (RESULT_BYTES // 64)
EPOCH_DEFAULT = "1767225600"


def content_digest(directory, files):
    digest = hashlib.sha256()
    for name in files:
        data = (directory / name).read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.digest()


def protective_mbr():
    # One entry of type 0xEE over the whole disk; its CHS is the specification's fixed pattern.
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, DISK_SECTORS - 1)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def gpt_header(here, other, entries_at, entries, disk_guid):
    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, HEADER_BYTES, crc, 0,
                           here, other, 2 + ENTRY_SECTORS, DISK_SECTORS - ENTRY_SECTORS - 2,
                           disk_guid.bytes_le, entries_at, ENTRY_COUNT, ENTRY_BYTES,
                           binascii.crc32(entries))

    return pack(binascii.crc32(pack(0))).ljust(SECTOR, b"\0")


def write_partition_table(image, digest):
    disk_guid = uuid.UUID(bytes=digest[:16], version=4)
    partition_guid = uuid.UUID(bytes=digest[16:], version=4)
    entry = struct.pack("<16s16sQQQ72s", ESP_TYPE.bytes_le, partition_guid.bytes_le,
                        PARTITION_FIRST, PARTITION_FIRST + PARTITION_SECTORS - 1, 0,
                        "Reveille".encode("utf-16-le"))
    entries = entry.ljust(ENTRY_COUNT * ENTRY_BYTES, b"\0")
    last = DISK_SECTORS - 1
    image.truncate(DISK_SECTORS * SECTOR)
    image.write(protective_mbr() + gpt_header(1, last, 2, entries, disk_guid) + entries)
    image.seek((last - ENTRY_SECTORS) * SECTOR)
    image.write(entries + gpt_header(last, 1, last - ENTRY_SECTORS, entries, disk_guid))


def mtool(command, volume, *words, text=b""):
    """Runs an mtools command on a volume: the path of a file, and maybe @@ and an offset. It runs in
    the file's folder, whose own name may then be any."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", EPOCH_DEFAULT)
    environment = dict(os.environ, SOURCE_DATE_EPOCH=epoch, TZ="UTC", LC_ALL="C",
                       MTOOLSRC="/dev/null", MTOOLS_SKIP_CHECK="1")
    folder, name = os.path.split(volume)
    subprocess.run([command, "-i", name, *words], check=True, env=environment, input=text,
                   cwd=folder or None)


def fill_file_system(volume, directory, files, serial, *shape):
    mtool("mformat", volume, *shape, "-c", "1", "-h", "64", "-s", "32", "-N", serial, "-v",
          "REVEILLE", "::")
    folders = sorted({parent for name in files for parent in name.parents if parent.name})
    for folder in folders:
        mtool("mmd", volume, f"::{folder}")
    for name in files:
        mtool("mcopy", volume, str((directory / name).absolute()), f"::{name}")


def add_results(volume, files):
    folder = pathlib.Path("reveille")
    if not any(folder in name.parents for name in files):
        mtool("mmd", volume, f"::{folder}")
    for name in RESULTS:
        if folder / name not in files:
            mtool("mcopy", volume, "-", f"::{folder / name}", text=BLANKS)


def files_of(directory):
    return sorted(p.relative_to(directory) for p in directory.rglob("*") if p.is_file())


def make_cd_volume(directory, out):
    files = files_of(directory)
    serial = content_digest(directory, files)[:4].hex()
    out.unlink(missing_ok=True)
    fill_file_system(str(out), directory, files, serial, "-C", "-T", str(CD_SECTORS))
    add_results(str(out), files)


def make_image(directory, out):
    files = files_of(directory)
    digest = content_digest(directory, files)
    partial = out.with_name(out.name + ".partial")
    with open(partial, "wb") as image:
        write_partition_table(image, digest)
    fill_file_system(f"{partial}@@{PARTITION_FIRST * SECTOR}", directory, files, digest[:4].hex(),
                     "-F", "-T", str(PARTITION_SECTORS), "-H", str(PARTITION_FIRST))
    add_results(f"{partial}@@{PARTITION_FIRST * SECTOR}", files)
    partial.rename(out)


if __name__ == "__main__":
    *kind, folder, result = sys.argv[1:] if len(sys.argv) in (3, 4) else ["--help", "", ""]
    if kind not in ([], ["--cd"]):
        sys.exit("usage: image.py [--cd] DIR OUT")
    if not (pathlib.Path(folder) / "EFI/BOOT/BOOTX64.EFI").is_file():
        sys.exit(f"image: no EFI/BOOT/BOOTX64.EFI in {folder}")
    (make_cd_volume if kind else make_image)(pathlib.Path(folder), pathlib.Path(result))

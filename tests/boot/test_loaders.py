"""README's "Without our tools": each of its blocks, as it stands there.

Commands are run by a shell in a folder that has the build as README's reader has it, and are bounded
from outside alone; what goes into a file is written there, behind what a loader's file has around an
entry. Surprise: nothing of README is repeated here but the words by which a block is found.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import pytest

import image
import qemu
from conftest import Result, assert_volume_is_sound, warnings_of
from picture import Picture
from stick import PARTITION

LINE_S = 300  # a bound, not an estimate: 20 times what the slowest block takes on an idle host
FETCH_S = 600
SECTION = "## Without our tools\n"
# Each block by words that stand in it alone.
KERNEL, FOLDER, VOLUME = "-kernel ", "fat:rw:", "mformat "
GRUB, SYSTEMD, REFIND = "chainloader ", "efi     ", "loader  "
FIRMWARES_PXE, SERVER, SCRIPT, IPXE = ",romfile=", "dhcp-boot=", "#!ipxe\n", "bootfile=reveille.ipxe"
BLOCKS = (KERNEL, FOLDER, VOLUME, GRUB, SYSTEMD, REFIND, FIRMWARES_PXE, SERVER, SCRIPT, IPXE)

NOT_SAVED = [("not-saved", r"the image came from a network, or from a file system that firmware cannot read: "
              r"no \reveille.cfg, no \reveille\last.txt")]
READ_ONLY = [("not-saved", r"the volume is read-only: no \reveille\last.txt")]
SAVING = r"Saving to \reveille: up to a minute if the volume is broken"


def blocks():
    """The section's blocks, each as (kind, text)."""
    page = (qemu.ROOT / "README.md").read_text(encoding="utf-8")
    section = page.partition(SECTION)[2].partition("\n## ")[0]
    return re.findall(r"^```(\w*)\n(.*?)^```$", section, re.M | re.S)


def block(mark):
    found = [text for _, text in blocks() if mark in text]
    assert len(found) == 1, f"{len(found)} blocks with {mark!r} in README's section"
    return found[0]


def test_every_block_is_run():
    assert len(blocks()) == len(BLOCKS) and {block(mark) for mark in BLOCKS} == {text for _, text in blocks()}
    assert {text for kind, text in blocks() if kind == "sh"} == {
        block(mark) for mark in (KERNEL, FOLDER, VOLUME, FIRMWARES_PXE, IPXE)}


def assert_good(result, rounds, warnings=()):
    """Everybody has greeted, as often as the options that arrived say, and nothing else is told."""
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)], result.tail()
    assert [(w["round"], w["up"]) for w in result.all("wake")] == [
        (str(n), "3") for n in range(1, rounds + 1)], result.tail()
    end = result.one("end")
    assert (end["ok"], end["failed"]) == ("1", "0"), result.tail()
    assert [(w["what"], w["detail"]) for w in warnings_of(result.records)] == list(warnings), result.tail()
    ours = result.raw[result.raw.index(b"REVEILLE ev=start"):]
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", ours) is None, result.tail()


# ---- commands ----

@pytest.fixture
def folder(tmp_path):
    """As a tree in which `make` was run."""
    (tmp_path / "build").mkdir()
    shutil.copy(qemu.BUILD / "BOOTX64.EFI", tmp_path / "build")
    shutil.copytree(qemu.BUILD / "esp", tmp_path / "build/esp")
    return tmp_path


def shell(words, folder):
    """What these words of a shell's, run in the folder, show on its terminal, up to their own end. A machine
    of theirs ends by itself: under QEMU it is switched off."""
    done = subprocess.run(["timeout", "-k", "5", str(LINE_S), *words], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                          check=False)
    lines = [line for raw in done.stdout.split(b"\n") for line in qemu.clean_line(raw)]
    result = Result(lines, done.stdout, done.returncode, done.returncode == 124, "")
    assert done.returncode == 0, result.tail()
    result.has("Powering the machine off")
    return result


def command(mark, folder):
    return shell(["sh", "-e", "-c", block(mark)], folder)


def test_the_file_as_qemus_kernel(folder):
    assert_good(command(KERNEL, folder), 2, READ_ONLY)


def test_a_folder_as_a_disk(folder):
    result = command(FOLDER, folder)
    assert_good(result, 1)
    assert result.one("machine")["apic"] == "x2apic"
    on_disk = folder / "build/esp/EFI/BOOT/BOOTX64.EFI"
    assert on_disk.read_bytes() == (qemu.BUILD / "BOOTX64.EFI").read_bytes()


def test_a_volume_that_keeps_the_result(folder):
    """The last command shows it: what was known before the exit, once more."""
    result = command(VOLUME, folder)
    off = result.lines.index("Powering the machine off")
    shown = [line for line in result.lines[off + 1:] if line.strip()]
    result.lines = result.lines[:off]
    assert_good(result, 1)
    assert shown[-2:] == ["Leaving firmware", SAVING]
    assert [line for line in shown if line not in result.lines] == []


@pytest.mark.slow
def test_firmwares_pxe(folder):
    assert_good(command(FIRMWARES_PXE, folder), 1, NOT_SAVED)


@pytest.mark.slow
def test_ipxe_hands_over_options(boot, folder):
    bios = boot().one("platform")["bios"]  # 0.0.0 in OVMF that does not yet tell its version
    if bios > "2023":
        pytest.skip(f"OVMF {bios} runs its own PXE, and not the card's iPXE")
    (folder / "build/reveille.ipxe").write_text(block(SCRIPT), encoding="ascii")
    assert_good(command(IPXE, folder), 2, READ_ONLY)


# In a network of its own, whose only cable is QEMU's. --no-daemon: dnsmasq then stays who it is, since nobody
# else exists there.
NETWORK = """\
set -e
mount -t tmpfs none /srv
mkdir "$FILES"
cp build/BOOTX64.EFI "$FILES"
ip link set lo up
ip tuntap add dev "$INTERFACE" mode tap
ip address add "$ADDRESS/24" dev "$INTERFACE"
ip link set "$INTERFACE" up
dnsmasq --conf-file=dnsmasq.conf --no-daemon --dhcp-leasefile=/srv/leases 2>dnsmasq.log &
server=$!
status=0
qemu-system-x86_64 -bios OVMF.fd -cpu max -smp 4 -nographic -device virtio-net-pci,netdev=net,romfile= \\
    -netdev tap,id=net,ifname="$INTERFACE",script=no,downscript=no || status=$?
kill $server
[ $status = 0 ] || cat dnsmasq.log
exit $status
"""


@pytest.mark.slow
def test_a_server_of_ones_own(folder):
    own = ["env", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin",
           "unshare", "--user", "--map-root-user", "--net", "--mount"]
    tried = subprocess.run([*own, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap"],
                           capture_output=True, text=True, timeout=60, check=False)
    if tried.returncode:
        pytest.skip(f"no network of our own here: {tried.stderr.strip()}")
    conf = block(SERVER)
    (folder / "dnsmasq.conf").write_text(conf, encoding="ascii")
    interface, first, files = (re.search(rf"^{key}=([^,\n]+)", conf, re.M)[1]
                               for key in ("interface", "dhcp-range", "tftp-root"))
    address = first.rpartition(".")[0] + ".1"
    assert files.startswith("/srv/") and address in (qemu.ROOT / "README.md").read_text(encoding="utf-8")
    result = shell([*own, "env", f"INTERFACE={interface}", f"ADDRESS={address}", f"FILES={files}",
                    "sh", "-c", NETWORK], folder)
    assert_good(result, 1, NOT_SAVED)


# ---- boot loaders ----

# As grub-mkconfig of Debian's writes it. Where there is a window, GRUB then drives QEMU's VGA by itself.
GRUB_GRAPHICS = """\
loadfont /EFI/debian/font.pf2
set gfxmode=auto
insmod all_video
insmod gfxterm
terminal_output gfxterm
set timeout=0
"""


def refind():
    """rEFInd's file, of the package that is installed, or else of one that is only unpacked, once."""
    name = "usr/share/refind/refind/refind_x64.efi"
    if pathlib.Path("/", name).exists():
        return pathlib.Path("/", name)
    kept = qemu.ROOT / "build/refind_x64.efi"
    with open(kept.with_suffix(".lock"), "w", encoding="ascii") as lock:  # several workers, one fetcher
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run([qemu.ROOT / "tools/setup", "unpack", "refind", folder], timeout=FETCH_S,
                                      capture_output=True, text=True, check=False)
                if "apt knows no refind" in done.stderr:
                    pytest.skip("this release of Debian has no rEFInd")
                assert done.returncode == 0, done.stderr
                shutil.copy(pathlib.Path(folder, name), kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)
    return kept


def loader_disk(folder, loader, files):
    """A folder for a disk that firmware starts this loader from; `files`: path -> text or a file to copy."""
    for name, what in {"EFI/BOOT/BOOTX64.EFI": pathlib.Path(loader), **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, pathlib.Path):
            shutil.copy(what, path)
        else:
            path.write_text(what, encoding="ascii")
    return folder


# Its own entry alone, without a menu.
REFIND_AT_ONCE = "timeout -1\nscanfor manual\n"
OURS = {"EFI/reveille/BOOTX64.EFI": qemu.BUILD / "BOOTX64.EFI"}


def saved(disk):
    """What stands in last.txt on a disk's volume."""
    shown = subprocess.run(["mtype", "-i", f"{disk}@@{PARTITION}", "::/reveille/last.txt"],
                           capture_output=True, text=True, check=True)
    return shown.stdout.split("\n")


def run(esp, picture=None, **words):
    """(result, last.txt of the loader's disk) of a machine that is stopped where it switches itself off;
    `picture` names the file that its screen is kept in."""
    chosen = qemu.from_environment()
    extra = ("-action", "shutdown=pause", *words.pop("extra", ()))
    with qemu.Qemu(qemu.Machine(accel=chosen.accel, ovmf=chosen.ovmf, esp=esp, debug_exit=False, extra=extra,
                                **words)) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line == "Powering the machine off":
                break
        while vm.qmp("query-status")["running"] and time.monotonic() < vm.deadline:
            time.sleep(0.05)
        if picture:
            vm.qmp("screendump", filename=str(picture))
        assert_volume_is_sound(vm.home / "esp.img")
        return Result.of(vm, lines), saved(vm.home / "esp.img")


def is_kept(lines):
    return SAVING in (line.strip() for line in lines)


def test_grub(tmp_path):
    """GRUB is on one disk and the image on another, which takes the result; and what GRUB has left of the
    screen's mode is no harm."""
    esp = loader_disk(tmp_path / "esp", "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
                      {"EFI/debian/grub.cfg": GRUB_GRAPHICS + block(GRUB),
                       "EFI/debian/font.pf2": pathlib.Path("/usr/share/grub/ascii.pf2")})
    disk = tmp_path / "disk.img"
    other = loader_disk(tmp_path / "other", qemu.BUILD / "BOOTX64.EFI", OURS)
    shutil.rmtree(other / "EFI/BOOT")
    image.make_image(other, disk)
    result, on_grubs = run(esp, tmp_path / "screen.ppm",
                           extra=("-drive", f"format=raw,file={qemu.option_value(disk)}"))
    assert_good(result, 2)
    assert is_kept(saved(disk)) and not is_kept(on_grubs)
    assert_volume_is_sound(disk)
    picture = Picture.read(tmp_path / "screen.ppm")
    picture.png(qemu.BUILD / "screens/grub.png")
    assert "Hello from CPU 3! APIC ID: 3" in picture.text(), "see build/screens/grub.png"


def test_systemd_boot(tmp_path):
    result, kept = run(loader_disk(tmp_path / "esp", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
                                   {"loader/entries/reveille.conf": block(SYSTEMD), **OURS}))
    assert_good(result, 2)
    assert is_kept(kept)


def test_refind(tmp_path):
    result, kept = run(loader_disk(tmp_path / "esp", refind(),
                                   {"EFI/BOOT/refind.conf": REFIND_AT_ONCE + block(REFIND), **OURS}))
    assert_good(result, 2)
    assert is_kept(kept)

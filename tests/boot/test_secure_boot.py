"""Secure Boot on, by shim: `make secure-image` on Debian's OVMF with Microsoft's keys, in each state, by a person's way.

MokManager is walked by a keyboard, once for all tests and all workers, and read on the serial port, where each choice is
seen before it is made. Its pictures stay in build/screens/, as docs/secure-boot.md shows them.
"""

import base64
import contextlib
import fcntl
import filecmp
import hashlib
import os
import pathlib
import pickle
import re
import shutil
import stat
import struct
import time
import uuid

import pytest

import qemu
import secure
from conftest import Result, assert_all_greeted, assert_volume_is_sound, consecutive, warnings_of
from nvram import FOR_SYSTEMS, put_variable, variables_of
from stick import mtools, read, set_options
from test_images import make
from test_screen import look

OVMF = "/usr/share/OVMF/OVMF_CODE_4M.ms.fd"
SHIM_LOCK = "605dab50-e046-4300-abb6-3dd810dd8b23"
X509 = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
PASSWORD = "abcdefgh"
SECURE_BOOT_ENABLE = "f0a30bc7-af08-4556-99c4-001009c93a44"
REFUSED = rb"Verification failed: \(0x1A\) Security Violation"
# What MokManager draws in another colour is chosen: the words between two changes of colour.
CHOSEN = re.compile(rb"\x1b\[37m\x1b\[40m(?:\x1b\[\d+;\d+H)([^\x1b]+)\x1b")
NOT_NAMED = "0x510"  # QEMU's fw_cfg: neither a table nor PCI names it
CHOICES_MOST = 20


@contextlib.contextmanager
def once(folder, name):
    """Yields whether this is to be made; whoever comes first makes it, and all others wait."""
    with open(folder / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not (folder / name).exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One of this run of tests, which all workers share."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own
    (shared / "secure-boot").mkdir(exist_ok=True)
    return shared / "secure-boot"


@contextlib.contextmanager
def spared(made, folder):
    """What a user has made there is there again afterwards, and not a stick whose key nobody keeps."""
    theirs = folder / "theirs"
    if made.exists():
        shutil.move(made, theirs)
    try:
        yield
    finally:
        made.unlink(missing_ok=True)
        if theirs.exists():
            shutil.move(theirs, made)


@pytest.fixture(scope="module")
def image(folder):
    """The disk image by a key of this user's, who has none before; the same bytes when it is made again."""
    if not pathlib.Path(OVMF).exists():
        pytest.skip(f"{OVMF} is not there")
    with once(folder, "stick.img") as is_new:
        if is_new:
            try:
                secure.find_shim()
            except qemu.Failure as e:
                pytest.skip(str(e))
            made = qemu.BUILD / "reveille-secure.img"
            with spared(made, folder):
                make("secure-image", f"XDG_CONFIG_HOME={folder / 'home'}")
                shutil.copyfile(made, folder / "new.img")
                time.sleep(1)  # what a signature's time is told in
                make("secure-image", f"XDG_CONFIG_HOME={folder / 'home'}")
                assert filecmp.cmp(made, folder / "new.img", shallow=False)
            (folder / "new.img").rename(folder / "stick.img")
    return folder / "stick.img"


def machine(stick, variables, **words):
    return qemu.Qemu(qemu.Machine(smp="2", machine="q35,smm=on", ovmf=OVMF, stick=stick, stick_mode="snapshot=off",
                                  variables=variables, extra=("-global", "ICH9-LPC.disable_s3=1"), **words))


def copies(tmp_path, image, variables):
    """(stick, variables) of a test's own."""
    stick, store = tmp_path / "stick.img", tmp_path / "vars.fd"
    shutil.copyfile(image, stick)
    shutil.copyfile(variables, store)
    return stick, store


class Person:
    """Who looks at the screen and presses keys."""

    def __init__(self, vm):
        self.vm = vm
        self.seen = 0  # of raw: what was on the screen at the last key

    def press(self, key):
        self.seen = len(self.vm.raw)
        self.vm.qmp("send-key", keys=[{"type": "qcode", "data": key}])

    def see(self, pattern, picture=None):
        self.vm.wait_for(pattern, self.seen)
        before, now = None, picture and look(self.vm, picture)
        while picture and now.pixels != before:  # it may still be drawing
            before, now = now.pixels, look(self.vm, picture)
        if picture:
            now.png(qemu.BUILD / f"screens/secure-{picture}.png")

    def choose(self, words, picture=None):
        """Goes down the menu to these words, and enters them."""
        passed = []
        while len(passed) < CHOICES_MOST:
            found = self.vm.wait_for(CHOSEN.pattern, self.seen)
            passed.append(re.sub(rb"[^ -~]", b"", found[1]).strip(b" |").decode("ascii"))
            if passed[-1] == words:
                if picture:
                    self.see(CHOSEN.pattern, picture)
                self.press("ret")
                self.seen = self.vm.wait_for(CHOSEN.pattern, self.seen).end()  # drawn again before it goes
                return
            self.press("down")
        raise AssertionError(f"no {words!r} among {passed}")


def enrol(vm, der):
    """From the refusal to the reset."""
    person = Person(vm)
    person.see(REFUSED)
    person.choose("OK", "refused")
    person.see(rb"Press any key to perform MOK management", "any-key")
    person.press("ret")
    person.choose("Enroll key from disk", "menu")
    person.choose("REVEILLE")
    person.choose("reveille.der", "file")
    person.choose("View key 0")
    first, second = secure.fingerprint(der)
    person.see(first.encode() + rb".*" + second.encode(), "fingerprint")
    person.press("ret")
    person.choose("Continue")
    person.choose("Yes", "yes")
    person.choose("Reboot", "reboot")


@pytest.fixture(scope="module")
def walked(folder, image):
    """A person's whole way on a machine of Microsoft's: its stick, its variables, and the Result of the run."""
    stick, store, told = (folder / name for name in ("walked.img", "walked.fd", "walked"))
    with once(folder, told.name) as is_new:
        if is_new:
            shutil.copyfile(image, stick)
            shutil.copyfile(qemu.find_ovmf(OVMF)[1], store)
            set_options(stick, f"serial={NOT_NAMED}")
            with machine(stick, store, reset_ends=False) as vm:
                enrol(vm, mtools("mtype", stick, "::/reveille.der"))
                result = Result.of(vm, list(vm.lines()))
            told.with_suffix(".new").write_bytes(pickle.dumps(result))
            told.with_suffix(".new").rename(told)
    return stick, store, pickle.loads(told.read_bytes())


@pytest.mark.slow
def test_a_persons_whole_way(walked):
    """Refused, enrolled, reset, run: and the options, which nobody has signed, cannot name a port of a chipset's."""
    stick, store, result = walked
    assert_all_greeted(result, consecutive(2))
    assert result.one("platform")["secure_boot"] == "on"
    serial = result.one("serial")
    assert (serial["found"], serial["port"]) == ("com1", "0x3f8") and serial["by"] != "option"
    assert [r["what"] for r in warnings_of(result.all("warning"))] == ["serial-not-named"]
    assert "ev=platform" in read(stick, "last.rec")
    assert_volume_is_sound(stick)
    lists = [value for (name, _), value in variables_of(store).items() if name == "MokList"]
    assert len(lists) == 1 and mtools("mtype", stick, "::/reveille.der") in lists[0]


def test_no_private_key_is_in_the_image(folder, image):
    private = folder / "home/reveille/secure-boot/reveille.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    body = "".join(private.read_text(encoding="ascii").splitlines()[1:-1])
    numbers = base64.b64decode(body)
    whole = image.read_bytes()
    assert b"PRIVATE KEY" not in whole and numbers[-64:] not in whole  # in PEM and in DER


def test_a_tampered_image_is_refused(walked, image, tmp_path):
    """The key is enrolled, and one bit of the code is another."""
    stick, store = copies(tmp_path, image, walked[1])
    signed = bytearray(mtools("mtype", stick, "::/EFI/BOOT/grubx64.efi"))
    signed[len(signed) // 2] ^= 1
    (tmp_path / "grubx64.efi").write_bytes(signed)
    mtools("mcopy -o", stick, str(tmp_path / "grubx64.efi"), "::/EFI/BOOT/grubx64.efi")
    with machine(stick, store) as vm:
        vm.wait_for(REFUSED)
        assert b"REVEILLE ev=start" not in vm.raw


def list_of_keys(der):
    """An EFI_SIGNATURE_LIST of one certificate (UEFI specification, "Signature Database")."""
    entry = bytes(16) + der
    return uuid.UUID(X509).bytes_le + struct.pack("<3I", 28 + len(entry), 0, len(entry)) + entry


def test_the_key_is_taken_out_again(walked, image, tmp_path):
    """What `mokutil --delete` leaves for MokManager, and a person's answers; then the image is refused again."""
    stick, store = copies(tmp_path, image, walked[1])
    wanted = list_of_keys(mtools("mtype", stick, "::/reveille.der"))
    proof = hashlib.sha256(wanted + PASSWORD.encode("utf-16-le")).digest()
    put_variable(store, "MokDel", SHIM_LOCK, wanted, FOR_SYSTEMS)
    put_variable(store, "MokDelAuth", SHIM_LOCK, proof, FOR_SYSTEMS)
    with machine(stick, store, reset_ends=False) as vm:
        person = Person(vm)
        person.see(rb"Press any key to perform MOK management")
        person.press("ret")
        person.choose("Delete MOK", "delete")
        person.choose("Continue")
        person.choose("Yes")
        person.see(rb"Password:")
        for key in (*PASSWORD, "ret"):
            person.press(key)
        person.choose("Reboot")
        person.see(REFUSED)
    assert "MokList" not in {name for name, _ in variables_of(store)}


def test_without_secure_boot(image, tmp_path):
    """The same stick, no key enrolled, Microsoft's keys there and Secure Boot switched off."""
    stick, store = copies(tmp_path, image, qemu.find_ovmf(OVMF)[1])
    put_variable(store, "SecureBootEnable", SECURE_BOOT_ENABLE, b"\0")
    with machine(stick, store) as vm:
        result = Result.of(vm, list(vm.lines()))
    assert_all_greeted(result, consecutive(2))
    assert result.one("platform")["secure_boot"] == "off"


def test_a_revoked_shim_says_so(image, tmp_path):
    """An operating system has raised shim's own level, as an update does: told apart from a key that is missing."""
    stick, store = copies(tmp_path, image, qemu.find_ovmf(OVMF)[1])
    put_variable(store, "SbatLevel", SHIM_LOCK, b"sbat,1,2099010100\nshim,99\n")
    with machine(stick, store) as vm:
        vm.wait_for(rb"Verifying shim SBAT data failed: Security Policy Violation")
        vm.wait_for(rb"Something has gone seriously wrong: SBAT self-check failed: Security Policy Violation")
        assert not re.search(REFUSED, vm.raw)

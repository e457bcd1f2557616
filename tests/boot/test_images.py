"""The other images: the hybrid ISO as a CD and as a stick, and the signed one under Secure Boot."""

import os
import shutil
import subprocess

import pytest

import qemu
from conftest import Result, assert_all_greeted, consecutive

SNAKEOIL = "/usr/share/ovmf/PkKek-1-snakeoil"
SECURE = {"machine": "q35,smm=on", "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.snakeoil.fd",
          "extra": ("-global", "driver=cfi.pflash01,property=secure,value=on",
                    "-global", "ICH9-LPC.disable_s3=1")}


def make(*words):
    done = subprocess.run(["make", "--no-print-directory", *words], cwd=qemu.ROOT,
                          capture_output=True, text=True, timeout=300, check=False,
                          env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def iso():
    make("iso")
    return qemu.BUILD / "reveille.iso"


@pytest.mark.parametrize("mode, saves", [("media=cdrom,readonly=on", False), ("snapshot=on", True)])
def test_iso(boot, iso, mode, saves):
    """As a stick it takes the result; a CD is known for one, and firmware not asked to write to it."""
    result = boot(stick=iso, stick_mode=mode)
    assert_all_greeted(result, consecutive(4))
    told = [r["detail"].split(":")[0] for r in result.all("warning") if r["what"] == "not-saved"]
    assert told == ([] if saves else ["the volume is read-only"])


def test_the_iso_is_the_same_twice(iso):
    before = iso.read_bytes()
    iso.unlink()
    make("iso")
    assert iso.read_bytes() == before


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    key = tmp_path_factory.mktemp("keys") / "db.key"
    subprocess.run(["openssl", "rsa", "-in", f"{SNAKEOIL}.key", "-passin", "pass:snakeoil", "-out",
                    str(key)], check=True, capture_output=True)
    make("signed", f"KEY={key}", f"CERT={SNAKEOIL}.pem")
    return qemu.BUILD / "signed"


def run(**words):
    with qemu.Qemu(qemu.Machine(smp="2", **SECURE, **words)) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if "Access Denied" in line:
                break
        return Result.of(vm, lines)


def test_secure_boot_takes_the_signed_image(signed):
    result = run(esp=signed)
    assert_all_greeted(result, consecutive(2))


def test_a_killed_run_leaves_its_story_under_secure_boot(signed, tmp_path):
    """The signed stick, no serial port, a run that resets in the middle of the wake, and the next
    start, which fetches what that one said."""
    assert signed.exists()
    stick = tmp_path / "stick.img"
    shutil.copyfile(qemu.BUILD / "reveille-signed.img", stick)
    config = tmp_path / "reveille.cfg"
    config.write_text("again=yes inject=bad-cr3:1\n")
    subprocess.run(["mcopy", "-o", "-i", f"{stick}@@1M", str(config), "::/reveille.cfg"], check=True)
    result = run(stick=stick, stick_mode="snapshot=off", serial=False, reset_ends=False)
    assert result.status == qemu.EXIT_OK, result.tail()
    read = ["mtype", "-i", f"{stick}@@1M"]
    text, records = (subprocess.run([*read, f"::/reveille/{name}"], check=True, capture_output=True,
                                    text=True).stdout for name in ("last.txt", "last.rec"))
    assert "Leaving firmware" in text and "Starting CPU 1..." in text
    assert "secure_boot=on" in records and "ev=end" not in records


def test_secure_boot_refuses_the_unsigned_one(signed, tmp_path):
    assert signed.exists()  # one boot after the other, since both are slow
    esp = tmp_path / "esp"
    shutil.copytree(qemu.BUILD / "esp", esp)
    result = run(esp=esp)
    assert any("Access Denied" in line for line in result.lines), result.tail()
    assert not result.all("start")

"""tools/secure.py: whose key signs the image for Secure Boot, where it is kept, and who may read it."""

import os
import pathlib
import pwd
import re
import stat
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import secure  # noqa: E402
from test_docs import options  # noqa: E402


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    return tmp_path / "config/reveille/secure-boot"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_and_is_nobody_elses(home):
    key, cert = secure.choose_pair("", "")
    assert (key, cert) == (home / "reveille.key", home / "reveille.crt")
    assert (mode(home), mode(key), mode(cert)) == (0o700, 0o600, 0o600)
    before = key.read_bytes(), cert.read_bytes()
    assert secure.choose_pair("", "") == (key, cert)
    assert (key.read_bytes(), cert.read_bytes()) == before
    assert sorted(path.name for path in home.iterdir()) == [".lock", "reveille.crt", "reveille.key"]


def test_what_the_certificate_allows(home):
    """It signs code and no other certificate, and its fingerprint is what others make of it."""
    _, cert = secure.choose_pair("", "")
    told = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-text", "-fingerprint", "-sha1"], check=True,
                          capture_output=True, text=True).stdout
    assert "CA:FALSE" in told and "Code Signing" in told
    assert re.search(r"Subject: CN ?= ?Reveille key made on \d{4}-\d\d-\d\d\n", told)
    ours = " ".join(secure.fingerprint(secure.der_of(cert))).replace(" ", ":")
    assert f"Fingerprint={ours}" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the user who called sudo")
def test_under_sudo_it_is_the_callers(monkeypatch):
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # pytest's own are closed to everybody else
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        caller = pwd.struct_passwd((*nobody[:5], home, nobody[6]))
        monkeypatch.setenv("SUDO_UID", str(caller.pw_uid))
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setattr(secure.pwd, "getpwuid", lambda uid: caller)
        key, cert = secure.choose_pair("", "")
        config = pathlib.Path(home) / ".config"
        assert key.is_relative_to(config) and mode(key) == 0o600
        for made in (key, cert, key.parent, key.parent.parent, config):
            assert made.stat().st_uid == caller.pw_uid, made
    assert os.geteuid() == 0


def test_a_key_without_its_certificate_is_not_overwritten(home):
    key, cert = secure.choose_pair("", "")
    cert.unlink()
    before = key.read_bytes()
    with pytest.raises(secure.Failure, match="has lost its certificate"):
        secure.choose_pair("", "")
    assert key.read_bytes() == before


def test_a_pair_that_is_none(home, tmp_path, monkeypatch):
    key, cert = secure.choose_pair("", "")
    with pytest.raises(secure.Failure, match="belong together"):
        secure.choose_pair(str(key), "")
    with pytest.raises(secure.Failure, match="is not there"):
        secure.choose_pair(str(key), str(tmp_path / "other.crt"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    _, other = secure.choose_pair("", "")
    with pytest.raises(secure.Failure, match="is not the certificate of"):
        secure.choose_pair(str(key), str(other))
    assert secure.choose_pair(str(key), str(cert)) == (key, cert)


def test_no_key_is_kept_in_the_tree(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(ROOT / "build"))
    with pytest.raises(secure.Failure, match="in this tree"):
        secure.choose_pair("", "")
    assert not (ROOT / "build/reveille").exists()


def test_der_of_what_is_no_certificate(tmp_path):
    (tmp_path / "a.crt").write_bytes(b"\x30\x82")
    with pytest.raises(secure.Failure, match="no certificate in PEM form"):
        secure.der_of(tmp_path / "a.crt")


def test_make_usb_knows_no_other_way():
    done = subprocess.run(["make", "--no-print-directory", "usb", "DEV=/dev/null", "SECURE_BOOT=grub"], cwd=ROOT,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode and done.stderr.startswith("make usb: SECURE_BOOT= is nothing or shim\n")
    assert done.stdout == ""


def test_nothing_is_loaded_or_started():
    """What stands on the volume is read as text at most: docs/secure-boot.md promises it."""
    called = [path.name for path in sorted((ROOT / "efi").rglob("*.c"))
              for service in ("LoadImage", "StartImage", "->Exit(") if service in path.read_text(encoding="utf-8")]
    assert called == []


def test_the_threat_model_has_each_option():
    page = (ROOT / "docs/secure-boot.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page[page.index("## What an attacker"):], re.M)
    named = [word for row in rows for word in re.findall(r"`([a-z_-]+)`", row)]
    assert sorted(named) == sorted(key for key, _, _ in options())

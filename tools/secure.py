"""secure.py ESP OUT [KEY CERT]: the folder of a stick for machines on which Secure Boot stays on, by shim.

In \\EFI\\BOOT: Debian's shim, which Microsoft has signed, as BOOTX64.EFI; its MokManager beside it; and our image, signed
here, as grubx64.efi, the name that shim asks for. In the root: reveille.der, the certificate, which a person enrols once
on each machine. Without KEY and CERT it is the user's own pair, made at the first use and kept for the next.
Surprise: Debian's packages are unpacked and never installed, since shim-signed, once installed, writes to the machine's
own ESP. And under sudo the pair is that of the user who called it, made with that user's rights alone.
"""

import contextlib
import datetime
import fcntl
import hashlib
import os
import pathlib
import pwd
import re
import shutil
import ssl
import subprocess
import sys

from guest import BUILD, ROOT, Failure
from image import EPOCH_DEFAULT

INSTALLED = pathlib.Path("/usr/lib/shim")
# Debian's names of the two, and what firmware and shim look for.
PIECES = {"shimx64.efi.signed": "BOOTX64.EFI", "mmx64.efi.signed": "mmx64.efi"}
PACKAGES = ("shim-signed", "shim-helpers-amd64-signed")
FETCH_S = 300

YEARS = 10
# Nobody else's certificate may be signed by it, and only code.
CONFIG = """\
[req]
distinguished_name = name
x509_extensions = use
string_mask = utf8only
prompt = no
[name]
CN = Reveille key made on {day}
[use]
basicConstraints = critical, CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = codeSigning
subjectKeyIdentifier = hash
"""


def run(*words, **more):
    """What a program writes; Failure with its complaint."""
    try:
        return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more).stdout
    except FileNotFoundError as e:
        raise Failure(f"{e.filename} is not there") from None
    except subprocess.CalledProcessError as e:
        raise Failure((e.stderr or e.stdout).strip().splitlines()[-1]) from None


# ---- the key ----

def invoking_user():
    """The password entry of whoever works here, sudo or not."""
    return pwd.getpwuid(int(os.environ.get("SUDO_UID") or os.getuid()))


@contextlib.contextmanager
def rights_of(user):
    """Whatever is made inside is the user's, and nothing is written where the user could not."""
    us, our_group = os.geteuid(), os.getegid()
    if us == user.pw_uid:
        yield
        return
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(us)
        os.setegid(our_group)


def folder_of_keys(user):
    config = os.environ.get("XDG_CONFIG_HOME") or pathlib.Path(user.pw_dir) / ".config"
    folder = pathlib.Path(config).resolve() / "reveille/secure-boot"
    if folder.is_relative_to(ROOT):
        raise Failure(f"{folder} lies in this tree, where no key belongs: set XDG_CONFIG_HOME to another folder")
    return folder


def make_pair(key, cert):
    """Both or none, and never a file that anybody else can read."""
    config = CONFIG.format(day=datetime.date.today().isoformat())
    new_key, new_cert = key.with_suffix(".key.new"), cert.with_suffix(".crt.new")
    run("openssl", "req", "-config", "/dev/stdin", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256",
        "-days", YEARS * 365, "-keyout", new_key, "-out", new_cert, input=config, umask=0o077)
    new_cert.rename(cert)
    new_key.rename(key)


def own_pair():
    """(key, certificate) of this machine's user."""
    user = invoking_user()
    with rights_of(user):
        folder = folder_of_keys(user)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key, cert = folder / "reveille.key", folder / "reveille.crt"
        with open(folder / ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not key.exists():
                make_pair(key, cert)
                print(f"secure: made {key}, and the certificate beside it", flush=True)
    if not cert.exists():
        raise Failure(f"{key} has lost its certificate, {cert}: put that back, or take the key away too, for a new pair")
    return key, cert


def choose_pair(key, cert):
    if bool(key) != bool(cert):
        raise Failure("KEY= and CERT= belong together: give both, or neither for your own pair")
    key, cert = (pathlib.Path(key), pathlib.Path(cert)) if key else own_pair()
    for file in (key, cert):
        if not file.is_file():
            raise Failure(f"{file} is not there")
    if run("openssl", "pkey", "-in", key, "-pubout") != run("openssl", "x509", "-in", cert, "-noout", "-pubkey"):
        raise Failure(f"{cert} is not the certificate of {key}")
    return key, cert


def der_of(cert):
    """The certificate as MokManager reads it."""
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", cert.read_text(errors="replace"), re.S)
    if not found:
        raise Failure(f"{cert} is no certificate in PEM form")
    return ssl.PEM_cert_to_DER_cert(found[0])


def fingerprint(der):
    """Two lines, as MokManager shows them."""
    pairs = hashlib.sha1(der).digest().hex(" ").upper()
    return [pairs[:29], pairs[30:]]


# ---- the folder ----

def has_shim(folder):
    return all((folder / name).is_file() for name in PIECES)


def find_shim():
    """The folder with Debian's two files: the machine's own, or of packages that are unpacked below build/."""
    unpacked = BUILD / "shim/usr/lib/shim"
    for folder in (INSTALLED, unpacked):
        if has_shim(folder):
            return folder
    run(ROOT / "tools/setup", "unpack", *PACKAGES, BUILD / "shim", timeout=FETCH_S)
    if not has_shim(unpacked):
        raise Failure(f"{' and '.join(PACKAGES)} of this machine's apt have no {' and '.join(PIECES)}: they are Debian's")
    return unpacked


def sign(key, cert, image, out):
    """The same bytes every time: a signature has a time in it, which neither shim nor firmware looks at."""
    epoch = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", EPOCH_DEFAULT)), datetime.timezone.utc)
    run("faketime", "-f", f"{epoch:%Y-%m-%d %H:%M:%S}", "sbsign", "--key", key, "--cert", cert, "--output", out, image,
        env=dict(os.environ, TZ="UTC"))


def make_folder(esp, out, key, cert):
    shim, der = find_shim(), der_of(cert)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(esp, out)
    boot = out / "EFI/BOOT"
    for name, told in PIECES.items():
        shutil.copyfile(shim / name, boot / told)
    sign(key, cert, esp / "EFI/BOOT/BOOTX64.EFI", boot / "grubx64.efi")
    (out / "reveille.der").write_bytes(der)
    return der


def main(esp, out, key="", cert=""):
    try:
        der = make_folder(pathlib.Path(esp), pathlib.Path(out), *choose_pair(key, cert))
    except (Failure, OSError, subprocess.TimeoutExpired) as e:
        sys.exit(f"secure: {e}")
    print("secure: enrol \\reveille.der once on each machine (docs/secure-boot.md); its fingerprint is there",
          *(f"    {line}" for line in fingerprint(der)), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit("usage: secure.py ESP OUT [KEY CERT]")
    main(*sys.argv[1:])

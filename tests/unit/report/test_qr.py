"""The code on the last screen, read back by zbar: every version, and texts of every kind."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
RENDER = pathlib.Path(os.environ.get("REVEILLE_BUILD", ROOT / "build")) / "host/render"
LONGEST = 230
# The longest text of each version, and one more.
EDGES = sorted({n + more for n in (17, 32, 53, 78, 106, 134, 154, 192) for more in (0, 1)})


def render(text):
    return subprocess.run([RENDER, "1280", "800", "0", "4", "1", text], capture_output=True,
                          check=False)


def read_back(text, tmp_path):
    drawn = render(text)
    assert drawn.returncode == 0, drawn.stderr
    picture = tmp_path / "code.ppm"
    picture.write_bytes(drawn.stdout)
    found = subprocess.run(["zbarimg", "-q", "--raw", str(picture)], capture_output=True, text=True,
                           check=False)
    return found.stdout.removesuffix("\n")


@pytest.mark.parametrize("length", [1, *EDGES, LONGEST])
def test_every_version(length, tmp_path):
    text = "".join(chr(33 + (7 * i + length) % 94) for i in range(length))
    assert read_back(text, tmp_path) == text


@pytest.mark.parametrize("text", ["a" * LONGEST, "UUUUUUUU", "REVEILLE 0.1.0 want=15 up=13", "    ."])
def test_texts_that_make_poor_patterns(text, tmp_path):
    assert read_back(text, tmp_path) == text


def test_too_long_is_refused():
    drawn = render("x" * (LONGEST + 1))
    assert drawn.returncode == 1
    assert b"too long" in drawn.stderr

"""What the pages and esp/reveille.cfg say of causes, faults and options is what the image says."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import bochs  # noqa: E402
import hostile  # noqa: E402

BUILD = ROOT / os.environ.get("REVEILLE_BUILD", "build")


def explain(*words):
    return subprocess.run([BUILD / "host/explain", *words], capture_output=True, text=True,
                          timeout=60, check=False)


def test_the_table_of_causes_is_the_images_own():
    page = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    table = explain("--markdown").stdout
    assert table and table in page


def test_every_fault_is_explained():
    page = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    words = explain("--faults").stdout.split()
    assert len(words) > 20
    assert [word for word in words if f"`{word}`" not in page] == []


def test_one_cause_and_an_unknown_one():
    one = explain("late")
    assert one.returncode == 0 and one.stdout.startswith("late: ") and "Look next" in one.stdout
    assert explain("tardy").returncode == 1


def options():
    """[(key, default, other spelling or "")] as the image's `help` has them."""
    *lines, numbers = explain("--options").stdout.splitlines()
    assert numbers.startswith("Numbers are decimal")
    found = []
    for line in lines:
        key, default = line.split()[0].split("=", 1)
        alias = re.search(r"\(alias: (\S+)\)$", line)
        found.append((key, default, alias[1] if alias else ""))
    assert len(found) > 25 and ("check", "no", "dry-run") in found
    return found


def test_the_file_of_options_has_every_key_with_its_default():
    text = (ROOT / "esp/reveille.cfg").read_text(encoding="ascii")
    lines = text.splitlines()
    assert sorted(line[1:] for line in lines if re.match(r"#[a-z_-]+=", line)) == sorted(
        f"{key}={default}" for key, default, _ in options())
    assert [line for line in lines if line and not line.startswith("#")] == []
    assert [alias for _, _, alias in options() if alias and f"{alias}=" not in text] == []


def test_the_readme_has_every_key_with_its_default_first():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {row[0]: row[1:] for row in re.findall(
        r"^\| `([a-z_-]+)` \| `([^`]*)`.*\| (.*) \|$", page[page.index("## Options"):], re.M)}
    assert {key: row[0] for key, row in rows.items()} == {key: default for key, default, _ in options()}
    for key, _, alias in options():
        assert not alias or f"`{alias}`" in rows[key][1], key


def test_every_hostile_case_names_tests_that_exist():
    cases = hostile.rows(hostile.PAGE.read_text(encoding="utf-8"))
    assert len(cases) > 100
    for _, named in cases:
        for file, test in named:
            definition = f"def {test}(" if file.endswith(".py") else f"void {test}("
            assert definition in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {test}"


@pytest.mark.parametrize("row", [
    "| a | b | `tests/unit/test_x.c::test_y` | c |",
    "| a | b |",
    "| a | b | no test |",
    "| a | b | `tests/unit/test_x.c::test_y` `tests/unit/x.c::test_z` |",
])
def test_a_row_of_another_shape_is_not_passed_over(row):
    with pytest.raises(ValueError, match="not a case"):
        hostile.rows(row)


def test_the_page_of_bochs_is_about_our_bochs():
    page = (ROOT / "docs/bochs.md").read_text(encoding="utf-8")
    named = re.search(r"On the models\s+((?:\w+(?:, | and |,\n| and\n)?\s*)+?) it does so here", page)
    assert set(re.findall(r"\w{6,}", named[1])) == bochs.STRICT
    assert f"EMULATOR=bochs                                       {bochs.Machine().model}, 4 processors" in page
    assert f"packages, {bochs.MOST_CPUS} at most" in page
    # A row of the table of differences has a manual's section, or says that none has it.
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    rows = [cells for cells in rows if len(cells) == 7 and cells[1].strip() not in ("what", "---")]
    assert len(rows) > 10
    for cells in rows:
        assert re.search(r"SDM|APM|same|manual|each|both", cells[4]), cells[1]

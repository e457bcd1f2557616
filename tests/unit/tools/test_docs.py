"""What the pages and esp/reveille.cfg say of causes, faults and options is what the image says."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

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
    source = (ROOT / "trial/options/option_faults.c").read_text(encoding="ascii")
    words = [line.split('"')[1] for line in source.splitlines() if line.strip().startswith("[FAULT_")]
    assert len(words) > 20
    assert [word for word in words if f"`{word}`" not in page] == []


def test_one_cause_and_an_unknown_one():
    one = explain("late")
    assert one.returncode == 0 and one.stdout.startswith("late: ") and "Look next" in one.stdout
    assert explain("tardy").returncode == 1


def options():
    """[(key, default)] as trial/options/option_table.c has them."""
    source = (ROOT / "trial/options/option_table.c").read_text(encoding="ascii")
    found = re.findall(r'\{\.name = "([^"]+)",\s*\.initial = "([^"]*)"', source)
    assert len(found) > 25
    return found


def test_the_file_of_options_has_every_key_with_its_default():
    lines = (ROOT / "esp/reveille.cfg").read_text(encoding="ascii").splitlines()
    assert sorted(tuple(line[1:].split("=", 1)) for line in lines if re.match(r"#[a-z_-]+=", line)) == sorted(options())
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_readme_has_every_key_with_its_default_first():
    rows = {key: values for key, values in re.findall(
        r"^\| `([a-z_-]+)` \| `([^`]*)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)}
    for key, default in options():
        assert rows.get(key) == default or key == "dry-run", key


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

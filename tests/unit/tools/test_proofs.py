"""What make proofs makes of a run's records, and that it keeps the cells of what it did not run."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))

import proofs  # noqa: E402
import qemu  # noqa: E402

ROW = proofs.Row("plain", "a machine", {})
PAGE = "Text.\n\n<!-- boots -->\n\nMore.\n\n<!-- witnesses -->\n"


def wake(up="3", want="3", last_us="1500"):
    return {"ev": "wake", "up": up, "want": want, "last_us": last_us}


def end(ok="1"):
    return {"ev": "end", "ok": ok}


def test_a_wake_has_a_count_and_a_time():
    records = [wake(last_us="9000"), wake(), wake(last_us="100"), end()]
    assert proofs.woken(ROW, records, 3) == "9 of 9, 1.5 ms"


@pytest.mark.parametrize("records", [
    [], [end()], [wake()], [wake(), end("0")], [wake(up="2"), end()], [wake(up="2", want="2"), end()],
    [wake(), wake(), end()], [wake(), end(), end()]])
def test_a_wake_that_is_none(records):
    with pytest.raises(proofs.Wrong):
        proofs.woken(ROW, records, 1)


def accounts(**causes):
    return [{"ev": "cpu", "cpu": "0", "state": "bsp"}] + [
        {"ev": "cpu", "cpu": name[1:], "state": "failed" if cause else "online"} | ({"cause": cause} if cause else {})
        for name, cause in causes.items()]


def test_causes_are_held_against_the_faults():
    right = {f"c{cpu}": cause for cpu, (_, cause) in proofs.FAULTS.items()}
    assert proofs.accused(ROW, accounts(**right), 1).startswith("3 of 3 causes")
    for cpu in right:
        for cause in (None, "late"):
            with pytest.raises(proofs.Wrong):
                proofs.accused(ROW, accounts(**right | {cpu: cause}), 1)
    with pytest.raises(proofs.Wrong):
        proofs.accused(ROW, accounts(), 1)


def test_who_is_not_back_and_what_is_not_saved():
    back = {"ev": "giveback", "aps": "3", "back": "3"}
    assert proofs.given_back(ROW, [wake(), end(), back], 1) == "3 of 3 back"
    for wrong in ({"back": "2"}, {"aps": "2", "back": "2"}, {"aps": "0", "back": "0"}):
        with pytest.raises(proofs.Wrong):
            proofs.given_back(ROW, [wake(), end(), back | wrong], 1)
    whole = {"ev": "harvest", "lines": "30", "complete": "1", "saved": "1"}
    assert proofs.harvested(ROW, [whole], 1) == "30 lines"
    for wrong in ({"complete": "0"}, {"saved": "0"}):
        with pytest.raises(proofs.Wrong):
            proofs.harvested(ROW, [whole | wrong], 1)


def test_what_was_not_run_keeps_its_cell():
    way = proofs.WAYS[0].name
    first, second = proofs.ROWS[0], proofs.ROWS[1]
    page = proofs.update(PAGE, {(first.name, way): "2001-01-01: 3 of 3"}, {"mutants": "2001-01-02: all"})
    page = proofs.update(page, {(second.name, way): "2001-01-03: 1 of 1"}, {})
    boots = proofs.read_table(page, "boots")
    assert list(boots) == [row.title for row in proofs.ROWS]
    assert boots[first.title][0] == "2001-01-01: 3 of 3" and boots[second.title][0] == "2001-01-03: 1 of 1"
    assert set(boots[first.title][1:]) == {"not run"}
    title, command, _ = proofs.WITNESSES["mutants"]
    assert proofs.read_table(page, "witnesses")[title] == [f"`{command}`", "2001-01-02: all"]
    assert page.startswith("Text.\n\n") and "\n\nMore.\n\n" in page


def test_what_is_asked_for():
    assert proofs.chosen([]) == (proofs.ROWS, [])
    rows, witnesses = proofs.chosen(["uboot", "mutants"])
    assert [row.name for row in rows] == ["uboot"] and witnesses == ["mutants"]
    with pytest.raises(qemu.Failure, match="ONLY=nothing: there are q35"):
        proofs.chosen(["uboot", "nothing"])


def test_a_witness_is_not_told_what_was_asked_of_the_page(tmp_path, monkeypatch):
    """make hands a variable of its command line on by the environment and by MAKEFLAGS."""
    look = tmp_path / "look"
    look.write_text('echo "only ${ONLY-all}, flags ${MAKEFLAGS-none}, level ${MAKELEVEL-none}"\n', encoding="ascii")
    monkeypatch.setenv("ONLY", "mutants")
    monkeypatch.setenv("MAKEFLAGS", " -- ONLY=mutants")
    monkeypatch.setenv("MAKELEVEL", "1")  # else the witness's last line is "Leaving directory"
    monkeypatch.setitem(proofs.WITNESSES, "mutants", ("a title", f"sh {look}", "only all, flags none, level none"))
    assert proofs.run_witness("mutants") == (f"{proofs.today()}: only all, flags none, level none", True)


def test_the_page_is_as_the_command_writes_it():
    page = proofs.PAGE.read_text(encoding="utf-8")
    assert proofs.update(page, {}, {}) == page
    cells = [cell for name in ("boots", "witnesses") for row in proofs.read_table(page, name).values() for cell in row]
    assert [cell for cell in cells if "FAILED" in cell] == []
    assert "not run" not in [cell for row in proofs.read_table(page, "boots").values() for cell in row]

"""tools/coverage.py: what it counts, what it calls too little, and that its list of parsers is of this tree."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import coverage  # noqa: E402

PARSERS = coverage.parsers(coverage.PARSERS.read_text(encoding="utf-8"))
# Rooms in which every source is a parser, but for these: they write, or read what a device or ourselves did.
ROOMS = ("machine", "trial/options", "efi/keep", "efi/mp")
NO_PARSERS = {"machine/person.c", "machine/reset.c", "efi/mp/compare.c", "efi/mp/firmware_aps.c"}

SOURCE = """#define LEAST \\
    4u

static int first(int a)
{
    return a < LEAST;
}

int second(void);

int second(void)
{
    return first(5);
}
"""
LCOV = f"""SF:{ROOT}/machine/x.c
FN:4,x.c:first
DA:2,7
DA:5,7
DA:6,7
DA:7,0
DA:12,0
DA:13,0
end_of_record
"""


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: coverage.label(parser))
def test_every_parser_is_there(parser):
    text = (ROOT / parser.source).read_text(encoding="utf-8")
    assert coverage.extents(text, parser.functions)


def test_every_source_of_these_rooms_is_listed():
    sources = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).glob("*.c")}
    assert sources - {parser.source for parser in PARSERS} == NO_PARSERS


def test_every_fuzzer_has_kept_inputs():
    for fuzzer in (ROOT / "tests/fuzz").glob("fuzz_*.c"):
        kept = ROOT / "tests/fuzz/corpus" / fuzzer.stem.removeprefix("fuzz_")
        assert any(kept.iterdir()), kept


@pytest.mark.parametrize("row", ["reads |", "reads | a.c | why | more", "reads", "| a.c"])
def test_a_row_of_another_shape_is_not_passed_over(row):
    with pytest.raises(ValueError, match="not a parser"):
        coverage.parsers(f"# a comment\n\nreads | a.c f g | why\n{row}\n")


def test_the_lines_of_functions():
    assert coverage.extents(SOURCE, ()) == set(range(1, 15))
    assert coverage.extents(SOURCE, ("first",)) == {4, 5, 6, 7}
    assert coverage.extents(SOURCE, ("second",)) == {11, 12, 13, 14}
    assert coverage.extents(SOURCE, ("-first",)) == set(range(1, 15)) - {4, 5, 6, 7}
    assert coverage.macros(SOURCE) == {1, 2}
    with pytest.raises(ValueError, match="third is defined 0 times"):
        coverage.extents(SOURCE, ("third",))


def measured(*functions, excuse=""):
    parser = coverage.Parser("an x", "machine/x.c", functions, excuse)
    tests = {"machine/x.c": {6: 0, 7: 1, 13: 1}}
    return coverage.measure(parser, SOURCE, {"x": coverage.counts(LCOV), "y": {}}, tests)


def test_lines_are_counted_once_and_macros_are_none():
    one = measured()
    assert one.lines == {5, 6, 7, 12, 13}
    assert one.fuzzed == {5, 6} and one.tested == {7, 13} and one.by == {"x": 2}
    assert coverage.percent(one.fuzzed, one.lines) == 40.0
    assert measured("first").lines == {5, 6, 7}


def test_too_little_is_a_failure_unless_there_is_a_reason():
    good = measured("first")._replace(fuzzed={5, 6, 7})
    assert coverage.verdict([good]) == (False, "coverage: 1 parsers, none below 90 %; the lowest is "
                                               "machine/x.c first, 100.0 % by fuzzing")
    status, told = coverage.verdict([good, measured()])
    assert status and "1 below 90 %" in told and told.endswith("machine/x.c, 40.0 % by fuzzing")
    status, told = coverage.verdict([good, measured(excuse="it cannot be")])
    assert not status and "none below 90 % but 1 with a reason" in told
    nothing = good._replace(lines=set(), fuzzed=set())
    assert coverage.verdict([good, nothing])[0]  # a parser of which nothing was built


def test_the_page_names_who_reaches_a_parser():
    shown = coverage.row(measured("first", excuse="it <cannot> be"))
    assert "66.7 %" in shown and "it &lt;cannot&gt; be" in shown and "<td>x</td>" in shown
    lines = coverage.lines_page("machine/x.c", SOURCE, {"x": coverage.counts(LCOV)}, {"machine/x.c": {7: 1}},
                                {5, 6, 7, 13})
    assert [lines.count(f'class="{kind}"') for kind in ("yes", "half", "no")] == [2, 1, 1]


def test_who_counts_no_lines_is_a_test_of_today():
    """One by a name that it had once would be run, and leave nothing to count."""
    tests = {p.stem for p in (coverage.ROOT / "tests/unit").glob("*/test_*.c")}
    assert set(coverage.OTHERS) <= tests

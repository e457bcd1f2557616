"""make distributions: what counts as a good run, and what is told of a bad one."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))

import distributions  # noqa: E402

END = "REVEILLE ev=end ok={} want=3 up=3 failed=0\n"
TESTS = """\
FAILED clang builds the image
FAILED tests/boot/test_ends.py::test_halt - AssertionError
==== 1 failed, 20 passed in 12 s ====

==== after 700 s
FAILED clang builds the image
FAILED tests.boot.test_ends.test_halt
20 passed, 2 failed, 1 skipped
make: *** [Makefile:98: test] Error 1
"""


@pytest.fixture
def judge(tmp_path):
    def judged(trial, status, text):
        log = tmp_path / "log"
        log.write_text(text)
        wrong, counts, failures = distributions.judge(trial, status, log)
        return wrong.replace(f", see {log}", ""), counts, failures
    return judged


def test_make_run(judge):
    assert judge(distributions.RUN, 0, END.format(1)) == ("", [], [])
    assert judge(distributions.RUN, 0, END.format(0)) == ("make run: exit status 0", [], [])
    assert judge(distributions.RUN, 2, END.format(1)) == ("make run: exit status 2", [], [])
    assert judge(distributions.RUN, None, "") == ("make run: out of time after 1800 s", [], [])


def test_make_test(judge):
    good = "==== 21 passed in 12 s ====\n\n==== after 700 s\n21 passed, 0 failed, 1 skipped\n"
    assert judge(distributions.WHOLE, 0, good) == ("", ["21 passed, 0 failed, 1 skipped"], [])
    wrong, counts, failures = judge(distributions.WHOLE, 2, TESTS)
    assert (wrong, counts) == ("make test: exit status 2", ["20 passed, 2 failed, 1 skipped"])
    assert failures == ["FAILED clang builds the image", "FAILED tests.boot.test_ends.test_halt"]
    assert judge(distributions.WHOLE, 0, TESTS)[0] == "make test: exit status 0"


def test_make_test_that_did_not_end(judge):
    wrong, counts, failures = judge(distributions.WHOLE, None, TESTS.partition("\n\n")[0])
    assert (wrong, counts) == ("make test: out of time after 5400 s", [])
    assert failures == TESTS.splitlines()[:2]


def test_an_outcome_in_words():
    versions = {"name": "Debian 13", "gcc": "14.2.0", "clang": "19.1.7", "qemu": ""}
    failed = distributions.Outcome("trixie", "FAILED", "why", 12.4, versions, ["FAILED this"])
    assert failed.text() == ("FAILED  trixie    Debian 13: gcc 14.2.0, clang 19.1.7, qemu ? (12 s) why\n"
                             "    FAILED this")
    assert distributions.Outcome("sid", "skipped", "no mirror").text() == "skipped sid       (0 s) no mirror"

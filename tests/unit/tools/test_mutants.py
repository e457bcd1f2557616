"""The table of mutants stands on today's sources, and tools/mutants.py knows who notices and who does not."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import mutants  # noqa: E402

# A product of one file, whose tests are scripts, and a build that has a check.
TREE = {
    "product": "good fast sound\n",
    "Makefile": """
all host firmware image kernels:
\t@if grep -q unlawful product; then echo "check: unlawful"; exit 1; fi
\t@if grep -q garbled product; then echo "product:1: error: garbled"; exit 1; fi
build/host/unit/%: tests/unit/%.c product
\t@mkdir -p $(@D) && cp $< $@ && chmod +x $@
""",
    "tests/unit/room/test_a.c": """#!/bin/sh
if grep -q bad product; then
    printf '[  FAILED  ] test_good\\n[  FAILED  ] test_good\\n 1 FAILED TEST(S)\\n'; exit 1
fi
if grep -q endless product; then exec sleep 60; fi
if grep -q crash product; then exit 99; fi
if grep -q beyond product; then
    printf '[ RUN      ] test_1\\n[ RUN      ] test_2\\n==7==ERROR: AddressSanitizer: heap-buffer-overflow on\\n'
    exit 1
fi
""",
    "tests/unit/room/test_b.c": "#!/bin/sh\nif grep -q unsound product; then exit 1; fi\n",
    "tests/unit/room/test_p.py": "def test_p():\n    assert 'slow' not in open('product').read()\n",
    "tests/boot/test_boot.py": "def test_boot():\n    assert 'wrong' not in open('product').read()\n",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The small tree in the place of ours."""
    for name, text in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(mutants, "ROOT", tmp_path / "tree")
    monkeypatch.setattr(mutants, "COPIES", tmp_path / "tree/build/mutants")
    monkeypatch.setattr(mutants, "PATIENCE_S", 2)
    return tmp_path / "tree"


def mutant(old, new, ask=("room/test_a",), **more):
    return mutants.Mutant("name", "a sentence", "product", old, new, list(ask), **more)


def the_outcome(*words, **more):
    """What one mutant comes to; afterwards its copy is as it was."""
    [outcome] = mutants.run([mutant(*words, **more)])
    assert (mutants.COPIES / "1/product").read_text(encoding="utf-8") == TREE["product"]
    return outcome


def test_our_own_table():
    all_of_them, wrong = mutants.read_table(mutants.TABLE.read_text(encoding="utf-8"))
    assert wrong == []
    counted = [one for one in all_of_them if not one.no_test]
    assert len(counted) >= 40  # as docs/tests.md has it
    assert {one.file.split("/")[0] for one in counted} >= {
        "trampoline", "smp", "machine", "trial", "hw", "report", "efi"}


@pytest.mark.parametrize("ask, new, noticed, by_those_asked", [
    (["room/test_a"], "bad", ["room/test_a: test_good"], True),
    (["room/test_a"], "crash", ["room/test_a: exit status 99"], True),
    (["room/test_a"], "beyond", ["room/test_a: test_2 (AddressSanitizer: heap-buffer-overflow)"], True),
    (["room/test_a"], "endless", ["room/test_a: hung"], True),
    (["tests/unit/room/test_p.py"], "slow", ["tests/unit/room/test_p.py::test_p"], True),
    (["tests/boot/test_boot.py::test_boot"], "wrong", ["tests/boot/test_boot.py::test_boot"], True),
    (["room/test_a"], "unsound", ["room/test_b: exit status 1"], False),
    (["room/test_a"], "slow", ["tests/unit/room/test_p.py::test_p"], False),
    (["room/test_a"], "wrong", ["tests/boot/test_boot.py::test_boot"], False),
])
def test_who_notices(tree, ask, new, noticed, by_those_asked):
    outcome = the_outcome("good", new, ask)
    assert (outcome.noticed, outcome.by_those_asked, outcome.error) == (noticed, by_those_asked, "")
    assert (tree / "product").read_text(encoding="utf-8") == TREE["product"]  # ours is never touched


def test_who_noticed_in_brief():
    names = ["a/test_b: test_1", "a/test_b: test_2", "tests/boot/test_c.py::test_d[x: y]", "a/test_b: test_3"]
    assert mutants.brief(names[:1]) == names[0]
    assert mutants.brief(names) == "a/test_b: test_1, test_2, tests/boot/test_c.py::test_d[x: y] and 1 more"


def test_nobody_notices(tree):
    outcome = the_outcome("good", "better")
    assert outcome.noticed == [] and outcome.error == "" and outcome.text() == "SURVIVES"
    lines, status = mutants.summary([outcome], [])
    assert status == 1 and lines[-2:] == ["survives: name in product: a sentence", "mutants: 0 of 1 noticed"]


def test_a_check_of_the_build_notices(tree):
    outcome = the_outcome("good", "unlawful", ask=(), build="check: unlawful")
    assert outcome.noticed == ["the build: check: unlawful"]
    lines, status = mutants.summary([outcome], [])
    assert status == 0 and lines[-1] == "mutants: 1 of 1 noticed"


@pytest.mark.parametrize("more", [
    {"ask": ("tests/unit/room/test_p.py",)},
    {"ask": (), "build": "check: unlawful"},
])
def test_what_does_not_build_is_no_mutant(tree, more):
    outcome = the_outcome("good", "garbled", **more)
    assert outcome.noticed == [] and outcome.error == "it does not build: product:1: error: garbled"
    assert mutants.summary([outcome], [])[1] == 1


def test_a_test_that_fails_anyway_is_no_witness(tree):
    broken = tree / "tests/unit/room/test_a.c"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    with pytest.raises(mutants.Refused, match="room/test_a does not pass before anything is broken"):
        mutants.run([mutant("good", "bad")])
    outcome = the_outcome("good", "better", ["room/test_b"])  # the others are asked, and one fails
    assert outcome.noticed == [] and outcome.error.startswith("room/test_a does not pass before")


def test_a_test_that_is_skipped_is_no_witness(tree):
    skipped = tree / "tests/boot/test_boot.py"
    skipped.write_text("import pytest\ndef test_boot():\n    pytest.skip()\n", encoding="utf-8")
    with pytest.raises(mutants.Refused, match="skipped"):
        mutants.run([mutant("good", "bad", ["tests/boot/test_boot.py"])])


ENTRY = """
[name]
breaks = "a sentence"
file = "product"
old = "good"
new = "bad"
ask = ["room/test_a"]
"""


@pytest.mark.parametrize("old, new, wrong", [
    ('"product"', '"elsewhere"', "there is no file elsewhere"),
    ('"good"', '"missing"', "stands 0 times in product"),
    ('"good"', '"o"', "stands 3 times in product"),
    ('"good"', '""', "stands 0 times in product"),
    ('"bad"', '"good"', "nothing changes"),
    ("room/test_a", "room/test_z", "there is no test room/test_z"),
    ("room/test_a", "tests/boot/test_z.py::test_boot", "there is no test tests/boot/test_z.py::test_boot"),
    ('ask = ["room/test_a"]', "", "one of ask=, build= and no_test= is wanted"),
    ("ask =", 'no_test = "why"\nask =', "one of ask=, build= and no_test= is wanted"),
    ("ask =", 'colour = "red"\nask =', "unknown ['colour'], missing []"),
    ('new = "bad"', "", "unknown [], missing ['new']"),
])
def test_an_entry_that_cannot_be(tree, old, new, wrong):
    assert mutants.read_table(ENTRY)[1] == []
    found = mutants.read_table(ENTRY.replace(old, new))[1]
    assert len(found) == 1 and found[0].startswith("name: ") and wrong in found[0]

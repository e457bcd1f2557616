"""The check that holds the rooms finds what crosses a wall, goes in a circle or looks past the door."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import check_rooms  # noqa: E402

ARROWS = """
efi         efi/keep smp hw
efi/keep    hw
trial       smp hw
smp         trampoline hw
trampoline  smp/handoff.h hw
hw
include
"""
MAKEFILE = "PURE_ROOMS := hw smp trampoline trial\nEFI_ROOMS  := efi efi/keep\n"
SOUND = {
    "efi/main.c": '#include <efi.h>\n#include "main.h"\nEFI_STATUS efi_main(void);\n#include "smp.h"\n',
    "efi/main.h": '#include "keep.h"\n',
    "efi/other.h": "",
    "efi/keep/keep.h": '#include "hw.h"\n',
    "trial/trial.c": '#include "smp.h" // "EFI_STATUS": not here\n',
    "smp/smp.h": "void smp_wake(void);\n",
    "smp/wake.c": '#include "smp.h"\n#include "wake.h"\n#include "page.h"\n',
    "smp/wake.h": '#include "handoff.h"\n',
    "smp/handoff.h": "",
    "trampoline/page.h": '#include "handoff.h"\n',
    "hw/line.h": "",
    "hw/hw.h": '#include "status.h"\n',
    "include/status.h": "",
    "tests/unit/smp/test_wake.c": '#include "wake.h"\n#include "cmocka.h"\n',
    "tests/unit/trial/test_trial.c": '#include "smp.h"\n',
}


def faults(more=None, objects=None, known="", makefile=MAKEFILE, door_is_shut=True):
    return check_rooms.faults({**SOUND, **(more or {})}, makefile, objects, ARROWS, known, door_is_shut)


def test_our_own_code():
    assert check_rooms.main() == 0


def test_the_build_looks_at_the_objects():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^\$\(B\)/BOOTX64\.so:.* \$\(B\)/rooms\.checked\b", makefile, re.M)
    assert "check_rooms.py $(B)/image $(IMAGE_OBJ:$(B)/image/%=%)" in makefile


def test_what_is_sound():
    assert faults() == []


@pytest.mark.parametrize("path, text, told", [
    # Arrows upward, and one to a room of which a single file is open.
    ("hw/hw.h", '#include "handoff.h"\n', "arrow: hw/hw.h includes smp/handoff.h: "),
    ("efi/keep/keep.c", '#include "other.h"\n', "arrow: efi/keep/keep.c includes efi/other.h: "),
    ("trampoline/page.h", '#include "smp.h"\n', "arrow: trampoline/page.h includes smp/smp.h: "),
    ("trampoline/a.S", '#include "wake.h"\n', "arrow: trampoline/a.S includes smp/wake.h: "),
    ("hw/hw.h", '#  include  "handoff.h"\n', "arrow: hw/hw.h includes smp/handoff.h: "),
    ("include/status.h", '#include "line.h"\n', "arrow: include/status.h includes hw/line.h: "),
    # The door.
    ("trial/trial.c", '#include "wake.h"\n', "door: trial/trial.c includes smp/wake.h: "),
    ("efi/main.c", '#include "handoff.h"\n', "door: efi/main.c includes smp/handoff.h: "),
    ("smp/smp.h", '#include "handoff.h"\n', "door: smp/smp.h includes smp/handoff.h: "),
    ("tests/unit/trial/test_trial.c", '#include "wake.h"\n', "door: tests/unit/trial/test_trial.c includes smp/wake.h: "),
    ("tests/boot/page.c", '#include "page.h"\n', "door: tests/boot/page.c includes trampoline/page.h: "),
    # Circles: of headers, and of a source that includes the header of another.
    ("hw/a.h", '#include "a.h"\n', None),
    ("smp/handoff.h", '#include "wake.h"\n', "circle: smp/handoff smp/wake trampoline/page (smp/handoff -> smp/wake -> smp/handoff): "),
    # Names and paths.
    ("hw/wake.c", "", "name: wake.c stands in hw and smp: "),
    ("hw/hw.c", '#include "gone.h"\n', "path: hw/hw.c includes gone.h: "),
    ("smp/wake.c", '#include "../hw/hw.h"\n', "path: smp/wake.c includes ../hw/hw.h: "),
    # Firmware's words.
    ("smp/wake.c", "#include <efi.h>\n", "uefi: smp/wake.c includes <efi.h>: "),
    ("smp/wake.c", "EFI_STATUS wake(void);\n", "uefi: smp/wake.c says EFI_STATUS: "),
    ("hw/hw.h", "UINTN hw(void);\n", "uefi: hw/hw.h says UINTN: "),
    ("smp/wake.c", "// EFI_STATUS\n/* UINTN\n */ \"CHAR16\"\n", None),
    # A source that is included.
    ("tests/unit/smp/test_wake.c", '#include "../../../smp/wake.c"\n', "source: tests/unit/smp/test_wake.c includes "),
    ("tests/unit/hw/test_mem.c", '#include "../../../hw/lib/mem.c"\n', "source: tests/unit/hw/test_mem.c includes "),
])
def test_what_is_not(path, text, told):
    found = faults({path: text})
    if told is None:
        assert found == []
    else:
        assert len(found) == 1 and found[0].startswith(told) and len(found[0]) > len(told) + 20, found


def test_the_test_that_may_include_a_source():
    more = {"hw/lib/mem.c": "", "tests/unit/hw/test_mem.c": '#include "../../../hw/lib/mem.c"\n'}
    arrows = ARROWS + "hw/lib\n"
    assert check_rooms.faults({**SOUND, **more}, MAKEFILE.replace(":= hw", ":= hw hw/lib"), None, arrows, "", True) == []


def test_a_circle_of_sources():
    """Neither header includes the other: each source does."""
    assert faults({"hw/a.c": '#include "b.h"\n', "hw/a.h": "", "hw/b.c": '#include "a.h"\n', "hw/b.h": ""}) == [
        f"circle: hw/a hw/b (hw/a -> hw/b -> hw/a): {check_rooms.ADVICE['circle']}"]


def test_a_circle_of_three_is_one():
    found = faults({"hw/a.h": '#include "b.h"\n', "hw/b.h": '#include "c.h"\n#include "a.h"\n', "hw/c.h": '#include "a.h"\n'})
    assert len(found) == 1 and found[0].startswith("circle: hw/a hw/b hw/c (hw/a -> hw/b -> hw/a): "), found


OBJECTS = {
    "efi/main": ({"efi_main"}, {"smp_wake", "keep", "memcpy"}),
    "efi/firmware/relocate": ({"_start"}, {"efi_main"}),
    "efi/keep/keep": ({"keep"}, set()),
    "smp/wake": ({"smp_wake", "wake_one"}, {"fault_stubs"}),
    "smp/fault": ({"fault_report"}, {"fault_stubs"}),
    "smp/fault_entry": ({"fault_stubs"}, {"fault_report"}),
}


@pytest.mark.parametrize("name, defined, needed, told", [
    ("trial/trial", {"trial"}, {"smp_wake"}, None),
    # Two files of one room that call each other through a common header.
    ("smp/wake", {"smp_wake", "wake_one", "fault_report"}, {"smp_one"},
     "calls: smp/one smp/wake (smp/one -wake_one-> smp/wake -smp_one-> smp/one): "),
    ("efi/keep/keep", {"keep"}, {"efi_main"}, "calls: efi/keep/keep efi/main ("),
    # A call that no header shows.
    ("hw/hw", {"hw"}, {"smp_wake"}, "symbol: hw/hw needs smp/wake (smp_wake): "),
    ("trial/trial", {"trial"}, {"wake_one"}, "door: trial/trial needs wake_one of smp/wake: "),
])
def test_objects(name, defined, needed, told):
    one = {"smp/one": ({"smp_one"}, {"wake_one"})} if "smp_one" in needed else {}
    found = faults(objects={**OBJECTS, **one, name: (defined, needed)})
    if told is None:
        assert found == []
    else:
        assert any(line.startswith(told) for line in found), found
        assert all(line.startswith((told, "symbol: ")) for line in found), found


def test_the_door_may_lead_into_the_trampoline():
    """The engine is two rooms: what smp.h declares may stand in either."""
    objects = {**OBJECTS, "trampoline/page": ({"smp_page", "page_fill"}, set())}
    main = ({"efi_main"}, {"smp_page"})
    assert faults({"smp/smp.h": "void smp_page(void);\n"}, {**objects, "efi/main": main}) == []
    found = faults(objects={**objects, "efi/main": main})
    assert len(found) == 1 and found[0].startswith("symbol: efi/main needs trampoline/page (smp_page): "), found


def test_a_real_object(tmp_path):
    (tmp_path / "smp").mkdir()
    (tmp_path / "smp/a.c").write_text("extern int there, table[]; static int own; int here(void); void gone(void);\n"
                                      "int table[2] = {1, 2}; int here(void) { gone(); return there + own++; }\n")
    subprocess.run(["gcc", "-c", "-o", tmp_path / "smp/a.o", tmp_path / "smp/a.c"], check=True, timeout=60)
    assert check_rooms.read_objects(tmp_path, ["smp/a.o"])["smp/a"][0] == {"here", "table"}
    assert {"gone", "there"} <= check_rooms.read_objects(tmp_path, ["smp/a.o"])["smp/a"][1]


@pytest.mark.parametrize("makefile, more, told", [
    (MAKEFILE.replace(" trial", ""), {}, "makefile: trial is not in the Makefile: "),
    (MAKEFILE.replace("hw ", "hw hw/new "), {}, "makefile: hw/new is not in ARROWS and the tree: "),
    (MAKEFILE, {"hw/new/new.c": ""}, "makefile: hw/new is not in the Makefile and ARROWS: "),
])
def test_the_rooms_of_the_makefile(makefile, more, told):
    found = faults(more, makefile=makefile)
    assert len(found) == 1 and found[0].startswith(told), found


def test_the_door_that_is_still_open():
    assert faults({"trial/trial.c": '#include "wake.h"\n'}, door_is_shut=False) == []


def test_what_is_known_and_what_is_mended():
    wrong = {"hw/hw.h": '#include "handoff.h"\n'}
    key = "arrow: hw/hw.h includes smp/handoff.h"
    assert faults(wrong, known=f"\n{key}\n") == []
    assert faults(known=f"{key}\n") == [f"{key}: {check_rooms.ADVICE['stale']}"]
    # Without objects nobody can say whether a call is mended.
    calls = "calls: efi/keep/keep efi/main"
    assert faults(known=calls) == []
    assert faults(objects=OBJECTS, known=calls) == [f"{calls}: {check_rooms.ADVICE['stale']}"]


def test_a_room_in_arrows_is_a_room_that_exists():
    arrows = check_rooms.arrows_of(check_rooms.ARROWS)
    for room, others in arrows.items():
        for other in others:
            assert other in arrows or (ROOT / other).is_file(), f"{room} -> {other}"

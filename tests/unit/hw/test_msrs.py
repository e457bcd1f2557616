"""The check that holds all code to the table of MSRs finds what is not in it."""

import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import check_msrs  # noqa: E402

HEADER = """#pragma once
#define MSR_PROVED         0x1b // long mode
#define MSR_X2APIC(at)     (0x800 + (at) / 16) // IA32_APIC_BASE bit 10
#define MSR_MAYBE          0x8b // none
"""
SOUND = {
    "smp/a.c": "(void)hw_rdmsr(MSR_PROVED); hw_wrmsr(MSR_X2APIC(at), 1); hw_read_msr_safely(MSR_MAYBE, &v);",
    "smp/a.S": "    mov     $MSR_PROVED, %ecx\n    rdmsr\n    rdmsr   // MSR_PROVED\n",
    "hw/hw.c": '"rdmsr"',
}


def faults(path, text):
    return check_msrs.faults({**SOUND, path: text}, HEADER)


def test_our_own_code():
    assert check_msrs.main() == 0


def test_what_is_sound():
    assert check_msrs.faults(SOUND, HEADER) == []


@pytest.mark.parametrize("path, text, told", [
    ("efi/b.c", "x = hw_rdmsr(0x1b);", "not in include/msr.h"),
    ("efi/b.c", "x = hw_rdmsr(msr);", "not in include/msr.h"),
    ("efi/b.c", "x = hw_rdmsr(\n    MSR_OTHER);", "not in include/msr.h"),
    ("efi/b.c", "hw_write_msr_safely(0x8b, 0);", "not in include/msr.h"),
    ("efi/b.c", "x = hw_rdmsr(MSR_MAYBE);", "nothing proves"),
    ("efi/b.c", "hw_wrmsr(MSR_MAYBE, 0);", "nothing proves"),
    ("efi/b.h", "#define MSR_OTHER 0x277u", "belongs into"),
    ("efi/b.S", "    mov $0x1b, %ecx\n    rdmsr\n", "no register"),
    ("efi/b.S", "1:  wrmsr\n", "no register"),
    ("efi/b.S", "    mov $MSR_MAYBE, %ecx\n    rdmsr\n", "nothing proves"),
    ("efi/b.S", "#define MSR_OTHER 0x277\n", "belongs into"),
])
def test_what_is_not(path, text, told):
    found = faults(path, text)
    assert len(found) == 1 and told in found[0] and found[0].startswith(path), found


def test_a_register_without_a_proof():
    with pytest.raises(ValueError, match="no number and proof"):
        check_msrs.faults(SOUND, HEADER + "#define MSR_OTHER 0x277\n")


def test_a_register_that_nobody_uses():
    assert check_msrs.faults(SOUND, HEADER + "#define MSR_OTHER 0x277 // CPUID\n") == [
        "include/msr.h: MSR_OTHER is used nowhere"]


def line_of(lines, pattern, after=0):
    return next(at for at in range(after, len(lines)) if re.search(pattern, lines[at]))


@pytest.mark.parametrize("file", ["trampoline/ap_start.S", "trial/null_code.S"])
def test_the_order_into_long_mode(file):
    """PAE, then CR3 and LME in either order, then PG (SDM vol. 3A, "Initializing IA-32e Mode"); and NX is
    asked for before NXE is set."""
    lines = (ROOT / file).read_text(encoding="ascii").splitlines()
    start = line_of(lines, r"^(lcpu_start32|null_long):")
    pae = line_of(lines, r"mov\s+%e?..?, %cr4", start)
    lme = line_of(lines, r"\$MSR_EFER, %ecx", pae)
    lme = line_of(lines, r"^\s+wrmsr", lme)
    pg = line_of(lines, r"mov\s+%eax, %cr0", start)
    nx = line_of(lines, r"^\s+cpuid", start)
    assert start < pae < lme < pg and pae < line_of(lines, r", %cr3", start) < pg and nx < lme

#!/usr/bin/env python3
"""Holds all code to include/msr.h: each RDMSR and WRMSR names a register of that table, which says what
proves that the register exists, and a register that nothing proves is touched by the safe functions alone.

Surprise: it reads C by patterns, so a register's name has to stand in the call itself. In assembler it has
to stand in the same line or among the few before it.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("efi", "hw", "machine", "report", "smp", "trampoline", "trial")
SEAM = ("hw/hw.c", "hw/hw.h", "hw/safe_msr.S")  # the functions themselves
UNPROVED = "none"
NO_MSRS = ("report/console/uart.c",)  # a UART's modem status register is called so, too
LINES_BEFORE = 8  # of assembler, in which ECX is loaded

ENTRY = re.compile(r"^#define (MSR_\w+)(\(at\))?\s+(0x[0-9a-f]+|\(0x[0-9a-f]+ \+ \(at\) / 16\))\s+// (\S.*)$")
CALL = re.compile(r"\b(hw_rdmsr|hw_wrmsr|hw_read_msr_safely|hw_write_msr_safely)\(\s*([^,;()]*)")
INSTRUCTION = re.compile(r"^\s*(?:\d+:\s*)?(?:rdmsr|wrmsr)\b")
NAME = re.compile(r"MSR_\w+")


def table(text):
    """{name: proof} of the header; a line that defines a register in another way is an error."""
    proofs = {}
    for line in text.splitlines():
        if line.startswith("#define"):
            entry = ENTRY.match(line)
            if not entry:
                raise ValueError(f"include/msr.h: no number and proof: {line}")
            proofs[entry[1]] = entry[4]
    return proofs


def faults_of_c(path, text, proofs):
    text = re.sub(r"//.*", "", text)
    for call in CALL.finditer(text):
        function, argument = call[1], call[2].strip()
        where = f"{path}:{text.count(chr(10), 0, call.start()) + 1}: {function}({argument})"
        if argument not in proofs:
            yield f"{where}: not in include/msr.h"
        elif proofs[argument].startswith(UNPROVED) and "safely" not in function:
            yield f"{where}: nothing proves that it exists: hw_read_msr_safely, hw_write_msr_safely"
    if match := re.search(r"#define\s+(\w*MSR_\w*)\s+\(?0x", text):
        yield f"{path}: {match[1]} belongs into include/msr.h"


def faults_of_assembler(path, text, proofs):
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not INSTRUCTION.match(line):
            continue
        near = lines[max(0, number - LINES_BEFORE) : number] + [line]
        names = [name for name in NAME.findall(" ".join(reversed(near))) if name in proofs]
        if not names:
            yield f"{path}:{number + 1}: {line.strip()}: no register of include/msr.h stands before it"
        elif any(proofs[name].startswith(UNPROVED) for name in names[:1]):
            yield f"{path}:{number + 1}: {names[0]}: nothing proves that it exists"
    if match := re.search(r"#define\s+(\w*MSR_\w*)\s+\(?0x", text):
        yield f"{path}: {match[1]} belongs into include/msr.h"


def faults(sources, header):
    """Everything wrong, of {path: text} and the table's own text."""
    proofs = table(header)
    found = []
    for path, text in sorted(sources.items()):
        if path in SEAM + NO_MSRS:
            continue
        check = faults_of_assembler if path.endswith(".S") else faults_of_c
        found += check(path, text, proofs)
    used = set(NAME.findall(" ".join(sources.values())))
    found += [f"include/msr.h: {name} is used nowhere" for name in proofs if name not in used]
    return found


def main():
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.[chS]")]
    sources = {str(file.relative_to(ROOT)): file.read_text(encoding="ascii") for file in files}
    found = faults(sources, (ROOT / "include/msr.h").read_text(encoding="ascii"))
    for fault in found:
        print(f"check_msrs: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

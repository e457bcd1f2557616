#!/usr/bin/env python3
"""Holds machine instructions to hw/, the trampoline and the assembler entries: what a C compiler would not
write by itself stands nowhere else.

Two looks: at the sources, for inline assembler, intrinsics and the headers that have them; and at what the
compiler made of every C file outside hw/, since a macro or a header may bring an instruction with it.

Surprise: the second look refuses what it knows. An instruction that is newer than REFUSED passes it, and is
stopped by the first.
"""

import re
import subprocess
import sys

from check_rooms import ARROWS, arrows_of, code_of, read_sources, room_of

SEAM = "hw"  # and its sub-rooms
ASSEMBLER = re.compile(r"hw/\w+\.S|trampoline/\w+\.S|smp/fault_entry\.S|trial/null_code\.S")

# The headers of the freestanding language, and those of the formats that efi/ reads and calls. None of them
# has an instruction; x86intrin.h, cpuid.h and their like do.
HEADERS = {"stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h"}
EFI_HEADERS = re.compile(r"efi\w*\.h|elf\.h")

IN_SOURCE = re.compile(r"\b(asm|__asm__|__asm|__builtin_ia32_\w+|_mm\w*_\w+|__rdtscp?|__cpuid\w*|_xgetbv)\b")

# Mnemonics as objdump writes them; SDM vol. 2 and APM vol. 3 have them.
REFUSED = {
    "an interrupt flag, a stop or a pause": "cli sti hlt pause tpause mwait mwaitx monitor monitorx umonitor umwait stui clui",
    "a port": "in(?:b|w|l)? out(?:b|w|l)? insb insw insl ins outsb outsw outsl outs",
    "an MSR or a counter": "rdmsr wrmsr wrmsrns rdmsrlist wrmsrlist rdpmc rdpru rdtsc rdtscp rdpid rdrand rdseed cpuid",
    "a descriptor table or the task register": "[ls](?:gdt|idt|ldt)[lqw]? [ls]tr[lqw]? lar lsl verr verw",
    "a control register": "clts [ls]msw[lqw]? xgetbv xsetbv",
    "a cache or the TLB": r"invd wbinvd wbnoinvd invlpg\w* invpcid tlbsync clflush clflushopt clwb cldemote clzero prefetch\w*",
    "an order of memory": r"[mls]fence serialize movnti\w* movdir\w* movnt\w+ enqcmds?",
    "another segment": "swapgs lkgs (?:rd|wr)[fg]sbase l[defgs]s[lqw]?",
    "a far way": r"int int1 int3 into icebp iret\w? uiret l?ret[fw] lret\w? ljmp\w? lcall\w? syscall sysret\w? sysenter sysexit\w? rsm",
    "the flags as a whole": "pushf[lqw]? popf[lqw]? stac clac",
    "nothing that objdump knows": r"\(bad\)",
    "virtual machines or enclaves": r"vm\w+ inv(?:ept|vpid|lpga) stgi clgi skinit getsec encl[suv] pconfig tdcall seamcall",
    "state that nobody has set up": r"f?xsave\w* f?xrstor\w* f[a-z]+ emms wr(?:u?ss|pkru)\w* rdpkru rdssp\w* incssp\w* setssbsy xbegin xend xabort",
}
PATTERN = {what: re.compile("|".join(words.split())) for what, words in REFUSED.items()}
REGISTERS = {
    "a control or debug register": re.compile(r"%(?:cr|db|dr|tr)\d"),
    "a segment register": re.compile(r"^mov\w?\s.*%[c-gs]s$|^mov\w?\s+%[c-gs]s,|^(?:push|pop)\w?\s+%[c-gs]s"),
    "vectors or the FPU": re.compile(r"%(?:[xyz]?mm\d|st\b|k\d|bnd\d)"),
}
PREFIXES = {"lock", "rep", "repz", "repnz", "repe", "repne", "bnd", "notrack", "data16", "addr32",
            "cs", "ds", "es", "ss", "fs", "gs"}
LINE = re.compile(r"^\s*[0-9a-f]+:\t(?:[0-9a-f]{2} )*\s*\t?(.*)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")

HOME = "machine instructions stand in hw/, trampoline/ and the assembler entries: call a function of hw.h, or add one"


def is_in_seam(path):
    return path.startswith(SEAM + "/")


def faults_of_source(path, text):
    if path.endswith(".S"):
        if not ASSEMBLER.fullmatch(path):
            yield f"{path}: an assembler file: {HOME}"
        return
    if is_in_seam(path):
        return
    code = code_of(text)
    for match in IN_SOURCE.finditer(code):
        yield f"{path}:{code.count(chr(10), 0, match.start()) + 1}: {match[1]}: {HOME}"
    for header in re.findall(r"^\s*#\s*include\s*<([^>]+)>", code, re.M):
        if header not in HEADERS and not (path.startswith("efi/") and EFI_HEADERS.fullmatch(header)):
            yield f"{path}: <{header}>: not a header of the freestanding language: {HOME}"


def refusal(instruction):
    """Why no C file has this instruction; None if a compiler may write it. Its own UD2 for what cannot be
    reached is one of those."""
    words = instruction.partition("#")[0].partition("<")[0].split()
    while words and (words[0] in PREFIXES or words[0].startswith("rex")):
        words.pop(0)
    if not words:
        return None
    for what, pattern in PATTERN.items():
        if pattern.fullmatch(words[0]):
            return what
    for what, pattern in REGISTERS.items():
        if pattern.search(" ".join(words)):
            return what
    return None


def faults_of_code(path, listing):
    """Of what `objdump -d` says of an object."""
    function = ""
    for line in listing.splitlines():
        if match := FUNCTION.match(line):
            function = match[1]
        elif match := LINE.match(line):
            if what := refusal(match[1]):
                yield f"{path}: {function}: {' '.join(match[1].split())}: {what}: {HOME}"
    if "file format elf64-x86-64" not in listing:
        yield f"{path}: objdump says nothing of an ELF64 object of x86-64"


def disassemble(path):
    return subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True).stdout


def faults(sources, objects=()):
    """Everything wrong, of {path: text} and [(path, listing)] of objects."""
    rooms = arrows_of(ARROWS)
    found = []
    for path, text in sorted(sources.items()):
        if room_of(path) in rooms:
            found += faults_of_source(path, text)
    for path, listing in objects:
        found += faults_of_code(path, listing)
    return found


def main(arguments=()):
    """check_instructions.py [OBJECT...]: objects made of C files outside hw/."""
    found = faults(read_sources(), [(path, disassemble(path)) for path in arguments])
    for fault in found:
        print(f"check_instructions: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The check that keeps machine instructions behind the seam finds them in sources and in objects."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import check_instructions  # noqa: E402

FLAGS = ["-Os", "-ffreestanding", "-mgeneral-regs-only", "-mno-red-zone", "-fno-asynchronous-unwind-tables"]


def test_our_own_code():
    assert check_instructions.main() == 0


def test_the_build_looks_at_all_c_outside_the_seam():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^\$\(B\)/BOOTX64\.so:.* \$\(B\)/instructions\.checked\b", makefile, re.M)
    assert "check_instructions.py $(patsubst %.c,$(B)/image/%.o,$(filter-out hw/%,$(IMAGE_C)))" in makefile


@pytest.mark.parametrize("path, text, told", [
    ("smp/a.c", '    __asm__ volatile("wrmsr");\n', "smp/a.c:1: __asm__: "),
    ("smp/a.c", '\n    asm("" ::: "memory");\n', "smp/a.c:2: asm: "),
    ("efi/a.h", "register long sp asm(\"rsp\");\n", "efi/a.h:1: asm: "),
    ("smp/a.c", "__builtin_ia32_pause();\n", "smp/a.c:1: __builtin_ia32_pause: "),
    ("smp/a.c", "_mm_pause();\n", "smp/a.c:1: _mm_pause: "),
    ("smp/a.c", "#include <x86intrin.h>\n", "smp/a.c: <x86intrin.h>: "),
    ("efi/a.c", "# include <cpuid.h>\n", "efi/a.c: <cpuid.h>: "),
    ("smp/a.c", "#include <efi.h>\n", "smp/a.c: <efi.h>: "),
    ("smp/other.S", "    nop\n", "smp/other.S: an assembler file: "),
    ("efi/a.S", "", "efi/a.S: an assembler file: "),
])
def test_a_source_that_is_refused(path, text, told):
    found = check_instructions.faults({path: text})
    assert len(found) == 1 and found[0].startswith(told) and found[0].endswith(check_instructions.HOME), found


@pytest.mark.parametrize("path, text", [
    ("hw/hw.c", '__asm__ volatile("hlt");\n'),
    ("hw/lib/mem.c", '__asm__ volatile("rep movsb");\n'),
    ("hw/safe_msr.S", "    rdmsr\n"),
    ("trampoline/ap_start.S", "    wrmsr\n"),
    ("smp/fault_entry.S", "    iretq\n"),
    ("efi/a.c", "#include <efi.h>\n#include <elf.h>\n#include <stdint.h>\n"),
    ("smp/a.c", '// asm("hlt")\n/* __builtin_ia32_pause */ const char *word = "asm";\n'),
    ("tests/fake/fake_hw.c", '__asm__("nop");\n'),
])
def test_a_source_that_is_sound(path, text):
    assert check_instructions.faults({path: text}) == []


def listing_of(folder, text, *flags):
    source = folder / "a.c"
    source.write_text(text)
    subprocess.run(["gcc", *FLAGS, *flags, "-c", "-o", folder / "a.o", source], check=True, timeout=60)
    return check_instructions.disassemble(folder / "a.o")


def faults_of(folder, text, *flags):
    return list(check_instructions.faults_of_code("smp/a.o", listing_of(folder, text, *flags)))


@pytest.mark.parametrize("instruction", [
    "wrmsr", "rdmsr", "rdtsc", "rdtscp", "rdpmc", "cpuid", "cli", "sti", "hlt", "pause", "mfence", "lfence", "sfence",
    "clflush (%rax)", "wbinvd", "invlpg (%rax)", "mov %cr0, %rax", "mov %rax, %cr3", "mov %rax, %cr8", "mov %rax, %dr7",
    "lgdt (%rax)", "lidt (%rax)", "sgdt (%rax)", "sidt (%rax)", "lldt %ax", "ltr %ax", "str %ax", "lmsw %ax",
    "inb %dx, %al", "inl $0x60, %eax", "outb %al, $0x80", "outw %ax, %dx", "rep insb", "rep outsl",
    "swapgs", "mov %ds, %eax", "mov %eax, %ss", "push %fs", "rdfsbase %rax", "iretq", "lretq", "ljmp *(%rax)", "syscall",
    "sysretq", "int $0x80", "int3", "pushfq", "popfq", "xgetbv", "xsetbv", "fninit", "fxsave (%rax)", "movups %xmm0, (%rax)",
    "vmcall", "monitor", "mwait", "swapgs", "prefetcht0 (%rax)", "movnti %eax, (%rdx)", "rdrand %rax", ".byte 0x06",
])
def test_an_instruction_that_is_refused(tmp_path, instruction):
    text = f'void f(void);\nvoid f(void)\n{{ __asm__ volatile("{instruction}"); }}\n'
    found = faults_of(tmp_path, text)
    assert len(found) == 1 and found[0].startswith("smp/a.o: f: ") and found[0].endswith(check_instructions.HOME), found


def test_what_a_compiler_writes_is_let_through(tmp_path):
    assert faults_of(tmp_path, """
        #include <stdatomic.h>
        #include <stdint.h>
        #include <string.h>
        uint64_t f(_Atomic uint32_t *count, uint64_t *words, uint64_t at, void *to, const void *from);
        uint64_t f(_Atomic uint32_t *count, uint64_t *words, uint64_t at, void *to, const void *from)
        {
            uint32_t one = 1;
            atomic_fetch_add(count, 1);
            atomic_store(count, 5);
            atomic_compare_exchange_strong(count, &one, 2);
            memcpy(to, from, 400);
            if (at == 7)
                __builtin_trap();
            words[at] |= 1ull << (at & 63);
            return words[at] / at + atomic_exchange(count, 0) + (uint64_t)__builtin_ctzll(at);
        }""") == []


def test_what_comes_from_a_header(tmp_path):
    """The source has no instruction of its own: the second look sees it, and the first one the header."""
    (tmp_path / "seam.h").write_text('static inline void stop(void) { __asm__ volatile("hlt"); }\n')
    found = faults_of(tmp_path, '#include "seam.h"\nvoid f(void);\nvoid f(void) { stop(); }\n')
    assert len(found) == 1 and ": hlt: " in found[0], found


def test_what_is_no_object():
    found = list(check_instructions.faults_of_code("smp/a.o", ""))
    assert len(found) == 1 and "objdump says nothing" in found[0]

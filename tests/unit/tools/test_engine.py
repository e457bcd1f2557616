"""build/engine/ is what docs/engine.md promises of it: it compiles alone, needs four functions, exports what its header
declares, and is the tree's own code; and the tool that makes it refuses what it does not understand.

Surprise: reveille.c runs here, too, as far as a program of the host may: what touches no register of the machine.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import engine  # noqa: E402

BUILD = ROOT / os.environ.get("REVEILLE_BUILD", "build")
STRICT = ["-std=c11", "-ffreestanding", "-mno-red-zone", "-mgeneral-regs-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
WAYS = ["-O0", "-O2", "-Os", "-O2 -mcmodel=kernel -fno-pic", "-O2 -fPIE"]
MAX_BYTES = 48 * 1024
HOST_BRINGS = {"memcpy", "memset", "memmove", "memcmp"}
PROTOTYPE = re.compile(r"^(?!static|//|#)[a-z_][\w ]*[ *](rv_\w+)\(", re.M)


def make_folder(folder, **environment):
    subprocess.run([sys.executable, "-B", ROOT / "tools/engine.py", "1.2.3", BUILD / "trampoline/ap_start.bin",
                    BUILD / "trampoline/ap_start.elf", folder], check=True, timeout=60, env={**os.environ, **environment})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("engine") / "made")


@pytest.fixture(scope="module")
def header(folder):
    return (folder / "reveille.h").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def source(folder):
    return (folder / "reveille.c").read_text(encoding="utf-8")


def run(words, **more):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120, **more)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def compiled(compiler, way, folder, tmp_path):
    """reveille.o, made where nothing else is."""
    for file in ("reveille.h", "reveille.c"):
        shutil.copyfile(folder / file, tmp_path / file)
    run([compiler, *STRICT, *way.split(), "-c", "reveille.c"], cwd=tmp_path)
    return tmp_path / "reveille.o"


def symbols(path, *options):
    return {line.split()[0] for line in run(["nm", "-P", *options, path]).splitlines()}


def bytes_of(path):
    """Code and data: what is loaded, but for tables that unwind stacks, which a kernel drops or does not ask for."""
    sections = re.findall(r"^(\.\S+) +(\d+) ", run(["size", "-A", "-d", path]), re.M)
    return sum(int(size) for name, size in sections if re.match(r"\.(text|rodata|data|bss)", name))


# ---- what is made ----

@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("way", WAYS)
def test_it_compiles_alone(folder, header, tmp_path, compiler, way):
    compiled_file = compiled(compiler, way, folder, tmp_path)
    assert symbols(compiled_file, "-u") == HOST_BRINGS
    declared = set(PROTOTYPE.findall(header))
    assert len(declared) > 50
    assert symbols(compiled_file, "-g", "--defined-only") == declared
    if way != "-O0":
        assert bytes_of(compiled_file) < MAX_BYTES


def test_the_command_of_its_readme(folder, tmp_path):
    """The whole folder, copied; the line as it stands there."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    line, = re.findall(r"^    (cc .*)$", text, re.M)
    assert set(STRICT) - {"-Wall", "-Wextra", "-Wpedantic", "-Werror"} <= set(line.split())
    shutil.copytree(folder, tmp_path / "empty")
    run(line.split(), cwd=tmp_path / "empty")
    listed = set(re.findall(r"^\| `([\w.]+)` \|", text, re.M))
    assert listed | {"README.md", "reveille.o"} == {file.name for file in (tmp_path / "empty").iterdir()}
    assert "1.2.3" in text


def test_make_engine(tmp_path):
    """From nothing but the tree, by the command of our README: the five files, and nothing else in the folder."""
    done = subprocess.run(["make", "-C", ROOT, "engine", f"B={tmp_path}/b"], capture_output=True, text=True, timeout=120,
                          check=False, env={key: value for key, value in os.environ.items() if not key.startswith("MAKE")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in (tmp_path / "b/engine").iterdir()} == \
        {"reveille.h", "reveille.c", "example.c", "README.md", "LICENSE"}


def test_its_example_compiles(folder):
    for compiler in ("gcc", "clang"):
        run([compiler, *STRICT, "-O2", "-c", "-o", os.devnull, "example.c"], cwd=folder)


def test_the_header_alone(folder, tmp_path):
    for compiler, language, standard in [("gcc", "c", "c11"), ("clang", "c", "c11"), ("g++", "c++", "c++17"),
                                         ("clang++", "c++", "c++17")]:
        run([compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
             f"-I{folder}", "-"], input='#include "reveille.h"\n#include "reveille.h"\n')


PROGRAM = r"""
#include <cstdio>
#include "reveille.h"

static uint64_t memory_for(size_t count)
{
    struct rv_setup setup = {};
    setup.count = count;
    setup.features.phys_bits = 40;
    setup.tsc_hz = 1000000000;
    return rv_memory_bytes(&setup);
}

int main()
{
    const struct rv_plan plan = rv_plan_by_the_manual(RV_PARALLEL);
    std::printf("%u %u %s\n", plan.init_us, plan.sipi_us, rv_status_story(RV_STATUS_TIMEOUT));
    std::printf("%llu\n", (unsigned long long)((memory_for(1001) - memory_for(1)) / 1000));
    for (uint32_t cause = RV_CAUSE_NONE; cause < RV_CAUSES; cause++)
        std::printf("%s\n", rv_cause_word((enum rv_cause)cause));
}
"""


@pytest.fixture(scope="module")
def said(folder, tmp_path_factory):
    """Of a C++ program that is linked with it."""
    place = tmp_path_factory.mktemp("program")
    (place / "main.cpp").write_text(PROGRAM, encoding="ascii")
    compiled("gcc", "-O2", folder, place)
    run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Werror", "-o", "program", "main.cpp", "reveille.o"],
        cwd=place)
    return run([place / "program"]).splitlines(), bytes_of(place / "reveille.o")


def test_a_program_in_cpp(said):
    lines, _ = said
    assert lines[0] == "10000 200 a bounded wait ended without an answer"
    assert "never-fetched" in lines


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_c_in_its_page_compiles(folder, tmp_path, compiler):
    page = (ROOT / "docs/engine.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```c\n(.*?)^```$", page, re.M | re.S)
    assert blocks
    for i, block in enumerate(blocks):
        source = tmp_path / f"{i}.c"
        source.write_text('#include "reveille.h"\nvoid find_regions(void);\n' + block, encoding="utf-8")
        run([compiler, *STRICT, "-O2", "-I", folder, "-c", "-o", os.devnull, source])


def test_the_number_in_our_readme(header, source, said):
    """Lines to the thousand, code and data to a twentieth, memory to the KiB."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines, kib, per_cpu = re.search(
        r"([\d,]+) lines, (\d+) KiB\s+of\s+code\s+and\s+data,\s+(\d+) KiB\s+of\s+memory\s+for\s+each\s+processor", text).groups()
    assert int(lines.replace(",", "")) == round(len((header + source).splitlines()), -3)
    printed, code = said
    assert abs(int(kib) * 1024 - code) < code / 10
    assert int(per_cpu) == int(printed[1]) // 1024
    example = (engine.KIT / "example.c").read_text(encoding="utf-8")
    own = example[example.index("// ---- from one processor to all ----"):example.index("// ---- and then ----")]
    assert re.search(r"eighty\s+lines", text) and round(len(own.splitlines()), -1) == 80


# What the engine says to a host that breaks its promises, before the first message; a line for each.
HOSTS = r"""
#include <stdio.h>
#include <stdlib.h>
#include "reveille.h"

static void told(void *context, enum rv_severity severity, const char *what, const char *detail)
{
    (void)severity;
    printf("%s %s: %s\n", (const char *)context, what, detail);
}

#define PHYS 0x1000000u

static struct rv_cpu cpus[] = {{0, 0}, {1, 1}, {2, 2}};
static struct rv_setup good(const char *name)
{
    struct rv_setup setup = {
        .cpus = cpus, .count = 3, .features = {.phys_bits = 40, .id_leaf = 1}, .apic_mode = RV_XAPIC,
        .apic_phys = 0xfee00000, .tsc_hz = 1000000000, .host = {.problems = {told, (void *)name}},
    };
    setup.memory.bytes = rv_memory_bytes(&setup);
    setup.memory.view = aligned_alloc(4096, setup.memory.bytes);
    setup.memory.phys = PHYS;
    return setup;
}

static struct rv *try(const struct rv_setup *setup)
{
    struct rv *rv;
    const enum rv_status status = rv_open(setup, &rv);
    printf("%s -> %s\n", (const char *)setup->host.problems.context, rv_status_story(status));
    return status == RV_STATUS_OK ? rv : NULL;
}

#define HOST(name, change)                  \
    do {                                    \
        struct rv_setup setup = good(name); \
        change;                             \
        try(&setup);                        \
    } while (0)

int main(void)
{
    static struct rv_cpu twice[] = {{0, 0}, {1, 5}, {2, 5}}, wide[] = {{0, 0}, {1, 300}, {2, 2}};

    HOST("no-memory", setup.memory.view = NULL);
    HOST("above-4-gib", setup.memory.phys = 0xfffff000);
    HOST("too-little", setup.memory.bytes -= 4096);
    HOST("askew", setup.memory.phys += 8);
    HOST("id-twice", setup.cpus = twice);
    HOST("beyond-xapic", setup.cpus = wide);
    HOST("nobody", setup.count = 0);
    HOST("no-clock", setup.tsc_hz = 0);

    struct rv_setup setup = good("good");
    struct rv *rv = try(&setup);
    static const uint32_t pages[] = {0, 0x8001, 0x100000, 0x8000};
    for (unsigned i = 0; i < 4; i++)
        printf("page-%x -> %s\n", pages[i], rv_status_story(rv_map_page(rv, pages[i])));
    struct rv_setup low = good("low");
    low.memory.phys = 0x8000;
    rv = try(&low);
    printf("page-inside -> %s\n", rv_status_story(rv_map_page(rv, 0x9000)));
    return 0;
}
"""


def test_hosts_that_break_their_promises(folder, tmp_path):
    (tmp_path / "hosts.c").write_text(HOSTS, encoding="ascii")
    compiled("gcc", "-O2", folder, tmp_path)
    run(["gcc", "-std=c11", "-o", "hosts", "hosts.c", "reveille.o"], cwd=tmp_path)
    lines = run([tmp_path / "hosts"]).splitlines()
    ends = dict(line.split(" -> ") for line in lines if " -> " in line)
    wrong, full = "what was given contradicts itself or the manual", "the memory given is too small"
    assert ends == {
        "no-memory": wrong, "above-4-gib": wrong, "too-little": full, "askew": wrong, "id-twice": wrong, "beyond-xapic": wrong,
        "nobody": wrong, "no-clock": wrong, "good": "done", "page-0": wrong, "page-8001": wrong, "page-100000": wrong,
        "page-8000": "done", "low": "done", "page-inside": wrong}
    reasons = {line.split()[0]: line.partition(" ")[2] for line in lines if " -> " not in line}
    assert reasons["id-twice"] == "repeated-id: two processors are given with APIC ID 0x5"
    assert reasons["beyond-xapic"] == "unreachable-id: APIC ID 0x12c cannot be addressed in this mode"
    assert "is not wholly below 4 GiB" in reasons["above-4-gib"]
    assert "does not keep" not in "".join(lines)
    assert set(reasons) >= {name for name, end in ends.items() if end != "done" and not name.startswith("page-")}


def test_the_page_of_its_user(folder, header):
    """docs/engine.md names every cause, and what example.c asks for, and no function that is not there."""
    page = (ROOT / "docs/engine.md").read_text(encoding="utf-8")
    causes = set(re.findall(r"\bRV_CAUSE_[A-Z_]+\b", header))
    assert set(re.findall(r"^\| `(RV_CAUSE_\w+)` \|", page, re.M)) == causes
    wanted = set(re.findall(r"\bkernel_\w+(?=\(|\[)", (folder / "example.c").read_text(encoding="utf-8")))
    assert set(re.findall(r"^\| `(kernel_\w+)", page, re.M)) == wanted
    named = set(re.findall(r"`((?:rv|RV)_\w+)", page))
    assert named - set(re.findall(r"\w+", header)) - {"rv_", "RV_"} == set()
    assert set(re.findall(r"cc -std=c11 .*reveille\.c", page)) == \
        set(re.findall(r"cc -std=c11 .*reveille\.c", (folder / "README.md").read_text(encoding="utf-8")))


def test_how_else_it_must_not_be_compiled(folder):
    """What an AP cannot have is refused by the file itself."""
    def refused(*words):
        done = subprocess.run(["gcc", "-std=c11", "-ffreestanding", *words, "-c", "-o", os.devnull, "reveille.c"], cwd=folder,
                              capture_output=True, text=True, timeout=120, check=False)
        return done.returncode != 0 and re.search(r'#error "(.*)"', done.stderr)[1]
    assert refused("-mno-red-zone") == "compile reveille.c with -mgeneral-regs-only, and with -mno-red-zone"
    assert refused("-mgeneral-regs-only", "-fstack-protector-strong") == "compile reveille.c with -fno-stack-protector"
    assert refused("-mgeneral-regs-only", "-mno-red-zone") is False


def test_the_same_bytes_each_time(folder, tmp_path):
    again = make_folder(tmp_path / "again", PYTHONHASHSEED="7", LC_ALL="C")
    assert {file.name: file.read_bytes() for file in again.iterdir()} == \
        {file.name: file.read_bytes() for file in folder.iterdir()}


def test_nothing_of_our_own_names_is_left(folder):
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        assert re.findall(r"\b(?:smp_|SMP_|engine_(?!bytes))\w+|struct smp\b|[^_]\bSTATUS_\w+|\benum status\b", text) == []
        assert str(ROOT) not in text and "/work" not in text and "/home" not in text
        assert re.findall(r'#include "(.*)"', text) in ([], ["reveille.h"])


def test_every_function_of_the_header_is_documented(header):
    bare = [name for paragraph in header.split("\n\n") for name in PROTOTYPE.findall(paragraph) if "//" not in paragraph]
    assert [name for name in bare if name not in ("rv_count",)] == []


def test_every_part_has_its_banner_and_its_first_comment(source):
    parts = re.split(rf"^{engine.BANNER}\n// (\S+)\n{engine.BANNER}\n", source, flags=re.M)
    assert parts[1::2] == [path for path in engine.SOURCES if path != "machine/phys.h"]  # of which nothing is needed
    for name, text in zip(parts[1::2], parts[2::2]):
        assert text.startswith("\n// "), name


def test_the_trampoline_is_all_there(source):
    table = source[source.index("trampoline_blob[] = {"):]
    table = re.sub(r"//.*", "", table[:table.index("};")])
    image = (BUILD / "trampoline/ap_start.bin").read_bytes()
    assert bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", table)) == image
    assert len(re.findall(r"hold page \+ 0x", source)) == int.from_bytes(image[12:14], "little")


# ---- the tool ----

def items(text, path="smp/a.c"):
    return engine.items_of(path, text)[0]


@pytest.mark.parametrize("text, kind, names", [
    ("static const uint8_t park[2] = {\n    0xfa,\n    0xf4,\n};", "variable", {"park"}),
    ("static const struct {\n    int a, b;\n} rows[] = {\n    {1, 2},\n};", "variable", {"rows"}),
    ("extern const struct a_b one, two;", "extern", {"one", "two"}),
    ("enum stage { FIRST, SECOND = 7 };", "type", {"enum stage", "FIRST", "SECOND"}),
    ("struct __attribute__((packed)) pair {\n    int left; // {\n    int right;\n};", "type", {"struct pair"}),
    ("struct pair;", "type", {"struct pair"}),
    ("_Noreturn void stop(const struct pair *why);", "prototype", {"stop"}),
    ("static inline __attribute__((always_inline)) void go(void)\n{\n    stop(\"}\");\n}", "function", {"go"}),
    ("#define TWICE(x) \\\n    ((x) + (x))", "define", {"TWICE"}),
    ("_Static_assert(sizeof(int) == 4,\n               \"an int\");", "other", set()),
    ("OFFSETS(ASSERT_OFFSET)", "other", set()),
])
def test_what_a_declaration_is(text, kind, names):
    item, = items(text + "\n")
    assert (item.kind, item.names, item.text) == (kind, names, text)


def test_what_stands_for_the_assembler_alone_goes():
    found = items("int a;\n#ifdef __ASSEMBLER__\n.set x, 1\n#endif\nint b;\n")
    assert [item.text for item in found] == ["int a;", "int b;"]


def test_what_nobody_needs_is_left_out():
    text = "// Both.\nstatic int used(void)\n{\n    return 1;\n}\n\n// Not this.\nstatic int idle(void)\n{\n    return 2;\n}\n\n" \
           "// The door.\nint rv_open(void)\n{\n    return used();\n}\n"
    found = items(text)
    kept = engine.reachable(found, {"rv_open"})
    written = "\n".join(engine.write_part("smp/a.c", found, kept, []))
    assert "// Both.\nstatic int used" in written and "rv_open" in written and "idle" not in written and "Not this" not in written


def test_two_that_have_one_name():
    parts = items("static int send(int send_it)\n{\n    return x->send + send_it;\n}\n", "smp/a.c") + \
        items("static int send(void)\n{\n    return y.send + send();\n}\n", "smp/b.c")
    renames = engine.clashes(parts)
    assert renames == {"smp/a.c": {"send": "a_send"}, "smp/b.c": {"send": "b_send"}}
    for item in parts:
        engine.rename(item, renames[item.path])
    assert [item.text for item in parts] == ["static int a_send(int send_it)\n{\n    return x->send + send_it;\n}",
                                             "static int b_send(void)\n{\n    return y.send + b_send();\n}"]


def test_a_macro_goes_out_of_everybodys_way():
    parts = items("#define LIMIT 4\n", "smp/a.c") + items("struct line {\n    int LIMIT;\n};\n", "smp/b.c")
    assert engine.clashes(parts) == {"smp/a.c": {"LIMIT": "A_LIMIT"}}


def test_columns_stay_what_they_were():
    old = "enum status do_it(struct smp *smp,\n                  int x); // first\nint y;                    // second"
    new = old.replace("enum status", "enum rv_status")
    assert engine.align(old, new) == "enum rv_status do_it(struct smp *smp,\n                     int x); // first\n" \
                                     "int y;                       // second"


@pytest.mark.parametrize("text, told", [
    ("int a\n", "a declaration without an end: int a"),
    ("    int a;\n", "smp/a.c: indented at the top level:     int a;"),
])
def test_what_is_not_understood(text, told):
    with pytest.raises(engine.Unfit, match=re.escape(told)):
        items(text)


def test_an_include_that_no_list_has():
    with pytest.raises(engine.Unfit, match="smp/a.c includes b.h, which no list has"):
        engine.check_order("smp/a.c", ["b.h"], ["smp/c.h"])


def test_a_source_that_no_list_has(tmp_path):
    (tmp_path / "smp").mkdir()
    (tmp_path / "smp/new.c").write_text("", encoding="ascii")
    with pytest.raises(engine.Unfit, match="smp/new.c is in no list of tools/engine.py: add it to SOURCES"):
        engine.check_rooms_are_whole(tmp_path)
    engine.check_rooms_are_whole()

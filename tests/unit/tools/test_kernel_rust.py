"""examples/kernel-rust/: what reveille.rs refuses, by rustc's own error, and whether bindings.rs says what reveille.h says.

Surprise: each misuse is compiled beside a use that differs in that alone and is accepted, so that a case cannot fail
for another reason.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples/kernel-rust"
BUILD = ROOT / os.environ.get("REVEILLE_BUILD", "build")
RUSTC = "/usr/bin/rustc"

needs_rustc = pytest.mark.skipif(not os.path.exists(RUSTC), reason="rustc is not installed (tools/setup rust)")
needs_bindgen = pytest.mark.skipif(not shutil.which("bindgen"), reason="bindgen is not installed (tools/setup bindings)")

# ---- misuse ----

CRATE = f"""\
#![no_std]
#![deny(unused_must_use)]
#![allow(dead_code)]
#[path = "{FOLDER}/bindings.rs"]
mod bindings;
#[path = "{FOLDER}/reveille.rs"]
mod reveille;
use reveille::*;
fn work(_: Cpu) {{}}
fn items(_: Cpu, _: core::ops::Range<u64>) {{}}
"""

# name: (the compiler's error, misuse, the use beside it)
MISUSE = {
    "work that borrows from its caller": (
        "E0308",
        "fn f(e: &mut Engine) { let n = 1; if let Ok(c) = e.call(|_: Cpu| { let _ = n + 1; }) { c.wait(1); } }",
        "fn f(e: &mut Engine) { if let Ok(c) = e.call(|_: Cpu| { let n = 1; let _ = n + 1; }) { c.wait(1); } }"),
    "a loop's body that borrows from its caller": (
        "E0308",
        "fn f(e: &mut Engine) { let n = 1; let _ = e.for_each(9, |_, _| { let _ = n + 1; }, 1); }",
        "fn f(e: &mut Engine) { let _ = e.for_each(9, |_, _| {}, 1); }"),
    "a function of something else": (
        "E0308",
        "fn g(_: u32) {} fn f(e: &mut Engine) { let _ = e.call(g); }",
        "fn g(_: Cpu) {} fn f(e: &mut Engine) { let _ = e.call(g); }"),
    "a call while another is under way": (
        "E0499",
        "fn f(e: &mut Engine) -> Result<(), Error> { let a = e.call(work)?; let b = e.call(work)?; "
        "a.wait(1); b.wait(1); Ok(()) }",
        "fn f(e: &mut Engine) -> Result<(), Error> { let a = e.call(work)?; a.wait(1); let b = e.call(work)?; "
        "b.wait(1); Ok(()) }"),
    "a loop while a call is under way": (
        "E0499",
        "fn f(e: &mut Engine) -> Result<(), Error> { let a = e.call(work)?; e.for_each(9, items, 1)?; a.wait(1); Ok(()) }",
        "fn f(e: &mut Engine) -> Result<(), Error> { let a = e.call(work)?; a.wait(1); e.for_each(9, items, 1)?; Ok(()) }"),
    "a look at the engine while a call is under way": (
        "E0502",
        "fn f(e: &mut Engine) -> Result<(), Error> { let a = e.call(work)?; e.count(); a.wait(1); Ok(()) }",
        "fn f(e: &mut Engine) -> Result<(), Error> { e.count(); let a = e.call(work)?; a.wait(1); Ok(()) }"),
    "an account that is older than a call": (
        "E0502",
        "fn f(e: &mut Engine) { let a = e.accounts().next(); let _ = e.for_each(9, items, 1); drop(a); }",
        "fn f(e: &mut Engine) { let a = e.accounts().next(); drop(a); let _ = e.for_each(9, items, 1); }"),
    "a result that is older than a call": (
        "E0499",
        "fn f(e: &mut Engine) -> Result<u32, Error> { let a = e.call(work)?.wait(1); e.call(work)?.wait(1); Ok(a.missing) }",
        "fn f(e: &mut Engine) -> Result<u32, Error> { let a = e.call(work)?.wait(1).missing; e.call(work)?.wait(1); Ok(a) }"),
    "an account that outlives its engine": (
        "E0515",
        "fn f(asleep: Asleep) -> Option<Account<'static>> { let (e, _) = asleep.wake().ok()?; let a = e.accounts().next(); a }",
        "fn f(e: &Engine) -> Option<Account<'_>> { let a = e.accounts().next(); a }"),
    "a call that nobody waits for": (
        "unused",
        "fn f(e: &mut Engine) -> Result<(), Error> { e.call(work)?; Ok(()) }",
        "fn f(e: &mut Engine) -> Result<(), Error> { e.call(work)?.wait(1); Ok(()) }"),
    "a call before the wake": (
        "E0599",
        "fn f(mut e: Asleep) { let _ = e.call(work); }",
        "fn f(e: Asleep) { let (mut e, _) = e.wake().ok().unwrap(); let _ = e.call(work); }"),
    "two wakes": (
        "E0382",
        "fn f(e: Asleep) { let _a = e.wake(); let _b = e.wake(); }",
        "fn f(e: Asleep) { let _a = e.wake(); }"),
    "an engine that other processors see": (
        "E0277",
        "static ENGINE: Option<Engine> = None;",
        "fn f() { let _engine: Option<Engine> = None; }"),
    "a processor that is made up": (
        "E0451",
        "fn f() -> Cpu { Cpu { number: 1, apic_id: 1, stays: core::marker::PhantomData } }",
        "fn f(cpu: Cpu) -> Cpu { cpu }"),
    "a processor that is kept where others find it": (
        "E0277",
        "static KEPT: Option<Cpu> = None;",
        "static KEPT: Option<u32> = None;"),
    "a barrier of which its caller disposes": (
        "E0434",
        "fn f(e: &mut Engine) { let b = Barrier::NEW; fn w(_: Cpu) { let _ = b.wait(1); } let _ = e.call(w); }",
        "fn f(e: &mut Engine) { static B: Barrier = Barrier::NEW; fn w(_: Cpu) { let _ = B.wait(1); } let _ = e.call(w); }"),
    "a kernel that promises nothing": (
        "E0200",
        "struct K; impl Kernel for K { %s }",
        "struct K; unsafe impl Kernel for K { %s }"),
}
METHODS = ("fn take(_: u64, _: u64) -> Option<Pages> { None } fn view(_: u64) -> u64 { 0 } "
           "fn madt() -> &'static [u8] { &[] } fn regions() -> [Region; 3] { loop {} } "
           "fn tell(_: Severity, _: &str, _: &str) {}")


def compiled(code, folder):
    """(exit status, the compiler's errors) of a crate with this in it."""
    source = folder / "crate.rs"
    source.write_text(CRATE + code.replace("%s", METHODS) + "\n", encoding="ascii")
    done = subprocess.run([RUSTC, "--edition", "2021", "--crate-type", "lib", "--emit", "metadata", "--out-dir", folder,
                           source], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, re.findall(r"^error(?:\[(E\d+)\])?: (.*)\n +--> (.*?):\d", done.stderr, re.M), done.stderr


@needs_rustc
@pytest.mark.parametrize("name", MISUSE)
def test_misuse_does_not_compile(name, tmp_path):
    error, wrong, right = MISUSE[name]
    status, _, said = compiled(right, tmp_path)
    assert status == 0, said
    status, errors, said = compiled(wrong, tmp_path)
    assert status and errors, said
    for code, message, file in errors:  # for no other reason, and in no other place
        assert file == str(tmp_path / "crate.rs") and (code == error or error in message), said


# ---- the bindings ----

BINDGEN = ["bindgen", "--use-core", "--ctypes-prefix", "c", "--no-layout-tests", "--default-enum-style", "consts",
           "--no-prepend-enum-name", "--no-doc-comments", "--allowlist-function", "rv_.*", "--allowlist-type", "rv_.*"]
# Names of one type.
SAME = (("::core::option::Option", "Option"), ("c::c_uint", "u32"), ("c::c_char", "c_char"), ("c::c_void", "c_void"),
        ("size_t", "usize"))


def items_of(code):
    """{name: text} of every constant, type, structure and function, whoever has put blanks and commas where."""
    code = re.sub(r"//[^\n]*", "", code)
    code = re.sub(r"\s*([^\w\s])\s*", r"\1", code)
    code = re.sub(r"#!?\[[^\]]*\]", "", code)
    code = re.sub(r",([)}>])", r"\1", code)
    for old, new in SAME:
        code = code.replace(old, new)
    items = re.findall(r"pub (?:const [^;]*;|type [^;]*;|struct \w+\{.*?\}|fn [^;]*;)", code)
    return {re.match(r"pub \w+ (\w+)", text)[1]: text for text in items}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    subprocess.run([sys.executable, "-B", ROOT / "tools/engine.py", "1.2.3", BUILD / "trampoline/ap_start.bin",
                    BUILD / "trampoline/ap_start.elf", folder], check=True, timeout=60)
    done = subprocess.run([*BINDGEN, folder / "reveille.h"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return items_of(done.stdout)


@needs_bindgen
def test_bindings_are_the_headers(generated):
    ours = items_of((FOLDER / "bindings.rs").read_text(encoding="ascii"))
    ours.pop("c_char")
    assert len(ours) > 100
    assert {name: text for name, text in ours.items() if generated.get(name) != text} == {}


@needs_bindgen
def test_a_changed_header_is_seen(generated):
    """A field, an argument or a number that is another differs in this comparison."""
    ours = items_of((FOLDER / "bindings.rs").read_text(encoding="ascii").replace("pub bist: u32", "pub bist: u64").replace(
        "rv_wait(rv: *mut rv, timeout_us: u64", "rv_wait(rv: *mut rv, timeout_us: u32").replace(
            "RV_STATUS_TIMEOUT: rv_status = 5", "RV_STATUS_TIMEOUT: rv_status = 6"))
    different = {name for name in ours if name in generated and generated[name] != ours[name]}
    assert different == {"rv_account", "rv_wait", "RV_STATUS_TIMEOUT"}


def test_main_has_one_unsafe_word():
    """In main.rs nothing is unsafe but the machine's beginning."""
    code = re.sub(r"//.*", "", (FOLDER / "main.rs").read_text(encoding="ascii"))
    assert code.count("unsafe") == 1 and "unsafe { Machine::begin(" in code

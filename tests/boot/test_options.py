"""Options, from the file and from the Shell: the strategies, the choices, and everything that is
refused."""

import re

import pytest

import qemu
import records
from conftest import assert_all_greeted, assert_ended, consecutive

KEYS = "wake init_us sipi_us sipis timeout_us retries apic cpus rounds serial log end".split()
# Two lines of a Shell script: run the image with options, then tell what it returned.
SHELL = "fs0:\n\\reveille\\BOOTX64.EFI {options}\necho status %lasterror%\nreset -s\n"


@pytest.mark.parametrize("apic", ["x2apic", "xapic"])
@pytest.mark.parametrize("wake", ["parallel", "one-by-one", "broadcast"])
def test_strategy(boot, wake, apic):
    result = boot(smp="6", options=f"wake={wake} apic={apic}")
    assert_all_greeted(result, consecutive(6))
    assert result.one("wake")["wake"] == wake
    assert result.one("machine")["apic"] == apic


def test_the_manuals_own_sequence(boot):
    result = boot(options="wake=one-by-one init_us=10000 sipi_us=200 sipis=2")
    assert_all_greeted(result, consecutive(4))
    # An INIT and two STARTUPs each.
    assert result.one("wake")["icr_writes"] == "9"


def test_every_sign_of_the_checklist(boot):
    result = boot()
    assert_all_greeted(result, consecutive(4))
    trampoline = result.one("trampoline")
    page = records.number(trampoline["page"])
    copied = result.has(r"Copied (\d+) bytes to (0x[0-9a-f]+)")
    assert (copied[1], int(copied[2], 16)) == (trampoline["bytes"], page)
    applied = result.has(r"Applied (\d+) relocations to trampoline at (0x[0-9a-f]+)")
    assert (applied[1], int(applied[2], 16)) == (trampoline["relocations"], page)
    tables = result.has(r"Set page table addr in trampoline: (0x[0-9a-f]+)")
    assert int(tables[1], 16) == records.number(trampoline["cr3"])
    assert 0 < page < 0xA0000 and page % 4096 == 0
    assert records.number(trampoline["vector"]) == page // 4096
    assert 0 < records.number(trampoline["cr3"]) < 1 << 32
    stacks = set()
    for cpu in (1, 2, 3):
        lcpu = result.has(rf"Initialized CPU {cpu}: entry=(0x[0-9a-f]+), stack=(0x[0-9a-f]+)")
        assert int(lcpu[2], 16) % 16 == 0
        stacks.add(lcpu[2])
        result.has(rf"Starting CPU {cpu}\.\.\.")
    assert len(stacks) == 3
    result.has(r"Leaving firmware.*")


def test_cpus(boot):
    result = boot(smp="6", options="cpus=1,3-4")
    assert_all_greeted(result, {1: 1, 3: 3, 4: 4})
    assert [result.cpu(cpu)["state"] for cpu in (2, 5)] == ["skipped", "skipped"]


def test_rounds(boot):
    result = boot(smp="8", options="rounds=20")
    assert_all_greeted(result, consecutive(8))
    assert [r["round"] for r in result.all("wake")] == [str(n) for n in range(1, 21)]


def test_quiet_is_records_only(boot):
    """The greetings are the APs' own; nothing else but records comes after the first one."""
    result = boot(options="log=quiet")
    first = next(n for n, line in enumerate(result.lines) if line.startswith("REVEILLE ev=start"))
    others = [line for line in result.lines[first:] if not line.startswith(("REVEILLE ", "Hello "))]
    assert others == []
    assert_ended(result, qemu.EXIT_OK, ok="1", want="3", up="3", failed="0")


def test_end_halt_stays(boot):
    result = boot(options="end=halt")
    assert_ended(result, None, ok="1", want="3", up="3")
    assert not result.timed_out


@pytest.mark.parametrize("end", ["poweroff", "reset"])
def test_end_by_firmware(boot, end):
    assert_ended(boot(options=f"end={end}"), 0, ok="1", want="3", up="3")


def test_unknown_key_is_a_warning(boot):
    result = boot(options="waek=broadcast")
    assert_all_greeted(result, consecutive(4))
    warning = [r for r in result.all("warning") if "waek" in r["detail"]]
    assert len(warning) == 1 and re.search(r"\bwake\b", warning[0]["detail"]), result.tail()


def test_everything_wrong_is_listed_and_nothing_woken(boot):
    result = boot(options="wake=sideways sipis=9\ncpus=1,x # the rest is fine\nlog=debug")
    errors = [r["detail"] for r in result.all("error")]
    for key in ("wake", "sipis", "cpus"):
        assert any(re.search(rf"\b{key}\b", detail) for detail in errors), result.tail()
    assert result.greetings() == [] and result.all("wake") == []
    assert not any("Leaving firmware" in line for line in result.lines)
    assert result.status == qemu.EXIT_REFUSED, result.tail()


def test_shell_options_win_over_the_file(boot):
    result = boot(options="wake=broadcast rounds=3",
                  shell=SHELL.format(options="wake=one-by-one cpus=2"))
    assert_all_greeted(result, {2: 2})
    assert [r["wake"] for r in result.all("wake")] == ["one-by-one"] * 3


def test_shell_gets_the_status_of_a_refusal(boot):
    """In the Shell a refusal returns: EFI_INVALID_PARAMETER is 2 with the top bit set."""
    result = boot(shell=SHELL.format(options="wake=sideways end=halt"))
    result.has(r"status 0x(8000000000000002|2)")
    assert result.greetings() == [] and result.status == 0, result.tail()


def test_shell_help_names_every_key(boot):
    result = boot(shell=SHELL.format(options="help"))
    for key in KEYS:
        named = [line for line in result.lines if re.match(rf"\s*{key}\b", line)]
        assert named, f"{key}\n{result.tail()}"
    result.has(r"status 0x0")
    assert result.greetings() == [] and result.status == 0, result.tail()


def assert_went_on_with(result, cpus, rounds):
    """The run that these options ask for, and nothing but them."""
    assert_all_greeted(result, cpus)
    assert len(result.all("wake")) == rounds, result.tail()


@pytest.mark.parametrize("kind, what, words", [
    ("whole-entry", "whole-entry", r"whole boot entry; the options in it are read"),
    ("stray-byte", "bad-text", r"odd number of bytes \(31\): the last one is ignored"),
])
def test_load_options_as_firmware_makes_them(boot, kind, what, words):
    """As Dell's firmware hands them over, and as `echo` and a size that is wrong by one leave them."""
    result = boot(options="rounds=5", firmware=f"load-options={kind}")
    assert_went_on_with(result, {2: 2}, 2)
    assert [w for w in result.all("warning") if w["what"] == what and re.search(words, w["detail"])], result.tail()


def test_what_is_no_option_is_told_and_the_run_goes_on(boot):
    """The load options are those of Windows' boot manager, and the file is a directory."""
    result = boot(firmware="load-options=windows", config_is_directory=True)
    assert_went_on_with(result, consecutive(4), 1)
    told = {w["what"]: w["detail"] for w in result.all("warning")}
    assert "Windows' bcdedit" in told["bad-text"] and "boot entry of its own" in told["bad-text"]
    assert "is a directory" in told["config-directory"] and "text file" in told["config-directory"]

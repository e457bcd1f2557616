"""tools/bochs.py: what is written into its configuration, and what is refused before anything starts."""

import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import bochs  # noqa: E402
import guest  # noqa: E402
import qemu  # noqa: E402
import run  # noqa: E402

# As Bochs writes it to its standard error.
HELP = """00000000000i[      ] LTDL_LIBRARY_PATH not set. using compile time default '/usr/lib'
Supported CPU models:

i386
atom_n270
ryzen
corei7_haswell_4770

00000000000i[SIM   ] quit_sim called with exit code 0
"""


@pytest.fixture
def environment(monkeypatch):
    for name in ("EMULATOR", "SMP", "CPU", "MEM", "MACHINE", "ACCEL", "MODEL", "OPTIONS", "OVMF"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("smp, count", [
    ("1", "1:1:1"), ("4", "4:1:1"), ("16", "16:1:1"), ("8,sockets=2,cores=2,threads=2", "2:2:2"),
    ("8,cores=8", "1:8:1"), ("4,sockets=4", "4:1:1")])
def test_count(smp, count):
    assert bochs.count(smp) == count


@pytest.mark.parametrize("smp, why", [
    ("0", "are not 0"), ("four", "Bochs takes"), ("2,maxcpus=6", "Bochs takes"), ("4,cores=", "Bochs takes"),
    ("6,sockets=2,cores=2", "2 x 2 x 1 processors are not 6"), ("16,cores=16", "at most 16 processors, 8 cores"),
    ("8,threads=8", "4 threads"), ("17", "at most 16")])
def test_count_that_bochs_has_not(smp, why):
    with pytest.raises(guest.Failure, match=why):
        bochs.count(smp)


def test_models_are_those_with_long_mode():
    assert bochs.models_in(HELP) == ["ryzen", "corei7_haswell_4770"]
    with pytest.raises(guest.Failure, match="lists no processors"):
        bochs.models_in("Usage: bochs [flags] [bochsrc options]\n")


@pytest.mark.parametrize("model, why", [
    ("atom_n270", "MODEL=atom_n270 has no long mode; it has ryzen corei7_haswell_4770"),
    ("i386", "MODEL=i386 has no long mode"),
    ("zen5", "MODEL=zen5 is none of this Bochs's; it has ryzen corei7_haswell_4770")])
def test_a_model_that_does_not_exist(model, why):
    with pytest.raises(guest.Failure) as e:
        bochs.check_model(model, bochs.models_in(HELP))
    assert str(e.value).startswith(why) and "\n" not in str(e.value)


def lines_of(machine):
    return bochs.configuration(machine, "/dev/fd/7").splitlines()


def test_configuration():
    lines = lines_of(bochs.Machine(model="turion64_tyler", smp="4,sockets=2,cores=2", mem=1024))
    assert "cpu: model=turion64_tyler, count=2:2:1, ips=50000000, quantum=16" in lines
    assert "memory: guest=1024, host=1024" in lines
    assert "com1: enabled=1, mode=file, dev=/dev/fd/7" in lines
    assert not [line for line in lines if ": " not in line]  # each is a directive


@pytest.mark.parametrize("model, ignored", [
    ("turion64_tyler", 0), ("corei7_haswell_4770", 1), ("ryzen", 1)])
def test_a_missing_register_faults_where_firmware_bears_it(model, ignored):
    assert any(line.endswith(f"ignore_bad_msrs={ignored}") for line in lines_of(bochs.Machine(model=model)))


def firmware(folder, *names):
    for name, size in names:
        (folder / name).write_bytes(bytes(size))
    return [folder / name for name, _ in names]


def test_firmware_is_the_smallest_there_is(tmp_path, monkeypatch):
    big, big_vars, small, small_vars = firmware(
        tmp_path, ("CODE_4M.fd", 400), ("VARS_4M.fd", 100), ("CODE.fd", 200), ("VARS.fd", 50))
    monkeypatch.setattr(qemu, "ovmf_pairs", lambda: [(big, big_vars), (small, small_vars), (tmp_path / "no", small)])
    assert bochs.find_firmware() == [small_vars, small]
    assert bochs.find_firmware(str(big)) == [big_vars, big]
    whole, = firmware(tmp_path, ("OVMF.fd", 250))
    assert bochs.find_firmware(str(whole)) == [whole]
    with pytest.raises(guest.Failure, match="are not there"):
        bochs.find_firmware(str(tmp_path / "none.fd"))
    monkeypatch.setattr(qemu, "ovmf_pairs", lambda: [])
    with pytest.raises(guest.Failure, match="no OVMF is there"):
        bochs.find_firmware()


def test_the_machine_comes_from_the_environment(environment):
    assert bochs.from_environment() == bochs.Machine()
    environment.setenv("MODEL", "ryzen")
    environment.setenv("SMP", "8")
    environment.setenv("OPTIONS", "rounds=3")
    assert bochs.from_environment() == bochs.Machine(model="ryzen", smp="8", options="rounds=3")


@pytest.mark.parametrize("name, variable", [
    ("bochs", "CPU"), ("bochs", "MACHINE"), ("bochs", "ACCEL"), ("qemu", "MODEL"), ("", "MODEL")])
def test_what_is_the_other_emulators_is_refused(environment, name, variable):
    environment.setenv("EMULATOR", name)
    environment.setenv(variable, "max")
    with pytest.raises(guest.Failure, match=f"^{variable}= says nothing to EMULATOR={name or 'qemu'}"):
        run.chosen()


def test_the_emulator_is_chosen(environment):
    assert run.chosen() == (qemu.Machine(), qemu.Qemu)
    environment.setenv("EMULATOR", "bochs")
    assert run.chosen() == (bochs.Machine(), bochs.Bochs)


def test_an_emulator_that_does_not_exist(environment):
    environment.setenv("EMULATOR", "simics")
    with pytest.raises(guest.Failure, match="EMULATOR=simics: it is one of qemu bochs"):
        run.chosen()


def test_verdict_where_no_guest_chooses_the_status():
    good, bad = {"ok": "1"}, {"ok": "0", "want": "3", "failed": "1"}
    assert run.verdict(good, None, False, chooses_status=False) is None
    assert run.verdict(bad, None, False, chooses_status=False) == "not all came: 1 of 3 failed"
    assert "gone without" in run.verdict(None, 1, False, chooses_status=False)
    assert "still running" in run.verdict(None, None, True, chooses_status=False)
    refused = {"ok": "0", "want": "0", "failed": "0"}
    assert "refused" in run.verdict(refused, None, False, chooses_status=False)


def heard(*lines):
    machine = bochs.Bochs.__new__(bochs.Bochs)
    machine.machine, machine._told_end, machine._over = bochs.Machine(), False, False
    for line in lines:
        machine._heard(line.encode())
    return machine


def test_a_machine_that_is_done_is_seen_by_its_lines():
    end = "REVEILLE ev=end ok=1 want=3 up=3 failed=0"
    assert not heard("The end: press a key", end)._rests()  # said before it
    assert heard(end, "The end: no key or power button works here.")._rests()
    assert heard(end, 'BdsDxe: loading Boot0002 "UiApp"')._rests()
    assert not heard('BdsDxe: loading Boot0002 "UiApp"')._rests()
    crash = "!!!! X64 Exception Type - 00(#DE - Divide Error)  CPU Apic ID - 00000000 !!!!"
    assert heard(crash)._rests() and heard()._is_last(crash.encode())
    assert heard()._is_last(end.encode()) and not heard()._is_last(b"REVEILLE ev=ending")

"""U-Boot as firmware: an implementation of UEFI that shares no code with EDK II, has no MP Services, grants memory
of its own fashion, and hands over load options that were meant for a kernel."""

import pathlib

import pytest

import qemu
from conftest import assert_all_greeted, assert_ended, consecutive, warnings_of

ROM = pathlib.Path("/usr/lib/u-boot/qemu-x86_64/u-boot.rom")  # Debian's u-boot-qemu


@pytest.fixture
def uboot(boot):
    def run(**machine):
        result = boot(ovmf=str(ROM), machine="pc", **machine)
        assert result.one("start")["firmware"] == "Das U-Boot"
        return result
    return run


def test_everybody_greets_three_times(uboot):
    result = uboot(options="rounds=3")
    assert_all_greeted(result, consecutive(4))
    machine = result.one("machine")
    assert (machine["inventory"], machine["mp_services"]) == ("madt", "0")
    # Its bootargs for a Linux that is not there: root=/dev/sdb3 init=/sbin/init rootwait ro.
    assert {r["what"] for r in warnings_of(result.all("warning"))} == {"unknown-key", "unknown-word",
                                                                      "no-mp-services"}


def test_faults_in_a_broadcast(uboot):
    result = uboot(options="wake=broadcast inject=hang-long:2")
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="3", up="2", failed="1")
    assert result.cpu(2)["cause"] == "stopped-in-long"
    assert result.greetings() == [(1, 1), (3, 3)]


def test_a_return_is_refused(uboot):
    """Nobody says how U-Boot's processors wait, so whether it would get them back."""
    result = uboot(options="exit=no end=debug-exit")
    assert_ended(result, qemu.EXIT_REFUSED, ok="0")
    assert [r["what"] for r in result.all("error")] == ["parking"]

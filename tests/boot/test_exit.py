"""Leaving firmware that does not let itself be left at once."""

import pytest

import qemu
from conftest import assert_all_greeted, assert_ended, consecutive


@pytest.mark.slow
@pytest.mark.parametrize("firmware", ["grow-map=200", "grow-map=500", "grow-map=3000 uefi-2.9"])
def test_the_map_grows_at_the_exit(boot, firmware):
    """A map that has grown by hundreds of descriptors is read all the same; by one that has grown by
    thousands, if firmware lets memory be allocated for it."""
    assert_all_greeted(boot(firmware=firmware), consecutive(4))


@pytest.mark.slow
def test_the_map_grows_beyond_its_buffer(boot):
    """Before UEFI 2.9 nothing may be allocated between the attempts, and nobody is woken."""
    result = boot(firmware="grow-map=3000")
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="0", up="0")
    assert [r["what"] for r in result.all("error")] == ["exit-refused"], result.tail()

"""Every kind of machine: numbers of processors, chipsets, APIC modes, IDs, and devices that are
missing."""

import dataclasses
import struct
import threading

import pytest

import qemu
import records
from conftest import Result, assert_all_greeted, assert_ended, consecutive
from watch import Watch


# The largest first: the other boots then fill the time beside it.
@pytest.mark.parametrize("count", [64, 16, 4, 2, 1])
def test_count(boot, count):
    result = boot(smp=str(count))
    assert_all_greeted(result, consecutive(count))
    machine = result.one("machine")
    assert machine["cpus"] == str(count) and machine["disabled"] == machine["duplicate"] == "0"
    assert result.cpu(0)["state"] == "bsp"


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("cpu, apic", [("qemu64", "xapic"), ("max", "x2apic")])
def test_chipset_and_cpu(boot, machine, cpu, apic):
    result = boot(machine=machine, cpu=cpu)
    assert_all_greeted(result, consecutive(4))
    assert result.one("machine")["apic"] == apic
    assert result.one("machine")["mp_services"] == "4"


@pytest.mark.parametrize("cpu", ["qemu64", "max"])
def test_sparse_ids(boot, cpu):
    result = boot(smp="6,sockets=2,cores=3,threads=1", cpu=cpu)
    assert_all_greeted(result, {1: 1, 2: 2, 3: 4, 4: 5, 5: 6})


def test_dies(boot):
    """What CPUID 0x1F says on each of them. QEMU has that leaf for processors of Intel's alone."""
    result = boot(smp="6,sockets=1,dies=2,cores=3,threads=1", cpu="Skylake-Server")
    assert_all_greeted(result, {1: 1, 2: 2, 3: 4, 4: 5, 5: 6})
    assert [(r["core"], r["die"]) for r in result.all("cpu")[1:]] == [
        ("1", "0"), ("2", "0"), ("4", "1"), ("5", "1"), ("6", "1")]
    assert not [r for r in result.all("cpu") if "kind" in r] and not result.all("kinds")


def test_hot_pluggable_cpus_are_absent(boot):
    result = boot(smp="2,maxcpus=6")
    assert_all_greeted(result, consecutive(2))
    assert result.one("machine")["disabled"] == "4"
    disabled = [r for r in result.all("cpu") if r["state"] == "disabled"]
    assert [records.number(r["apic"]) for r in disabled] == [2, 3, 4, 5]


def test_apic_id_299_with_x2apic_from_firmware(boot):
    second = "qemu64-x86_64-cpu,x2apic=on,socket-id=299,core-id=0,thread-id=0"
    result = boot(smp="1,sockets=300,cores=1,threads=1,maxcpus=300", cpu="qemu64,+x2apic",
                  extra=("-device", second))
    assert_all_greeted(result, {1: 299})
    machine = result.one("machine")
    assert machine["apic_at_entry"] == machine["apic"] == "x2apic" and machine["cpus"] == "2"


def test_no_serial_port(boot):
    result = boot(serial=False)
    assert result.raw == b"" and result.status == qemu.EXIT_OK, result.tail()


def test_no_serial_port_tells_a_refusal(boot):
    result = boot(serial=False, options="wake=sideways")
    assert result.status == qemu.EXIT_REFUSED, result.tail()


def test_no_pit_and_no_hpet(boot):
    assert_all_greeted(boot(machine="q35,pit=off,hpet=off"), consecutive(4))


def test_memory_above_4_gib(boot):
    assert_all_greeted(boot(mem=6144), consecutive(4))


def test_no_screen(boot):
    assert_all_greeted(boot(extra=("-vga", "none")), consecutive(4))


def test_virtio_gpu(boot):
    assert_all_greeted(boot(extra=("-vga", "none", "-device", "virtio-gpu-pci")), consecutive(4))


def test_end_poweroff_without_the_debug_exit_device(boot):
    result = boot(debug_exit=False)
    assert_ended(result, 0, ok="1", want="3", up="3")


def test_stick(boot):
    """The disk image that goes on a stick, on a USB port."""
    result = boot(stick=qemu.BUILD / "reveille.img")
    assert_all_greeted(result, consecutive(4))


COM2 = ("-serial", "none", "-serial", "chardev:com1")


@pytest.mark.parametrize("place, found, port", [
    (("-serial", "chardev:com1"), "com1", 0x3F8),
    (COM2, "com2", 0x2F8),
    (("-serial", "none", "-device", "pci-serial,chardev=com1"), "pci", None),
    (("-serial", "none", "-device", "isa-debugcon,iobase=0xe9,chardev=com1"), "debug-console", 0xE9),
])
def test_the_serial_port_is_found(boot, place, found, port):
    result = boot(serial_place=place)
    serial = result.one("serial")
    assert serial["found"] == found, serial
    assert port is None or records.number(serial["port"]) == port, serial
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert_ended(result, qemu.EXIT_OK, ok="1", want="3", up="3", failed="0")


def spcr(path, kind, space, address, bits=8):
    """A table that says where firmware's console is, for -acpitable, which puts the header there."""
    body = struct.pack("<B3sBBBBQ", kind, bytes(3), space, bits, 0, 0, address)
    path.write_bytes(body + bytes(80 - 36 - len(body)))
    return ("-acpitable", f"sig=SPCR,rev=2,data={path}")


def test_the_spcr_comes_before_the_first_port(boot, tmp_path):
    both = ("-serial", "null", "-serial", "chardev:com1")
    result = boot(serial_place=both, extra=spcr(tmp_path / "spcr", 0, 1, 0x2F8))
    assert_all_greeted(result, consecutive(4))
    serial = result.one("serial")
    assert (serial["found"], serial["by"]) == ("com2", "spcr"), serial


@pytest.mark.parametrize("kind, space, address, why", [
    (0, 1, 0x3E8, "its port does not answer"),
    (0, 0, 0x100000, "its address is not a device's"),
    (0, 0, 0xFFC00000 - 0x1000, "its port does not answer"),
    (3, 0, 0xFE030000, "its port is not a 16550"),
])
def test_an_spcr_that_points_elsewhere(boot, tmp_path, kind, space, address, why):
    result = boot(smp="2", extra=spcr(tmp_path / "spcr", kind, space, address))
    assert_all_greeted(result, consecutive(2))
    serial = result.one("serial")
    assert (serial["found"], serial["spcr"]) == ("com1", why), serial


def dbg2(path, *ports):
    """A DBG2 for -acpitable with these ports: (type, kind, space, bits, address)."""
    entries = b""
    for kind, subtype, space, bits, address in ports:
        register = struct.pack("<BBBBQ", space, bits, 0, 0, address)
        entries += struct.pack("<BHBHHHHHHHHH", 0, 40, 1, 2, 38, 0, 0, kind, subtype, 0, 22, 34)
        entries += register + struct.pack("<I2s", bits, b".")  # eight registers, and a name
    path.write_bytes(struct.pack("<II", 44, len(ports)) + entries)
    return ("-acpitable", f"sig=DBG2,rev=0,data={path}")


USB_PORT = (0x8002, 0, 0, 32, 0xFE030000)


def test_the_dbg2_comes_before_firmwares_own(boot, tmp_path):
    """Of two serial ports that answer, and two that it names besides."""
    both = ("-serial", "null", "-serial", "chardev:com1")
    table = dbg2(tmp_path / "dbg2", USB_PORT, (0x8000, 0, 1, 8, 0x3E8), (0x8000, 1, 1, 8, 0x2F8))
    result = boot(serial_place=both, extra=table)
    assert_all_greeted(result, consecutive(4))
    serial = result.one("serial")
    assert (serial["found"], serial["by"]) == ("com2", "dbg2") and "dbg2" not in serial, serial


def test_two_ports_of_a_card(boot, tmp_path):
    """The first of them by itself, although COM1 answers, too, where the DBG2 has nothing; the second by its
    name, which is not in the same place on every machine."""
    card = ("-serial", "none", "-chardev", "null,id=nobody", "-device")
    table = dbg2(tmp_path / "dbg2", USB_PORT)
    first = boot(smp="2", serial_place=(*card, "pci-serial-2x,chardev1=com1,chardev2=nobody"), extra=table)
    serial = first.one("serial")
    assert (serial["found"], serial["dbg2"]) == ("pci", "its port is not a 16550"), serial
    port = records.number(serial["port"]) + 8
    second = boot(smp="2", serial_place=(*card, "pci-serial-2x,chardev1=nobody,chardev2=com1"),
                  options=f"serial={port:#x}")
    assert_all_greeted(second, consecutive(2))
    serial = second.one("serial")
    assert (serial["found"], serial["by"], records.number(serial["port"])) == ("port", "option", port), serial


@pytest.mark.parametrize("how, bits, found", [
    ("spcr", 8, ("mmio", "spcr")),
    ("spcr", 32, ("mmio", "spcr")),
    ("dbg2", 32, ("mmio", "dbg2")),
    ("option", 32, ("mmio", "option")),
    ("pci", 32, ("pci", "probe")),
])
def test_a_serial_port_in_device_memory(boot, tmp_path, how, bits, found):
    """Every byte that is written to its transmitter, by whichever processor, before the exit and after
    it; and none to COM1. Q35 has no such port: the idle registers stand in a frame buffer."""
    shown, *_ = boot().all("screen")
    port = records.number(shown["base"]) + 0xF00000  # in the frame buffer, behind what is shown of it
    table = {"spcr": lambda path: spcr(path, 0, 0, port, bits),
             "dbg2": lambda path: dbg2(path, USB_PORT, (0x8000, 0x12, 0, bits, port))}
    gdb = ("-chardev", f"socket,id=gdb0,path={tmp_path / 'gdb'},server=on,wait=off", "-gdb", "chardev:gdb0")
    firmware = f"idle-uart={port:#x},{bits // 8}" + (f" pci-uart={port:#x}" if how == "pci" else "")
    machine = qemu.Machine(firmware=firmware, options=f"serial=mmio32:{port:#x}" if how == "option" else "",
                           extra=(table[how](tmp_path / "table") if how in table else ()) + gdb,
                           serial_place=("-serial", "none") if how == "pci" else qemu.Machine.serial_place)
    written = bytearray()
    with qemu.Qemu(machine) as vm:
        watch = Watch(tmp_path / "gdb", port, machine.timeout_s())
        reader = threading.Thread(target=lambda: written.extend(watch.bytes()), daemon=True)
        reader.start()
        com1 = list(vm.lines())
        reader.join(qemu.GRACE_S)
        said = bytes(written).lstrip(b"\0")  # what clears the registers
        lines = said.decode("ascii").replace("\r", "").split("\n")
        result = dataclasses.replace(Result.of(vm, lines), raw=said)
    assert_all_greeted(result, consecutive(4))
    serial = result.one("serial")
    assert (serial["found"], serial["by"]) == found
    assert records.number(serial["mmio"]) == port
    assert lines[-2].startswith("REVEILLE ev=end ") and not lines[-1]
    assert not [line for line in com1 if line.startswith(("REVEILLE", "Hello"))]


# ---- before and after ----

def test_the_pre_flight_page(boot):
    smbios = ("-smbios", "type=1,manufacturer=ACME,product=Laptop 9", "-smbios",
              "type=2,manufacturer=ACME,product=Board 7", "-smbios",
              "type=0,vendor=ACME BIOS,version=1.2,date=11/24/2026")
    result = boot(options="dry-run=yes", cpu="qemu64", extra=smbios)
    said = {line[2:16].strip(): line[16:] for line in result.lines if line.startswith("  ")}
    assert said["machine"] == "ACME Laptop 9" and said["board"] == "ACME Board 7"
    assert said["firmware"] == result.one("start")["firmware"] + ", BIOS 1.2"
    assert said["APIC"] == "xapic now, xapic in the run"
    assert said["MADT"] == "4 enabled, 0 disabled, 0 listed twice"
    assert said["MP Services"] == "counts 4, 4 enabled"
    assert said["serial port"] == "com1, by firmware"
    assert said["screen"].startswith("1280x800 at 0x")
    assert said["hypervisor"] == "TCGTCGTCGTCG"
    platform = result.one("platform")
    assert platform["product"] == "Laptop 9" and platform["bios_date"] == "11/24/2026"
    assert not result.all("wake")


@pytest.mark.parametrize("hand", ["key", "power"])
def test_the_last_screen_stays_until_somebody_was_there(hand):
    with qemu.Qemu(qemu.Machine(options="end=halt")) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("The end: "):
                assert line == ("The end: press a key to restart, or the power button to switch "
                                "off. USB keyboards do not work here, PS/2 and built-in ones do")
                if hand == "key":
                    vm.qmp("send-key", keys=[{"type": "qcode", "data": "ret"}])
                else:
                    vm.qmp("system_powerdown")
        assert vm.status == 0, lines[-20:]  # it went by itself: reset, or powered off
    assert lines[-1] == ("Resetting the machine" if hand == "key" else "Powering the machine off")


def test_without_keyboard_and_button_it_halts(boot):
    result = boot(machine="q35,i8042=off,acpi=off", options="end=halt")
    assert result.status is None and not result.timed_out

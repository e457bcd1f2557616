#!/usr/bin/python3
"""Captures QEMU's own MADTs into tests/data/madt/: starts each machine with SeaBIOS, waits for the RSDP
that it publishes in the BIOS segment, follows it to the MADT, and saves that.

Run by hand to renew the fixtures: `tests/data/capture_madt.py [QEMU]`, QEMU 9 or newer.
"""
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time

MACHINES = {
    "qemu-1cpu": ["-smp", "1"],
    "qemu-4cpu": ["-smp", "4"],
    # Three cores of a socket take four IDs: 0 1 2 4 5 6.
    "qemu-6cpu-sparse": ["-smp", "6,sockets=2,cores=3,threads=1"],
    "qemu-2of6cpu": ["-smp", "2,maxcpus=6"],
    # 300 IDs, type 0 and type 9, two of them enabled: 0 and 299.
    "qemu-300-sparse": [
        "-smp", "1,sockets=300,cores=1,threads=1,maxcpus=300", "-cpu", "qemu64,+x2apic",
        "-device", "qemu64-x86_64-cpu,x2apic=on,socket-id=299,core-id=0,thread-id=0"],
}
MEMORY_MIB = 64


class Monitor:
    """A QMP connection that can save guest memory."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(100):
            try:
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise RuntimeError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return


def find_madt(memory):
    """The MADT's bytes, or None while firmware has not published its tables yet."""
    rsdp = memory.find(b"RSD PTR ", 0xE0000, 0x100000)
    if rsdp < 0 or sum(memory[rsdp:rsdp + 20]) % 256 != 0:
        return None
    rsdt, = struct.unpack_from("<I", memory, rsdp + 16)
    length, = struct.unpack_from("<I", memory, rsdt + 4)
    for table, in struct.iter_unpack("<I", memory[rsdt + 36:rsdt + length]):
        if memory[table:table + 4] == b"APIC":
            length, = struct.unpack_from("<I", memory, table + 4)
            return memory[table:table + length]
    return None


def capture(qemu, arguments):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/qmp"
        dump = pathlib.Path(folder, "memory")
        guest = subprocess.Popen(
            [qemu, "-machine", "q35", "-m", str(MEMORY_MIB), "-display", "none", "-nodefaults",
             "-qmp", f"unix:{path},server=on,wait=off", *arguments])
        try:
            monitor = Monitor(path)
            for _ in range(100):
                monitor.command("pmemsave", val=0, size=MEMORY_MIB << 20, filename=str(dump))
                madt = find_madt(dump.read_bytes())
                if madt is not None:
                    return madt
                time.sleep(0.2)
            raise RuntimeError("the firmware has published no MADT in 20 s")
        finally:
            guest.kill()
            guest.wait()


def main():
    qemu = sys.argv[1] if len(sys.argv) > 1 else "qemu-system-x86_64"
    folder = pathlib.Path(__file__).parent / "madt"
    for name, arguments in MACHINES.items():
        madt = capture(qemu, arguments)
        (folder / f"{name}.aml").write_bytes(madt)
        print(f"{name}: {len(madt)} bytes")


main()

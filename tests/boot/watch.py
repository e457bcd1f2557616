"""What a guest writes to one byte of its memory, seen through QEMU's GDB stub.

The guest stops at each write, its clocks with it, and goes on when the byte was read. Surprise: a
watchpoint is for a virtual address, so it sees what is written through page tables that map the byte
where it is, firmware's and the image's.
"""

import contextlib
import socket
import time


class Watch:
    """A connection to QEMU's GDB stub; the guest stands still until bytes() is iterated."""

    def __init__(self, path, address, timeout_s):
        self.link = socket.socket(socket.AF_UNIX)
        self.link.settimeout(timeout_s)
        until = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self.link.connect(str(path))
                break
            assert time.monotonic() < until, "QEMU opened no GDB socket"
            time.sleep(0.02)
        self.pending = b""
        self.address = address
        assert self._ask(f"Z2,{address:x},1") == "OK"

    def _send(self, text):
        self.link.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 0xFF))

    def _answer(self):
        """The next packet, acknowledged."""
        while b"#" not in self.pending or len(self.pending.partition(b"#")[2]) < 2:
            more = self.link.recv(4096)
            if not more:
                raise ConnectionResetError
            self.pending += more
        packet, _, rest = self.pending.partition(b"#")
        self.pending = rest[2:]
        self.link.sendall(b"+")
        return packet.rpartition(b"$")[2].decode()

    def _ask(self, text):
        self._send(text)
        return self._answer()

    def bytes(self):
        """Yields each byte that is written, until the machine is gone."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while not (stopped := self._ask("c")).startswith("W"):
                if "watch" in stopped:
                    yield int(self._ask(f"m{self.address:x},1"), 16)

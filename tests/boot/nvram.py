"""What stands in a variable store of OVMF's."""

import struct
import uuid

HEADER_GUID = b"\x78\x2c\xf3\xaa\x7b\x94\x9a\x43"  # the store's, with authenticated variables
ADDED = 0x3F  # and not deleted


DELETED = 0x3D
STORED, FOR_SYSTEMS = 3, 7  # kept, and of boot services; and for an operating system, too


def _walk(data):
    """(place, state, name, GUID, data) of each variable (MdeModulePkg, "Variable Format"): a header of 60 bytes with
    state, attributes, sizes and GUID; and at last the first free place."""
    at = data.index(HEADER_GUID) + 28  # behind the store's header
    while data[at:at + 2] == b"\xaa\x55":
        name_bytes, data_bytes = struct.unpack_from("<II", data, at + 36)
        body = at + 60
        name = data[body:body + name_bytes].decode("utf-16-le").rstrip("\0")
        end = body + name_bytes + data_bytes
        yield at, data[at + 2], name, data[at + 44:at + 60], data[body + name_bytes:end]
        at = (end + 3) & ~3
    yield at, None, None, None, None


def variables_of(store):
    """{(name, GUID): data} of the valid variables."""
    return {(name, guid): value for _, state, name, guid, value in _walk(store.read_bytes()) if state == ADDED}


def put_variable(store, name, guid, value, attributes=STORED):
    """Writes one, as firmware's own would, into the store of a machine that is off; `guid` as text."""
    data, guid, wide = bytearray(store.read_bytes()), uuid.UUID(guid).bytes_le, f"{name}\0".encode("utf-16-le")
    for at, state, other, others_guid, _ in _walk(bytes(data)):
        if state == ADDED and (other, others_guid) == (name, guid):
            data[at + 2] = DELETED
    record = struct.pack("<HBBIQ16sIII16s", 0x55AA, ADDED, 0, attributes, 0, bytes(16), 0, len(wide), len(value), guid)
    record += wide + value
    data[at:at + len(record)] = record
    store.write_bytes(data)

"""What stands in a variable store of OVMF's."""

import struct

HEADER_GUID = b"\x78\x2c\xf3\xaa\x7b\x94\x9a\x43"  # the store's, with authenticated variables
ADDED = 0x3F  # and not deleted


def variables_of(store):
    """{(name, GUID): data} of the valid variables (MdeModulePkg, "Variable Format"): a header of 60
    bytes with state, attributes, sizes and GUID."""
    data, found = store.read_bytes(), {}
    at = data.index(HEADER_GUID) + 28  # behind the store's header
    while data[at:at + 2] == b"\xaa\x55":
        state, name_bytes, data_bytes = data[at + 2], *struct.unpack_from("<II", data, at + 36)
        body = at + 60
        name = data[body:body + name_bytes].decode("utf-16-le").rstrip("\0")
        end = body + name_bytes + data_bytes
        if state == ADDED:
            found[name, data[at + 44:at + 60]] = data[body + name_bytes:end]
        at = (end + 3) & ~3
    return found

"""The boxes of which JPEG 2000 and JPEG XL files are made (ISO/IEC 15444-1, annex I)."""

import struct


def boxes(data: bytes) -> dict[bytes, bytes]:
    """The content of the first box of each name; of the name `uuid`, by the UUID, without it."""
    found: dict[bytes, bytes] = {}
    place = 0
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        start = place + 8
        if length == 1:
            length, start = struct.unpack(">Q", data[start : start + 8].rjust(8, b"\0"))[0], start + 8
        end = len(data) if length == 0 else place + length
        if end < start:
            break
        if name == b"uuid":
            name, start = data[start : start + 16], start + 16
        found.setdefault(name, data[start:end])
        place = end
    return found

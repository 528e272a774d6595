"""The boxes of which JPEG 2000, JPEG XL, AVIF and HEIC files are made (ISO/IEC 15444-1, annex I, and ISO/IEC 14496-12)."""

import struct
from collections.abc import Iterator


def each_box(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each box; of the name `uuid`, the UUID and what follows it."""
    place = 0
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        start = place + 8
        if length == 1:
            length, start = struct.unpack(">Q", data[start : start + 8].rjust(8, b"\0"))[0], start + 8
        end = len(data) if length == 0 else place + length
        if end < start:
            return
        if name == b"uuid":
            name, start = data[start : start + 16], start + 16
        yield name, data[start:end]
        place = end


def boxes(data: bytes) -> dict[bytes, bytes]:
    """The content of the first box of each name."""
    return dict(reversed([*each_box(data)]))


def properties_of_the_picture(data: bytes) -> list[tuple[bytes, bytes]]:
    """The names and contents of what an AVIF or HEIC file says of its main picture; [] if it says nothing."""
    meta = boxes(boxes(data).get(b"meta", b"")[4:])
    described = boxes(meta.get(b"iprp", b""))
    properties = list(each_box(described.get(b"ipco", b"")))
    number, associations = meta.get(b"pitm", b""), described.get(b"ipma", b"")
    if len(number) < 6 or len(associations) < 8:
        return []
    picture = int.from_bytes(number[4:])
    (count,), place = struct.unpack(">I", associations[4:8]), 8
    side, wide = 4 if associations[0] else 2, associations[3] & 1
    for _ in range(count):
        item, many = int.from_bytes(associations[place : place + side]), associations[place + side]
        place += side + 1
        indices = [associations[place + i * (1 + wide) : place + (i + 1) * (1 + wide)] for i in range(many)]
        place += many * (1 + wide)
        if item == picture:
            mask = 0x7FFF if wide else 0x7F  # without the bit that says whether a reader has to know it
            numbers = [int.from_bytes(index) & mask for index in indices]
            return [properties[n - 1] for n in numbers if 0 < n <= len(properties)]
    return []

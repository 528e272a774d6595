"""EXIF (CIPA DC-008), parsed tag by tag, so that a corrupt tag costs only itself; values are copied as raw bytes.

Only the few values that upscaling changes are decoded. MakerNotes are left out: they refer to offsets in the old file
that only the camera's maker understands.
"""

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
FLIPS = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}  # axes by orientation, after 5 to 8 swapped them

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_POINTERS = 4, 13, 16, 18  # types of a directory's place: LONG and IFD, LONG8 and IFD8 of BigTIFF
_BIG = b"+\0", b"\0+"
_MOST_BYTES = 2**26
_UNICODE = b"UNICODE\0"  # what comments in UTF-16 begin with, which has the byte order of the numbers

# Tags of the first directory that describe the photograph. The others describe how the file stored its pixels.
_KEPT = {
    *(269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 531, 18246, 18249, 33432),
    *(40091, 40092, 40093, 40094, 40095),
}
_OF_THE_FILE = {282, 283, 296, 531}  # kept beside others, but not worth an EXIF block of their own
_UNIT, _NO_UNIT = 296, 1
_RESOLUTIONS = {282: _RATIONAL, 283: _RATIONAL, _UNIT: _SHORT}  # x, y and their unit, and their types
_EXIF, _GPS, _INTEROP, _XMP, _IPTC = 0x8769, 0x8825, 0xA005, 700, 33723
_MAKER_NOTE, _OFFSET_SCHEMA = 0x927C, 0xEA1D
_WIDTH, _HEIGHT, _SUBJECT_AREA, _SUBJECT_LOCATION = 0xA002, 0xA003, 0x9214, 0xA214
_SENSOR_RESOLUTIONS = 0xA20E, 0xA20F  # pixels per unit on the sensor, in x and y
_COLOUR_SPACE = 0xA001
_JPEG_ONLY = {0x9101, 0x9102}  # how it codes its channels, how far it compresses


class Entry(NamedTuple):
    """A tag's value: the number of its type, how many values of that type, and their bytes."""

    type: int
    count: int  # type: ignore[assignment]  # tuples have a method of that name
    data: bytes


_GPS_METHOD = 0x001B
_OF_A_RECEIVER = {0x07, 0x08, 0x09, 0x0A, 0x0B, 0x1D, 0x1F}  # its time, satellites, state and accuracy


@dataclass(frozen=True)
class Exif:
    """The EXIF of a picture.

    Attributes:
        order: "<" or ">", the byte order of all values.
        first, photo, gps, interop: the directories, `Entry`s by their tags.
        size: width and height that the coordinates in it refer to, or None.
    """

    order: str
    first: dict[int, Entry] = field(default_factory=dict)
    photo: dict[int, Entry] = field(default_factory=dict)
    gps: dict[int, Entry] = field(default_factory=dict)
    interop: dict[int, Entry] = field(default_factory=dict)
    size: tuple[int, int] | None = None

    @classmethod
    def parse(cls, data: bytes) -> "Exif | None":
        """EXIF of the bytes of a TIFF or BigTIFF structure, with or without "Exif" before it; None if there is none in it.

        A file that is mapped into memory will do.
        """
        while data[:6] == b"Exif\0\0":  # twice in some
            data = data[6:]
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 8:
            return None
        first = dict(_entries(data, order))
        photo = _directory(data, order, first.pop(_EXIF, None))
        gps = _directory(data, order, first.pop(_GPS, None))
        interop = _directory(data, order, photo.get(_INTEROP))
        if interop or _INTEROP in photo and photo[_INTEROP].type in _POINTERS:
            del photo[_INTEROP]
        return cls(order, first, photo, gps, interop) if first or photo or gps else None

    def __getitem__(self, tag: int):
        """The value of a tag of the first directory, as Pillow decodes it."""
        decoded = Image.Exif()
        decoded.load(self.tobytes())
        return decoded[tag]

    def orientation(self) -> int | None:
        """1 to 8, of whatever type it is; None where it says none."""
        with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
            alone = {ORIENTATION: self.first[ORIENTATION]}
            value = replace(self, first=alone, photo={}, gps={}, interop={})[ORIENTATION]
            value = value[0] if isinstance(value, tuple | bytes) else value
            return int(value) if 1 <= int(value) <= 8 else None
        return None

    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch in x and y, or None."""
        with contextlib.suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
            inch = {2: 1.0, 3: 2.54}[self[296]]
            x, y = float(self[282]) * inch, float(self[283]) * inch
            return (x, y) if 1 < x < 1e5 and 1 < y < 1e5 else None
        return None

    def numbers(self, entry: Entry | None) -> tuple:
        """The values of a tag of integers, or ()."""
        kinds = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
        if entry is None or entry.type not in kinds:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{kinds[entry.type]}", entry.data)

    def of_the_photograph(self) -> "Exif | None":
        """Without what describes the old file: how it stored its pixels, its orientation, notes of the camera's maker."""
        # A resolution of another type than EXIF's would keep Pillow from opening a JPEG.
        other = {tag for tag, kind in _RESOLUTIONS.items() if tag in self.first and self.first[tag][:2] != (kind, 1)}
        if _UNIT in self.first and self.numbers(self.first[_UNIT]) == (_NO_UNIT,):  # TIFF's, which EXIF does not have
            other |= set(_RESOLUTIONS)
        first = {tag: entry for tag, entry in self.first.items() if tag in _KEPT - other}
        photo = {tag: entry for tag, entry in self.photo.items() if tag not in (_MAKER_NOTE, _OFFSET_SCHEMA)}
        return replace(self, first=first, photo=photo) if set(first) - _OF_THE_FILE or photo or self.gps else None

    def upright(self, orientation: int, width: int, height: int) -> "Exif":
        """That of a picture of `width` x `height` as stored, after it has been turned upright."""
        stored, swapped = (width, height), orientation >= 5
        photo = dict(self.photo)
        if swapped:
            for one, other in ((_WIDTH, _HEIGHT), _SENSOR_RESOLUTIONS):
                pair = photo.pop(one, None), photo.pop(other, None)
                photo |= {tag: entry for tag, entry in zip((other, one), pair) if entry}
        for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION):
            if values := self.numbers(photo.get(tag)):
                x, y = _turned(orientation, values[0], values[1], *stored) if len(values) > 1 else values
                sides = values[3:1:-1] if swapped and len(values) == 4 else values[2:]
                photo[tag] = self._integers((x, y, *sides))
        return replace(self, photo=photo, size=stored[::-1] if swapped else stored)

    def resized(self, width: int, height: int) -> "Exif":
        """That of the picture at another size."""
        photo = dict(self.photo)
        for tag, side in ((_WIDTH, width), (_HEIGHT, height)):
            if tag in photo:
                photo[tag] = self._integers((side,))
        if self.size and self.size != (width, height):
            x, y = width / self.size[0], height / self.size[1]
            for tag in (_SUBJECT_AREA, _SUBJECT_LOCATION):
                if values := self.numbers(photo.get(tag)):
                    # A point; a circle: with its diameter; a rectangle: with its sides.
                    scales = (x, y, x, y) if len(values) == 4 else (x, y, x)
                    photo[tag] = self._integers(tuple(round(v * s) for v, s in zip(values, scales)))
            for tag, scale in zip(_SENSOR_RESOLUTIONS, (x, y)):
                if (entry := photo.get(tag)) and entry.type == _RATIONAL and entry.count == 1:
                    photo[tag] = self._rational(entry, scale)
        return replace(self, photo=photo, size=(width, height))

    def for_jpeg(self, is_srgb: bool, dpi: tuple[float, float] | None = None) -> "Exif":
        """With the tags that EXIF requires in JPEG, where they are missing: the resolution is the picture's, else 72."""
        pack = struct.Struct(self.order + "2I").pack
        inch = dpi if dpi and all(0.001 <= value < 65536 for value in dpi) else (72, 72)
        x, y = (Entry(_RATIONAL, 1, pack(round(value * 1000), 1000)) for value in inch)
        first = {282: x, 283: y, 296: self._integers((2,)), 531: self._integers((1,))}
        photo = {0x9000: Entry(7, 4, b"0232"), 0x9101: Entry(7, 4, b"\1\2\3\0"), 0xA000: Entry(7, 4, b"0100")}
        photo |= {_COLOUR_SPACE: self._integers((1 if is_srgb else 0xFFFF,))}
        if self.size:
            photo |= {tag: self._integers((side,)) for tag, side in zip((_WIDTH, _HEIGHT), self.size)}
        return replace(self, first=first | self.first, photo=photo | self.photo)

    def is_adobe_rgb(self) -> bool:
        """Whether it says Adobe RGB as DCF 2.0 does: uncalibrated, of the interoperability rule R03."""
        space = self.numbers(self.photo.get(_COLOUR_SPACE))
        rule = self.interop.get(1)
        return space == (0xFFFF,) and rule is not None and rule.data[:3] == b"R03"

    def tobytes(self) -> bytes:
        """As a TIFF structure, without "Exif" before it."""
        first, photo = dict(self.first), dict(self.photo)
        pointer = Entry(_LONG, 1, b"\0" * 4)
        if self.interop:
            photo[_INTEROP] = pointer
        if photo:
            first[_EXIF] = pointer
        if self.gps:
            first[_GPS] = pointer
        places, start = {}, 8
        parts = [("first", first), ("photo", photo), ("interop", self.interop), ("gps", self.gps)]
        for name, entries in parts:
            places[name] = start
            start += len(_written(entries, self.order, start)) if entries or name == "first" else 0
        for tags, tag, name in ((first, _EXIF, "photo"), (first, _GPS, "gps"), (photo, _INTEROP, "interop")):
            if tags.get(tag) is pointer:
                tags[tag] = Entry(_LONG, 1, struct.pack(self.order + "I", places[name]))
        head = (b"II*\0" if self.order == "<" else b"MM\0*") + struct.pack(self.order + "I", 8)
        there = ((name, entries) for name, entries in parts if entries or name == "first")
        return head + b"".join(_written(entries, self.order, places[name]) for name, entries in there)

    def _integers(self, values):
        kind = _SHORT if max(values, default=0) < 2**16 else _LONG
        values = [min(max(int(value), 0), 2**32 - 1) for value in values]
        letter = "H" if kind == _SHORT else "I"
        return Entry(kind, len(values), struct.pack(f"{self.order}{len(values)}{letter}", *values))

    def _rational(self, entry, scale):
        above, below = struct.unpack(self.order + "2I", entry.data)
        while round(above * scale) >= 2**32:
            above, below = above // 2, below // 2
        return Entry(_RATIONAL, 1, struct.pack(self.order + "2I", round(above * scale), below))


def _directory(data, order, pointer):
    if pointer is None or pointer.type not in _POINTERS or pointer.count != 1:
        return {}
    return dict(_entries(data, order, int.from_bytes(pointer.data, "little" if order == "<" else "big")))


def _entries(data, order, start=None) -> Iterator[tuple[int, Entry]]:
    """Yield the tags of the directory at `start`, None: of the first, whose values lie inside the data; the first of each
    number.
    """
    side, letter, counted = _form(data[2:4] in _BIG)
    if start is None:
        (start,) = struct.unpack(order + letter, data[side : 2 * side])
    first, step = start + struct.calcsize(counted), 4 + 2 * side
    if not start >= 8 or first > len(data):
        return
    seen, total = set(), 0
    (count,) = struct.unpack(order + counted, data[start:first])
    for place in range(first, min(first + step * count, len(data) - step + 1), step):
        tag, kind, number, value = struct.unpack(f"{order}HH2{letter}", data[place : place + step])
        length = _SIZES.get(kind, 0) * number
        if kind not in _SIZES or tag in seen or total + length > _MOST_BYTES:
            continue
        if length <= side:
            value = place + 4 + side
        content = data[value : value + length]
        if len(content) == length:
            seen.add(tag)
            total += length
            yield tag, Entry(kind, number, content)


def _form(big):
    """Of a TIFF structure: the bytes of a place in it, and the codes of `struct` for one and for the length of a directory."""
    return (8, "Q", "Q") if big else (4, "I", "H")


def _written(entries, order, start, big=False):
    """A directory's bytes, the values behind it."""
    side, letter, counted = _form(big)
    head, values = struct.pack(order + counted, len(entries)), []
    place = start + len(head) + (4 + 2 * side) * len(entries) + side
    for tag, entry in sorted(entries.items()):
        content = entry.data.ljust(side, b"\0")
        if len(entry.data) > side:
            content = struct.pack(order + letter, place)
            values.append(entry.data + b"\0" * (len(entry.data) % 2))
            place += len(values[-1])
        head += struct.pack(order + "HH" + letter, tag, entry.type, entry.count) + content
    return head + b"\0" * side + b"".join(values)


def _turned(orientation, x, y, width, height):
    """Where a point of the stored picture lies in the upright one."""
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    flips = FLIPS.get(orientation, ())
    return width - 1 - x if 1 in flips else x, height - 1 - y if 0 in flips else y


def add_to_tiff(
    path: str | os.PathLike, exif: Exif | None, xmp: bytes | None, iptc: bytes | None, has_dpi: bool = True
) -> None:
    """Append a new first directory with metadata to a TIFF or BigTIFF file of one page. Only its directory is read.

    Without `has_dpi` its resolution gets no unit: TIFF requires one, and what libvips writes would set the size of a print.
    """
    if has_dpi and not (exif or xmp or iptc):
        return
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            order, big, end = "<" if data[:2] == b"II" else ">", data[2:4] in _BIG, len(data)
            directory = dict(_entries(data, order))
        side, letter, _ = _form(big)
        if exif:
            directory = _in_order(exif.first, exif.order, order) | directory
        if not has_dpi:
            directory[_UNIT] = Entry(_SHORT, 1, struct.pack(order + "H", _NO_UNIT))
        for tag, content in ((_XMP, xmp), (_IPTC, iptc)):
            if content:
                content += b"\0" * (-len(content) % 4) if tag == _IPTC else b""
                directory[tag] = Entry(*((1, len(content)) if tag == _XMP else (_LONG, len(content) // 4)), content)
        start = end + end % 2
        file.seek(end)
        file.write(b"\0" * (end % 2))
        photo = {tag: entry for tag, entry in exif.photo.items() if tag not in _JPEG_ONLY} if exif else {}
        for pointer, entries in ((_EXIF, photo), (_GPS, _with_method(exif.gps) if exif else {})):
            if exif and entries:
                directory[pointer] = Entry(16 if big else _LONG, 1, struct.pack(order + letter, start))
                start += file.write(_written(_in_order(entries, exif.order, order), order, start, big))
        file.write(_written(directory, order, start, big))
        file.seek(side)
        file.write(struct.pack(order + letter, start))


def _with_method(gps):
    """With the tag that TIFF requires (ExifTool's -validate) and other formats do not: how the place was found."""
    method = b"ASCII\0\0\0" + (b"GPS" if _OF_A_RECEIVER & set(gps) else b"MANUAL")
    return {_GPS_METHOD: Entry(7, len(method), method)} | gps if gps else {}


def _in_order(entries, given, wanted):
    """The tags with their values in another byte order."""
    if given == wanted:
        return dict(entries)
    sides = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8, 16: 8, 17: 8, 18: 8}
    result = {}
    for tag, entry in entries.items():
        data = _swapped(entry.data, sides.get(entry.type, 1))
        if data.startswith(_UNICODE) and len(data) % 2 == 0:
            data = _UNICODE + _swapped(data[8:], 2)
        result[tag] = entry._replace(data=data)
    return result


def _swapped(data, side):
    return np.frombuffer(data, np.uint8).reshape(-1, side)[:, ::-1].tobytes()

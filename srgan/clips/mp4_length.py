"""How long an MP4 or MOV file shows a track by its index: the only place that says how long its last frame stands."""

import contextlib
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

_LENGTH = {0: ">4x8x{}I", 1: ">4x16x{}Q"}  # of mvhd and tkhd by their version, with what stands before the length

_UNKNOWN = 2**32 - 1


def shown_length(path: Path, track: int) -> tuple[Fraction, Fraction] | None:
    """Seconds for which a whole file shows a track, from its time 0 on, and how exact that is; None: it does not say.

    Args:
        track: its number in the file.
    """
    length = scale = None
    with contextlib.suppress(struct.error), open(path, "rb") as file:
        size = file.seek(0, 2)
        for name, begin, end in _boxes(file, 0, size):
            if end > size:
                return None  # cut off
            if name != b"moov":
                continue
            for part, first, last in _boxes(file, begin, end):
                if part == b"mvhd":
                    scale, longest = _read(file, first, "I")
                elif part == b"trak":
                    for inner, place, _ in _boxes(file, first, last):
                        if inner == b"tkhd":
                            number, found = _read(file, place, "I4x")
                            length = found if number == track else length
    if not scale or not length or length > longest or length == _UNKNOWN:  # some files count a track by another clock
        return None
    return Fraction(length, scale), Fraction(1, scale)


def _boxes(file: Any, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each box between two places, and where its content begins and ends."""
    while begin + 8 <= end:
        file.seek(begin)
        size, name = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1:
            size, header = int.from_bytes(file.read(8), "big"), 16
        stop = begin + size if size else end
        if stop < begin + header:
            return
        yield name, begin + header, stop
        begin = stop


def _read(file, place, before):
    file.seek(place)
    content = file.read(36)
    form = _LENGTH[content[0] == 1].format(before)
    return struct.unpack(form, content[: struct.calcsize(form)])

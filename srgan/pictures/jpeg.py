"""JPEG's segments (ITU-T T.81, annex B): what Pillow does not report, and metadata that are larger than one segment."""

import hashlib
import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from srgan.pictures.exif import Exif
from srgan.pictures.libvips import own_messages, pixels_of

LARGEST_SEGMENT = 65400  # bytes of metadata in one

# What libjpeg warns of where pixels are lost. Its other warnings are about versions and parameters.
LOST = ("Corrupt JPEG data", "premature end of JPEG", "Inconsistent progression")
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
_SMALL = 2**20  # pixels
_METADATA = (*range(0xE0, 0xF0), 0xFE)  # segments of applications, and comments
_START_OF_SCAN, _END, _APP1, _APP13 = 0xDA, 0xD9, 0xE1, 0xED
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # with a segment behind it
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)  # frames of DCT coefficients
IPTC = 0x0404  # its number among Photoshop's resources

# XMP Specification, part 3, section 1.1.3.1: what does not fit into one segment is in others, which the first one names.
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_NAMES_EXTENSION = re.compile(rb"""HasExtendedXMP(?:\s*=\s*["']|>\s*)([0-9A-F]{32})""")
_MENTION = re.compile(
    rb"""\s*xmpNote:HasExtendedXMP\s*=\s*["'][0-9A-F]{32}["']|\s*<xmpNote:HasExtendedXMP>[^<]*</xmpNote:HasExtendedXMP>"""
)
_MAIN_XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"/>'
    b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the content of each segment of a JPEG file before its first scan."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], struct.unpack(">H", data[place + 2 : place + 4])[0]
        if marker == _START_OF_SCAN:
            return
        if marker == 0xFF:
            place += 1
            continue
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def frame_header(data: bytes) -> tuple[int, int, int, int, int] | None:
    """The frame header of a JPEG file: its marker, the bits of a sample, the width, the height and the channels.

    A file that is mapped into memory will do.
    """
    for marker, content in segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES and len(content) >= 6:
            bits, height, width, channels = struct.unpack(">BHHB", content[:6])
            return marker, bits, width, height, channels
    return None


def require_all_scans(data: bytes) -> None:
    """Raise ValueError if the file ends properly, but before all its coefficients: decoders show a blurry or gray picture."""
    left: set[tuple[int, int]] = set()
    place, frame = 2, 0
    while (found := _MARKER.search(data, place)) and (marker := data[found.end() - 1]) != _END:
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
        content = data[found.end() + 2 : place]
        if marker in (*_SEQUENTIAL, *_PROGRESSIVE):
            frame, left = marker, {(component, number) for component in content[6::3] for number in range(64)}
        elif marker == _START_OF_SCAN and len(content) >= 6:
            first, last, bits = content[-3:] if frame in _PROGRESSIVE else (0, 63, 0)
            if not bits & 15:  # the lowest bits are not left to a later scan
                left -= {(component, number) for component in content[1:-3:2] for number in range(first, last + 1)}
            if not left:
                return
    if left:
        raise ValueError("some of its scans are missing")


def decode_jpeg(data: bytes) -> np.ndarray | None:
    """The pixels of a JPEG file of gray or YCbCr, uint8 (height, width, 1 or 3); None where Pillow is to decode them.

    Decoded by libvips, because Pillow does not report all damage that libjpeg finds. Once and in one thread: small pictures
    are read while the network has all cores.

    Raises:
        ValueError: pixels are lost.
    """
    import pyvips

    try:
        with own_messages():
            image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="warning")
            if image.width * image.height <= _SMALL:
                image = image.copy()
                image.set_type(pyvips.GValue.gint_type, "concurrency", 1)
            pixels = pixels_of(image)
    except pyvips.Error as error:
        if lost := [line for line in str(error).splitlines() if any(words in line for words in LOST)]:
            raise ValueError(lost[0].strip().removeprefix("VipsJpeg: ")) from error
        pixels = None
    require_all_scans(data)
    return pixels if pixels is not None and pixels.shape[2] in (1, 3) else None


def whole_xmp(data: bytes, xmp: bytes | None) -> bytes | None:
    """The XMP of a JPEG file of which `xmp` is the part in the first segment."""
    if not xmp or not (named := _NAMES_EXTENSION.search(xmp)):
        return xmp
    parts = {}
    for marker, content in segments(data):
        head = len(_EXTENSION) + 32
        if marker == _APP1 and content.startswith(_EXTENSION + named[1]) and len(content) > head + 8:
            parts[struct.unpack(">I", content[head + 4 : head + 8])[0]] = content[head + 8 :]
    extended = b"".join(parts[start] for start in sorted(parts))
    if hashlib.md5(extended, usedforsecurity=False).hexdigest().upper().encode() != named[1]:
        return xmp
    properties = re.search(rb"<rdf:RDF[^>]*>(.*)</rdf:RDF>", extended, re.DOTALL)
    if xmp == _MAIN_XMP % named[1] or not properties:
        return extended
    own = _MENTION.sub(b"", xmp)
    return re.sub(rb"(</rdf:RDF>)", lambda end: properties[1] + end[1], own, count=1)


def split_xmp(xmp: bytes) -> tuple[bytes, bytes]:
    """XMP of any length as the content of the first segment, and the bytes of the segments that follow."""
    if len(xmp) <= LARGEST_SEGMENT:
        return xmp, b""
    digest = hashlib.md5(xmp, usedforsecurity=False).hexdigest().upper().encode()
    rest = b""
    for start in range(0, len(xmp), LARGEST_SEGMENT):
        head = _EXTENSION + digest + struct.pack(">II", len(xmp), start)
        rest += _segment(_APP1, head + xmp[start : start + LARGEST_SEGMENT])
    return _MAIN_XMP % digest, rest


def fit_exif(exif: Exif) -> tuple[Exif, list[int]]:
    """EXIF that fits into one segment, and the tags that were left out for it, the largest first."""
    left_out = []
    while len(exif.tobytes()) > LARGEST_SEGMENT:
        parts: dict[str, Any] = {name: getattr(exif, name) for name in ("first", "photo", "gps", "interop")}
        name, tag = max(
            ((name, tag) for name, entries in parts.items() for tag in entries),
            key=lambda key: len(parts[key[0]][key[1]].data),
        )
        left_out.append(tag)
        parts[name] = {key: entry for key, entry in parts[name].items() if key != tag}
        exif = replace(exif, **parts)
    return exif, left_out


def iptc_segment(iptc: bytes) -> bytes:
    """IPTC as the segment that Photoshop writes; b"" for none and for too much."""
    if not 0 < len(iptc) <= LARGEST_SEGMENT:
        return b""
    head = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", IPTC, 0, len(iptc))
    return _segment(_APP13, head + iptc + b"\0" * (len(iptc) % 2))


def with_metadata(path: str | os.PathLike, body: str | os.PathLike, head: bytes) -> None:
    """Write a JPEG file with the pixels of the file `body` and the metadata of another file's bytes."""
    with open(body, "rb") as coded, open(path, "wb") as file:
        start = coded.read(2**16)
        file.write(start[:2])
        kept = [each for each in segments(head) if each[0] in _METADATA]
        kept += [each for each in segments(start) if each[0] not in _METADATA]
        file.writelines(_segment(marker, content) for marker, content in kept)
        coded.seek(2 + sum(4 + len(content) for _, content in segments(start)))
        shutil.copyfileobj(coded, file, 2**20)


def _segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

"""JPEG 2000 (ISO/IEC 15444-1) through imagecodecs; the file's boxes say what its channels are."""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

from srgan.pictures.arrays import full_range, unpremultiplied
from srgan.pictures.boxes import boxes
from srgan.pictures.metadata import Decoded, became_rgb, or_none
from srgan.pictures.profiles import cmyk_to_rgb

_CODESTREAM = b"\xff\x4f\xff\x51"
_CMYK, _SRGB, _GRAY, _S_YCC = 12, 16, 17, 18  # numbers of colour spaces; the decoder converts the last
_PROFILES = {b"GRAY", b"RGB ", b"CMYK"}
_ALPHA, _PREMULTIPLIED = 1, 2  # kinds of channels
# The UUIDs of the boxes that ExifTool and others write.
_EXIF, _XMP = b"JpgTiffExif->JP2", bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")


def decode_jpeg_2000(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    import imagecodecs

    width, height, bits = _size(data)
    refuse_large(width, height)
    outer = boxes(data) if not data.startswith(_CODESTREAM) else {}
    header = boxes(outer.get(b"jp2h", b""))
    space, icc = _colours(header.get(b"colr", b""))
    if palette := header.get(b"pclr"):
        bits = [(value & 127) + 1 for value in palette[3 : 3 + palette[2]]]
    if len(set(bits)) > 1 or max(bits) > 16 or space not in (None, _CMYK, _SRGB, _GRAY, _S_YCC):
        raise ValueError("JPEG 2000 of this kind is not supported")
    pixels = full_range(np.atleast_3d(imagecodecs.jpeg2k_decode(data)), bits[0])
    is_cmyk = space == _CMYK or icc is not None and icc[16:20] == b"CMYK"
    colours = 4 if is_cmyk else 1 if pixels.shape[2] < 3 else 3
    if not colours <= pixels.shape[2] <= colours + 1 or icc is not None and icc[16:20] not in _PROFILES:
        raise ValueError("JPEG 2000 of this kind is not supported")
    colour, alpha = np.split(pixels, [colours], axis=2)
    kinds = [kind for _, kind, _ in struct.iter_unpack(">3H", header.get(b"cdef", b"")[2:])]
    if _PREMULTIPLIED in kinds and alpha.size:
        colour = unpremultiplied(colour, alpha)
    notes = []
    if alpha.size and kinds and not {_ALPHA, _PREMULTIPLIED} & set(kinds):
        alpha = alpha[..., :0]
        notes = [f"one of its {pixels.shape[2]} channels, neither colour nor alpha, left out"]
    if is_cmyk:
        colour, icc = cmyk_to_rgb(colour, icc)
        notes.append(became_rgb("CMYK"))
    return Decoded(
        np.concatenate([colour, alpha], axis=2),
        icc=icc,
        exif=outer.get(_EXIF),
        dpi=or_none(lambda: Image.open(io.BytesIO(data), formats=["JPEG2000"]).info.get("dpi")),
        xmp=outer.get(_XMP),
        iptc=outer.get(_IPTC),
        notes=notes,
    )


def _size(data):
    """Width, height and the bits of each component, by the codestream's marker SIZ."""
    place = data.find(_CODESTREAM)
    if place < 0 or len(data) < place + 42:
        raise ValueError("it is cut off")
    right, lower, left, upper = struct.unpack(">4I", data[place + 8 : place + 24])
    (count,) = struct.unpack(">H", data[place + 40 : place + 42])
    components = data[place + 42 : place + 42 + 3 * count : 3]
    if not components or any(value & 128 for value in components):
        raise ValueError("JPEG 2000 of this kind is not supported")
    return right - left, lower - upper, [(value & 127) + 1 for value in components]


def _colours(content):
    """The number of the colour space, or None, and the profile, or None, by the content of the box colr."""
    if not content:
        return None, None
    return (None, content[3:]) if content[0] == 2 else (int.from_bytes(content[3:7]), None)

"""Formats that can have more than 8 bits, which Pillow would cut off: AVIF, HEIC and PNM."""

import io
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from math import ceil, floor

import numpy as np
from PIL import Image

from srgan.pictures.arrays import full_range, with_straight_alpha
from srgan.pictures.boxes import properties_of_the_picture
from srgan.pictures.exif import ORIENTATION
from srgan.pictures.libvips import own_messages
from srgan.pictures.metadata import Decoded, first_of, or_none
from srgan.pictures.pillow import decode_with_pillow, decoded_from_pillow

_EXIF_ITEM = re.compile(rb"(infe[\2\3].{3}(?:.{4}|.{6}))Exif", re.DOTALL)  # how a file lists it
_PNM_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)*+(\d+|#)")  # behind space and comments; # begins one without an end
_SRGB = {(1, 13), (2, 2), (1, 2), (2, 13)}  # primaries and transfer of ITU-T H.273 that need no mention


def decode_avif(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    # Pillow writes EXIF anew, and libavif refuses files where it is damaged: neither is shown it.
    quiet = _EXIF_ITEM.sub(rb"\1free", data)
    with Image.open(io.BytesIO(quiet), formats=["AVIF"]) as image:
        refuse_large(image.width, image.height)
        bits = _avif_bits(data)
        if bits == 8:
            decoded = decoded_from_pillow(image)
        else:
            import imagecodecs

            pixels = np.atleast_3d(imagecodecs.avif_decode(quiet, index=0))
            decoded = Decoded(
                full_range(pixels, bits if pixels.dtype == np.uint16 else 8),
                icc=image.info.get("icc_profile"),
                xmp=image.info.get("xmp"),
                notes=first_of(getattr(image, "n_frames", 1), "frames"),
            )
        decoded.orientation = image.getexif().get(ORIENTATION, 1)  # as the file says beside EXIF, in irot and imir
    if quiet != data:
        decoded.exif = or_none(lambda: _exif_of_avif(data))
        if not decoded.exif:  # of sequences, which libvips does not open
            decoded.exif = or_none(lambda: Image.open(io.BytesIO(data), formats=["AVIF"]).info["exif"])
    decoded.colour = {} if decoded.icc else _nclx(data)
    left, upper, right, lower = shown_of_avif(data, image.width, image.height)
    decoded.pixels = decoded.pixels[upper:lower, left:right]
    return decoded


def _exif_of_avif(data):
    import pyvips

    with own_messages():
        return pyvips.Image.new_from_buffer(data, "").get("exif-data")


def shown_of_avif(data: bytes, width: int, height: int) -> tuple[int, int, int, int]:
    """The left, upper, right and lower edge of what is to be shown of an AVIF picture (ISO/IEC 14496-12, section 12.1.4).

    No decoder of AVIF cuts it out; libheif does with HEIC.
    """
    aperture = dict(_properties(data)).get(b"clap")
    if aperture is None:
        return 0, 0, width, height
    numbers = struct.unpack(">8i", aperture[:32])
    if not all(numbers[1::2]):
        raise ValueError("its clean aperture (clap) is damaged")
    wide, high, right, down = (Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2]))
    left, upper = (width - wide) / 2 + right, (height - high) / 2 + down
    edges = left, upper, left + wide, upper + high
    if not (0 <= left < edges[2] <= width and 0 <= upper < edges[3] <= height):
        raise ValueError("its clean aperture (clap) reaches beyond the picture")
    return floor(left), floor(upper), ceil(edges[2]), ceil(edges[3])


def decode_heif(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    if not find_spec("pillow_heif"):
        raise ValueError("HEIC needs one more package: pip install '.[heif]'")
    import pillow_heif

    heif = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    refuse_large(*heif.size)
    pixels, info = np.atleast_3d(np.asarray(heif)), heif.info
    pixels = full_range(pixels, info.get("bit_depth", 8) if pixels.dtype == np.uint16 else 8)
    if heif.premultiplied_alpha and pixels.shape[2] in (2, 4):
        pixels = with_straight_alpha(pixels)
    icc = info.get("icc_profile")
    return Decoded(
        pixels,
        orientation=1,  # it is applied already
        icc=icc,
        exif=info.get("exif"),
        xmp=info.get("xmp"),
        colour={} if icc else _nclx(data),
        notes=first_of(len(heif), "pictures in it"),
    )


def decode_pnm(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    """PNM with values above 255; the others are Pillow's."""
    magic, start = data[:2], 2
    numbers: list[int] = []
    while len(numbers) < (2 if magic in (b"P1", b"P4") else 3):
        found = _PNM_NUMBER.match(data, start)
        if not found or found[1] == b"#":
            raise ValueError("it is cut off" if found else "its header is damaged")
        numbers.append(int(found[1]))
        start = found.end()
    width, height, top = (*numbers, 1)[:3]
    channels = 3 if magic in (b"P3", b"P6") else 1
    count = width * height * channels
    size = height * -(-width // 8) if magic == b"P4" else count * (1 if top < 256 else 2)
    is_several = magic in (b"P4", b"P5", b"P6") and data[start + 1 + size :].startswith(magic)
    notes = ["the first of the pictures in it is taken"] if is_several else []
    if top < 256:
        decoded = decode_with_pillow(data, kind, refuse_large)
        decoded.notes += notes
        return decoded
    refuse_large(width, height)
    if magic in (b"P5", b"P6"):
        values = np.frombuffer(data[start + 1 : start + 1 + 2 * count], ">u2")
    else:
        values = np.array(data[start:].split()[:count], np.int64)
    if len(values) < count or top > 65535 or values.max(initial=0) > top:
        raise ValueError("it is cut off or its values are too large")
    values = (values.astype(np.uint32) * 65535 + top // 2) // top
    return Decoded(values.astype(np.uint16).reshape(height, width, channels), notes=notes)


def _properties(data):
    return or_none(lambda: properties_of_the_picture(data)) or []


def _nclx(data):
    """The colours that AVIF and HEIC say in numbers, as PNG says them."""
    found = [content for name, content in _properties(data) if name == b"colr" and content.startswith(b"nclx")]
    if not found or len(found[0]) < 11:
        return {}
    primaries, transfer = struct.unpack(">2H", found[0][4:8])
    return {} if (primaries, transfer) in _SRGB else {b"cICP": bytes([primaries & 255, transfer & 255, 0, 1])}


def _avif_bits(data):
    """8, 10 or 12, by the configuration of AV1 (AV1-ISOBMFF, section 2.3)."""
    place = data.find(b"av1C")
    flags = data[place + 6] if 0 <= place < len(data) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10

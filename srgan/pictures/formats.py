"""The formats of picture files: what is read, what is written, and how large a picture each can hold."""

import os
from pathlib import Path

from PIL import features

from srgan.errors import SRGANError

WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".tga": "TGA",
    ".dds": "DDS",
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
}
WITHOUT_ALPHA = {"JPEG", "BMP"}
BITS = {"JPEG": 8, "WebP": 8, "BMP": 8, "TGA": 8, "DDS": 8, "AVIF": 12}  # a channel; of the others 16
IN_SRGB = {"JPEG XL", "BMP", "TGA", "DDS"}  # have no profile
WITHOUT_METADATA = {"BMP", "TGA", "DDS"}
WITHOUT_IPTC = {"WebP", "AVIF", "JPEG XL", *WITHOUT_METADATA}
READABLE = {*WRITABLE, ".jpe", ".jfif", ".gif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2"}

_MOST_PIXELS_A_SIDE = {"JPEG": 65500, "WebP": 16383, "AVIF": 65535, "JPEG XL": 2**18, "TGA": 65535}
_MOST_PIXELS_A_SIDE |= {"BMP": 2**31 - 1, "DDS": 2**31 - 1, "PNG": 10**6, "TIFF": 10**7}


def output_format(suffix: str, width: int, height: int) -> str:
    """The format, a value of `WRITABLE`, in which a picture of that size is written under a name with that suffix.

    Raises:
        SRGANError: no format with that suffix is written, or it cannot hold so many pixels.
    """
    kind = WRITABLE.get(suffix.lower())
    # Both are loaded here, early: where a large picture has taken all memory, Pillow knows no format that it has to load.
    if kind is None or kind in ("AVIF", "WebP") and not features.check(kind.lower()):
        named = (
            f"the output's suffix {suffix}"
            if suffix
            else "the output has no suffix (a folder's name ends with /), which"
        )
        raise SRGANError(f"{named} is not a format to write; use {', '.join(sorted(WRITABLE))}")
    side, limits, most = max(width, height), _MOST_PIXELS_A_SIDE, ""
    if side > limits[kind]:
        most = f"{limits[kind]} pixels a side"
    elif kind in ("BMP", "DDS") and width * height * 4 >= 2**32:
        most = "4 GiB"
    if most:
        others = " or ".join(suffix for suffix in (".png", ".tif") if side <= limits[WRITABLE[suffix]])
        remedy = f"; use {others}" if others else ""
        raise SRGANError(f"{kind} holds {most}, and the result would be {width} x {height}{remedy}")
    return kind


def refuse_more_pixels(name: object, width: int, height: int, most: int | None, unit: str = "million pixels") -> None:
    """Raise SRGANError if the picture or clip of that name and size has more than `most` pixels."""
    if most and width * height > most:
        raise SRGANError(
            f"{name}: {width} x {height} are more than {most / 1e6:g} {unit}; raise --max-pixels if you trust it"
        )


# Files of cameras' sensors, which hold no picture until they are developed. DNG can hold one and is looked into.
_RAW = {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef"}
_RAW |= {".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}

_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"DDS ": "DDS",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\xff\n": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
}
# Bits a pixel of a TGA by its kind, to which runs of pixels add 8, and whether it has a colour map.
_TGA_BITS = {(1, 1): (8, 16), (2, 0): (15, 16, 24, 32), (2, 1): (15, 16, 24, 32), (3, 0): (8, 16), (3, 1): (8, 16)}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def content_format(data: bytes) -> str:
    """The format of a file's bytes, by their beginning, as Pillow names it.

    Raises:
        ValueError: it is none that is read.
    """
    for beginning, kind in _BEGINNINGS.items():
        if data.startswith(beginning):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brands = {data[place : place + 4] for place in (8, *range(16, min(int.from_bytes(data[:4]), 256), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "PPM"
    # TGA has no signature. Whether it has a colour map, its kind and its bits a pixel have to be possible.
    if len(data) > 18 and data[16] in _TGA_BITS.get((data[2] & ~8, data[1]), ()):
        return "TGA"
    raise ValueError("of no known format")


def refuse_raw(name: str | os.PathLike) -> None:
    """Raise ValueError if a file of that name is a camera's raw data."""
    if Path(str(name)).suffix.lower() in _RAW:
        raise ValueError("it holds a camera's raw data; develop it first, for example with darktable or RawTherapee")

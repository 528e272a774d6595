"""What becomes of a file's metadata when it is read, and when the picture is written."""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from srgan.pictures.arrays import gray_as_rgb
from srgan.pictures.exif import FLIPS, Exif
from srgan.pictures.picture import Picture
from srgan.pictures.profiles import ADOBE_RGB, colours_of, gray_profile

_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))([1-8])(?=\s*["'<])""")
_XMP_SIZES = re.compile(
    rb"""((?:tiff:Image(?:Width|Length)|exif:Pixel[XY]Dimension)(?:\s*=\s*["']|>\s*))(\d+)(?=\s*["'<])"""
)


def or_none(work: Callable[[], Any]) -> Any:
    """What `work` returns, or None if it fails: a picture with damaged metadata is still read."""
    with contextlib.suppress(Exception):
        return work()
    return None


@dataclass
class Decoded:
    """A picture file as a decoder gives it. Other fields mean the same as in `Picture`, with the file's original values;
    `exif` is raw bytes.

    Attributes:
        pixels: uint8 or uint16 (height, width, 1 to 4), as stored.
        orientation: EXIF's number for how `pixels` are to be turned; None: as EXIF or XMP say.
        notes: what a user should know.
    """

    pixels: np.ndarray
    orientation: int | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    text: list[tuple[bytes, bytes]] = field(default_factory=list)
    colour: dict[bytes, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    palette: np.ndarray | None = None


def first_of(count: int, what: str) -> list[str]:
    """What a user should know of a file with so many pictures."""
    return [f"the first of {count} {what} is taken"] if count > 1 else []


def became_rgb(mode: str) -> str:
    """What a user should know of a file whose colours no output keeps as they were coded."""
    return f"its {mode} becomes RGB"


def orientation_of(decoded: Decoded) -> int:
    """EXIF's number for how the pixels are to be turned."""
    exif, xmp = _parsed(decoded)
    orientation = decoded.orientation or (exif.orientation() if exif else None)
    if orientation is None:
        found = _XMP_ORIENTATION.search(xmp or b"")
        orientation = int(found[2]) if found else 1
    return orientation


def finish(decoded: Decoded, size: tuple[int, int] | None = None) -> Picture:
    """Turn a picture upright, and keep of its metadata what is true of it then.

    Args:
        size: width and height as stored, where the pixels are elsewhere.

    Raises:
        ValueError: its colours are coded in a way that is not supported.
    """
    pixels, (exif, xmp) = decoded.pixels, _parsed(decoded)
    width, height = size or pixels.shape[1::-1]
    orientation = orientation_of(decoded)
    icc = decoded.icc
    if exif and not icc and not decoded.colour and exif.is_adobe_rgb():
        icc = ADOBE_RGB
    colour = {} if icc and b"cICP" not in decoded.colour else decoded.colour
    if colour:
        icc = colours_of(colour)
    pixels, icc = _fit_profile(pixels, icc)
    notes = list(decoded.notes)
    if decoded.icc and not icc and not colour:
        notes.append("its colour profile is damaged or for other pixels, and is left out")
    if exif:
        exif = exif.of_the_photograph()
        exif = exif and (or_none(partial(exif.upright, orientation, width, height)) or exif)
    return Picture(
        pixels=upright(pixels, orientation),
        icc=icc,
        exif=exif,
        dpi=_valid_dpi(decoded.dpi, orientation),
        note="; ".join(notes),
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None,
        iptc=decoded.iptc,
        text=tuple(decoded.text),
        colour=colour,
        palette=decoded.palette if decoded.pixels.dtype == np.uint8 else None,
    )


def _parsed(decoded) -> tuple[Exif | None, bytes | None]:
    """EXIF, and XMP in UTF-8."""
    exif = or_none(partial(Exif.parse, decoded.exif)) if decoded.exif else None
    return exif, decoded.xmp and (
        or_none(lambda: decoded.xmp.decode(json.detect_encoding(decoded.xmp)).encode()) or decoded.xmp
    )


def metadata_of(picture: Picture) -> dict[str, Any]:
    """A picture's metadata as bytes, by the names that Pillow gives them, with the size that it has now.

    What it has not is None.
    """
    height, width = picture.pixels.shape[:2]
    resized = or_none(partial(picture.exif.resized, width, height)) if picture.exif else None
    exif = or_none(resized.tobytes) if resized else None
    xmp = picture.xmp and _XMP_SIZES.sub(lambda found: found[1] + _side(found[1], width, height), picture.xmp)
    return {"icc_profile": picture.icc, "exif": exif, "dpi": picture.dpi, "xmp": xmp, "iptc": picture.iptc}


def _side(name, width, height):
    return str(width if b"Width" in name or b"PixelX" in name else height).encode()


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as stored, turned as EXIF's number says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(np.flip(pixels, FLIPS.get(orientation, ())))


def as_gray(picture: Picture) -> Picture:
    """A picture of RGB, all of whose pixels are gray, as one of gray where its profile allows for that."""
    pixels, icc = _fit_profile(picture.pixels[..., [0] if picture.pixels.shape[2] == 3 else [0, 3]], picture.icc)
    return replace(picture, pixels=pixels, icc=icc)


def _fit_profile(pixels, icc):
    """The pixels and the profile if it is one for such pixels; a gray picture with a profile for RGB gets one for gray."""
    if not icc or len(icc) < 132:
        return pixels, None
    is_gray, kind = pixels.shape[2] < 3, icc[16:20]
    if kind == (b"GRAY" if is_gray else b"RGB "):
        return pixels, icc
    if is_gray and kind == b"RGB ":
        if (gray := or_none(lambda: gray_profile(icc))) is not None:
            return pixels, gray
        return gray_as_rgb(pixels), icc
    return pixels, None  # of the CMYK that was converted, or of another kind of picture


def _valid_dpi(dpi, orientation):
    dpi = or_none(lambda: tuple(round(float(value), 2) for value in dpi)) if dpi else None
    if not dpi or len(dpi) != 2 or not all(1 < value < 1e5 for value in dpi):
        return None
    return dpi[::-1] if orientation >= 5 else dpi

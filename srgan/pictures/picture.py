"""A picture with everything that should survive upscaling."""

from dataclasses import dataclass, field

import numpy as np

from srgan.pictures.exif import Exif


@dataclass(frozen=True)
class Picture:
    """A picture and its metadata.

    Attributes:
        pixels: uint8 or uint16 (height, width, channels), upright; gray, gray and alpha, RGB, or RGB and alpha.
        icc: the colour profile that `pixels` are in; None: sRGB.
        exif: without orientation, or None.
        dpi: pixels per inch in x and y, or None.
        note: what a user should know about how it was read, or "".
        xmp, iptc: as bytes, or None.
        text: PNG's text chunks, as their names and contents.
        palette: uint8 (n, 4), RGB and alpha: all the colours that `pixels` have, in the file's order; None: no palette.
        colour: PNG's chunks that say what `icc` says: cICP, sRGB, gAMA and cHRM, by name.
    """

    pixels: np.ndarray
    icc: bytes | None = None
    exif: Exif | None = None
    dpi: tuple[float, float] | None = None
    note: str = ""
    xmp: bytes | None = None
    iptc: bytes | None = None
    text: tuple[tuple[bytes, bytes], ...] = ()
    colour: dict[bytes, bytes] = field(default_factory=dict)
    palette: np.ndarray | None = None

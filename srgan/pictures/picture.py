"""A picture with everything that should survive upscaling."""

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """A picture and its metadata.

    Attributes:
        pixels: uint8 or uint16 (height, width, channels), upright; gray, gray and alpha, RGB, or RGB and alpha.
        icc: the colour profile that `pixels` are in; None: sRGB.
        exif: an `Image.Exif` without orientation, or None.
        dpi: pixels per inch in x and y, or None.
        note: what a user should know about how it was read, or "".
    """

    pixels: np.ndarray
    icc: bytes | None = None
    exif: Image.Exif | None = None
    dpi: tuple[float, float] | None = None
    note: str = ""

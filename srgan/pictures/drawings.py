"""Which picture files are sprites or drawings and no photographs, told by their pixels."""

import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

_LOSSY = {"JPEG", "HEIF", "AVIF", "JPEG2000"}  # have artifacts of their own, whatever they show
# None that runs a program.
_FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "TGA", "DDS", "AVIF", "GIF", "PPM", "JPEG2000"]
_MOST_PIXELS = 4_000_000  # of a file that is decoded for this
_SAMPLE = 8  # files
_EQUAL = 0.5  # of neighbouring pixels; of a photograph a twentieth, with an even sky up to 0.4
_COLOURS = 256  # at most of a sprite; a gray photograph has no more, too


def are_drawings(sources: Iterable[str | os.PathLike]) -> bool:
    """Whether most of some eight of these files are sprites or drawings: of a palette, of few colours,
    or with many pixels as their neighbours.

    A file that cannot be read counts as none.
    """
    files = [source for source in sources if os.path.isfile(source)]
    files = files[:: max(1, len(files) // _SAMPLE)][:_SAMPLE]
    return sum(map(is_drawing, files)) * 2 > len(files)


def is_drawing(path: str | os.PathLike) -> bool:
    """Whether a file of a lossless format has a palette or few colours, or half of its pixels are as the one before."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.format in _LOSSY or image.format == "WEBP" and not _is_lossless_webp(path):
                return False
            if image.mode in ("P", "1") and image.format != "GIF":
                return True
            if image.width * image.height > _MOST_PIXELS:
                return False
            colours = _as_8_bits(image).convert("RGBA")
            pixels = np.asarray(colours)
            few = colours.getcolors(_COLOURS) if pixels.size > 16 * _COLOURS else None
    except Exception:  # broken in one of many ways; whoever upscales it says so
        return False
    if few and np.ptp(pixels[..., :3], axis=-1).any():  # coloured
        return True
    if pixels.shape[1] < 2:
        return False
    visible = pixels[:, 1:, 3] > 0
    equal = (pixels[:, 1:] == pixels[:, :-1]).all(axis=-1)
    return bool(visible.any() and equal[visible].mean() >= _EQUAL)


def _as_8_bits(image):
    """Up to 16 bits of gray as 8, to which Pillow would clip them."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).clip(0).astype(np.int64)
    return Image.fromarray((values * 255 // max(1, values.max())).astype(np.uint8))


def _is_lossless_webp(path):
    with open(path, "rb") as file:
        return b"VP8L" in file.read(64)

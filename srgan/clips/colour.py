"""What the numbers of a frame mean: the matrix to RGB, the range, the primaries and the transfer curve.

The numbers are those of ITU-T H.273, which FFmpeg uses, too.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srgan.errors import SRGANError

if TYPE_CHECKING:
    import av

UNSPECIFIED = 2
BT709, BT601, SRGB_TRANSFER = 1, 6, 13
LIMITED, FULL = 1, 2

# What libswscale calls the matrices that it knows.
SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# Bicubic chroma, full chroma resolution in and out, accurate rounding, the same on every machine.
SWSCALE_FLAGS = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000


class Colour(NamedTuple):
    """The four numbers of a clip's colour."""

    matrix: int
    range: int
    primaries: int
    transfer: int


PICTURE_COLOUR = Colour(BT709, LIMITED, BT709, SRGB_TRANSFER)  # of video that is made from sRGB pictures


def is_rgb(pixel_format: "av.VideoFormat") -> bool:
    """Whether frames of a `av.VideoFormat` need no matrix."""
    return pixel_format.is_rgb or pixel_format.has_palette


def frame_colour(frame: "av.VideoFrame", path: str | Path) -> Colour:
    """The colour of a decoded frame, with what the file does not say filled in as players do.

    Raises:
        SRGANError: libswscale cannot convert the matrix.
    """
    matrix, span = int(frame.colorspace), int(frame.color_range)
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if is_rgb(frame.format):
        return PICTURE_COLOUR._replace(
            primaries=BT709 if primaries in (0, UNSPECIFIED) else primaries,
            transfer=SRGB_TRANSFER if transfer in (0, UNSPECIFIED) else transfer,
        )
    if matrix in (0, UNSPECIFIED, 3):
        # Where a file does not say, players take BT.709 for high definition and BT.601 below it; mpv's bounds. The
        # result must say which it was, because at four times the size they would take the other one.
        matrix = BT709 if frame.width >= 1280 or frame.height > 576 else BT601
    if matrix not in SWSCALE_MATRIX:
        raise SRGANError(
            f"{path}: its colours are coded by the matrix number {matrix} of ITU-T H.273, which cannot be "
            "converted; convert it to BT.709 or BT.2020 first"
        )
    if span not in (LIMITED, FULL):
        span = FULL if frame.format.name.startswith("yuvj") else LIMITED
    return Colour(matrix, span, primaries, transfer)

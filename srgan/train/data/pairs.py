"""Pairs of pictures: low-resolution files given by the user, named as the high-resolution ones."""

import logging
import re
from pathlib import Path

import numpy as np

from srgan.errors import SRGANError
from srgan.pictures import read_rgb
from srgan.pictures.arrays import is_flat
from srgan.train.data.selection import is_picture_name


def match_low(pictures, folder, key) -> dict[Path, Path]:
    """The low resolution of each picture: the file of its name in `folder`.

    The suffix does not count, and neither does the factor at the end of either name, as in 0001x4.png.

    Args:
        pictures: paths.
        folder: path of the low resolutions.
        key: the configuration's, for messages.

    Returns:
        The path of the low resolution by that of the picture, for those that have one. How many have none is logged.

    Raises:
        SRGANError: the folder is missing, no picture has a low resolution, or one has several.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise SRGANError(f"{folder}: no such folder ({key})")
    low = {}
    for path in sorted(folder.iterdir()):
        if is_picture_name(path.name) and path.is_file():
            other = low.setdefault(_name(path), path)
            if other != path:
                raise SRGANError(
                    f"{folder}: {other.name} and {path.name} are of the same name ({key}); leave one of them"
                )
    found = {picture: low[_name(picture)] for picture in pictures if _name(picture) in low}
    absent = [picture for picture in pictures if picture not in found]
    if absent:
        fact = f"{folder}: {len(absent)} of {len(pictures)} pictures have no low resolution of their name ({key})"
        if not found:
            raise SRGANError(f"{fact}, such as {absent[0].name}")
        logging.getLogger("srgan").warning("%s, such as %s, and are left out", fact, absent[0].name)
    return found


def _name(path):
    return re.sub(r"[-_. ]?x[234]$", "", path.stem, flags=re.IGNORECASE)


def pair_squares(hr: np.ndarray, path: Path, *, size: int, scale: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The (hr, lr) pairs of a picture whose low resolution is the file `path`, as both are.

    Args:
        hr: uint8 (height, width, 3).
        size: pixels a side of a high-resolution square.

    Returns:
        Pairs of uint8 (size, size, 3) and (size / scale, size / scale, 3), except those of one colour.

    Raises:
        SRGANError: the low resolution cannot be read or has another size than height / scale x width / scale, rounded
            down, or the picture is smaller than a square.
    """
    lr = read_rgb(path)
    height, width = (length // scale for length in hr.shape[:2])
    if lr.shape[:2] != (height, width):
        raise SRGANError(f"{path}: has {lr.shape[1]} x {lr.shape[0]} pixels, and must have {width} x {height}: the high "
                         f"resolution divided by network.scale = {scale}")  # fmt: skip
    side = size // scale
    if min(height, width) < side:
        raise SRGANError(f"{path}: the high resolution is smaller than data.size = {size}")
    pairs = []
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            square = hr[top * scale : top * scale + size, left * scale : left * scale + size]
            if not is_flat(square):
                pairs.append((square, np.ascontiguousarray(lr[top : top + side, left : left + side])))
    return pairs

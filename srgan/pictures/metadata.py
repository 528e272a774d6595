"""Metadata of picture files: what is kept of EXIF, the resolution, colour profiles."""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from srgan.pictures.picture import Picture

# Tags of EXIF's first directory that describe the photograph. The others describe how the file stored its pixels.
_EXIF_KEPT = {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095}
_EXIF_DIRECTORY, _EXIF_GPS, _EXIF_WIDTH, _EXIF_HEIGHT = 0x8769, 0x8825, 0xA002, 0xA003


def or_none(work: Callable[[], Any]) -> Any:
    """What `work` returns, or None if it fails: damaged metadata are no reason to refuse a picture."""
    with contextlib.suppress(Exception):
        return work()
    return None


def with_metadata(pixels: np.ndarray, icc, exif, dpi, frames: int) -> Picture:
    """A `Picture` with as much of a file's metadata as is valid for its pixels."""
    if icc and icc[16:20] != (b"GRAY" if pixels.shape[2] < 3 else b"RGB "):
        icc = None  # of the CMYK that was converted, or of another kind of picture
    dpi = or_none(lambda: tuple(round(float(value), 2) for value in dpi)) if dpi else None
    dpi = dpi if dpi and all(1 < value < 1e5 for value in dpi) else None
    note = f"the first of {frames} frames is taken" if frames > 1 else ""
    return Picture(pixels, icc, _of_the_photograph(exif) if exif else None, dpi, note)


def metadata_of(picture: Picture) -> dict[str, Any]:
    """A picture's metadata by the names that Pillow gives them in `info`; None for what it has not."""
    return {
        "icc_profile": picture.icc,
        "exif": or_none(picture.exif.tobytes) if picture.exif else None,
        "dpi": picture.dpi,
    }


def resized_exif(exif: Image.Exif | None, width: int, height: int) -> Image.Exif | None:
    """EXIF with the new size, where it told the old one."""
    if exif is None or not exif.get(_EXIF_DIRECTORY):
        return exif
    new = Image.Exif()
    new.update(exif)
    new[_EXIF_DIRECTORY] = dict(exif[_EXIF_DIRECTORY])
    for tag, size in ((_EXIF_WIDTH, width), (_EXIF_HEIGHT, height)):
        if tag in new[_EXIF_DIRECTORY]:
            new[_EXIF_DIRECTORY][tag] = size
    return new


def convert_to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """A Pillow picture in the colours of the profile `icc` as RGB in sRGB.

    Raises:
        Exception: of any kind, if the profile is damaged or does not fit the picture.
    """
    from PIL import ImageCms

    return ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )


def _of_the_photograph(exif):
    """EXIF with what describes the photograph, and without what described its old file."""
    kept = Image.Exif()
    for tag in _EXIF_KEPT & set(exif):
        kept[tag] = exif[tag]
    for directory in (_EXIF_DIRECTORY, _EXIF_GPS):
        if values := or_none(partial(exif.get_ifd, directory)):
            kept[directory] = dict(values)
    return kept if len(kept) else None

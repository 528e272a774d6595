"""Reading pictures that are larger than memory, in strips of rows: PNG, JPEG and TIFF.

The pixels are those that `srgan.pictures.reading` gives. What it reads in another way (a JPEG of CMYK, a PNG with a
transparent colour) is left to it.
"""

import mmap
import os
import struct
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srgan.errors import SRGANError
from srgan.pictures.formats import content_format, refuse_raw
from srgan.pictures.jpeg import LOST, frame_header, require_all_scans, segments, whole_xmp
from srgan.pictures.libvips import own_messages
from srgan.pictures.metadata import finish, orientation_of
from srgan.pictures.picture import Picture
from srgan.pictures.pillow import decoded_from_pillow, open_jpeg
from srgan.pictures.png import read_chunks
from srgan.pictures.reading import GAIN_MAPS, unreadable

_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_BAND = 2**25  # bytes of rows that are decoded at a time


@dataclass(frozen=True)
class Strips:
    """A picture file that is read in strips of rows.

    Attributes:
        picture: with all but its pixels: a single one stands for their channels and type.
        width, height: as stored.
        channels: as stored, 1 to 4.
        orientation: EXIF's number for how the stored pixels are to be turned.
        bands: gives the strips from the top to the bottom, uint8 or uint16 (any height, width, channels).
        memory: bytes that the decoder holds at once.
        kind: of the file in words.
        may_be_gray: if all pixels are gray, the picture is one of gray.
    """

    picture: Picture
    width: int
    height: int
    channels: int
    orientation: int
    bands: Callable[[], Generator[np.ndarray, None, None]]
    memory: int = 0
    kind: str = ""
    may_be_gray: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height when it is upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def open_strips(path: str | os.PathLike, is_large: Callable[[int, int], bool]) -> Strips | None:
    """Open the picture file `path` to be read in strips.

    Args:
        is_large: says by the width and the height whether it is to be; raises what it likes.

    Returns:
        None if it is not large, or can only be read as a whole.

    Raises:
        SRGANError: it is damaged.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            refuse_raw(path)
            kind = content_format(data[:512])
            opened = {"PNG": _png, "JPEG": _jpeg, "TIFF": _tiff}.get(kind)
            found = opened(Path(path), data, is_large) if opened else None
            if found is None:
                return None
            decoded, (width, height), details = found
            turn = orientation_of(decoded)
            picture = finish(decoded, (width, height))
            return Strips(picture, width, height, decoded.pixels.shape[2], turn, **details)
    except SRGANError:
        raise
    except (OSError, ValueError):
        return None  # `read_picture` says what is wrong
    except Exception as error:
        raise unreadable(path, error) from error


def in_strips(picture: Picture) -> Strips:
    """A picture that is in memory, which is free again when its strips have been decoded once."""
    height, width, channels = picture.pixels.shape
    bands = _parts(picture.pixels)
    return Strips(replace(picture, pixels=picture.pixels[:1, :1].copy()), width, height, channels, 1, lambda: bands)


def _parts(pixels):
    rows = max(1, _BAND // pixels[0].nbytes)
    for start in range(0, len(pixels), rows):
        yield pixels[start : start + rows]


def decode(strips: Strips, path: str | os.PathLike, keep: Callable[[int, np.ndarray], None]) -> bool:
    """Decode all strips, and call `keep` with the number of the first row and the pixels of each.

    Returns:
        Whether the picture is to be one of gray.

    Raises:
        SRGANError: the file is damaged.
    """
    row, gray = 0, strips.may_be_gray
    with closing(strips.bands()) as bands:
        while row < strips.height:
            try:
                band = next(bands)
            except Exception as error:  # decoders raise anything when they meet damaged data
                raise unreadable(path, error) from error
            gray = gray and bool((band[..., 0] == band[..., 1]).all() and (band[..., 1] == band[..., 2]).all())
            keep(row, band)
            row += len(band)
    return gray


def _stub(channels, deep=False):
    return np.zeros((1, 1, channels), np.uint16 if deep else np.uint8)


def _jpeg(path, data, is_large):
    header = frame_header(data)
    if header is None:
        return None
    marker, bits, width, height, channels = header
    if bits != 8 or channels not in (1, 3) or not is_large(width, height):
        return None
    require_all_scans(data)
    with open_jpeg(data, path) as image:
        decoded = decoded_from_pillow(image, _stub(channels))
    decoded.xmp = whole_xmp(data, decoded.xmp)
    if any(mark in content for _, content in segments(data) for mark in GAIN_MAPS):
        decoded.notes.append("its gain map is left out")
    details = {"bands": lambda: _vips_bands(path, width, height, channels, ("warning", "error"))}
    if marker in _PROGRESSIVE:
        details |= {"memory": width * height * channels * 2, "kind": "progressive JPEG"}
    return decoded, (width, height), details


def _png(path, data, is_large):
    width, height = struct.unpack(">II", data[16:24])
    if not is_large(width, height):
        return None
    chunks = read_chunks(data, keep_pixels=False)
    has_palette = chunks.colour_type == 3
    if not has_palette and chunks.transparency or has_palette and chunks.rgb is None:
        return None
    channels = {0: 1, 2: 3, 3: 4 if chunks.transparency else 3, 4: 2, 6: 4}[chunks.colour_type]
    chunks.pixels = _stub(channels, chunks.depth == 16)
    details = {"bands": lambda: _vips_bands(path, width, height, channels, ("error",)), "may_be_gray": has_palette}
    if chunks.interlace:
        size = width * height * channels * (2 if chunks.depth == 16 else 1)
        details |= {"memory": size, "kind": "interlaced PNG"}
    return chunks, (width, height), details


def _vips_bands(path, width, height, channels, fail_ons):
    """The rows as libvips decodes them, one after the other.

    Args:
        fail_ons: what ends it; the next one where nothing that it found means lost pixels.
    """
    import pyvips

    rows = max(1, min(_BAND // (width * channels), 1024))
    begun = 0
    for number, fail_on in enumerate(fail_ons):
        try:
            with own_messages():
                image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on=fail_on, unlimited=True)
            if (image.width, image.height, image.bands) != (width, height, channels):
                raise ValueError(f"{image.bands} channels are not supported")
            region, kind = pyvips.Region.new(image), {"uchar": np.uint8, "ushort": np.uint16}[image.format]
            while begun < height:
                with own_messages(clear=False):
                    band = region.fetch(0, begun, width, min(rows, height - begun))
                yield (band := np.frombuffer(band, kind).reshape(-1, width, channels))
                begun += len(band)
            return
        except pyvips.Error as error:
            lost = [line for line in str(error).splitlines() if any(words in line for words in LOST)]
            if lost or number == len(fail_ons) - 1:
                raise ValueError((lost or [str(error)])[0].strip()) from error


def _tiff(path, data, is_large):
    from srgan.pictures import tiff

    with tiff.open_page(path) as (page, note):
        width, height = page.imagewidth, page.imagelength
        if not is_large(width, height):
            return None
        decoded = tiff.describe_page(page, data, note)
        details = {"bands": lambda: _tiff_bands(path)}
        if (size := tiff.band_bytes(page)) > 8 * _BAND:
            details |= {"memory": size, "kind": "TIFF of such large strips"}
    return decoded, (width, height), details


def _tiff_bands(path):
    from srgan.pictures import tiff

    with tiff.open_page(path) as (page, _):
        yield from tiff.page_bands(page, _BAND)

"""Upscaling a picture whose result is larger than memory.

The picture is decoded in strips into a file of raw pixels, of which the network gets one window after the other; what it
makes of them goes into a second such file, which is encoded at the end. Both lie in the hidden folder beside the target
(`srgan.upscale.work_folder`), so that the same command goes on after the last row of tiles that is finished.
"""

import contextlib
import itertools
import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from srgan import pictures
from srgan.errors import SRGANError, is_out_of_space
from srgan.files import atomic_path, temporary_folder
from srgan.interrupts import cleaned_up
from srgan.memory import free_memory, require_memory
from srgan.pictures import Picture, RawPixels, Strips
from srgan.pictures.arrays import gray_as_rgb
from srgan.pictures.exif import FLIPS
from srgan.pictures.formats import refuse_more_pixels
from srgan.pictures.metadata import as_gray, upright
from srgan.pictures.strips import decode, open_strips
from srgan.upscale.engines.description import Tiling
from srgan.upscale.tiles import Box, tiles

LARGE = 400_000_000  # pixels of a picture or of its result; fewer are upscaled in memory where they fit
_NEVER_LARGE = 2**24  # pixels of a result that fits into any memory
_SMALL = 2**18  # pixels of a picture that no model makes that large
_TILE = 600 * 2**20  # bytes that computing a tile may take
_KINDS = ("PNG", "JPEG", "TIFF")
_RESIZING = 3  # input pixels around one that resizing alpha and colour differences looks at
_ENCODED = {"PNG": 1.0, "TIFF": 1.1, "JPEG": 1.0}  # the most that a file is likely to take, in bytes of its pixels

_log = logging.getLogger("srgan")


class NotInStrips(Exception):
    """Why a picture cannot be upscaled in strips."""


def is_large(upscaler, width: int, height: int) -> bool:
    """Whether a picture of that size is upscaled in strips."""
    new_width, new_height = upscaler.size(width, height)
    result = max(new_width * new_height, width * height)
    return result > LARGE or result > _NEVER_LARGE and 8 * result > free_memory()


def require_strips(upscaler, suffix: str) -> None:
    """Raise NotInStrips if something else than the picture itself needs the whole of it."""
    kind, description = pictures.WRITABLE.get(suffix.lower(), ""), upscaler.engine.description
    if kind not in _KINDS:
        raise NotInStrips(f"{kind} is encoded as a whole, unlike {', '.join(_KINDS)}")
    if upscaler.fit or upscaler.scale != description.scale:
        raise NotInStrips(f"for another scale than the model's, {description.scale}, the whole is resized")
    if upscaler.wrap or upscaler.palette:
        raise NotInStrips(f"--{'wrap' if upscaler.wrap else 'palette'} takes the whole picture")
    if description.over_time or description.tiling is Tiling.WHOLE or description.fixed_height:
        raise NotInStrips("this model takes the whole picture")
    if upscaler.overlap < _RESIZING:
        raise NotInStrips(f"an overlap of {upscaler.overlap} pixels is too small for strips")


def open_large(path, suffix: str, get_upscaler: Callable, max_pixels: int | None) -> Strips | None:
    """Open a picture file that is to be upscaled in strips; None if it is to be read as a whole.

    Args:
        suffix: of the target.
        get_upscaler: gives the `srgan.Upscaler`; called for pictures that are not small.
        max_pixels: refuse larger ones; None: take any.

    Raises:
        SRGANError: it is damaged or too large, or its result is for the format.
        NotInStrips: it is large, but cannot be upscaled in strips.
    """

    reasons: list[NotInStrips] = []

    def is_wanted(width, height):
        if width * height <= min(_SMALL, LARGE // 64) or not is_large(get_upscaler(), width, height):
            return False
        pictures.output_format(suffix, *get_upscaler().size(width, height))
        try:
            require_strips(get_upscaler(), suffix)
        except NotInStrips as error:
            reasons.append(error)
            return False
        refuse_more_pixels(path, width, height, max_pixels)
        return True

    strips = open_strips(path, is_wanted)
    if reasons:
        raise reasons[0]
    return strips


def upscale_large(
    strips: Strips,
    source: Path,
    target: Path,
    kind: str,
    upscaler,
    *,
    on_tile: Callable = lambda done, total: None,
    **options,
) -> tuple[Picture, float | None]:
    """Upscale a picture in strips and write it. What an earlier call with the same arguments finished is not done again.

    Args:
        source: the file that `strips` are of.
        kind: the format to write.
        on_tile: see `srgan.Upscaler`.
        options: for `srgan.pictures.write_picture`.

    Returns:
        What was written, whose pixels cannot be read any more, and the Upscaler's `denoise`, given or chosen.

    Raises:
        SRGANError: it cannot be read, computed or written, or there is too little memory or disk; what is finished stays.
        NotInStrips: it has transparent pixels, whose colours depend on the whole picture.
    """
    from srgan.clips.ffmpeg import wrap_write_errors
    from srgan.upscale import work_folder

    if strips.memory:
        _log.info("%s: %s is decoded as a whole, which takes %d MiB", source, strips.kind, strips.memory >> 20)
        require_memory(strips.memory, f"decoding {strips.kind}")
    key = work_folder.resume_key(source, upscaler, None, ["large", kind])
    with wrap_write_errors(target), work_folder.work_folder(target, key) as folder, contextlib.ExitStack() as stack:
        disk = _require_disk(strips, upscaler, target, kind, folder, options.get("pyramid"))
        pixels, is_gray = _decoded(strips, source, folder)
        stack.callback(pixels.close)
        picture = as_gray(strips.picture) if is_gray else strips.picture
        upright_pixels = _Upright(pixels, strips, is_gray, picture.pixels.shape[2])
        upscaler = upscaler.for_picture(upright_pixels)
        first = _for_format(picture.pixels, kind)
        width, height = upscaler.size(*strips.size)
        result = RawPixels(folder / "result", (height, width, first.shape[2]), first.dtype)
        stack.callback(result.close)
        side = work_folder.recorded_tile(upscaler, folder, _TILE).side
        for part in folder.glob(".encoded*"):  # left by a process that was killed while it wrote
            shutil.rmtree(part) if part.is_dir() else part.unlink()

        def write(pixels, path):
            try:
                pictures.write_picture(replace(picture, pixels=pixels, palette=None), path, kind=kind, **options)
            except SRGANError as error:
                if (cause := error.__cause__) and is_out_of_space(cause):
                    raise cause from None
                raise SRGANError(str(error).replace(str(path), str(target))) from error

        def seconds_to_encode(part):
            with temporary_folder(dir=folder, prefix=".encoded-") as place:
                write(part[:1, :1], place / f"part{target.suffix}")  # imports what it needs
                start = time.perf_counter()
                write(part, place / f"part{target.suffix}")
                return (time.perf_counter() - start) * result.nbytes / part.nbytes

        _compute(
            upright_pixels, result, strips.size, side, upscaler, kind, folder, target, disk, seconds_to_encode, on_tile
        )
        written = folder / f"encoded{target.suffix}"
        write(result, written)  # whose pixels are read part by part, as an array's are
        os.replace(written, target)
    work_folder.remove_work_folders(target)
    return replace(picture, pixels=result, palette=None), upscaler.denoise  # type: ignore[arg-type]


def _require_disk(strips, upscaler, target, kind, folder, pyramid):
    """The bytes that the work takes on disk, refused if they are not free."""
    width, height = strips.size
    pixel = strips.picture.pixels.nbytes
    result = math.prod(upscaler.size(width, height)) * pixel
    encoded = result * _ENCODED[kind] * (4 / 3 if pyramid else 1)
    needed = int(width * height * pixel + result + encoded)
    there = sum(file.stat().st_blocks * 512 if os.name == "posix" else 0 for file in folder.iterdir())
    free = shutil.disk_usage(folder).free + there
    if needed > free:
        raise SRGANError(
            f"{target}: takes {needed / 1e9:.1f} GB on disk while it is made, and {free / 1e9:.1f} GB are free there"
        )
    return needed


def _decoded(strips, source, folder):
    """The picture's pixels as stored, and whether they are to be gray."""
    shape, dtype = (strips.height, strips.width, strips.channels), strips.picture.pixels.dtype
    for name in ("colour", "gray"):
        if (folder / name).exists():
            return RawPixels(folder / name, shape, dtype), name == "gray"
    pixels = RawPixels(folder / "decoding", shape, dtype)

    def keep(row, band):
        if strips.channels in (2, 4) and not band[..., -1].all():
            raise NotInStrips("what is under transparent pixels depends on the whole picture")
        pixels[row : row + len(band)] = band

    try:
        is_gray = decode(strips, source, keep)
        os.fsync(pixels.fileno())
    finally:
        pixels.close()
    place = folder / ("gray" if is_gray else "colour")
    os.replace(folder / "decoding", place)
    return RawPixels(place, shape, dtype), is_gray


class _Upright:
    """The upright picture, of which parts are read as `pixels[top:bottom, left:right]`."""

    def __init__(self, pixels, strips, is_gray, channels):
        self._pixels, self._orientation, self._is_gray = pixels, strips.orientation, is_gray
        self.shape = *strips.size[::-1], channels

    def __getitem__(self, key):
        (rows, columns), (height, width, channels) = key, self.shape
        flips = FLIPS.get(self._orientation, ())
        rows = slice(height - rows.stop, height - rows.start) if 0 in flips else rows
        columns = slice(width - columns.stop, width - columns.start) if 1 in flips else columns
        stored = (columns, rows) if self._orientation >= 5 else (rows, columns)
        part = upright(self._pixels[stored], self._orientation)
        if self._is_gray:
            part = np.ascontiguousarray(part[..., [0] if part.shape[2] == 3 else [0, 3]])
        if part.shape[2] < channels:  # its profile is for RGB
            part = gray_as_rgb(part)
        return part


def _for_format(part, kind):
    """Pixels as the format has them."""
    if kind == "JPEG":
        part = pictures.to_8_bits(part)
        return pictures.on_white(part) if part.shape[2] in (2, 4) else part
    return part


def _compute(pixels, result, size, side, upscaler, kind, folder, target, disk, seconds_to_encode, on_tile):
    """Fill `result`, from the first row of tiles on that is not finished."""
    description, (width, height) = upscaler.engine.description, size
    padded = (-(-length // description.multiple) * description.multiple for length in size)
    whole = Box(0, 0, width, height)
    boxes = [
        (window.intersection(whole), core.intersection(whole))
        for window, core in tiles(*padded, side or max(size), upscaler.overlap, description.multiple)
    ]
    file = folder / "rows"  # of the result, that are finished
    begun = finished = int(file.read_text()) if file.exists() else 0
    left = [boxed for boxed in boxes if boxed[1].times(description.scale).top >= begun]
    if not left:
        return
    if begun:
        _log.info("%s: goes on after %d of %d rows", target, begun, result.shape[0])
    upscaler.window(pixels[left[0][0].slices()])  # prepares buffers of that size
    start = time.perf_counter()
    large = _for_format(upscaler.window(pixels[left[0][0].slices()]), kind)
    seconds = (time.perf_counter() - start) * len(left)
    minutes = (seconds + seconds_to_encode(large)) / 60
    _log.info(
        "%s: %d x %d pixels are made in strips; this takes about %s and %.1f GB on disk",
        *(target, result.shape[1], result.shape[0]),
        *("a minute" if minutes < 1.5 else f"{minutes:.0f} minutes", disk / 1e9),
        extra={"passing": True},
    )
    with cleaned_up(lambda: f"{target}: the same command goes on after {finished} rows" if finished else ""):
        on_tile(len(boxes) - len(left), len(boxes))
        numbers = itertools.count(len(boxes) - len(left) + 1)
        for _, strip in itertools.groupby(left, lambda boxed: boxed[1].top):
            for window, core in strip:
                large = upscaler.window(pixels[window.slices()])
                inner = large[core.within(window).times(description.scale).slices()]
                result[core.times(description.scale).slices()] = _for_format(inner, kind)
                on_tile(next(numbers), len(boxes))
            os.fsync(result.fileno())
            finished = core.bottom * description.scale
            with atomic_path(file) as temporary:
                temporary.write_text(str(finished))

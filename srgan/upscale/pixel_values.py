"""The numbers of pictures: arrays that are pictures, their range, their levels, and whether they are numbers."""

from typing import Any

import numpy as np

from srgan.errors import UsageError

_BEYOND = 0.5  # how far floats may lie outside of [0, 1], as filters leave them; more is another range


def as_array(picture: Any) -> np.ndarray:
    """An array of one of the shapes and types that `srgan.Upscaler` takes; raise UsageError if it is none."""
    try:
        array = np.asarray(picture)
    except ValueError as error:  # of rows of different lengths
        raise UsageError(f"a picture is an array or a Pillow picture ({error})") from error
    if array.ndim not in (2, 3) or array.ndim == 3 and not 1 <= array.shape[2] <= 4 or not array.size:
        raise UsageError(f"a picture has the shape (h, w) or (h, w, 1 to 4), not {array.shape}")
    if array.dtype.kind + str(array.dtype.itemsize) not in ("u1", "u2", "f2", "f4", "f8"):
        raise UsageError(f"a picture is of uint8, uint16 or floats, not {array.dtype}")
    return array


def as_pixels(array: np.ndarray) -> np.ndarray:
    """That array as (h, w, 1 to 4) of uint8, uint16 or float32; raise UsageError if floats have another range."""
    pixels = array.reshape(*array.shape[:2], -1)
    if array.dtype.kind == "f":
        check_range(pixels)
        pixels = pixels.astype(np.float32)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def check_range(pixels: np.ndarray) -> None:
    """Raise UsageError unless these floats are a picture's, in [0, 1] or a little beyond."""
    if not np.isfinite(pixels).all():
        raise UsageError("a picture's floats are in [0, 1], and this picture's are not all numbers")
    low, high = float(pixels.min()), float(pixels.max())
    if low < -_BEYOND or high > 1 + _BEYOND:
        raise UsageError(
            f"a picture's floats are in [0, 1], and this picture's in [{low:g}, {high:g}]; scale them first"
        )


def levels_of(dtype: np.dtype) -> int:
    """The value of white: 1 for floats."""
    return np.iinfo(dtype).max if dtype.kind == "u" else 1


def quantised(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats in [0, 1], clipped, as a picture of another type."""
    values = np.clip(values, 0.0, 1.0)  # a copy, which the following steps change in place
    if dtype.kind == "u":
        values *= levels_of(dtype)
        np.rint(values, out=values)
    return values.astype(dtype, copy=False)


def are_numbers(results: np.ndarray | tuple[np.ndarray, ...]) -> bool:
    """Whether arrays, one or several, hold neither infinities nor NaN."""
    return all(np.isfinite(values).all() for values in (results if isinstance(results, tuple) else [results]))

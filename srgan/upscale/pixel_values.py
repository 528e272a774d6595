"""The numbers of pictures: their range, their levels, and whether they are numbers."""

import numpy as np

from srgan.errors import UsageError

_BEYOND = 0.5  # how far floats may lie outside of [0, 1], as filters leave them; more is another range


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

"""Tensors of a file, as NumPy arrays that are turned into float32 when they are used."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import SRGANError, UsageError, printable

# The kinds of numbers that files name; bfloat16 is kept as the 16 bits that it is, in an array of this type.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
_SIZES = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "int64": "<i8", "int32": "<i4", "int16": "<i2"}
DTYPES = {name: np.dtype(code) for name, code in _SIZES.items()}
DTYPES |= {"int8": np.dtype("i1"), "uint8": np.dtype("u1"), "bool": np.dtype("?"), "bfloat16": BFLOAT16}
_MOST_DIMENSIONS = 8
_MOST_VALUES = 2**32


class Unreadable(Exception):
    """A file cannot be read as a model; the message says why, and is to follow the file's name."""

    kind: type[SRGANError] = SRGANError

    def of(self, path: str | Path) -> SRGANError:
        """The same of the file at `path`, as users meet it."""
        return self.kind(f"{path}: {printable(str(self))}")  # names of tensors may have anything in them


class NotAsked(Unreadable):
    """An option says something that the file leaves no room for."""

    kind = UsageError


def strided(storage: np.ndarray, offset: Any, shape: Any, strides: Any) -> np.ndarray:
    """The view of a flat storage with that offset, shape and strides, all in elements.

    Raises:
        Unreadable: it reaches outside of the storage.
    """
    numbers = (offset, *shape, *strides)
    valid = len(shape) == len(strides) <= _MOST_DIMENSIONS and all(type(n) is int and n >= 0 for n in numbers)
    if valid and 0 not in shape:
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides))
        valid = last < storage.size and math.prod(shape) <= _MOST_VALUES  # more than in the storage where a step is 0
    if not valid or not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise Unreadable("it has a tensor that lies outside of its storage")
    if 0 in shape:
        return np.zeros(shape, storage.dtype)
    bytes_apart = [step * storage.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytes_apart, writeable=False)


def as_float32(tensor: np.ndarray) -> np.ndarray:
    """The values of a tensor of any kind, float32."""
    if tensor.dtype == BFLOAT16:
        return (tensor["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    return tensor.astype(np.float32)

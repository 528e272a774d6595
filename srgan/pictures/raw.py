"""Pixels of pictures that are larger than memory, in a file without a header."""

import threading
from os import PathLike

import numpy as np


class RawPixels:
    """A picture's pixels in a file, row by row; a part of them is read or written at a time, as a slice of an array is.

    Args:
        path: the file, which is made if it is not there.
        shape: (height, width, channels).
        dtype: uint8 or uint16.

    Example:
        >>> pixels = RawPixels("pixels.raw", (100, 50, 3), np.uint8)
        >>> pixels[10:20, 5:15] = 255
        >>> pixels[0:30].shape
        (30, 50, 3)
    """

    def __init__(self, path: str | PathLike, shape: tuple[int, int, int], dtype):
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self.nbytes = shape[0] * shape[1] * shape[2] * self.itemsize
        self._pixel = shape[2] * self.itemsize
        self._lock = threading.Lock()
        with open(path, "ab"):
            pass
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115  # closed by `close`

    def __getitem__(self, key) -> np.ndarray:
        rows, columns = self._ranges(key)
        part = np.empty((len(rows), len(columns), self.shape[2]), self.dtype)
        with self._lock:
            for start, values in self._runs(rows, columns, part):
                self._file.seek(start)
                view = memoryview(values).cast("B")
                while view and (count := self._file.readinto(view)):
                    view = view[count:]
                if view:
                    raise OSError(f"{self.path} is cut off")
        return part

    def __setitem__(self, key, values) -> None:
        rows, columns = self._ranges(key)
        part = np.ascontiguousarray(np.broadcast_to(values, (len(rows), len(columns), self.shape[2])), self.dtype)
        with self._lock:
            for start, values in self._runs(rows, columns, part):
                self._file.seek(start)
                view = memoryview(values).cast("B")
                while view:
                    view = view[self._file.write(view) :]

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()

    def _ranges(self, key):
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        return range(*rows.indices(self.shape[0])), range(*columns.indices(self.shape[1]))

    def _runs(self, rows, columns, part):
        """Where in the file the parts of an array lie that are contiguous there."""
        if not part.size:
            return
        width = self.shape[1]
        if len(columns) == width:
            yield rows.start * width * self._pixel, part
            return
        for row, values in zip(rows, part):
            yield (row * width + columns.start) * self._pixel, values

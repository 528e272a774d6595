"""Arrays as libvips' pictures and back, and what libvips says of a file: it has one list of messages for all threads."""

import contextlib
import logging
import threading
from collections.abc import Iterator

import numpy as np

logging.getLogger("pyvips").addHandler(logging.NullHandler())  # else its warnings about odd files would go to stderr

_lock = threading.Lock()
_INTERPRETATIONS = {1: ("b-w", "srgb"), 2: ("grey16", "rgb16")}  # of gray and colours, by bytes a sample


@contextlib.contextmanager
def own_messages(clear: bool = True) -> Iterator[None]:
    """A block in which no other thread decodes, so that what libvips says is said of this block's file.

    Args:
        clear: forget what it said of earlier files.
    """
    import pyvips

    with _lock:
        if clear:
            pyvips.vips_lib.vips_error_clear()
        yield


def decode(data: bytes) -> np.ndarray:
    """The pixels of a picture file's bytes, (height, width, channels); pyvips.Error if it is damaged."""
    import pyvips

    with own_messages():
        return pixels_of(pyvips.Image.new_from_buffer(data, "", fail_on="error"))


def pixels_of(image) -> np.ndarray:
    """A picture of libvips as an array (height, width, channels)."""
    return image.numpy().reshape(image.height, image.width, -1)


def as_image(pixels: np.ndarray, icc: bytes | None = None, interpretation: str | None = None):
    """uint8 or uint16 (height, width, channels) as a picture of libvips; without `interpretation`, of gray or RGB."""
    import pyvips

    (height, width, channels), kind = pixels.shape, {1: "uchar", 2: "ushort"}[pixels.itemsize]
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels), width, height, channels, kind)
    image = image.copy(interpretation=interpretation or _INTERPRETATIONS[pixels.itemsize][channels > 2])
    if icc:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    return image

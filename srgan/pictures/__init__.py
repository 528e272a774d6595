"""Pictures: arrays, files and sheets.

In come picture files of every kind, out go arrays, (height, width, channels) uint8 or uint16, with what should survive
beside them (`Picture`), and the other way round. Knows nothing of networks.
"""

from srgan.pictures.arrays import (
    crop_to_multiple,
    downscale,
    fill_transparent,
    resize,
    resize_bicubic,
    through_jpeg,
    to_float,
    to_uint8,
)
from srgan.pictures.files import (
    READABLE,
    WITHOUT_ALPHA,
    WRITABLE,
    Picture,
    check_writable,
    from_pillow,
    read_picture,
    read_rgb,
    to_8_bits,
    to_pillow,
    write_picture,
)

__all__ = [
    "READABLE",
    "WITHOUT_ALPHA",
    "WRITABLE",
    "Picture",
    "check_writable",
    "crop_to_multiple",
    "downscale",
    "fill_transparent",
    "from_pillow",
    "read_picture",
    "read_rgb",
    "resize",
    "resize_bicubic",
    "through_jpeg",
    "to_8_bits",
    "to_float",
    "to_pillow",
    "to_uint8",
    "write_picture",
]

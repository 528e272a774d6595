"""Pictures: arrays, files and sheets.

Picture files of every format are read into arrays, (height, width, channels) uint8 or uint16, with the metadata that
should survive (`Picture`), and written from them. Knows nothing of networks.
"""

from srgan.pictures.arrays import (
    crop_to_multiple,
    downscale,
    fill_transparent,
    nearest_in_palette,
    on_white,
    resize,
    resize_bicubic,
    through_jpeg,
    to_8_bits,
    to_float,
    to_uint8,
)
from srgan.pictures.formats import BITS, IN_SRGB, READABLE, WITHOUT_ALPHA, WITHOUT_METADATA, WRITABLE, output_format
from srgan.pictures.picture import Picture
from srgan.pictures.raw import RawPixels
from srgan.pictures.reading import from_pillow, in_srgb, read_picture, read_rgb, size_of
from srgan.pictures.strips import Strips, in_strips
from srgan.pictures.writing import left_out, to_pillow, write_picture

__all__ = [
    "BITS",
    "IN_SRGB",
    "READABLE",
    "WITHOUT_ALPHA",
    "WITHOUT_METADATA",
    "WRITABLE",
    "Picture",
    "RawPixels",
    "Strips",
    "crop_to_multiple",
    "downscale",
    "fill_transparent",
    "from_pillow",
    "in_srgb",
    "in_strips",
    "left_out",
    "nearest_in_palette",
    "on_white",
    "output_format",
    "read_picture",
    "read_rgb",
    "resize",
    "resize_bicubic",
    "size_of",
    "through_jpeg",
    "to_8_bits",
    "to_float",
    "to_pillow",
    "to_uint8",
    "write_picture",
]

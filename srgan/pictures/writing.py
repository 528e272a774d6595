"""Writing picture files with their metadata."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.pictures.arrays import on_white, to_8_bits
from srgan.pictures.formats import WITHOUT_ALPHA, output_format
from srgan.pictures.metadata import metadata_of, resized_exif
from srgan.pictures.picture import Picture
from srgan.pictures.png import write_png

_LARGEST_TIFF = 2**32 - 2**26  # bytes of pixels; more need the format's 64-bit form


def write_picture(
    picture: Picture,
    path: str | os.PathLike,
    *,
    kind: str | None = None,
    quality: int = 95,
    lossless: bool = False,
    compression: int = 2,
) -> None:
    """Write a picture, atomically, with its profile, EXIF and resolution.

    What has alpha is laid on white in JPEG and BMP, which have none. Only PNG and TIFF have 16 bits: else they are rounded to 8.

    Args:
        kind: the format, as `output_format` gives it; None: that of the path's suffix.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        lossless: write WebP without loss.
        compression: of PNG, 0 (fast) to 9 (small).

    Raises:
        SRGANError: it cannot be written.
    """
    path = Path(path)
    height, width = picture.pixels.shape[:2]
    kind = kind or output_format(path.suffix, width, height)
    picture = replace(picture, exif=resized_exif(picture.exif, width, height))
    try:
        with atomic_path(path) as temporary:
            if kind == "PNG":
                with open(temporary, "wb") as file:
                    write_png(file, picture.pixels, **metadata_of(picture), compression=compression)
            elif kind == "TIFF":
                _write_tiff(picture, temporary)
            else:
                _write_pillow(picture, kind, temporary, quality, lossless)
    except (OSError, ValueError, MemoryError) as error:
        raise SRGANError(f"{path}: cannot be written ({error})") from error


def to_pillow(picture: Picture) -> Image.Image:
    """A `Picture` as a Pillow picture, with its metadata in `info`. Colour or alpha of 16 bits are rounded to 8."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        pixels = to_8_bits(pixels)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.info.update({key: value for key, value in metadata_of(picture).items() if value})
    return image


def _write_pillow(picture, kind, path, quality, lossless):
    pixels = to_8_bits(picture.pixels)
    if kind in WITHOUT_ALPHA and pixels.shape[2] in (2, 4):
        pixels = on_white(pixels)
    image = to_pillow(replace(picture, pixels=pixels))
    options = {key: value for key, value in metadata_of(picture).items() if value}
    if kind == "JPEG":
        if len(options.get("exif", b"")) > 65533:
            del options["exif"]
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    elif kind in ("WebP", "AVIF"):
        options |= {"quality": quality} | ({"lossless": lossless} if kind == "WebP" else {})
    image.save(path, kind, **options)


def _write_tiff(picture, path):
    import pyvips

    pixels = np.ascontiguousarray(picture.pixels)
    height, width, channels = pixels.shape
    big = pixels.nbytes > _LARGEST_TIFF
    try:
        image = pyvips.Image.new_from_memory(
            pixels, width, height, channels, {1: "uchar", 2: "ushort"}[pixels.itemsize]
        )
        kinds = ("b-w", "srgb") if pixels.itemsize == 1 else ("grey16", "rgb16")
        resolution = {"xres": picture.dpi[0] / 25.4, "yres": picture.dpi[1] / 25.4} if picture.dpi else {}
        image = image.copy(interpretation=kinds[channels > 2], **resolution)
        if picture.icc:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc)
        # In tiles, because Pillow's directories, needed for EXIF below, cannot keep the places of strips.
        image.tiffsave(str(path), compression="deflate", predictor="horizontal", tile=True, resunit="inch", bigtiff=big)
    except pyvips.Error as error:
        raise OSError(" ".join(str(error).split())) from error
    if picture.exif and not big:
        _add_exif_to_tiff(path, picture.exif)


def _add_exif_to_tiff(path, exif):
    """Append a new first directory, with EXIF, to a TIFF file: libvips writes none."""
    with open(path, "r+b") as file:
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        dict(directory)  # decodes the values, which it would write as nothing otherwise
        for tag in set(exif) - set(directory):
            directory[tag] = exif[tag]
        start = file.seek(0, os.SEEK_END)
        file.write(b"\0" * (start % 2))
        start += start % 2
        file.write(directory.tobytes(start))
        file.seek(4)
        file.write(struct.pack(f"{directory._endian}L", start))

"""Reading picture files, for training, comparing and upscaling alike.

The content decides the format, not the name, and the format the decoder: `srgan.pictures.pillow` for most of them,
`srgan.pictures.tiff`, and `srgan.pictures.high_bit_depth` for formats that can have more than 8 bits. PNG is decoded here.
"""

import contextlib
import io
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from srgan.errors import SRGANError, is_out_of_memory
from srgan.memory import require_memory
from srgan.pictures import libvips
from srgan.pictures.arrays import on_white, to_8_bits, with_colours
from srgan.pictures.bmp import decode_bmp
from srgan.pictures.dds import decode_dds
from srgan.pictures.formats import content_format, refuse_more_pixels, refuse_raw
from srgan.pictures.high_bit_depth import decode_avif, decode_heif, decode_pnm, shown_of_avif
from srgan.pictures.jpeg_2000 import decode_jpeg_2000
from srgan.pictures.jxl import decode_jxl
from srgan.pictures.metadata import finish, or_none
from srgan.pictures.picture import Picture
from srgan.pictures.pillow import beyond_palette, decode_with_pillow, decoded_from_pillow, gray_if_gray, pillow_pixels
from srgan.pictures.png import read_chunks, require_all_rows
from srgan.pictures.profiles import convert_to_srgb, profile_to_srgb
from srgan.pictures.tga import decode_tga

_DECODING = 8  # bytes a pixel: what most decoders have, and the array made from that
# As Ultra HDR, ISO 21496-1 and Apple announce gain maps in JPEG, and the last three in HEIC, AVIF and JPEG XL.
GAIN_MAPS = b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1", b":aux:hdrgainmap", b"\0\0tmap", b"jhgm\0"


def read_picture(source: str | os.PathLike | bytes, *, max_pixels: int | None = None) -> Picture:
    """Read the picture in the file `source`, a path or the file's bytes.

    Orientation is applied, that of EXIF or, where it has none, of XMP; palettes become RGB, CMYK is converted by its
    profile, of an animation the first frame is taken.

    Raises:
        SRGANError: it is missing, empty, damaged, no picture, or has more than `max_pixels` pixels.
    """
    name = "standard input" if isinstance(source, bytes) else source
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (OSError, ValueError) as error:  # the latter of a name that there cannot be
        raise SRGANError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise SRGANError(f"{name}: is empty")

    def refuse_large(width, height):
        refuse_more_pixels(name, width, height, max_pixels)
        try:
            require_memory(_DECODING * width * height, f"{width} x {height} pixels")
        except SRGANError as error:
            raise SRGANError(f"{name}: {error}") from None

    kind = ""
    try:
        refuse_raw(name)
        kind = content_format(data)
        decoded = _decoder(kind)(data, kind, refuse_large)
        if any(mark in data for mark in GAIN_MAPS):
            decoded.notes.append("its gain map is left out")
        return finish(decoded)
    except SRGANError:
        raise
    except Exception as error:  # decoders raise anything when they meet damaged data
        raise unreadable(name, error, kind) from error


def unreadable(name: str | os.PathLike, error: Exception, kind: str = "") -> SRGANError:
    """A decoder's error about a file, of the format `kind`, as a user is told it."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = f"damaged, or {kind} of a kind that is not supported"
    reason = "not enough memory" if is_out_of_memory(error) else reason
    return SRGANError(f"{name}: cannot be read as a picture ({reason})")


def _decoder(kind):
    if kind == "TIFF":
        from srgan.pictures.tiff import decode_tiff

        return decode_tiff
    decoders = {"PNG": _decode_png, "AVIF": decode_avif, "HEIF": decode_heif}
    decoders |= {"BMP": decode_bmp, "TGA": decode_tga, "DDS": decode_dds}
    decoders |= {"JPEG2000": decode_jpeg_2000, "PPM": decode_pnm, "JPEG XL": decode_jxl}
    return decoders.get(kind, decode_with_pillow)


class _Size(Exception):
    """Ends decoding once the size is known."""


def size_of(path: str | os.PathLike) -> tuple[int, int] | None:
    """Width and height of the picture at `path`, turned upright, from its header; None where that cannot be read."""
    # Decoders raise anything when they meet damaged data.
    with contextlib.suppress(Exception), Image.open(path) as image:
        # Not image.getexif(), which decodes a PNG that has none before its pixels.
        turned = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        width, height = image.size
        if image.format == "AVIF":
            left, upper, right, lower = shown_of_avif(Path(path).read_bytes(), width, height)
            width, height = right - left, lower - upper
        if image.format == "TIFF":  # whose first page can be a thumbnail
            from srgan.pictures.tiff import open_page

            with open_page(path) as (page, _):
                width, height, turned = page.imagewidth, page.imagelength, page.tags.valueof(274) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)

    def take(width, height):
        raise _Size(width, height)

    try:  # the formats that Pillow does not know
        with open(path, "rb") as file:
            head = file.read(4096)
            kind = content_format(head)
            _decoder(kind)(head + file.read(), kind, take)
    except _Size as size:
        return size.args[0], size.args[1]
    except Exception:
        return None
    return None


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Read the picture at `path` as uint8 (height, width, 3) in sRGB, upright, transparency laid on white.

    Raises:
        SRGANError: the file is missing, empty, damaged or no picture.
    """
    pixels = to_8_bits(in_srgb(read_picture(path)).pixels)
    colour = on_white(pixels) if pixels.shape[2] in (2, 4) else pixels
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else np.ascontiguousarray(colour)


def in_srgb(picture: Picture) -> Picture:
    """A picture with its colours in sRGB and without a profile; they are as before where the profile is damaged."""
    if not picture.icc:
        return picture
    pixels = with_colours(picture.pixels, partial(_in_srgb, icc=picture.icc))
    return replace(picture, pixels=pixels, icc=None, colour={}, palette=None)


def _in_srgb(colour, icc):
    """Colours by their profile; as they are if it is damaged. 8 bits by lcms alone, which starts faster than libvips."""
    if colour.dtype == np.uint16:
        converted = or_none(lambda: profile_to_srgb(colour, icc))
        return colour if converted is None else converted
    image = Image.fromarray(colour[..., 0] if colour.shape[2] == 1 else np.ascontiguousarray(colour))
    converted = or_none(lambda: convert_to_srgb(image, icc))
    return colour if converted is None else np.asarray(converted)


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow picture as a `Picture`.

    Raises:
        SRGANError: it is of a mode that is not supported, or damaged.
    """
    try:
        return finish(decoded_from_pillow(image))
    except Exception as error:
        raise SRGANError(f"a picture of Pillow's mode {image.mode}: {' '.join(str(error).split())}") from error


def _decode_png(data, kind, refuse_large):
    chunks = read_chunks(data)
    refuse_large(chunks.width, chunks.height)
    if chunks.depth == 16:
        pixels = libvips.decode(chunks.file)
    else:
        with Image.open(io.BytesIO(chunks.file), formats=["PNG"]) as image:
            image.load()
            if chunks.colour_type == 3:
                pixels, chunks.palette = _from_palette(np.asarray(image), chunks)
                chunks.notes += beyond_palette(image, len(chunks.rgb))
            else:
                pixels = pillow_pixels(image)
        require_all_rows(chunks)
    if chunks.colour_type in (0, 2) and chunks.transparency:
        samples = np.frombuffer(chunks.transparency[: len(chunks.transparency) // 2 * 2], ">u2").astype(np.uint32)
        samples &= 2**chunks.depth - 1
        white = np.iinfo(pixels.dtype).max
        key = samples * white // (2**chunks.depth - 1)
        if len(key) == pixels.shape[2]:
            alpha = np.where((pixels == key).all(axis=2, keepdims=True), 0, white).astype(pixels.dtype)
            pixels = np.concatenate([pixels, alpha], axis=2)
    chunks.pixels = pixels
    return chunks


def _from_palette(indices, chunks):
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3] = 255
    palette[: len(chunks.rgb), :3] = chunks.rgb[:256]
    alpha = np.frombuffer(chunks.transparency[:256], np.uint8)
    palette[: len(alpha), 3] = alpha
    pixels = palette[indices.astype(np.uint8)]
    return gray_if_gray(pixels if len(alpha) else pixels[..., :3]), palette[: len(chunks.rgb)]

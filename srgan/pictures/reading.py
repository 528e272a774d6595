"""Reading picture files, for training, comparing and upscaling alike.

Pillow decodes most formats. libvips decodes what Pillow would cut to 8 bits, and TIFF, of which it knows more kinds.
"""

import io
import logging
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from srgan.errors import SRGANError
from srgan.pictures.arrays import on_white, to_8_bits
from srgan.pictures.metadata import convert_to_srgb, or_none, with_metadata
from srgan.pictures.picture import Picture

logging.getLogger("pyvips").addHandler(logging.NullHandler())  # else its remarks on odd files would go to stderr

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(source: str | os.PathLike | bytes, *, max_pixels: int | None = None) -> Picture:
    """Read the picture in the file `source`, a path or the file's bytes.

    EXIF orientation is applied; palettes become RGB, CMYK is converted by its profile, of an animation the first frame
    is taken.

    Raises:
        SRGANError: it is missing, empty, damaged, no picture, or has more than `max_pixels` pixels.
    """
    name = "standard input" if isinstance(source, bytes) else source
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise SRGANError(f"{name}: {error.strerror or error}") from error
    if not data:
        raise SRGANError(f"{name}: is empty")

    def refuse_large(image):
        if max_pixels and image.width * image.height > max_pixels:
            raise SRGANError(
                f"{name}: {image.width} x {image.height} are more than {max_pixels / 1e6:g} million pixels; "
                "raise --max-pixels if you trust it"
            )

    try:
        if data[:4] in _TIFF or data[:8] == _PNG and data[24:25] == b"\x10":
            return _from_vips(data, refuse_large)
        if find_spec("pillow_heif"):
            import pillow_heif

            pillow_heif.register_heif_opener()
        with Image.open(io.BytesIO(data)) as image:
            refuse_large(image)
            return from_pillow(image)
    except SRGANError:
        raise
    except Exception as error:  # decoders raise anything when they meet damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "of no known format"
        raise SRGANError(f"{name}: cannot be read as a picture ({reason})") from error


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Read the picture at `path` as uint8 (height, width, 3) in sRGB, upright, transparency laid on white.

    Raises:
        SRGANError: the file is missing, empty, damaged or no picture.
    """
    picture = read_picture(path)
    pixels = to_8_bits(picture.pixels)
    alpha = pixels[..., -1:] if pixels.shape[2] in (2, 4) else None
    colour = pixels if alpha is None else pixels[..., :-1]
    if picture.icc:
        image = Image.fromarray(colour.squeeze(2) if colour.shape[2] == 1 else np.ascontiguousarray(colour))
        converted = or_none(lambda: convert_to_srgb(image, picture.icc))
        colour = colour if converted is None else np.asarray(converted)
    if alpha is not None:
        colour = on_white(np.concatenate([colour, alpha], axis=2))
    return np.broadcast_to(colour, (*colour.shape[:2], 3)).copy() if colour.shape[2] == 1 else colour


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow picture as a `Picture`."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photograph and its previews
    icc, dpi, exif = image.info.get("icc_profile"), image.info.get("dpi"), or_none(image.getexif)
    image.load()
    image = or_none(lambda: ImageOps.exif_transpose(image)) or image
    if image.mode in ("CMYK", "LAB") and icc:
        image = or_none(lambda: convert_to_srgb(image, icc)) or image
    return with_metadata(_pixels(image), icc, exif, dpi, frames)


def _from_vips(data, refuse_large):
    import pyvips

    image = pyvips.Image.new_from_buffer(data, "", fail_on="truncated")
    refuse_large(image)
    fields = image.get_fields()
    icc = image.get("icc-profile-data") if "icc-profile-data" in fields else None
    frames = image.get("n-pages") if "n-pages" in fields else 1
    dpi = (image.xres * 25.4, image.yres * 25.4) if image.xres != 1 else None  # 1 stands for none
    exif = Image.Exif()
    if data[:4] in _TIFF:
        or_none(lambda: exif.load(data))  # EXIF has the structure of a TIFF file
        for starts, lengths in ((273, 279), (324, 325)):  # of strips, of tiles; libvips would leave out what is missing
            ends = np.ravel(exif.get(starts, 0)).astype(int) + np.ravel(exif.get(lengths, 0)).astype(int)
            if ends.max() > len(data):
                raise ValueError("it is cut off")
    elif "exif-data" in fields:
        or_none(lambda: exif.load(image.get("exif-data")))
    if image.format not in ("uchar", "ushort") and image.interpretation not in ("lab", "labs"):
        raise ValueError(f"channels of the type {image.format} are not supported")
    image = image.autorot()
    if image.interpretation == "cmyk":
        if not icc:
            return with_metadata(_plain_cmyk(image.numpy()), None, exif, dpi, frames)
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, intent="perceptual", depth=depth)
    elif image.interpretation not in ("b-w", "grey16", "srgb", "rgb16"):
        image = image.colourspace("srgb")
    pixels = image.numpy().reshape(image.height, image.width, -1)
    if pixels.shape[2] > 4:
        raise ValueError(f"{pixels.shape[2]} channels are not supported")
    return with_metadata(pixels, icc, exif, dpi, frames)


def _plain_cmyk(ink):
    """RGB of CMYK without a profile, as Pillow converts it: each ink subtracts from what black leaves of white."""
    white = np.iinfo(ink.dtype).max
    light = white - ink[..., 3:4].astype(np.uint64)
    return (light - (ink[..., :3] * light + white // 2) // white).astype(ink.dtype)


def _pixels(image):
    """The pixels of a loaded Pillow picture, (height, width, channels)."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ValueError("its values do not fit into 16 bits")
        return values.astype(np.uint16)[..., None]
    if image.mode == "F":
        raise ValueError("pictures of floating-point numbers are not supported")
    palette = image.mode in ("P", "PA")
    gray = image.mode in ("1", "L", "LA", "La")
    pixels = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    if palette:
        gray = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    return np.delete(pixels, (1, 2), axis=2) if gray else pixels

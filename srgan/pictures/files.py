"""People's pictures: reading them with all that should survive, and writing them.

A `Picture` keeps gray gray, and alpha, 16 bits, the colour profile, EXIF and the resolution. Pillow reads and writes most
formats; libvips what Pillow would cut to 8 bits, and TIFF, whose many kinds it knows; srgan.pictures.png writes PNG.
"""

import contextlib
import io
import logging
import os
import struct
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, features

from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.pictures.png import SIGNATURE, write_png

logging.getLogger("pyvips").addHandler(logging.NullHandler())  # else its remarks on odd files would go to stderr

WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
}
WITHOUT_ALPHA = {"JPEG", "BMP"}
READABLE = {*WRITABLE, ".jpe", ".jfif", ".gif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"}
_MOST_PIXELS_A_SIDE = {"JPEG": 65500, "WebP": 16383, "AVIF": 65535, "BMP": 2**31 - 1, "PNG": 10**6, "TIFF": 10**7}

_LARGEST_TIFF = 2**32 - 2**26  # bytes of pixels; more need the format's 64-bit form

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# What EXIF says of the photograph. The rest of its first directory describes how the file stored its pixels.
_EXIF_KEPT = {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095}
_EXIF_DIRECTORY, _EXIF_GPS, _EXIF_WIDTH, _EXIF_HEIGHT = 0x8769, 0x8825, 0xA002, 0xA003


@dataclass(frozen=True)
class Picture:
    """A picture with all that should survive.

    Attributes:
        pixels: uint8 or uint16 (height, width, channels), upright; gray, gray and alpha, RGB, or RGB and alpha.
        icc: the colour profile that `pixels` are in; None: sRGB.
        exif: an `Image.Exif` without orientation, or None.
        dpi: pixels an inch in x and y, or None.
        note: what a user should know about how it was read, or "".
    """

    pixels: np.ndarray
    icc: bytes | None = None
    exif: Image.Exif | None = None
    dpi: tuple | None = None
    note: str = ""


def read_picture(source, *, max_pixels=None) -> Picture:
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
        if data[:4] in _TIFF or data[:8] == SIGNATURE and data[24:25] == b"\x10":
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
        said = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            said = "of no known format"
        raise SRGANError(f"{name}: cannot be read as a picture ({said})") from error


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow picture as a `Picture`."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photograph and its previews
    icc, dpi, exif = image.info.get("icc_profile"), image.info.get("dpi"), _quietly(image.getexif)
    image.load()
    image = _quietly(lambda: ImageOps.exif_transpose(image)) or image
    if image.mode in ("CMYK", "LAB") and icc:
        image = _quietly(lambda: _to_srgb(image, icc)) or image
    return _picture(_pixels(image), icc, exif, dpi, frames)


def _from_vips(data, check):
    import pyvips

    image = pyvips.Image.new_from_buffer(data, "", fail_on="truncated")
    check(image)
    fields = image.get_fields()
    icc = image.get("icc-profile-data") if "icc-profile-data" in fields else None
    frames = image.get("n-pages") if "n-pages" in fields else 1
    dpi = (image.xres * 25.4, image.yres * 25.4) if image.xres != 1 else None  # 1 stands for none
    exif = Image.Exif()
    if data[:4] in _TIFF:
        _quietly(lambda: exif.load(data))  # EXIF has the structure of a TIFF file
        for starts, lengths in ((273, 279), (324, 325)):  # of strips, of tiles; libvips would leave out what is missing
            ends = np.ravel(exif.get(starts, 0)).astype(int) + np.ravel(exif.get(lengths, 0)).astype(int)
            if ends.max() > len(data):
                raise ValueError("it is cut off")
    elif "exif-data" in fields:
        _quietly(lambda: exif.load(image.get("exif-data")))
    if image.format not in ("uchar", "ushort") and image.interpretation not in ("lab", "labs"):
        raise ValueError(f"channels of the type {image.format} are not supported")
    image = image.autorot()
    if image.interpretation == "cmyk":
        image = image.icc_transform(
            "srgb",
            embedded=True,
            input_profile="cmyk",
            intent="perceptual",
            depth=16 if image.format == "ushort" else 8,
        )
    elif image.interpretation not in ("b-w", "grey16", "srgb", "rgb16"):
        image = image.colourspace("srgb")
    pixels = image.numpy().reshape(image.height, image.width, -1)
    if pixels.shape[2] > 4:
        raise ValueError(f"{pixels.shape[2]} channels are not supported")
    return _picture(pixels, icc, exif, dpi, frames)


def _picture(pixels, icc, exif, dpi, frames):
    if icc and icc[16:20] != (b"GRAY" if pixels.shape[2] < 3 else b"RGB "):
        icc = None  # of the CMYK that was converted, or of another kind of picture
    dpi = _quietly(lambda: tuple(round(float(value), 2) for value in dpi)) if dpi else None
    dpi = dpi if dpi and all(1 < value < 1e5 for value in dpi) else None
    note = f"the first of {frames} frames is taken" if frames > 1 else ""
    return Picture(pixels, icc, _described(exif) if exif else None, dpi, note)


def _quietly(work):
    """What `work` returns, or None if it fails: damaged metadata are no reason not to upscale a picture."""
    with contextlib.suppress(Exception):
        return work()
    return None


def _described(exif):
    """EXIF with what describes the photograph, and without what described its old file."""
    kept = Image.Exif()
    for tag in _EXIF_KEPT & set(exif):
        kept[tag] = exif[tag]
    for directory in (_EXIF_DIRECTORY, _EXIF_GPS):
        if values := _quietly(partial(exif.get_ifd, directory)):
            kept[directory] = dict(values)
    return kept if len(kept) else None


def _to_srgb(image, icc):
    from PIL import ImageCms

    return ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )


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


def check_writable(suffix, width, height):
    """Raise SRGANError if a picture of that size cannot be written under a name with that suffix."""
    kind = WRITABLE.get(suffix.lower())
    if kind is None or kind == "AVIF" and not features.check("avif"):
        named = (
            f"the output's suffix {suffix}"
            if suffix
            else "the output has no suffix (a folder's name ends with /), which"
        )
        raise SRGANError(f"{named} is not a format to write; use {', '.join(sorted(WRITABLE))}")
    limit = _MOST_PIXELS_A_SIDE[kind]
    if max(width, height) > limit:
        raise SRGANError(
            f"{kind} holds {limit} pixels a side, and the result would be {width} x {height}; use .png or .tif"
        )
    if kind == "BMP" and width * height * 4 >= 2**32:
        raise SRGANError(f"BMP holds 4 GiB, and the result would be {width} x {height}; use .png or .tif")


def write_picture(picture: Picture, path, *, quality=95, lossless=False, compression=2):
    """Write a picture, atomically, in the format of the path's suffix, with its profile, EXIF and resolution.

    What has alpha is laid on white in JPEG and BMP, which have none. Only PNG and TIFF have 16 bits: else they are rounded to 8.

    Args:
        quality: of JPEG, WebP and AVIF, 1 to 100.
        lossless: write WebP without loss.
        compression: of PNG, 0 (fast) to 9 (small).

    Raises:
        SRGANError: it cannot be written.
    """
    path = Path(path)
    height, width = picture.pixels.shape[:2]
    check_writable(path.suffix, width, height)
    kind = WRITABLE[path.suffix.lower()]
    picture = replace(picture, exif=_sized(picture.exif, width, height))
    try:
        with atomic_path(path) as temporary:
            if kind == "PNG":
                with open(temporary, "wb") as file:
                    write_png(file, picture.pixels, **_metadata(picture), compression=compression)
            elif kind == "TIFF":
                _write_tiff(picture, temporary)
            else:
                _write_pillow(picture, kind, temporary, quality, lossless)
    except (OSError, ValueError, MemoryError) as error:
        raise SRGANError(f"{path}: cannot be written ({error})") from error


def _sized(exif, width, height):
    """EXIF with the new size, where it told the old one."""
    if exif is None or not exif.get(_EXIF_DIRECTORY):
        return exif
    new = Image.Exif()
    new.update(exif)
    new[_EXIF_DIRECTORY] = dict(exif[_EXIF_DIRECTORY])
    for tag, size in ((_EXIF_WIDTH, width), (_EXIF_HEIGHT, height)):
        if tag in new[_EXIF_DIRECTORY]:
            new[_EXIF_DIRECTORY][tag] = size
    return new


def to_pillow(picture: Picture) -> Image.Image:
    """A `Picture` as a Pillow picture, with its metadata in `info`. Colour or alpha of 16 bits are rounded to 8."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        pixels = to_8_bits(pixels)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.info.update({key: value for key, value in _metadata(picture).items() if value})
    return image


def to_8_bits(pixels):
    """uint16 [0, 65535] rounded to uint8 [0, 255]; uint8 as it is."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _metadata(picture):
    return {
        "icc_profile": picture.icc,
        "exif": _quietly(picture.exif.tobytes) if picture.exif else None,
        "dpi": picture.dpi,
    }


def _write_pillow(picture, kind, path, quality, lossless):
    pixels = to_8_bits(picture.pixels)
    if kind in WITHOUT_ALPHA and pixels.shape[2] in (2, 4):
        pixels = _on_white(pixels)
    image = to_pillow(replace(picture, pixels=pixels))
    options = {key: value for key, value in _metadata(picture).items() if value}
    if kind == "JPEG":
        if len(options.get("exif", b"")) > 65533:
            del options["exif"]
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    elif kind in ("WebP", "AVIF"):
        options |= {"quality": quality} | ({"lossless": lossless} if kind == "WebP" else {})
    image.save(path, kind, **options)


def _on_white(pixels):
    """Without its alpha."""
    alpha = pixels[..., -1:].astype(np.uint32)
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _add_exif_to_tiff(path, exif):
    """Put a new first directory, with EXIF, at the end of a TIFF file: libvips writes none."""
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


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow picture as RGB, upright: EXIF orientation applied, transparency laid on white, 16 bits scaled to 8."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, np.float64)
        # 16-bit gray arrives as I;16 or I; Pillow's own conversion would clip it at 255 instead of scaling it.
        if picture.mode.startswith("I") and values.max(initial=0) > 255:
            values = values / 257.0
        picture = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def read_rgb(path) -> np.ndarray:
    """Read the picture at `path` as uint8 (height, width, 3), upright and without transparency.

    Raises:
        SRGANError: the file is missing, empty, truncated or no picture.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(to_rgb(picture))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise SRGANError(f"{path}: cannot be read as a picture ({error})") from error

"""Pictures: reading, resizing, rounding and writing them.

In training and comparing, a picture is a uint8 array (height, width, 3) of sRGB values, or for a network a float32 array
(batch, height, width, 3) in [0, 1]. This module is where the two meet. People's own pictures are more than that: a
`Picture` also keeps gray, alpha, 16 bits, the colour profile, EXIF and the resolution, from `read_picture` to
`write_picture`.
"""

import contextlib
import io
import os
import secrets
import struct
import warnings
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, features

from srgan.errors import SRGANError


@contextlib.contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; move it onto `path` if the block ends well, else remove it.

    The temporary name keeps the suffix, because many writers choose their format by it. A reader of `path` sees the old
    file or the whole new one, also after a kill.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_uint8(values):
    """Clip a float array in [0, 1] and round it to uint8 [0, 255]: the one place where this is done."""
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


def to_float(pixels):
    """uint8 [0, 255] to float32 [0, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(255.0)


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


def resize_bicubic(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize uint8 (h, w, 3) with Pillow's antialiased bicubic kernel (a = -0.5), which is MATLAB's `imresize`."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def crop_to_multiple(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Cut the right and lower edge so that both sides are multiples of `scale`, as the literature's protocol does."""
    height, width = pixels.shape[:2]
    return pixels[: height - height % scale, : width - width % scale]


def downscale(hr: np.ndarray, scale: int) -> np.ndarray:
    """The low resolution of `hr` (sides multiples of `scale`) by the training's own bicubic."""
    height, width = hr.shape[:2]
    return resize_bicubic(hr, width // scale, height // scale)


# What people's pictures come in, and what they are written as. --------------------------------------------------------

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
READABLE = {*WRITABLE, ".jpe", ".jfif", ".gif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"}
_MOST_PIXELS_A_SIDE = {"JPEG": 65500, "WebP": 16383, "AVIF": 65535, "BMP": 2**31 - 1, "PNG": 10**6, "TIFF": 10**7}

# What EXIF says of the photograph. The rest of its first directory describes how the file stored its pixels.
_EXIF_KEPT = {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095}
_EXIF_ORIENTATION, _EXIF_DIRECTORY, _EXIF_GPS, _EXIF_WIDTH, _EXIF_HEIGHT = 0x0112, 0x8769, 0x8825, 0xA002, 0xA003


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
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            if max_pixels and image.width * image.height > max_pixels:
                raise SRGANError(
                    f"{name}: {image.width} x {image.height} are more than {max_pixels / 1e6:g} million pixels; "
                    "raise --max-pixels if you trust it"
                )
            return from_pillow(image, data)
    except SRGANError:
        raise
    except Exception as error:  # decoders raise anything when they meet damaged data
        raise SRGANError(f"{name}: cannot be read as a picture ({str(error) or type(error).__name__})") from error


def from_pillow(image: Image.Image, data: bytes | None = None) -> Picture:
    """A Pillow picture as a `Picture`. With the bytes of its file, what Pillow would cut to 8 bits keeps its 16."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    note = f"the first of {frames} frames" if frames > 1 else ""
    icc, dpi = image.info.get("icc_profile"), image.info.get("dpi")
    exif = _quietly(image.getexif)
    orientation = exif.get(_EXIF_ORIENTATION, 1) if exif else 1
    if data is not None and _has_16_bits(image, data):
        pixels = _oriented(_vips_pixels(data), orientation)
    else:
        image.load()
        image = _quietly(lambda: ImageOps.exif_transpose(image)) or image
        if image.mode in ("CMYK", "LAB") and icc:
            image = _quietly(lambda: _to_srgb(image, icc)) or image
        pixels = _pixels(image)
    if icc and icc[16:20] != (b"GRAY" if pixels.shape[2] < 3 else b"RGB "):
        icc = None  # of the CMYK that was converted, or of another kind of picture
    dpi = tuple(map(float, dpi)) if dpi and all(np.isfinite(float(d)) and float(d) > 1 for d in dpi) else None
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


def _has_16_bits(image, data):
    if image.format == "PNG":
        return data[24] == 16
    return image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) > 8 and max(image.tag_v2.get(339, (1,))) == 1


def _vips_pixels(data):
    import pyvips

    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="truncated")
        if image.interpretation == "cmyk":
            image = image.icc_transform("srgb", depth=16, embedded=True, input_profile="cmyk")
        pixels = image.numpy()
    except pyvips.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2] > 4:
        raise ValueError(f"{pixels.shape[2]} channels of {pixels.dtype} are not supported")
    return pixels


def _oriented(pixels, orientation):
    """Undo an EXIF orientation (2 to 8; EXIF 2.3, section 4.6.4)."""
    turns, mirrored = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}.get(
        orientation, (0, 0)
    )
    pixels = np.rot90(pixels, turns)
    return pixels[:, ::-1] if mirrored else pixels


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
        raise SRGANError(
            f"{suffix or 'a name without suffix'}: not a format to write; use {', '.join(sorted(WRITABLE))}"
        )
    limit = _MOST_PIXELS_A_SIDE[kind]
    if max(width, height) > limit:
        raise SRGANError(
            f"{kind} holds {limit} pixels a side, and the result would be {width} x {height}; use .png or .tif"
        )
    if kind == "BMP" and width * height * 4 >= 2**32:
        raise SRGANError(f"BMP holds 4 GiB, and the result would be {width} x {height}; use .png or .tif")


def write_picture(picture: Picture, path, *, quality=95, lossless=False, compression=3):
    """Write a picture, atomically, in the format of the path's suffix, with its profile, EXIF and resolution.

    JPEG has no alpha: it is laid on white. Only PNG and TIFF have 16 bits: else they are rounded to 8.

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
            if kind in ("PNG", "TIFF"):
                _write_vips(picture, kind, temporary, compression)
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
    image = to_pillow(replace(picture, pixels=to_8_bits(picture.pixels)))
    if image.mode == "LA":
        image = image.convert("RGBA")
    options = {key: value for key, value in _metadata(picture).items() if value}
    if kind == "JPEG":
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        if len(options.get("exif", b"")) > 65533:
            del options["exif"]
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    elif kind in ("WebP", "AVIF"):
        options |= {"quality": quality} | ({"lossless": lossless} if kind == "WebP" else {})
    image.save(path, kind, **options)


def _add_exif_to_tiff(path, exif):
    """Put a new first directory, with EXIF, at the end of a TIFF file: libvips writes none."""
    with open(path, "r+b") as file:
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        for tag in set(exif) - set(directory):
            directory[tag] = exif[tag]
        start = file.seek(0, os.SEEK_END)
        file.write(b"\0" * (start % 2))
        start += start % 2
        file.write(directory.tobytes(start))
        file.seek(4)
        file.write(struct.pack(f"{directory._endian}L", start))


def _write_vips(picture, kind, path, compression):
    import pyvips

    pixels, metadata = np.ascontiguousarray(picture.pixels), _metadata(picture)
    height, width, channels = pixels.shape
    try:
        image = pyvips.Image.new_from_memory(
            pixels, width, height, channels, {1: "uchar", 2: "ushort"}[pixels.itemsize]
        )
        kinds = ("b-w", "srgb") if pixels.itemsize == 1 else ("grey16", "rgb16")
        resolution = {"xres": picture.dpi[0] / 25.4, "yres": picture.dpi[1] / 25.4} if picture.dpi else {}
        image = image.copy(interpretation=kinds[channels > 2], **resolution)
        if picture.icc:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc)
        if kind == "PNG":
            if metadata["exif"]:
                image.set_type(pyvips.GValue.blob_type, "exif-data", metadata["exif"])
            image.pngsave(str(path), compression=compression, filter="paeth")
        else:
            big = pixels.nbytes > 2**32 - 2**24
            image.tiffsave(str(path), compression="deflate", predictor="horizontal", resunit="inch", bigtiff=big)
    except pyvips.Error as error:
        raise OSError(" ".join(str(error).split())) from error
    if kind == "TIFF" and picture.exif and not big:
        _add_exif_to_tiff(path, picture.exif)


# Working on pixels. --------------------------------------------------------------------------------------------------


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize (h, w, channels) of uint8, uint16 or float32 by antialiased bicubic interpolation, each channel by itself.

    Integers are rounded and clipped; floats are not clipped.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    result = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[..., channel])
        if pixels.dtype == np.uint16:
            plane = plane.astype(np.float32)
        plane = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        result[..., channel] = np.clip(np.rint(plane), 0, 65535) if pixels.dtype == np.uint16 else plane
    return result


def fill_transparent(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`colour` (h, w, c) with the pixels where `alpha` (h, w) is 0 filled from their surroundings.

    What programs leave there, mostly black or white, would bleed into the edges of what is visible. Averages over ever
    larger squares, weighted by alpha, go up a pyramid and come down again into the holes.
    """
    if alpha.all():
        return colour
    weight = alpha.astype(np.float32)[..., None]
    filled = _filled(colour.astype(np.float32) * weight, weight)
    filled = np.rint(filled).astype(colour.dtype) if colour.dtype.kind == "u" else filled.astype(colour.dtype)
    return np.where(alpha[..., None] > 0, colour, filled)


def _filled(weighted, weight):
    height, width = weight.shape[:2]
    average = weighted / np.maximum(weight, np.finfo(np.float32).tiny)
    if weight.all() or height == width == 1:
        return average
    even = [(0, height % 2), (0, width % 2), (0, 0)]
    halves = [np.pad(values, even) for values in (weighted, weight)]
    halves = [values.reshape(-(-height // 2), 2, -(-width // 2), 2, -1).mean(axis=(1, 3)) for values in halves]
    coarse = _filled(*halves).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weight > 0, average, coarse)

"""Reading picture files, for training, comparing and upscaling alike.

The content decides the format, not the name. Pillow decodes most of them; PNG of 16 bits is libvips', TIFF tifffile's (see
`srgan.pictures.tiff`), and what has more than 8 bits in JPEG 2000, AVIF and JPEG XL is imagecodecs'.
"""

import io
import os
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from srgan.errors import SRGANError
from srgan.pictures.arrays import on_white, to_8_bits
from srgan.pictures.formats import content_format, refuse_raw
from srgan.pictures.metadata import Decoded, finish, or_none
from srgan.pictures.picture import Picture
from srgan.pictures.png import read_chunks
from srgan.pictures.profiles import convert_to_srgb


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
    except OSError as error:
        raise SRGANError(f"{name}: {error.strerror or error}") from error
    if not data:
        raise SRGANError(f"{name}: is empty")

    def refuse_large(width, height):
        if max_pixels and width * height > max_pixels:
            raise SRGANError(
                f"{name}: {width} x {height} are more than {max_pixels / 1e6:g} million pixels; "
                "raise --max-pixels if you trust it"
            )

    try:
        refuse_raw(name)
        kind = content_format(data)
        decode = {"PNG": _decode_png, "TIFF": _decode_tiff, "AVIF": _decode_avif, "HEIF": _decode_heif}
        return finish(decode.get(kind, _decode_with_pillow)(data, kind, refuse_large))
    except SRGANError:
        raise
    except Exception as error:  # decoders raise anything when they meet damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
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
        image = Image.fromarray(colour[..., 0] if colour.shape[2] == 1 else np.ascontiguousarray(colour))
        converted = or_none(lambda: convert_to_srgb(image, picture.icc))
        colour = colour if converted is None else np.asarray(converted)
    if alpha is not None:
        colour = on_white(np.concatenate([colour, alpha], axis=2))
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow picture as a `Picture`.

    Raises:
        SRGANError: it is of a mode that is not supported, or damaged.
    """
    try:
        return finish(_from_pillow(image))
    except Exception as error:
        raise SRGANError(f"a picture of Pillow's mode {image.mode}: {' '.join(str(error).split())}") from error


def _from_pillow(image):
    info = image.info
    exif = info.get("exif") or or_none(lambda: image.getexif().tobytes() if len(image.getexif()) else None)
    notes, frames = [], getattr(image, "n_frames", 1)
    if frames > 1:
        kind = "pictures in it" if image.format == "MPO" else "frames"
        notes.append(f"the first of {frames} {kind} is taken")
    xmp = info.get("xmp")
    xmp = xmp if isinstance(xmp, bytes) else None
    if image.format in ("JPEG", "MPO") and b"hdrgm:" in (xmp or b""):
        notes.append("its gain map is left out")
    iptc = info.get("photoshop", {}).get(0x0404) if isinstance(info.get("photoshop"), dict) else None
    image.load()
    icc = info.get("icc_profile")
    if image.mode in ("CMYK", "LAB") and icc:
        image = or_none(lambda: convert_to_srgb(image, icc)) or image
    metadata = {"icc": icc, "exif": exif, "dpi": info.get("dpi"), "xmp": xmp, "iptc": iptc, "notes": notes}
    return Decoded(_pixels(image), **metadata, palette=_palette(image) if image.mode == "P" else None)


def _palette(image):
    """The colours of a Pillow picture's palette, uint8 (n, 4)."""
    palette = np.array(image.getpalette("RGBA"), np.uint8).reshape(-1, 4)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        alpha = np.frombuffer(transparency, np.uint8)[: len(palette)]
        palette[: len(alpha), 3] = alpha
    elif isinstance(transparency, int) and transparency < len(palette):
        palette[transparency, 3] = 0
    return palette


def _decode_with_pillow(data, kind, refuse_large):
    if kind == "JPEG" and (bits := _jpeg_bits(data)) > 8:
        raise ValueError(f"JPEG of {bits} bits is not supported; convert it to PNG or TIFF first")
    with Image.open(io.BytesIO(data), formats=[kind] if kind != "JPEG" else ["JPEG", "MPO"]) as image:
        refuse_large(image.width, image.height)
        decoded = _from_pillow(image)
    if kind == "TGA" and not _tga_has_alpha(data) and decoded.pixels.shape[2] in (2, 4):
        decoded.pixels = decoded.pixels[..., :-1]
    return decoded


def _decode_png(data, kind, refuse_large):
    chunks = read_chunks(data)
    refuse_large(chunks.width, chunks.height)
    palette = None
    if chunks.depth == 16:
        pixels = _png_of_16_bits(chunks)
    else:
        with Image.open(io.BytesIO(chunks.pixels), formats=["PNG"]) as image:
            image.load()
            if chunks.palette is not None and chunks.colour_type == 3:
                pixels, palette = _from_palette(np.asarray(image), chunks)
            else:
                pixels = _pixels(image)
    if chunks.colour_type in (0, 2) and chunks.transparency:
        samples = np.frombuffer(chunks.transparency[: len(chunks.transparency) // 2 * 2], ">u2").astype(np.uint32)
        white = np.iinfo(pixels.dtype).max
        key = samples * white // (2**chunks.depth - 1)
        if len(key) == pixels.shape[2]:
            alpha = np.where((pixels == key).all(axis=2, keepdims=True), 0, white).astype(pixels.dtype)
            pixels = np.concatenate([pixels, alpha], axis=2)
    notes = [f"the first of {chunks.frames} frames is taken"] if chunks.frames > 1 else []
    return Decoded(
        pixels,
        icc=chunks.icc,
        exif=chunks.exif,
        dpi=chunks.dpi,
        xmp=chunks.xmp,
        iptc=chunks.iptc,
        text=chunks.text,
        colour=chunks.colour,
        notes=notes,
        palette=palette,
    )


def _png_of_16_bits(chunks):
    import pyvips

    pyvips.vips_lib.vips_error_clear()  # else what it said of another file would be said of this one
    image = pyvips.Image.new_from_buffer(chunks.pixels, "", fail_on="error")
    return image.numpy().reshape(image.height, image.width, -1)


def _from_palette(indices, chunks):
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3] = 255
    palette[: len(chunks.palette), :3] = chunks.palette[:256]
    alpha = np.frombuffer(chunks.transparency[:256], np.uint8)
    palette[: len(alpha), 3] = alpha
    pixels = palette[indices.astype(np.uint8)]
    return _gray_if_gray(pixels if len(alpha) else pixels[..., :3]), palette[: len(chunks.palette)]


def _decode_tiff(data, kind, refuse_large):
    from srgan.pictures.tiff import read_tiff

    page = read_tiff(data, refuse_large)
    return Decoded(
        page.pixels,
        page.orientation,
        icc=page.icc,
        exif=data,  # EXIF has the structure of a TIFF file
        dpi=page.dpi,
        xmp=page.xmp,
        iptc=page.iptc,
        notes=[page.note] if page.note else [],
    )


def _decode_heif(data, kind, refuse_large):
    if not find_spec("pillow_heif"):
        raise ValueError("HEIC needs one more package: pip install 'srgan[heif]'")
    import pillow_heif

    heif = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    refuse_large(*heif.size)
    pixels = np.asarray(heif)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return _from_boxes(data, pixels, heif.info, 1, len(heif))


def _decode_avif(data, kind, refuse_large):
    with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
        refuse_large(image.width, image.height)
        decoded = _from_pillow(image)
        return _from_boxes(data, decoded.pixels, image.info, None, getattr(image, "n_frames", 1))


def _from_boxes(data, pixels, info, orientation, frames):
    colour, place = {}, data.find(b"colrnclx")
    if place >= 0 and not info.get("icc_profile") and len(data) >= place + 15:
        primaries, transfer, _ = struct.unpack(">3H", data[place + 8 : place + 14])
        content = bytes([primaries & 255, transfer & 255, 0, 1])
        if (primaries, transfer) not in ((1, 13), (2, 2), (1, 2), (2, 13)):
            colour = {b"cICP": content}
    notes = [f"the first of {frames} frames is taken"] if frames > 1 else []
    return Decoded(
        pixels,
        orientation,
        icc=info.get("icc_profile"),
        exif=info.get("exif"),
        xmp=info.get("xmp"),
        colour=colour,
        notes=notes,
    )


def _jpeg_bits(data):
    """The bits of a JPEG file's samples, by its frame header; 8 if there is none."""
    place = 2
    while place + 5 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], struct.unpack(">H", data[place + 2 : place + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[place + 4]
        place += 1 if marker == 0xFF else 2 + length
    return 8


def _tga_has_alpha(data):
    """Whether a TGA file's alpha is one: by the number of its bits, and by its extension area where it has that."""
    if not data[17] & 15:
        return False
    if data[-18:].startswith(b"TRUEVISION-XFILE.") and (place := struct.unpack("<I", data[-26:-22])[0]):
        return data[place + 494 : place + 495] not in (b"\0", b"\1", b"\2")
    return True


def _pixels(image):
    """The pixels of a loaded Pillow picture, (height, width, channels)."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ValueError("its values do not fit into 16 bits")
        return values.astype(np.uint16)[..., None]
    if image.mode == "F":
        raise ValueError("pictures of floating-point numbers are not supported")
    if image.mode == "La":
        image = image.convert("LA")
    palette = image.mode in ("P", "PA")
    gray = image.mode in ("1", "L", "LA")
    pixels = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    return _gray_if_gray(pixels) if palette else np.delete(pixels, (1, 2), axis=2) if gray else pixels


def _gray_if_gray(pixels):
    """RGB without two of its channels where all three are the same everywhere."""
    same = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    return np.delete(pixels, (1, 2), axis=2) if same else pixels

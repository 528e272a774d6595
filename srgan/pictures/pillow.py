"""What Pillow decodes: the usual formats, of 8 bits."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from srgan.pictures.jpeg import IPTC, decode_jpeg, frame_header, segments, whole_xmp
from srgan.pictures.metadata import Decoded, became_rgb, first_of, or_none
from srgan.pictures.png import comment_chunk
from srgan.pictures.profiles import convert_to_srgb

_EXIF = b"Exif\0\0"  # what the segment of EXIF begins with
_GIF_XMP = b"!\xff\x0bXMP DataXMP"  # what comes before the XMP in a GIF; after it come 255, 254, 253, ... (XMP, part 3)


def decoded_from_pillow(image, pixels=None):
    """What a Pillow picture holds; its pixels are not loaded where they are given."""
    info = image.info
    exif = info.get("exif") or or_none(lambda: image.getexif().tobytes() if len(image.getexif()) else None)
    notes = first_of(getattr(image, "n_frames", 1), "pictures in it" if image.format == "MPO" else "frames")
    xmp, comment, resources = (info.get(key) for key in ("xmp", "comment", "photoshop"))
    if pixels is None:
        image.load()
    icc = info.get("icc_profile")
    if image.mode in ("CMYK", "LAB"):
        notes.append(became_rgb("CMYK" if image.mode == "CMYK" else "Lab"))
        converted = or_none(lambda: convert_to_srgb(image, icc)) if icc else None
        image, icc = (converted, None) if converted else (image, icc)
    decoded = Decoded(
        pillow_pixels(image) if pixels is None else pixels,
        icc=icc,
        exif=exif,
        dpi=info.get("dpi"),
        xmp=xmp if isinstance(xmp, bytes) else None,
        iptc=resources.get(IPTC) if isinstance(resources, dict) else None,
        text=[comment_chunk(comment)] if comment and isinstance(comment, bytes) else [],
        notes=notes,
    )
    if image.mode == "P":
        decoded.notes += beyond_palette(image, len(image.getpalette("RGB")) // 3)
        decoded.palette = _palette(image)
    return decoded


def beyond_palette(image: Image.Image, colours: int) -> list[str]:
    """What to say of pixels that have a number for which the palette has no colour, and which all decoders make black."""
    count = sum(image.histogram()[colours:256])
    return [f"{count} pixels have no colour in its palette and are black"] if count else []


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


def open_jpeg(data: bytes, path: Path | None = None) -> Image.Image:
    """A JPEG, from its file where `path` is given, as Pillow opens it, which gives up where EXIF's resolution is of an unexpected type: then past that.

    Raises:
        UnidentifiedImageError: Pillow cannot read it at all.
    """
    try:
        return Image.open(path or io.BytesIO(data), formats=["JPEG"])
    except UnidentifiedImageError:
        exif = next((content for _, content in segments(data) if content.startswith(_EXIF)), None)
        if exif is None:
            raise
        image = Image.open(io.BytesIO(bytes(data).replace(_EXIF, bytes(len(_EXIF)), 1)), formats=["JPEG"])
        image.info["exif"] = exif
        return image


def decode_with_pillow(data, kind, refuse_large):
    if kind == "JPEG" and (header := frame_header(data)) and header[1] > 8:
        raise ValueError(f"JPEG of {header[1]} bits is not supported; convert it to PNG or TIFF first")
    with open_jpeg(data) if kind == "JPEG" else Image.open(io.BytesIO(data), formats=[kind]) as image:
        refuse_large(image.width, image.height)
        frame = getattr(image, "dispose_extent", None)  # of GIF: where its first frame lies
        decoded = decoded_from_pillow(image, decode_jpeg(data) if kind == "JPEG" else None)
    if kind == "JPEG":
        decoded.xmp = whole_xmp(data, decoded.xmp)
    if kind == "GIF" and (start := data.find(_GIF_XMP)) >= 0:
        decoded.xmp = data[start + len(_GIF_XMP) :].partition(b"\1\xff\xfe\xfd")[0]
    if frame and frame != (0, 0, *image.size):
        decoded.pixels, decoded.palette = _within(decoded.pixels, frame), None
    return decoded


def _within(pixels, box):
    """The pixels, transparent outside of a box, as browsers show a GIF whose first frame is smaller than the picture."""
    left, upper, right, lower = box
    outside = np.ones(pixels.shape[:2], bool)
    outside[upper:lower, left:right] = False
    if not outside.any():
        return pixels
    if pixels.shape[2] in (1, 3):
        pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=2)
    pixels[outside] = 0
    return pixels


def pillow_pixels(image: Image.Image) -> np.ndarray:
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
    return gray_if_gray(pixels) if palette else np.delete(pixels, (1, 2), axis=2) if gray else pixels


def gray_if_gray(pixels: np.ndarray) -> np.ndarray:
    """RGB without two of its channels where all three are the same everywhere."""
    same = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    return np.delete(pixels, (1, 2), axis=2) if same else pixels

"""What Pillow decodes: the usual formats, of 8 bits."""

import io
import struct

import numpy as np
from PIL import Image

from srgan.pictures.jpeg import decode_jpeg, jpeg_bits, whole_xmp
from srgan.pictures.metadata import Decoded, or_none
from srgan.pictures.profiles import convert_to_srgb


def decoded_from_pillow(image, pixels=None):
    """What a Pillow picture holds; its pixels are not loaded where they are given."""
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
    if pixels is None:
        image.load()
    icc = info.get("icc_profile")
    if image.mode in ("CMYK", "LAB") and icc:
        image = or_none(lambda: convert_to_srgb(image, icc)) or image
    metadata = {"icc": icc, "exif": exif, "dpi": info.get("dpi"), "xmp": xmp, "iptc": iptc, "notes": notes}
    pixels = pillow_pixels(image) if pixels is None else pixels
    return Decoded(pixels, **metadata, palette=_palette(image) if image.mode == "P" else None)


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


def decode_with_pillow(data, kind, refuse_large):
    if kind == "JPEG" and (bits := jpeg_bits(data)) > 8:
        raise ValueError(f"JPEG of {bits} bits is not supported; convert it to PNG or TIFF first")
    with Image.open(io.BytesIO(data), formats=[kind] if kind != "JPEG" else ["JPEG", "MPO"]) as image:
        refuse_large(image.width, image.height)
        decoded = decoded_from_pillow(image, decode_jpeg(data) if kind == "JPEG" else None)
    if kind == "JPEG":
        decoded.xmp = whole_xmp(data, decoded.xmp)
    if kind == "TGA" and not _tga_has_alpha(data) and decoded.pixels.shape[2] in (2, 4):
        decoded.pixels = decoded.pixels[..., :-1]
    return decoded


def _tga_has_alpha(data):
    """Whether a TGA file's alpha is one: by the number of its bits, and by its extension area where it has that."""
    if not data[17] & 15:
        return False
    if data[-18:].startswith(b"TRUEVISION-XFILE.") and (place := struct.unpack("<I", data[-26:-22])[0]):
        return data[place + 494 : place + 495] not in (b"\0", b"\1", b"\2")
    return True


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

"""BMP: channels by bit masks of any kind, of which Pillow knows some, and the profile; the rest is Pillow's."""

import struct
from collections.abc import Callable

import numpy as np

from srgan.pictures.arrays import by_masks
from srgan.pictures.metadata import Decoded
from srgan.pictures.pillow import decode_with_pillow

_MASKS, _MASKS_WITH_ALPHA = 3, 6  # numbers of compressions
_PROFILE = b"DEBM"  # an embedded profile, in Windows' header of version 5
_INCH = 0.0254


def decode_bmp(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    decoded = _masked(data, refuse_large) or decode_with_pillow(data, kind, refuse_large)
    if data[70:74] == _PROFILE:
        start, length = struct.unpack("<2I", data[126:134])
        decoded.icc = data[14 + start : 14 + start + length]
    return decoded


def _masked(data, refuse_large):
    """A picture of 16 or 32 bits a pixel whose header says which of them are red, green, blue and alpha; else None."""
    if len(data) < 70:
        return None
    start, header, width, height, _, bits, compression, _, x, y = struct.unpack("<IIiiHHIIii", data[10:46])
    if header < 40 or compression not in (_MASKS, _MASKS_WITH_ALPHA) or bits not in (16, 32) or width <= 0:
        return None
    has_alpha = header >= 56 or compression == _MASKS_WITH_ALPHA
    masks = struct.unpack("<4I", data[54:70])[: 4 if has_alpha else 3]
    if not any(masks):
        return None
    widths = [(mask // (mask & -mask)).bit_length() for mask in masks if mask]
    if not all(masks[:3]) or sum(masks) >> bits or max(widths) > 16:
        raise ValueError("its bit masks are damaged")
    refuse_large(width, abs(height))
    stride = (width * bits + 31) // 32 * 32 // bits
    if len(data) < start + stride * abs(height) * bits // 8:
        raise ValueError("it is cut off")
    values = np.frombuffer(data, f"<u{bits // 8}", stride * abs(height), start).reshape(-1, stride)[:, :width]
    values = values if height < 0 else values[::-1]
    return Decoded(by_masks(values, [mask for mask in masks if mask]), dpi=(x * _INCH, y * _INCH))

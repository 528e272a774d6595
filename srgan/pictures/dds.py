"""DDS, textures of games: what is compressed in blocks by Pillow; and what Pillow does not look at, or knows in 8 bits only."""

import struct
from collections.abc import Callable

import numpy as np
from PIL.DdsImagePlugin import D3DFMT, DXGI_FORMAT

from srgan.pictures.arrays import by_masks, with_straight_alpha
from srgan.pictures.metadata import Decoded, first_of
from srgan.pictures.pillow import decode_with_pillow

# Formats that Pillow does not know, by those of the same pixels, as DXGI numbers them and by their four characters.
_AS_PLAIN = {72: 71, 75: 74, 78: 77}  # sRGB
_MULTIPLIED = {b"DXT2": b"DXT3", b"DXT4": b"DXT5"}
_BLOCKS = {0: "BC1", 1: "BC2", 2: "BC3", 3: "BC4", 4: "BC5", 9: "BC7"}  # three numbers each, from 70 on
_BY_PILLOW = {*range(27, 30), *range(70, 81), 82, 83, 84, 97, 98, 99}
_BC6H = (94, 95, 96)
# The others' bits a pixel, and the masks of red, green, blue and alpha, or of gray.
_BGRA, _BGR = (32, 0xFF0000, 0xFF00, 0xFF, 0xFF000000), (32, 0xFF0000, 0xFF00, 0xFF)
_OF_16_BITS = 64, *(0xFFFF << 16 * channel for channel in range(4))
_MASKS = {
    **dict.fromkeys((9, 11), _OF_16_BITS),
    **dict.fromkeys((23, 24), (32, 0x3FF, 0xFFC00, 0x3FF00000, 0xC0000000)),
    **dict.fromkeys((53, 56), (16, 0xFFFF)),
    **dict.fromkeys((60, 61), (8, 0xFF)),
    85: (16, 0xF800, 0x7E0, 0x1F),
    86: (16, 0x7C00, 0x3E0, 0x1F, 0x8000),
    **dict.fromkeys((87, 90, 91), _BGRA),
    **dict.fromkeys((88, 92, 93), _BGR),
    115: (16, 0xF00, 0xF0, 0xF, 0xF000),
}
_HAS_ALPHA, _FOUR_CHARACTERS, _RGB, _LUMINANCE = 1, 4, 0x40, 0x20000  # flags of a pixel
_CUBE, _VOLUME = 0x200, 0x200000  # flags of the surface
_PREMULTIPLIED, _OPAQUE = 2, 3  # what alpha is


def decode_dds(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    """DirectDraw Surface, of its first picture."""
    if len(data) < (148 if data[84:88] == b"DX10" else 128):
        raise ValueError("it is cut off")
    code, flags, depth = data[84:88], int.from_bytes(data[112:116], "little"), int.from_bytes(data[24:28], "little")
    count, alpha_kind = 1, _PREMULTIPLIED if code in _MULTIPLIED else 0
    if code == b"DX10":
        number, dimensions, more, count, alpha_kind = struct.unpack("<5I", data[128:148])
        if number in _BC6H:
            raise ValueError("it has a high dynamic range (BC6H), which is not supported; convert it to sRGB first")
        if number in _AS_PLAIN:
            data = data[:128] + struct.pack("<I", _AS_PLAIN[number]) + data[132:]
        flags |= _CUBE * (more >> 2 & 1) | _VOLUME * (dimensions == 4)
    elif code in _MULTIPLIED:
        data = data[:84] + _MULTIPLIED[code] + data[88:]
    masks = _masks(data)
    decoded = _masked(data, masks, refuse_large) if masks else decode_with_pillow(data, kind, refuse_large)
    count *= 6 if flags & _CUBE else depth if flags & _VOLUME else 1
    decoded.notes += first_of(count, "pictures in it")
    if lost := _beyond_pixels(data):
        decoded.notes.append(f"its {' and '.join(lost)} {'are' if lost[1:] else 'is'} left out")
    if decoded.pixels.shape[2] in (2, 4):
        if alpha_kind == _PREMULTIPLIED:
            decoded.pixels = with_straight_alpha(decoded.pixels)
        elif alpha_kind == _OPAQUE:
            decoded.pixels = decoded.pixels[..., :-1]
    return decoded


def _masks(data):
    """Bits a pixel and masks of what is not compressed; None for what Pillow reads.

    Raises:
        ValueError: neither reads it.
    """
    flags, number, bits, *masks = struct.unpack("<7I", data[80:108])
    if flags & _RGB:
        masks = masks[: 4 if flags & _HAS_ALPHA and masks[3] else 3]
        widths = [(mask // (mask & -mask)).bit_length() for mask in masks if mask]
        if bits not in (8, 16, 24, 32) or not widths or max(masks) >> bits or max(widths) > 16:
            raise ValueError("its bit masks are damaged or not supported; convert it to PNG first")
        return bits, *masks
    if flags & _LUMINANCE and (bits, flags & _HAS_ALPHA) in ((16, 0), (8, _HAS_ALPHA)):
        return (8, 0xF, 0xF0) if bits == 8 else (16, 0xFFFF)
    if flags & _FOUR_CHARACTERS and data[84:88] == b"DX10":
        number = int.from_bytes(data[128:132], "little")
        if number not in _MASKS and number not in _BY_PILLOW:
            raise ValueError(
                f"DDS of the format {_name(DXGI_FORMAT, number)} is not supported; convert it to PNG first"
            )
        return _MASKS.get(number)
    if flags & _FOUR_CHARACTERS:
        if number == D3DFMT.A16B16G16R16:
            return _OF_16_BITS
        if data[84:88] not in (b"DXT1", b"DXT3", b"DXT5", b"BC4U", b"ATI1", b"BC5S", b"BC5U", b"ATI2"):
            raise ValueError(f"DDS of the format {_name(D3DFMT, number)} is not supported; convert it to PNG first")
    elif not flags & 0x20 and not flags & _LUMINANCE:
        raise ValueError(f"DDS of pixels with the flags {flags:#x} is not supported; convert it to PNG first")
    return None


def _name(formats, number):
    return formats(number).name if number in formats._value2member_map_ else str(number)


def _masked(data, masks, refuse_large):
    height, width = struct.unpack("<2I", data[12:20])
    refuse_large(width, height)
    (bits, *masks), start = masks, 148 if data[84:88] == b"DX10" else 128
    size = width * height * bits // 8
    if len(data) < start + size or not size:
        raise ValueError("it is cut off")
    values = np.frombuffer(data, np.uint8, size, start).reshape(height, width, bits // 8)
    if bits == 24:
        values = np.concatenate([values, np.zeros_like(values[..., :1])], axis=2)
    return Decoded(by_masks(np.ascontiguousarray(values).view(f"<u{values.shape[2]}")[..., 0], masks))


def _beyond_pixels(data):
    """What a DDS file has that is not written: block compression, with its name, and mipmaps."""
    flags, mipmaps, pixel_flags = (struct.unpack_from("<I", data, place)[0] for place in (8, 28, 80))
    code = data[84:88].decode("latin-1") if pixel_flags & 4 else ""
    if code == "DX10":
        code = _BLOCKS.get((int.from_bytes(data[128:132], "little") - 70) // 3, "")
    lost = [f"compression ({code})"] if code.isprintable() and code else []
    return lost + ([f"set of {mipmaps} mipmaps"] if flags & 0x20000 and mipmaps > 1 else [])

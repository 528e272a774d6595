"""Textures of games, TGA and DDS: decoded by Pillow, with what it does not look at: alpha, colour maps, further pictures."""

import struct
from collections.abc import Callable

import numpy as np

from srgan.pictures.arrays import unpremultiplied
from srgan.pictures.metadata import Decoded
from srgan.pictures.pillow import decode_with_pillow

_MAPPED = (1, 9)  # kinds of TGA whose pixels are numbers of colours

# DDS: formats that Pillow does not know, by those of the same pixels, as DXGI numbers them and by their four characters.
_AS_PLAIN = {72: 71, 75: 74, 78: 77}  # sRGB
_MULTIPLIED = {b"DXT2": b"DXT3", b"DXT4": b"DXT5"}
_BLOCKS = {0: "BC1", 1: "BC2", 2: "BC3", 3: "BC4", 4: "BC5", 9: "BC7"}  # three numbers each, from 70 on
_BC6H = (94, 95, 96)
_CUBE, _VOLUME = 0x200, 0x200000  # flags of DDS
_PREMULTIPLIED, _OPAQUE = 2, 3  # what alpha is in DDS


def decode_tga(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    """Truevision TGA, version 2.0."""
    head, attributes = bytearray(data[:18]), _tga_attributes(data)
    body = 18 + head[0]
    if head[1] and head[2] not in _MAPPED:  # a colour map that is not used, which Pillow would take for pixels
        body += int.from_bytes(head[5:7], "little") * -(-head[7] // 8)
        head[0], head[1], head[3:8] = 0, 0, bytes(5)
        data = bytes(head) + data[body:]
    elif 15 in (head[7], head[16]):  # the same as 16 without alpha
        head[7], head[16] = (16 if bits == 15 else bits for bits in (head[7], head[16]))
        data = bytes(head) + data[18:]
    decoded = decode_with_pillow(data, kind, refuse_large)
    if decoded.pixels.shape[2] in (2, 4):
        colour, alpha = decoded.pixels[..., :-1], decoded.pixels[..., -1:]
        if attributes in (0, 1, 2):
            decoded.pixels = colour
        else:
            if data[16] == 16 and data[2] in (2, 10):  # which Pillow inverts
                alpha = 255 - alpha
            colour = unpremultiplied(colour, alpha) if attributes == 4 else colour
            decoded.pixels = np.concatenate([colour, alpha], axis=2)
    return decoded


def _tga_attributes(data):
    """What a TGA file's attribute bits are: 0 to 2 no alpha, 3 alpha, 4 alpha that the colours are multiplied by."""
    if not data[17] & 15:
        return 0
    if data[-18:].startswith(b"TRUEVISION-XFILE.") and (place := struct.unpack("<I", data[-26:-22])[0]):
        return next(iter(data[place + 494 : place + 495]), 3)
    return 3


def _beyond_pixels(data):
    """What a DDS file has that is not written: block compression, with its name, and mipmaps."""
    flags, mipmaps, pixel_flags = (struct.unpack_from("<I", data, place)[0] for place in (8, 28, 80))
    code = data[84:88].decode("latin-1") if pixel_flags & 4 else ""
    if code == "DX10":
        code = _BLOCKS.get((int.from_bytes(data[128:132], "little") - 70) // 3, "")
    lost = [f"compression ({code})"] if code.isprintable() and code else []
    return lost + ([f"set of {mipmaps} mipmaps"] if flags & 0x20000 and mipmaps > 1 else [])


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
    decoded = decode_with_pillow(data, kind, refuse_large)
    count *= 6 if flags & _CUBE else depth if flags & _VOLUME else 1
    if count > 1:
        decoded.notes.append(f"the first of {count} pictures in it is taken")
    if lost := _beyond_pixels(data):
        decoded.notes.append(f"its {' and '.join(lost)} {'are' if lost[1:] else 'is'} left out")
    if decoded.pixels.shape[2] in (2, 4) and alpha_kind in (_PREMULTIPLIED, _OPAQUE):
        colour, alpha = decoded.pixels[..., :-1], decoded.pixels[..., -1:]
        is_opaque = alpha_kind == _OPAQUE
        decoded.pixels = colour if is_opaque else np.concatenate([unpremultiplied(colour, alpha), alpha], axis=2)
    return decoded

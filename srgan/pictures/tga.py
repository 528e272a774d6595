"""TGA, textures of games: decoded by Pillow, with what it does not look at: alpha, and colour maps."""

import struct
from collections.abc import Callable

import numpy as np

from srgan.pictures.arrays import unpremultiplied
from srgan.pictures.metadata import Decoded
from srgan.pictures.pillow import decode_with_pillow

_MAPPED = (1, 9)  # kinds of TGA whose pixels are numbers of colours


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

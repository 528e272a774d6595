"""JPEG XL (ISO/IEC 18181) through imagecodecs, whose decoder gives the pixels; the headers say what their colours are."""

import struct
from collections.abc import Callable

import numpy as np

from srgan.pictures.arrays import full_range, with_colours, with_straight_alpha
from srgan.pictures.boxes import boxes
from srgan.pictures.metadata import Decoded, or_none
from srgan.pictures.pillow import decode_with_pillow
from srgan.pictures.profiles import srgb_to_linear

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
CODESTREAM = b"\xff\n"

_D65, _CUSTOM, _GRAY, _XYB = 1, 2, 1, 2
_ALPHA, _SPOT_COLOUR, _BLACK, _COLOUR_FILTER = 0, 2, 4, 5  # kinds of channels
_PRIMARIES = {1: 1, 9: 9, 11: 12}  # JPEG XL's numbers by ITU-T H.273's
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def decode_jxl(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    import imagecodecs

    found = boxes(data) if data.startswith(CONTAINER) else {b"jxlc": data}
    codestream = found.get(b"jxlc") or found.get(b"jxlp", b"")[4:]
    if not codestream.startswith(CODESTREAM):
        raise ValueError("it is cut off")
    width, height, depth, colour, extra, is_animation = _header(_Bits(codestream[2:]))
    refuse_large(width, height)
    kinds = [kind for kind, _ in extra]
    if _BLACK in kinds:
        raise ValueError("its colours are coded as CMYK, which is not supported; convert it to PNG")
    if colour is None:  # a profile, which imagecodecs does not give; a JPEG that was packed losslessly has it, too
        if b"jbrd" not in found:
            raise ValueError(
                "its colour profile is compressed with the pixels, where it cannot be read; convert it to PNG"
            )
        return decode_with_pillow(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1), "JPEG", refuse_large)
    pixels = imagecodecs.jpegxl_decode(data, index=0)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"channels of the type {pixels.dtype} are not supported")
    pixels = np.atleast_3d(pixels)
    if pixels.shape[:2] != (height, width) or not 1 <= pixels.shape[2] <= 4:  # those of gray come plane by plane
        raise ValueError("channels other than gray or RGB, and alpha, are not supported")
    pixels = full_range(pixels, depth)
    if (_ALPHA, True) in extra and pixels.shape[2] in (2, 4):
        pixels = with_straight_alpha(pixels)
    if (compressed := found.get(b"brob", b"")) and compressed[:4] not in found:
        found[compressed[:4]] = or_none(lambda: imagecodecs.brotli_decode(compressed[4:])) or b""
    exif = found.get(b"Exif", b"")[4:]
    notes = ["its first frame is taken"] if is_animation else []
    if _SPOT_COLOUR in kinds:
        notes.append("its spot colours are laid over the others")
    if left_out := len(kinds) - kinds.count(_SPOT_COLOUR) - (_ALPHA in kinds):
        count = (1 if pixels.shape[2] < 3 else 3) + len(kinds)
        notes.append(f"{left_out} of its {count} channels, neither colour nor alpha, are left out")
    return Decoded(pixels, orientation=1, exif=exif, xmp=found.get(b"xml "), colour=colour, notes=notes)


def encode_jxl(pixels: np.ndarray, quality: int, lossless: bool, exif: bytes | None, xmp: bytes | None) -> bytes:
    """The file's bytes; `pixels` are sRGB, as in a `Picture`, `quality` is 1 to 100.

    imagecodecs marks samples of 16 bits as linear, so they are converted to linear light.
    """
    import imagecodecs

    distance = 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25
    if pixels.dtype == np.uint16:
        pixels = with_colours(pixels, srgb_to_linear)
    pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    data = imagecodecs.jpegxl_encode(pixels, **({"lossless": True} if lossless else {"distance": distance}))
    if not data.startswith(CONTAINER):
        data = CONTAINER + _box(b"ftyp", b"jxl \0\0\0\0jxl ") + _box(b"jxlc", data)
    return bytes(data) + (_box(b"Exif", b"\0\0\0\0" + exif) if exif else b"") + (_box(b"xml ", xmp) if xmp else b"")


def _box(name, content):
    return struct.pack(">I", 8 + len(content)) + name + content


class _Bits:
    """Reads the codestream's numbers, from the lowest bit of each byte on."""

    def __init__(self, data):
        self._bits, self._place, self._length = int.from_bytes(data[:4096], "little"), 0, 8 * len(data)

    def number(self, bits):
        if self._place + bits > self._length:
            raise ValueError("it is cut off")
        value = self._bits >> self._place & (1 << bits) - 1
        self._place += bits
        return value

    def one_of(self, *choices):
        """U32: one of four numbers, each plain or an offset and the bits that are added."""
        choice = choices[self.number(2)]
        return choice if isinstance(choice, int) else choice[0] + self.number(choice[1])

    def enum(self):
        return self.one_of(0, 1, (2, 4), (18, 6))


def _header(bits):
    """Width, height, the bits of a sample, the colours as PNG says them (None: by a profile), its other channels, and
    whether there are frames."""
    width, height = _size(bits)
    if bits.number(1):  # all as usual
        return width, height, 8, {}, [], False
    is_animation = False
    if bits.number(1):
        orientation = bits.number(3)
        width, height = (height, width) if orientation >= 4 else (width, height)
        if bits.number(1):
            _size(bits)
        if bits.number(1):
            _preview(bits)
        if is_animation := bool(bits.number(1)):
            bits.one_of(100, 1000, (1, 10), (1, 30))
            bits.one_of(1, 1001, (1, 8), (1, 10))
            bits.one_of(0, (0, 3), (0, 16), (0, 32))
            bits.number(1)
    depth = _bit_depth(bits)
    bits.number(1)
    extra = [_extra_channel(bits) for _ in range(bits.one_of(0, 1, (2, 4), (1, 12)))]
    bits.number(1)  # whether it is coded as XYB
    return width, height, depth, _colours(bits), extra, is_animation


def _size(bits):
    def side(small):
        return 8 * (1 + bits.number(5)) if small else bits.one_of((1, 9), (1, 13), (1, 18), (1, 30))

    small = bits.number(1)
    height = side(small)
    ratio = bits.number(3)
    if not ratio:
        return side(small), height
    above, below = _RATIOS[ratio - 1]
    return height * above // below, height


def _preview(bits):
    eighths = bits.number(1)
    choices = ((16, 32, (1, 5), (33, 9)), ((1, 6), (65, 8), (321, 10), (1345, 12)))[not eighths]
    bits.one_of(*choices)
    if not bits.number(3):
        bits.one_of(*choices)


def _bit_depth(bits):
    if bits.number(1):  # floats
        depth = bits.one_of(32, 16, 24, (1, 6))
        bits.number(4)
        return depth
    return bits.one_of(8, 10, 12, (1, 6))


def _extra_channel(bits):
    """Its kind, and whether it is alpha that the colours are multiplied by."""
    if bits.number(1):
        return _ALPHA, False
    kind = bits.enum()
    _bit_depth(bits)
    bits.one_of(0, 3, 4, (1, 3))
    for _ in range(bits.one_of(0, (0, 4), (16, 5), (48, 10))):
        bits.number(8)
    if kind == _SPOT_COLOUR:
        bits.number(64)
    elif kind == _COLOUR_FILTER:
        bits.one_of(1, (0, 2), (3, 4), (19, 8))
    return kind, kind == _ALPHA and bool(bits.number(1))


def _colours(bits):
    if bits.number(1):
        return {}
    has_icc, space = bits.number(1), bits.enum()
    if has_icc:
        return None
    if space == _XYB:
        raise ValueError("its colours are coded as XYB, which is not supported")
    white, primaries = bits.enum(), 1
    if white == _CUSTOM:
        raise ValueError("its white point is not supported")
    if space != _GRAY:
        primaries = bits.enum()
    if white != _D65 or primaries not in _PRIMARIES:
        raise ValueError("its primaries are not supported")
    if bits.number(1):
        gamma = round(bits.number(24) / 100)  # in 1e-7, and PNG's in 1e-5
        if primaries != 1:
            raise ValueError("its primaries are not supported")
        return {b"gAMA": struct.pack(">I", gamma)}
    transfer = bits.enum()
    return {} if (primaries, transfer) == (1, 13) else {b"cICP": bytes([_PRIMARIES[primaries], transfer, 0, 1])}

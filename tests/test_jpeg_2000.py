"""JPEG 2000: what the boxes say of the channels is obeyed, or the file is refused."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from srgan.errors import SRGANError
from srgan.pictures import read_picture

COLOURS = [(200, 40, 40), (40, 160, 60), (50, 60, 200), (220, 200, 60)]
BARS = np.repeat(np.repeat(np.array([COLOURS], np.uint8), 16, axis=1), 24, axis=0)
INDICES = np.repeat(np.arange(4, dtype=np.uint8), 16)[None].repeat(24, 0)
SRGB = 16


def box(name, content):
    return struct.pack(">I", 8 + len(content)) + name + content


def jp2(values, *more, space=SRGB, icc=None, after=b""):
    """A file whose codestream holds `values`, with more boxes in its header."""
    code = imagecodecs.jpeg2k_encode(values, codecformat="j2k", level=0, mct=False)
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    header = struct.pack(">IIHBBBB", height, width, channels, 8 * values.itemsize - 1, 7, 0, 0)
    colr = b"\2\0\0" + icc if icc else b"\1\0\0" + struct.pack(">I", space)
    header = box(b"jp2h", box(b"ihdr", header) + box(b"colr", colr) + b"".join(more))
    return box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + header + after + box(b"jp2c", code)


def definitions(*channels):
    return box(b"cdef", struct.pack(">H", len(channels)) + b"".join(struct.pack(">3H", *each) for each in channels))


def palette(dtype):
    values = np.array(COLOURS).astype(dtype) * (257 if dtype == ">u2" else 1)
    bits = bytes([8 * values.itemsize - 1]) * 3
    mapping = b"".join(struct.pack(">HBB", 0, 1, channel) for channel in range(3))
    return box(b"pclr", struct.pack(">HB", 4, 3) + bits + values.tobytes()) + box(b"cmap", mapping)


def deep(values, dtype):
    return values.astype(dtype) * (257 if dtype == np.uint16 else 1)


def assert_bars(data, alpha=None, tolerance=1):
    pixels = read_picture(data).pixels
    pixels = np.rint(pixels / (257 if pixels.dtype == np.uint16 else 1))
    assert np.abs(pixels[..., :3] - BARS).max() <= tolerance
    assert pixels.shape[2] == 3 if alpha is None else (pixels[..., 3] == alpha).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_are_what_the_file_says(dtype):
    assert_bars(jp2(deep(BARS[..., ::-1], dtype), definitions((0, 0, 3), (1, 0, 2), (2, 0, 1))))
    ycc = np.asarray(Image.fromarray(BARS).convert("YCbCr"))
    assert_bars(jp2(deep(ycc, dtype), space=18), tolerance=3)
    alpha = np.full((24, 64), 128, np.uint8)
    colours = [(channel, 0, channel + 1) for channel in range(3)]
    assert_bars(jp2(deep(np.dstack([BARS, alpha]), dtype), definitions(*colours, (3, 1, 0))), 128)
    multiplied = np.rint(BARS * (128 / 255)).astype(np.uint8)
    assert_bars(jp2(deep(np.dstack([multiplied, alpha]), dtype), definitions(*colours, (3, 2, 0))), 128)
    data = jp2(deep(np.dstack([BARS, alpha]), dtype), definitions(*colours, (3, 65535, 65535)))
    assert_bars(data)
    assert read_picture(data).note == "one of its 4 channels, neither colour nor alpha, left out"
    ink = np.dstack([255 - BARS, np.zeros((24, 64), np.uint8)])
    assert_bars(jp2(deep(ink, dtype), space=12))


@pytest.mark.parametrize("dtype", ["u1", ">u2"])
def test_palettes(dtype):
    assert_bars(jp2(INDICES, palette(dtype)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("space", [1, 3, 11, 14, 20, 21, 24])
def test_other_colour_spaces_are_refused(space, dtype):
    with pytest.raises(SRGANError, match="of this kind is not supported"):
        read_picture(jp2(deep(BARS, dtype), space=space))


@pytest.mark.parametrize("bits", [1, 2, 4, 6])
def test_few_bits_reach_from_black_to_white(bits):
    values = BARS >> (8 - bits)
    data = imagecodecs.jpeg2k_encode(values, level=0, codecformat="jp2", bitspersample=bits)
    np.testing.assert_array_equal(read_picture(data).pixels, np.rint(values * (255 / (2**bits - 1))))


def test_metadata_are_read():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Nikon"
    uuids = box(b"uuid", b"JpgTiffExif->JP2" + exif.tobytes().removeprefix(b"Exif\0\0"))
    uuids += box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x:xmpmeta/>")
    uuids += box(b"uuid", bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38") + b"\x1c\2\x19\0\3cat")
    picture = read_picture(jp2(BARS, after=uuids))
    assert picture.exif[0x010F] == "Nikon" and picture.pixels.shape == (64, 24, 3)
    assert picture.xmp == b"<x:xmpmeta/>" and picture.iptc.endswith(b"cat")
    assert Image.open(io.BytesIO(jp2(BARS))).size == (64, 24)  # that Pillow agrees with this test's files

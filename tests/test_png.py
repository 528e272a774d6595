"""PNG: what the pixels need and the file has not is an error or is said."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.pictures import read_picture

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_KINDS = [(0, depth) for depth in (1, 2, 4, 8, 16)] + [(3, depth) for depth in (1, 2, 4, 8)]
_KINDS += [(kind, depth) for kind in (2, 4, 6) for depth in (8, 16)]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows, width, height, depth, colour_type, extra=b"", interlace=0):
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


def packed(values, depth):
    """Rows of integers (h, w, channels) as the file has them, each without a filter."""
    rows = values.reshape(len(values), -1)
    if depth >= 8:
        return b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in rows)
    bits = (rows[..., None] >> np.arange(depth)[::-1]) & 1
    return b"".join(b"\0" + np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in bits)


def in_passes(values, depth):
    parts = [values[top::down, left::across] for left, top, across, down in _PASSES]
    return b"".join(packed(part, depth) for part in parts if part.size)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (13, 11)])
@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("colour_type", "depth"), _KINDS)
def test_every_kind_is_read_and_refused_where_rows_are_missing(colour_type, depth, interlace, size):
    random = np.random.default_rng(1)
    values = random.integers(0, 2**depth, (*size, _CHANNELS[colour_type]))
    extra, wanted = b"", values * (1 if depth == 16 else 255) // (1 if depth == 16 else 2**depth - 1)
    if colour_type == 3:
        palette = random.integers(0, 256, (2**depth, 4), dtype=np.uint8)
        extra = chunk(b"PLTE", palette[:, :3].tobytes()) + chunk(b"tRNS", palette[:, 3].tobytes())
        wanted = palette[values[..., 0]]
    rows = (in_passes if interlace else packed)(values, depth)
    pixels = read_picture(png(rows, *size[::-1], depth, colour_type, extra, interlace)).pixels
    np.testing.assert_array_equal(
        pixels[..., [0] * 3 + [-1]] if pixels.shape[2] == 2 < wanted.shape[2] else pixels, wanted
    )
    with pytest.raises(SRGANError, match="cannot be read as a picture"):
        read_picture(png(rows[:-1], *size[::-1], depth, colour_type, extra, interlace))


def test_more_data_than_pixels_and_what_follows_it_do_no_harm():
    pixels = photograph(9, 12)
    rows = packed(pixels, 8)
    np.testing.assert_array_equal(read_picture(png(rows * 2, 12, 9, 8, 2)).pixels, pixels)
    data = png(rows, 12, 9, 8, 2)
    end = data.index(b"IDAT") - 4
    split = [chunk(b"IDAT", zlib.compress(rows)[start : start + 7]) for start in range(0, len(zlib.compress(rows)), 7)]
    again = data[:end] + b"".join(split) + chunk(b"IDAT", b"more") + b"and more"  # without an end
    np.testing.assert_array_equal(read_picture(again).pixels, pixels)


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("size", [(1024, 1024, 3), (700, 1500), (1, 1_200_000)])
def test_no_row_of_what_compresses_well_is_missing(size, level):
    pixels = np.zeros(size, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level)
    assert not read_picture(file.getvalue()).pixels.any()


@pytest.mark.parametrize("depth", [2, 8])
def test_of_a_transparent_colour_only_the_bits_of_a_sample_count(depth):
    values = np.random.default_rng(0).integers(0, 2**depth, (9, 9, 1))
    key = int(values[4, 4, 0])
    extra = chunk(b"tRNS", struct.pack(">H", 0xFF00 & ~(2**depth - 1) | key))
    alpha = read_picture(png(packed(values, depth), 9, 9, depth, 0, extra)).pixels[..., 1]
    np.testing.assert_array_equal(alpha == 0, values[..., 0] == key)


@pytest.mark.parametrize("extra", [b"", chunk(b"PLTE", b""), chunk(b"PLTE", b"\1\2")])
def test_a_palette_that_is_missing_is_an_error(extra):
    with pytest.raises(SRGANError, match="it has no palette"):
        read_picture(png(packed(np.zeros((9, 9, 1), int), 8), 9, 9, 8, 3, extra))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TGA"])
def test_pixels_beyond_the_palette_are_said(kind):
    image = Image.fromarray(np.arange(16, dtype=np.uint8).repeat(9).reshape(12, 12))
    image.putpalette(bytes(range(60, 108)))
    file = io.BytesIO()
    image.save(file, kind)
    assert read_picture(file.getvalue()).note == ""
    if kind == "PNG":
        data = png(packed(np.asarray(image)[..., None], 8), 12, 12, 8, 3, chunk(b"PLTE", bytes(range(60, 90))))
    else:
        data = bytearray(file.getvalue())
        last = data.rindex(np.asarray(image)[-1].tobytes() if kind == "TGA" else np.asarray(image)[0].tobytes())
        data[last : last + 4] = b"\xff" * 4
    note = read_picture(bytes(data)).note
    assert note == f"{54 if kind == 'PNG' else 4} pixels have no colour in its palette and are black"

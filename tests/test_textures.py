"""TGA, DDS and BMP as games and their tools write them: what Pillow does not look at."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.pictures import read_picture

PIXELS = photograph(33, 47)
ALPHA = photograph(33, 47, top=60)[..., :1]
WITH_ALPHA = np.concatenate([PIXELS, ALPHA], axis=2)
R, G, B, A = np.moveaxis(WITH_ALPHA.astype(np.uint32), -1, 0)


def bits_of(values, bits):
    """8 bits cut down to fewer, as 8 bits again."""
    top = 2**bits - 1
    return ((values.astype(np.uint32) >> (8 - bits)) * 255 + top // 2) // top


def tga(kind, bits, body, *, attributes=0, colours=0, colour_bits=0, palette=b"", name=b""):
    mapped = (1, kind, 0, colours, colour_bits) if colours else (0, kind, 0, 0, 0)
    head = struct.pack("<BBBHHBHHHHBB", len(name), *mapped, 0, 0, 47, 33, bits, attributes | 0x20)
    return head + name + palette + body


@pytest.mark.parametrize(("kind", "bits"), [(2, 24), (2, 32), (3, 8), (3, 16)])
def test_a_colour_map_that_a_tga_does_not_use_is_no_part_of_its_pixels(kind, bits):
    pixels = {24: PIXELS, 32: WITH_ALPHA, 8: PIXELS[..., :1], 16: WITH_ALPHA[..., [0, 3]]}[bits]
    stored = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if kind == 2 else pixels
    attributes = 8 if bits in (16, 32) else 0
    for colours, name in ((0, b""), (0, b"a name"), (16, b""), (256, b"a name")):
        palette = bytes(range(256)) * 3
        options = {"colours": colours, "colour_bits": 24, "palette": palette[: 3 * colours], "name": name}
        data = tga(kind, bits, stored.tobytes(), attributes=attributes, **options)
        np.testing.assert_array_equal(read_picture(data).pixels, pixels)


def test_a_tga_of_15_bits_is_one_of_16_without_alpha():
    words = (R >> 3 << 10 | G >> 3 << 5 | B >> 3 | 0x8000).astype("<u2")
    for bits in (15, 16):
        pixels = read_picture(tga(2, bits, words.tobytes())).pixels
        assert pixels.shape[2] == 3 and np.abs(pixels - bits_of(PIXELS, 5).astype(int)).max() <= 1
    numbers = np.arange(33 * 47, dtype=np.uint8).reshape(33, 47) % 16
    palette, options = words[0, :16], {"colours": 16, "colour_bits": 15}
    pixels = read_picture(tga(1, 8, numbers.tobytes(), palette=palette.tobytes(), **options)).pixels
    assert np.abs(pixels - bits_of(PIXELS[0, :16], 5)[numbers].astype(int)).max() <= 1


def test_icons_and_cursors_are_no_tga():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "ICO")
    for kind in (1, 2):
        data = bytearray(file.getvalue())
        data[2] = kind
        for size in (8, 16, 24, 32):  # of the picture in it, in units of 64 KiB
            data[16] = size
            with pytest.raises(SRGANError, match="cannot be read as a picture"):
                read_picture(bytes(data))


def bmp(bits, body, masks, *, header=108, compression=3, height=33):
    info = struct.pack("<IiiHHIIiiII", header, 47, height, 1, bits, compression, len(body), 11811, 11811, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    info = info.ljust(header, b"\0") if header > 40 else info
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body


def rows_of(values, kind):
    padded = np.pad(values.astype(kind), ((0, 0), (0, 1 if kind == "<u2" else 0)))
    return padded[::-1].tobytes()


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        ("<u2", ((4, 8), (4, 4), (4, 0), (4, 12))),
        ("<u2", ((5, 10), (5, 5), (5, 0), (1, 15))),
        ("<u2", ((5, 11), (6, 5), (5, 0))),
        ("<u2", ((3, 5), (3, 2), (2, 0))),
        ("<u4", ((8, 16), (8, 8), (8, 0), (8, 24))),
        ("<u4", ((8, 0), (8, 8), (8, 16), (8, 24))),
        ("<u4", ((8, 8), (8, 16), (8, 24), (8, 0))),
        ("<u4", ((8, 24), (8, 16), (8, 8))),
    ],
)
def test_channels_of_a_bmp_by_masks_of_any_kind(kind, layout):
    words, masks = np.zeros((33, 47), np.uint32), []
    for values, (bits, low) in zip((R, G, B, A), layout):
        words |= values >> (8 - bits) << low
        masks.append((2**bits - 1) << low)
    wanted = np.stack([bits_of(v, bits) for v, (bits, _) in zip((R, G, B, A), layout)], axis=-1)
    for header, compression in ((108, 3), (124, 3), (56, 3), (40, 6 if len(masks) == 4 else 3)):
        data = bmp(8 * int(kind[2]), rows_of(words, kind), masks, header=header, compression=compression)
        picture = read_picture(data)
        np.testing.assert_array_equal(picture.pixels, wanted)
        assert picture.dpi == pytest.approx((300, 300), abs=0.1)
    below = bmp(8 * int(kind[2]), rows_of(words[::-1], kind), masks, height=-33)
    np.testing.assert_array_equal(read_picture(below).pixels, wanted)
    with pytest.raises(SRGANError, match="cut off"):
        read_picture(below[:-9])


def test_a_bmp_of_10_bits_keeps_them():
    deep = np.moveaxis(PIXELS, -1, 0).astype(np.uint32) * 4 + 3
    words = deep[0] << 20 | deep[1] << 10 | deep[2] | 3 << 30
    data = bmp(32, rows_of(words, "<u4"), (0x3FF << 20, 0x3FF << 10, 0x3FF, 3 << 30))
    pixels = read_picture(data).pixels
    np.testing.assert_array_equal(pixels[..., :3], np.rint(np.moveaxis(deep, 0, -1) * (65535 / 1023)))
    assert (pixels[..., 3] == 65535).all()


@pytest.mark.parametrize(
    "masks", [(0, 0xFF00, 0xFF), (0xFF0000, 0xFF0000, 0xFF0000, 0xFF000000), (0xFFFFFF00, 0xFF, 0xFF)]
)
def test_masks_that_cannot_be_are_an_error(masks):
    with pytest.raises(SRGANError, match="its bit masks are damaged"):
        read_picture(bmp(32, rows_of(R, "<u4"), masks))


def dds(code, body, *, further=b"", flags=0, depth=0, width=48, height=36):
    head = struct.pack("<7I", 124, 0x1007, height, width, 0, depth, 0) + bytes(44)
    return (
        b"DDS "
        + head
        + struct.pack("<2I4s5I", 32, 4, code, 0, 0, 0, 0, 0)
        + struct.pack("<5I", 0x1000, flags, 0, 0, 0)
        + further
        + body
    )


def of_dx10(number, body, *, dimensions=3, more=0, count=1, alpha=0):
    return dds(b"DX10", body, further=struct.pack("<5I", number, dimensions, more, count, alpha))


BLOCKS = np.random.default_rng(0).integers(0, 256, 36 * 48, np.uint8).tobytes()


@pytest.mark.parametrize(
    ("srgb", "plain", "size"), [(72, 71, 8), (75, 74, 16), (78, 77, 16), (99, 98, 16), (29, 28, 64)]
)
def test_dds_of_srgb_are_read_like_the_others(srgb, plain, size):
    body = BLOCKS * 4 if size == 64 else BLOCKS[: 12 * 9 * size]
    np.testing.assert_array_equal(read_picture(of_dx10(srgb, body)).pixels, read_picture(of_dx10(plain, body)).pixels)


def test_alpha_of_a_dds_is_what_it_says():
    body = np.random.default_rng(0).integers(0, 256, (36, 48, 4), np.uint8)
    colour, alpha = body[..., :3].astype(int), np.maximum(body[..., 3:].astype(int), 1)
    for kind in (0, 1, 4):
        np.testing.assert_array_equal(read_picture(of_dx10(28, body.tobytes(), alpha=kind)).pixels, body)
    divided = read_picture(of_dx10(28, body.tobytes(), alpha=2)).pixels
    wanted = np.where(body[..., 3:] > 0, np.minimum(colour * 255 / alpha, 255), colour)
    assert np.abs(divided[..., :3] - wanted).max() <= 1
    np.testing.assert_array_equal(read_picture(of_dx10(28, body.tobytes(), alpha=3)).pixels, body[..., :3])
    for multiplied, plain in ((b"DXT2", b"DXT3"), (b"DXT4", b"DXT5")):
        found, stored = (read_picture(dds(code, BLOCKS)).pixels for code in (multiplied, plain))
        np.testing.assert_array_equal(found[..., 3], stored[..., 3])
        half = (stored[..., 3] > 100) & (stored[..., 3] < 150)
        assert (found[half][:, :3] >= stored[half][:, :3]).all() and (found[half] > stored[half]).any()


def test_what_a_dds_holds_beside_its_first_picture_is_said():
    first, block = "the first of {} pictures in it is taken; ", "its compression ({}) is left out"
    for data, note in (
        (dds(b"DXT1", BLOCKS), block.format("DXT1")),
        (dds(b"DXT1", BLOCKS * 6, flags=0xFE00), first.format(6) + block.format("DXT1")),
        (dds(b"DXT1", BLOCKS * 4, flags=0x200000, depth=4), first.format(4) + block.format("DXT1")),
        (of_dx10(71, BLOCKS * 4, count=4), first.format(4) + block.format("BC1")),
        (of_dx10(72, BLOCKS * 6, more=4), first.format(6) + block.format("BC1")),
        (of_dx10(99, BLOCKS), block.format("BC7")),
        (of_dx10(28, BLOCKS * 4), ""),
    ):
        assert read_picture(data).note == note


@pytest.mark.parametrize("number", [95, 96])
def test_dds_of_a_high_dynamic_range_are_refused(number):
    with pytest.raises(SRGANError, match="a high dynamic range .BC6H., which is not supported"):
        read_picture(of_dx10(number, BLOCKS))


def test_further_pictures_in_a_pnm_are_said():
    for one in (
        b"P4\n9 7\n" + bytes(14),
        b"P5 9 7 255\n" + bytes(63),
        b"P6 9 7 255\n" + bytes(189),
        b"P6 9 7 1000\n" + bytes(378),
    ):
        assert read_picture(one).note == "" == read_picture(one + b"\n").note
        assert read_picture(one * 2).note == "the first of the pictures in it is taken"


def packed(widths, kind, channels=(R, G, B, A)):
    """Channels of so many bits in one number a pixel, from the lowest bit on, and what they are as they are read."""
    words, read, low, deep = np.zeros((33, 47), kind), [], 0, max(widths) > 8
    for values, bits in zip(channels, widths):
        values, top = values.astype(np.uint64) * 257 >> (16 - bits), 2**bits - 1
        words |= (values << low).astype(kind)
        full = 65535 if bits > 8 else 255
        read.append((values * full + top // 2) // top * (257 if deep and bits <= 8 else 1))
        low += bits
    return words, np.stack(read, axis=-1)


@pytest.mark.parametrize(
    ("number", "widths", "kind", "order"),
    [
        (11, (16, 16, 16, 16), np.uint64, "rgba"),
        (24, (10, 10, 10, 2), np.uint32, "rgba"),
        (56, (16,), np.uint16, "g"),
        (61, (8,), np.uint8, "g"),
        (85, (5, 6, 5), np.uint16, "bgr"),
        (86, (5, 5, 5, 1), np.uint16, "bgra"),
        (87, (8, 8, 8, 8), np.uint32, "bgra"),
        (91, (8, 8, 8, 8), np.uint32, "bgra"),
        (88, (8, 8, 8), np.uint32, "bgr"),
        (115, (4, 4, 4, 4), np.uint16, "bgra"),
    ],
)
def test_dds_of_pixels_that_are_not_compressed(number, widths, kind, order):
    words, wanted = packed(widths, kind, [{"r": R, "g": G, "b": B, "a": A}[name] for name in order])
    wanted = wanted[..., [order.index(name) for name in ("rgba" if len(order) > 2 else "g") if name in order]]
    data = dds(b"DX10", words.tobytes(), further=struct.pack("<5I", number, 3, 0, 1, 0), width=47, height=33)
    pixels = read_picture(data).pixels
    np.testing.assert_array_equal(pixels, wanted)
    assert pixels.dtype == (np.uint16 if max(widths) > 8 else np.uint8)
    with pytest.raises(SRGANError, match="cut off"):
        read_picture(data[:-1])


@pytest.mark.parametrize(
    ("flags", "bits", "masks", "channels"),
    [
        (0x41, 32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000), 4),
        (0x41, 16, (0xF00, 0xF0, 0xF, 0xF000), 4),
        (0x40, 16, (0xF800, 0x7E0, 0x1F, 0), 3),
        (0x40, 8, (0xE0, 0x1C, 3, 0), 3),
        (0x40, 24, (0xFF, 0xFF00, 0xFF0000, 0), 3),
        (0x40, 32, (0xFFFF, 0xFFFF0000, 0, 0), 3),
        (0x20000, 16, (0xFFFF, 0, 0, 0), 1),
        (0x20001, 8, (0xF, 0, 0, 0xF0), 2),
    ],
)
def test_dds_by_masks(flags, bits, masks, channels):
    body = np.random.default_rng(0).integers(0, 256, (33, 47, bits // 8), np.uint8)
    data = bytearray(dds(bytes(4), body.tobytes(), width=47, height=33))
    data[80:108] = struct.pack("<II5I", flags, 0, bits, *masks)
    pixels = read_picture(bytes(data)).pixels
    words = sum(body[..., place].astype(np.int64) << 8 * place for place in range(bits // 8))
    masks = masks[:3] if channels == 3 else masks if channels == 4 else (masks[0], masks[3])[:channels]
    low = [(mask & -mask).bit_length() - 1 if mask else 0 for mask in masks]
    wanted = [(words & mask) >> place if mask else words * 0 for mask, place in zip(masks, low)]
    tops = [max(1, mask >> place) for mask, place in zip(masks, low)]
    assert pixels.shape[2] == channels
    assert np.abs(pixels / np.iinfo(pixels.dtype).max - np.stack(wanted, -1) / tops).max() <= 0.5 / 255


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (of_dx10(2, BLOCKS), "the format R32G32B32A32_FLOAT"),
        (of_dx10(10, BLOCKS), "the format R16G16B16A16_FLOAT"),
        (of_dx10(65, BLOCKS), "the format A8_UNORM"),
        (of_dx10(81, BLOCKS), "the format BC4_SNORM"),
        (of_dx10(4000, BLOCKS), "the format 4000"),
        (dds(b"YUY2", BLOCKS), "the format YUY2"),
        (dds(b"BC4S", BLOCKS), "the format BC4S"),
        (dds(struct.pack("<I", 113), BLOCKS), "the format A16B16G16R16F"),
        (dds(b"DXT1", BLOCKS)[:80] + struct.pack("<I", 2) + dds(b"DXT1", BLOCKS)[84:], "pixels with the flags 0x2"),
    ],
)
def test_dds_that_are_refused_are_named(data, name):
    with pytest.raises(SRGANError, match=rf"\(DDS of {name} is not supported; convert it to PNG first\)"):
        read_picture(data)

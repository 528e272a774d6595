"""TIFF: every kind that tifffile writes is read right or refused; damage is an error; the picture, not its thumbnail."""

import io
import struct

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.pictures import read_picture, size_of

COLOURS = [(200, 40, 40), (40, 160, 60), (50, 60, 200), (220, 200, 60)]
BARS = np.repeat(np.repeat(np.array([COLOURS], np.uint8), 16, axis=1), 24, axis=0)
LOSSY = {"JPEG", "JPEG_LOSSY", "WEBP", "WEBP_DEPRECATED", "JPEGXR", "JPEGXR_NDPI", "JPEG_2000_LOSSY"}


def written(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def in_8_bits(picture):
    pixels = picture.pixels
    return pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)


def cases():
    """What tifffile can write of `BARS`: name, file, the values that were written, and how many bits they have."""
    types = {"uint8": 1, "uint16": 257, "uint32": 16843009, "float32": 1 / 255, "int16": 100, "bool": None}
    for photometric in tifffile.PHOTOMETRIC:
        for planar in ("contig", "separate"):
            for name, factor in types.items():
                for channels in (1, 3, 4):
                    values = np.dstack([BARS, BARS[..., 1]])[..., :channels] if channels > 1 else BARS[..., 0]
                    values = values > 100 if factor is None else (values * float(factor)).astype(name)
                    content = values.transpose(2, 0, 1) if planar == "separate" and channels > 1 else values
                    options = {"photometric": photometric, "planarconfig": planar if channels > 1 else None}
                    yield f"{photometric.name}-{planar}-{name}-{channels}", content, options, values


def as_decoded(photometric, values):
    """8 bits of RGB or gray, worked out here from the values; None: to be refused or left to the other tests."""
    top = {"uint8": 255, "uint16": 65535, "bool": 1}.get(str(values.dtype))
    if top is None or photometric not in ("MINISBLACK", "MINISWHITE", "RGB", "SEPARATED", "YCBCR"):
        return None
    share = values.astype(float) / top
    if photometric in ("MINISBLACK", "MINISWHITE"):
        share = share[..., None] if photometric == "MINISBLACK" else 1 - share[..., None]
    elif photometric == "SEPARATED":
        share = (1 - share[..., :3]) * (1 - share[..., 3:4])
    elif photometric == "YCBCR":
        y, cb, cr = np.moveaxis(share[..., :3] - [0, 128 / 255, 128 / 255], -1, 0)
        share = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.clip(np.rint(share * 255), 0, 255)


@pytest.mark.parametrize("compression", tifffile.COMPRESSION, ids=lambda value: value.name)
def test_whatever_tifffile_writes_is_read_right_or_refused(compression):
    right = 0
    for name, content, options, values in cases():
        try:
            data = written(content, compression=compression, **options)
        except Exception:  # there is no such file
            continue
        try:
            found = in_8_bits(read_picture(data)).astype(int)
        except SRGANError:
            continue
        photometric = options["photometric"].name
        if photometric in ("CIELAB", "ICCLAB"):
            continue
        expected = as_decoded(photometric, values)
        assert expected is not None, f"{name} was not refused"
        assert found.shape[2] in (expected.shape[2], 3), name
        difference = np.abs(found[..., : expected.shape[2]] - expected)[:, 4::8]  # away from the edges
        assert difference.max() <= (16 if compression.name in LOSSY else 2), name
        right += 1
    if compression.name in ("NONE", "LZW", "ADOBE_DEFLATE", "ZSTD", "LZMA", "PACKBITS", "PNG", "JPEGXL", "JPEG2000"):
        assert right >= 10


@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_that_of_profiles(bits):
    pixels = photograph(40, 60)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(pixels), srgb, lab, outputMode="LAB")
    expected = np.asarray(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")).astype(int)
    light, *signed = np.moveaxis(np.asarray(image), -1, 0)
    signed = [band.view(np.int8) for band in signed]
    if bits == 8:
        cielab = np.stack([light, *(band.view(np.uint8) for band in signed)], axis=-1)
        icclab = np.stack([light, *((band.astype(int) + 128).astype(np.uint8) for band in signed)], axis=-1)
    else:
        cielab = np.stack(
            [light * np.uint16(257), *((b.astype(np.int16) * 256).view(np.uint16) for b in signed)], axis=-1
        )
        icclab = np.stack([light * 256.0, *((b.astype(int) + 128) * 256 for b in signed)], axis=-1).astype(np.uint16)
    for content, photometric in ((cielab, "cielab"), (icclab, "icclab")):
        found = in_8_bits(read_picture(written(content, photometric=photometric))).astype(int)
        assert (
            np.abs(found - expected).max() <= 4 and (np.abs(found - expected) > 2).mean() < 0.001
        )  # lcms interpolates
        if bits == 8:  # a JPEG of Lab, which programs write in different ways
            with pytest.raises(SRGANError, match="LAB of 8 bits, compressed as JPEG, is not supported"):
                read_picture(written(content, photometric=photometric, compression="jpeg"))


def test_cmyk_is_the_same_in_every_container():
    ink = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    image = Image.frombytes("CMYK", (30, 20), ink.tobytes())
    profile = pyvips.Image.black(1, 1, bands=3).copy(interpretation="srgb").icc_export(output_profile="cmyk")
    for icc in (None, profile.get("icc-profile-data")):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=100, subsampling=0, **({"icc_profile": icc} if icc else {}))
        jpeg = read_picture(file.getvalue()).pixels.astype(int)
        again = np.asarray(Image.open(file))
        for data in (written(again, photometric="separated", iccprofile=icc),
                     written(again.astype(np.uint16) * 257, photometric="separated", iccprofile=icc)):  # fmt: skip
            assert np.abs(in_8_bits(read_picture(data)).astype(int) - jpeg).max() <= 2
            assert read_picture(data).note == "its CMYK becomes RGB"
    bad = written(again, photometric="separated", iccprofile=b"bad" * 50)
    assert read_picture(bad).note.startswith("its CMYK becomes RGB; its colour profile is damaged")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(bits):
    indices = np.random.default_rng(bits).integers(0, 2**bits, (17, 23), dtype=np.uint8)
    colours = np.random.default_rng(0).integers(0, 65536, (3, 2**bits), dtype=np.uint16)
    if bits == 8:
        data = written(indices, photometric="palette", colormap=colours)
    else:
        image = Image.fromarray(indices, "P")
        image.putpalette((colours // 257).astype(np.uint8).T.tobytes())
        file = io.BytesIO()
        image.save(file, "TIFF")
        data = file.getvalue()
    expected = colours.T[indices] / 257
    assert np.abs(read_picture(data).pixels - expected).max() < 2


def test_premultiplied_alpha_is_divided_out():
    alpha = np.linspace(0, 255, 64).astype(np.uint8)[None, :, None].repeat(24, axis=0)
    stored = np.rint(BARS / 255 * alpha).astype(np.uint8)
    data = written(np.concatenate([stored, alpha], axis=2), photometric="rgb", extrasamples=["assocalpha"])
    pixels = read_picture(data).pixels
    np.testing.assert_array_equal(pixels[..., 3:], alpha)
    seen = alpha[..., 0] > 60
    assert np.abs(pixels[..., :3].astype(int) - BARS)[seen].max() <= 3
    plain = written(np.concatenate([BARS, alpha], axis=2), photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_picture(plain).pixels[..., :3], BARS)


@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate", "zstd", "lzma", "jpeg", "png", "jpegxl"])
def test_a_damaged_or_missing_strip_is_an_error(compression):
    pixels = photograph(64, 64)
    data = written(pixels, photometric="rgb", compression=compression, rowsperstrip=16)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        start, count = file.pages[0].dataoffsets[1], file.pages[0].databytecounts[1]
        offsets, tag = file.pages[0].tags[273], file.pages[0].tags[279]
    damaged = bytearray(data)
    damaged[start : start + count] = b"\xff" * count
    with pytest.raises(SRGANError, match="cannot be read as a picture"):
        read_picture(bytes(damaged))
    missing = bytearray(data)
    missing[tag.valueoffset + 4 : tag.valueoffset + 8] = b"\0" * 4
    with pytest.raises(SRGANError, match="cut off"):
        read_picture(bytes(missing))
    nowhere = bytearray(data)
    nowhere[offsets.valueoffset + 4 : offsets.valueoffset + 8] = b"\0" * 4
    with pytest.raises(SRGANError, match="the place of one of its strips is wrong"):
        read_picture(bytes(nowhere))
    assert read_picture(data).pixels.shape == (64, 64, 3)  # and says nothing of the others


def test_the_words_of_one_file_are_not_said_of_the_next():
    damaged = bytearray(written(photograph(32, 32), photometric="rgb", compression="lzw"))
    damaged[-40:] = b"\xff" * 40
    for _ in range(2):
        with pytest.raises(SRGANError) as first:
            read_picture(bytes(damaged))
    with pytest.raises(SRGANError) as second:
        read_picture(written(photograph(32, 32).astype(np.float32), photometric="rgb"))
    assert "LZW" in str(first.value).upper() and "LZW" not in str(second.value).upper()


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_largest_page_is_taken_in_sub_directories_too(orientation, tmp_path):
    large, small = photograph(60, 80), photograph(15, 20)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(small, photometric="rgb", subifds=1, metadata=None)
        writer.write(large, photometric="rgb", metadata=None, extratags=[(274, 3, 1, orientation, True)])
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, large if orientation == 1 else np.rot90(large, -1))
    assert picture.note == "page 2 of 2 is taken, the largest"
    assert size_of(tmp_path / "a.tif") == picture.pixels.shape[1::-1]


def test_sensor_data_are_refused_with_a_hint():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(photograph(15, 20), photometric="rgb", subifds=1, metadata=None)
        writer.write(photograph(60, 80)[..., 0].astype(np.uint16), photometric="cfa", metadata=None)
    with pytest.raises(SRGANError, match="raw data; develop it first"):
        read_picture(file.getvalue())


@pytest.mark.parametrize("orientation", [0, 9, 11, 65535])
def test_an_orientation_that_there_is_not_changes_nothing(orientation):
    data = written(BARS, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_array_equal(read_picture(data).pixels, BARS)


def test_the_orientation_is_in_the_tag_or_in_xmp():
    for tag in ((274, 1, 1, 6, True), (274, 4, 1, 6, True), (700, 1, 24, b'<x tiff:Orientation="6"/>', True)):
        data = written(BARS, photometric="rgb", extratags=[tag])
        np.testing.assert_array_equal(read_picture(data).pixels, np.rot90(BARS, -1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff_keeps_its_exif(order):
    tags = [(271, 2, 6, "Nikon", True), (274, 3, 1, 6, True), (306, 2, 20, "2024:05:06 07:08:09", True)]
    picture = read_picture(written(BARS, photometric="rgb", bigtiff=True, byteorder=order, extratags=tags))
    assert picture.exif[271] == "Nikon" and picture.exif[306] == "2024:05:06 07:08:09"
    np.testing.assert_array_equal(picture.pixels, np.rot90(BARS, -1))


def test_directories_that_go_in_circles_end():
    data = bytearray(written(BARS, photometric="rgb"))
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    data[start + 2 + 12 * count : start + 6 + 12 * count] = struct.pack("<I", start)
    picture = read_picture(bytes(data))
    np.testing.assert_array_equal(picture.pixels, BARS)
    assert picture.note == ""


@pytest.mark.parametrize("bits", [(5, 6, 5), (16, 16, 8)])
def test_channels_of_different_bits_are_refused(bits):
    data = bytearray(written(BARS, photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        place = file.pages[0].tags[258].valueoffset
    data[place : place + 6] = struct.pack("<3H", *bits)
    with pytest.raises(SRGANError, match=f"channels of {', '.join(map(str, bits))} bits are not supported"):
        read_picture(bytes(data))


@pytest.mark.parametrize("compression", ["lzw", "adobe_deflate"])
@pytest.mark.parametrize("tile", [None, (32, 48)])
def test_flipped_bits_are_noticed_where_a_checksum_or_the_length_tells(compression, tile):
    pixels = photograph(64, 100) // 16 * 16  # with runs
    data = written(pixels, photometric="rgb", compression=compression, tile=tile, rowsperstrip=None if tile else 20)
    whole, random, unnoticed = read_picture(data).pixels, np.random.default_rng(0), 0
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first, last = min(file.pages[0].dataoffsets), file.pages[0].dataoffsets[-1] + file.pages[0].databytecounts[-1]
    for place in random.integers(first, last, 40):
        damaged = bytearray(data)
        damaged[place] ^= 1 << random.integers(8)
        try:
            found = read_picture(bytes(damaged)).pixels
        except SRGANError as error:
            assert "cannot be read as a picture" in str(error)
            continue
        unnoticed += not np.array_equal(found, whole)
    # A code of LZW that becomes one of the same length leaves the length.
    assert unnoticed <= (26 if compression == "lzw" else 0)


def test_a_jpeg_in_a_strip_that_ends_early_is_an_error():
    data = bytearray(written(photograph(64, 100), photometric="rgb", compression="jpeg", rowsperstrip=32))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        start, count = file.pages[0].dataoffsets[1], file.pages[0].databytecounts[1]
    data[start + count // 2 : start + count // 2 + 2] = b"\xff\xd9"
    with pytest.raises(SRGANError, match="premature end of data segment"):
        read_picture(bytes(data))


def test_strips_with_more_rows_than_the_picture_are_read():
    pixels = photograph(25, 30)
    for compression in ("lzw", "packbits", "adobe_deflate"):
        padded = np.concatenate([pixels, pixels[:5]])
        data = bytearray(written(padded, photometric="rgb", compression=compression, rowsperstrip=10))
        with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
            place = file.pages[0].tags[257].valueoffset
        data[place : place + 2] = struct.pack("<H", 25)
        np.testing.assert_array_equal(read_picture(bytes(data)).pixels, pixels)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
def test_ycbcr_of_fewer_colours_than_pixels_is_refused_by_name(compression):
    data, entry = written(BARS, photometric="ycbcr", compression=compression), struct.pack("<HHIHH", 530, 3, 2, 1, 1)
    assert entry in data
    data = data.replace(entry, struct.pack("<HHIHH", 530, 3, 2, 2, 2))
    with pytest.raises(SRGANError, match="YCbCr with fewer colours than pixels is supported only where"):
        read_picture(data)

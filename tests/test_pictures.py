"""People's pictures: everything that comes in, what of it comes out again, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, features
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.pictures import WRITABLE, Picture, from_pillow, output_format, read_picture, to_pillow, write_picture
from srgan.pictures.profiles import ADOBE_RGB

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def camera_exif(orientation=1):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8298] = orientation, "Nikon", "me"
    exif[0x8769] = {0x9003: "2020:02:02 10:00:00", 0xA002: 30, 0xA003: 20}
    exif[0x8825] = {1: "N", 2: (47.0, 3.0, 5.5)}
    return exif.tobytes()


# In.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF", pytest.param("AVIF", marks=needs_avif)])
def test_every_format_is_read(kind, tmp_path):
    image = Image.fromarray(photograph(20, 30))
    path = tmp_path / "Überraschung 写真.bin"  # the content decides, not the name
    path.write_bytes(saved(image, kind))
    picture = read_picture(path)
    assert picture.pixels.dtype == np.uint8 and picture.pixels.shape == (20, 30, 3)
    assert np.abs(picture.pixels.astype(int) - np.asarray(image)).mean() < 12
    if kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(picture.pixels, np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PNG16"])
def test_orientation_is_applied_and_gone(kind, orientation, tmp_path):
    pixels = photograph(20, 30)
    exif = camera_exif(orientation)
    if kind == "PNG16":
        write_picture(Picture(pixels.astype(np.uint16) * 257), tmp_path / "a.png")
        data = (tmp_path / "a.png").read_bytes()
        chunk = b"eXIf" + exif.removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        data = data[:33] + chunk + data[33:]  # after IHDR
    else:
        data = saved(Image.fromarray(pixels), kind, exif=exif)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: pixels[::-1].swapaxes(0, 1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: pixels.swapaxes(0, 1)[::-1],
    }[orientation]
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels // (257 if kind == "PNG16" else 1), upright)
    write_picture(picture, tmp_path / "b.jpg")
    assert Image.open(tmp_path / "b.jpg").getexif().get(0x0112, 1) == 1


def test_gray_and_alpha_keep_their_channels():
    pixels = photograph(20, 30)
    alpha = Image.fromarray(pixels[..., 0])
    for mode, channels in {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.items():
        image = Image.fromarray(pixels).convert(mode)
        if mode.endswith("A"):
            image.putalpha(alpha)
        picture = read_picture(saved(image, "PNG"))
        assert picture.pixels.shape == (20, 30, channels)
        if mode.endswith("A"):
            np.testing.assert_array_equal(picture.pixels[..., -1], pixels[..., 0])


def test_palettes_and_their_transparency():
    image = Image.fromarray(photograph(20, 30)).quantize(16)
    assert read_picture(saved(image, "PNG")).pixels.shape == (20, 30, 3)
    clear = np.asarray(image)[3, 4]
    picture = read_picture(saved(image, "PNG", transparency=int(clear)))
    assert picture.pixels.shape == (20, 30, 4)
    np.testing.assert_array_equal(picture.pixels[..., 3] == 0, np.asarray(image) == clear)
    gray = Image.fromarray(photograph(20, 30)).convert("L").convert("P")
    assert read_picture(saved(gray, "PNG")).pixels.shape == (20, 30, 1)
    key = Image.fromarray(photograph(20, 30))
    assert read_picture(saved(key, "PNG", transparency=tuple(key.getpixel((2, 3))))).pixels[3, 2, 3] == 0
    assert read_picture(saved(key.convert("L"), "PNG", transparency=9)).pixels.shape == (20, 30, 2)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_and_tiff_keep_every_bit(dtype, channels, suffix, tmp_path):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (23, 37, channels), dtype=dtype)
    write_picture(Picture(pixels), tmp_path / f"a{suffix}")
    again = read_picture(tmp_path / f"a{suffix}").pixels
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, pixels)


def test_16_bits_of_other_programs():
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    for options in ({}, {"compression": "lzw", "predictor": True}, {"byteorder": ">"}, {"planarconfig": "separate"}):
        file = io.BytesIO()
        content = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
        tifffile.imwrite(file, content, photometric="rgb", **options)
        np.testing.assert_array_equal(read_picture(file.getvalue()).pixels, pixels)
    np.testing.assert_array_equal(from_pillow(Image.fromarray(pixels[..., 0])).pixels, pixels[..., :1])
    file = io.BytesIO()
    tifffile.imwrite(file, pixels.astype(np.float32))
    with pytest.raises(SRGANError, match="float are not supported"):
        read_picture(file.getvalue())


def test_cmyk_is_converted_by_its_profile():
    cmyk = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    image = Image.frombytes("CMYK", (30, 20), cmyk.tobytes())
    profile = pyvips.Image.black(1, 1, bands=3).copy(interpretation="srgb").icc_export(output_profile="cmyk")
    profile = profile.get("icc-profile-data")
    file = saved(image, "TIFF", icc_profile=profile)
    expected = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    for data in (file, saved(image, "JPEG", icc_profile=profile, quality=100, subsampling=0)):
        picture = read_picture(data)
        assert picture.pixels.shape == (20, 30, 3) and picture.icc is None
        assert picture.note == "its CMYK becomes RGB"
        assert np.abs(picture.pixels.astype(int) - np.asarray(expected)).mean() < 6
        plain = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(picture.pixels - plain).mean() > 10  # not merely inverted
    assert read_picture(saved(image, "JPEG")).pixels.shape == (20, 30, 3)


def test_of_an_animation_the_first_frame_is_taken_and_said():
    frames = [Image.fromarray(photograph(20, 30, top=top)) for top in (0, 50, 100)]
    for kind in ("GIF", "WebP", "PNG", "TIFF"):
        picture = read_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert picture.note == "the first of 3 frames is taken"
        assert np.abs(picture.pixels.astype(int) - np.asarray(frames[0])).mean() < 20
    assert read_picture(saved(frames[0], "GIF")).note == ""


# Kept.


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", pytest.param(".avif", marks=needs_avif)])
@pytest.mark.parametrize("source", ["JPEG", "TIFF"])
def test_profile_exif_and_resolution_are_kept(source, suffix, tmp_path):
    image = Image.fromarray(photograph(20, 30))
    picture = read_picture(saved(image, source, icc_profile=SRGB, exif=camera_exif(1), dpi=(300, 150)))
    large = Picture(picture.pixels.repeat(4, 0).repeat(4, 1), picture.icc, picture.exif, picture.dpi)
    write_picture(large, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as written:
        assert written.size == (120, 80)
        assert written.info["icc_profile"] == SRGB
        exif = written.getexif()
        assert exif[0x010F] == "Nikon" and exif.get_ifd(0x8825)[2] == (47.0, 3.0, 5.5)
        described = exif.get_ifd(0x8769)
        assert described[0x9003] == "2020:02:02 10:00:00"
        assert (described[0xA002], described[0xA003]) == (120, 80)  # not the old size
        if suffix not in (".webp", ".avif"):  # which have no place for it
            assert written.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        written.load()
    again = read_picture(tmp_path / f"a{suffix}")
    assert again.icc == SRGB and again.exif[0x010F] == "Nikon"
    if suffix in (".png", ".tif"):
        np.testing.assert_array_equal(again.pixels, large.pixels)


def test_a_bmp_keeps_its_profile():
    pixels = np.ascontiguousarray(photograph(20, 32)[::-1, :, ::-1]).tobytes()
    info = (
        struct.pack("<IiiHHIIiiII", 124, 32, 20, 1, 24, 0, len(pixels), 0, 0, 0, 0) + b"\0" * 16 + b"DEBM" + b"\0" * 48
    )
    info += struct.pack("<4I", 4, 124 + len(pixels), len(ADOBE_RGB), 0)
    data = b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(ADOBE_RGB), 0, 0, 138) + info + pixels + ADOBE_RGB
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, photograph(20, 32))
    assert picture.icc == ADOBE_RGB


def test_damaged_metadata_do_not_matter():
    image = Image.fromarray(photograph(20, 30))
    data = saved(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage", icc_profile=b"not a profile" * 20)
    assert read_picture(data).pixels.shape == (20, 30, 3)
    cmyk = saved(image.convert("CMYK"), "JPEG", icc_profile=b"\0" * 16 + b"CMYK" + b"bad" * 50)
    assert read_picture(cmyk).pixels.shape == (20, 30, 3)
    left_out = "its colour profile is damaged or for other pixels, and is left out"
    assert read_picture(data).note == left_out
    assert read_picture(cmyk).note == f"its CMYK becomes RGB; {left_out}"
    for_ink = saved(
        image,
        "PNG",
        icc_profile=pyvips.Image.black(1, 1, bands=3)
        .copy(interpretation="srgb")
        .icc_export(output_profile="cmyk")
        .get("icc-profile-data"),
    )
    assert (read_picture(for_ink).note, read_picture(for_ink).icc) == (left_out, None)


def test_from_pillow_to_pillow():
    image = Image.fromarray(photograph(20, 30))
    image.info = {"icc_profile": SRGB, "dpi": (72, 72)}
    again = to_pillow(from_pillow(image))
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image))
    assert again.info["icc_profile"] == SRGB and again.info["dpi"] == (72, 72)


# Out.


def test_quality_and_compression_are_obeyed(tmp_path):
    picture = Picture(photograph(128, 128))
    sizes = {}
    for suffix, options in [
        (".jpg", {"quality": 30}),
        (".jpg", {"quality": 95}),
        (".webp", {"quality": 30}),
        (".webp", {"lossless": True}),
        (".png", {"compression": 0}),
        (".png", {"compression": 9}),
    ]:
        write_picture(picture, tmp_path / f"a{suffix}", **options)
        sizes[(suffix, *options.values())] = (tmp_path / f"a{suffix}").stat().st_size
        if options == {"lossless": True} or suffix == ".png":
            np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}").pixels, picture.pixels)
    assert sizes[".jpg", 30] < sizes[".jpg", 95] / 2 and sizes[".webp", 30] < sizes[".webp", True] / 2
    assert sizes[".png", 9] < sizes[".png", 0]


@pytest.mark.parametrize("compression", [0, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_of_several_megabytes_is_read_by_others(dtype, compression, tmp_path):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (1501, 700, 3), dtype, endpoint=True)
    write_picture(Picture(pixels), tmp_path / "a.png", compression=compression)
    np.testing.assert_array_equal(pyvips.Image.new_from_file(str(tmp_path / "a.png")).numpy(), pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_without_alpha_it_is_laid_on_white(suffix, tmp_path):
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[:, 15:] = (0, 0, 0, 255)
    pixels[:, :5] = (0, 0, 0, 128)
    write_picture(Picture(pixels), tmp_path / f"a{suffix}")
    flat = read_picture(tmp_path / f"a{suffix}").pixels
    assert flat.shape == (20, 30, 3)
    assert flat[9, 10].min() > 250 and flat[9, 25].max() < 5 and abs(int(flat[9, 1, 0]) - 127) < 6
    write_picture(Picture(pixels[..., 2:]), tmp_path / f"b{suffix}")
    assert read_picture(tmp_path / f"b{suffix}").pixels.shape == (20, 30, 1)


def test_16_bits_are_rounded_where_only_8_fit(tmp_path):
    pixels = np.array([[[0], [128], [129], [257], [65535]]], np.uint16)
    write_picture(Picture(pixels), tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels[0, :, 0], [0, 0, 1, 1, 255])


@pytest.mark.parametrize(
    ("suffix", "size"), [(".jpg", (65501, 1)), (".webp", (1, 16384)), (".png", (1000001, 1)), (".bmp", (40000, 40000))]
)
def test_a_format_that_is_too_small_is_refused(suffix, size, tmp_path):
    with pytest.raises(SRGANError, match=r"use \.tif" if suffix == ".png" else r"use \.png or \.tif"):
        output_format(suffix, *size)
    output_format(suffix.upper(), *(min(side, 16383) for side in size))


@pytest.mark.parametrize(("suffix", "side"), [(".jpg", 65500), (".webp", 16383), (".png", 1000000), (".tif", 1000000)])
def test_the_limits_are_the_formats_own(suffix, side, tmp_path):
    pixels = np.zeros((1, side, 1), np.uint8)
    write_picture(Picture(pixels), tmp_path / f"a{suffix}")
    assert read_picture(tmp_path / f"a{suffix}").pixels.shape[1] == side


@pytest.mark.parametrize("suffix", [".gif", ".xyz", ""])
def test_formats_that_are_not_written(suffix, tmp_path):
    with pytest.raises(SRGANError, match="not a format to write; use .*png"):
        write_picture(Picture(photograph(4, 4)), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_failed_write_leaves_nothing(suffix, tmp_path):
    with pytest.raises(SRGANError, match="cannot be written"):
        write_picture(Picture(photograph(4, 4)), tmp_path / "no folder" / f"a{suffix}")
    folder = tmp_path / f"a{suffix}"
    folder.mkdir()
    with pytest.raises(SRGANError, match="cannot be written"):
        write_picture(Picture(photograph(4, 4)), folder)
    assert list(tmp_path.iterdir()) == [folder]


# Refused.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "BMP", "TIFF", "GIF"])
def test_a_cut_file_is_refused(kind, tmp_path):
    data = saved(Image.fromarray(photograph(40, 60)), kind)
    path = tmp_path / "cut.bin"
    for part in (0, 1, 10, len(data) // 2, len(data) * 9 // 10):
        path.write_bytes(data[:part])
        with pytest.raises(SRGANError, match="cut.bin: (is empty|cannot be read as a picture)"):
            read_picture(path)


def test_what_is_no_picture(tmp_path):
    with pytest.raises(SRGANError, match="none.png: No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(SRGANError, match="directory"):
        read_picture(tmp_path)
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(SRGANError, match="text.jpg: cannot be read as a picture .of no known format"):
        read_picture(tmp_path / "text.jpg")
    with pytest.raises(SRGANError, match="standard input: cannot be read"):
        read_picture(b"hello")


def test_bombs_are_refused_before_they_are_decoded():
    for kind in ("PNG", "TIFF", "GIF"):
        data = saved(
            Image.new("L", (3000, 2000)), kind, **({"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {})
        )
        with pytest.raises(SRGANError, match="3000 x 2000 are more than 5 million pixels; raise --max-pixels"):
            read_picture(data, max_pixels=5_000_000)
        assert read_picture(data, max_pixels=6_000_000).pixels.shape[:2] == (2000, 3000)
    deep = pyvips.Image.black(3000, 2000, bands=3).cast("ushort").copy(interpretation="rgb16").pngsave_buffer()
    with pytest.raises(SRGANError, match="raise --max-pixels"):
        read_picture(deep, max_pixels=5_000_000)


def test_a_text_bomb_in_a_png_is_refused():
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "x" * 80_000_000, zip=True)
    with pytest.raises(SRGANError, match="cannot be read"):
        read_picture(saved(Image.fromarray(photograph(4, 4)), "PNG", pnginfo=info))


# Fuzz.

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "RGB16"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_fuzz(tmp_path_factory, data):
    """Whatever the file: a picture or one SRGANError, and only whole files."""
    width, height = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    mode = data.draw(st.sampled_from(MODES))
    image = Image.fromarray(np.resize(photograph(70, 70), (height, width, 3)))
    if mode == "RGB16":
        deep = pyvips.Image.new_from_array(np.asarray(image).astype(np.uint16) * 257).copy(interpretation="rgb16")
        content = data.draw(st.sampled_from([deep.pngsave_buffer, deep.tiffsave_buffer]))()
    else:
        image = (
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
            if mode == "I;16"
            else image.convert(mode)
        )
        kinds = ["PNG", "TIFF", "JPEG", "WebP", "GIF", "BMP"]
        kind = data.draw(st.sampled_from(kinds))
        try:
            content = saved(image, kind, **({"exif": camera_exif(6)} if kind in ("PNG", "JPEG", "WebP") else {}))
        except (OSError, ValueError):  # this format has no such mode
            return
    damage = data.draw(st.sampled_from(["none", "cut", "flip", "flip in the head"]))
    if damage == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif damage != "none":
        content = bytearray(content)
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, (len(content) if damage == "flip" else min(len(content), 120)) - 1))] ^= (
                1 << data.draw(st.integers(0, 7))
            )
        content = bytes(content)
    try:
        picture = read_picture(content, max_pixels=10**6)
    except SRGANError as error:
        assert damage != "none", error
        assert "\n" not in str(error)
        return
    if damage == "none":
        assert sorted(picture.pixels.shape[:2]) == sorted((height, width))
    folder = tmp_path_factory.mktemp("fuzz")
    target = folder / f"a{data.draw(st.sampled_from(sorted(WRITABLE)))}"
    try:
        write_picture(picture, target)
    except SRGANError as error:
        assert not list(folder.iterdir()), error
        assert damage != "none" or "AVIF" in str(error), error
    else:
        assert list(folder.iterdir()) == [target]
        assert read_picture(target).pixels.shape[:2] == picture.pixels.shape[:2]

"""Alpha, textures that repeat and palettes: what game graphics need."""

import io
import struct

import numpy as np
import pytest
from helpers import run_command
from PIL import Image
from upscaling import make_model, photograph

from srgan.pictures import Picture, nearest_in_palette, read_picture, write_picture
from srgan.upscale import Upscaler

COLOURS = [(200, 40, 40), (40, 160, 60), (50, 60, 200), (220, 200, 60)]
BARS = np.repeat(np.repeat(np.array([COLOURS], np.uint8), 16, axis=1), 32, axis=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear")


@pytest.fixture(scope="module")
def upscaler(model):
    return Upscaler(model, precision="float32")


def with_alpha(alpha):
    return np.dstack([BARS, np.broadcast_to(alpha, BARS.shape[:2]).astype(np.uint8)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_where_alpha_is_0_everywhere_are_those_without_alpha(dtype, upscaler):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    picture = (with_alpha(0) / 255 * top).astype(dtype)
    result = upscaler(picture)
    np.testing.assert_array_equal(result[..., :3], upscaler(np.ascontiguousarray(picture[..., :3])))
    assert not result[..., 3].any()


def test_colours_under_a_transparent_half_stay_and_do_not_bleed(upscaler):
    alpha = np.repeat([[0] * 32 + [255] * 32], 32, axis=0)
    picture = with_alpha(alpha)
    result = upscaler(picture)
    hidden = result[..., 3] == 0
    plain = upscaler(BARS)
    np.testing.assert_array_equal(result[hidden][:, :3], plain[hidden])
    np.testing.assert_array_equal(np.unique(result[..., 3]), [0, 255])
    # What is seen beside the edge is what it is with anything else hidden there.
    other = picture.copy()
    other[:, :32, :3] = (255, 0, 255)
    np.testing.assert_array_equal(upscaler(other)[~hidden], result[~hidden])


def test_alpha_as_data_changes_no_colour(model):
    picture = with_alpha(np.arange(64)[None] * 4)
    result = Upscaler(model, precision="float32", alpha="data")(picture)
    np.testing.assert_array_equal(result[..., :3], Upscaler(model, precision="float32")(BARS))


def test_alpha_through_the_network(model):
    alpha = photograph(32, 64)[..., 0]
    by_network = Upscaler(model, precision="float32", alpha="network")
    np.testing.assert_array_equal(by_network(with_alpha(alpha))[..., 3], by_network(alpha))
    assert (
        by_network(with_alpha(alpha))[..., 3] != Upscaler(model, precision="float32")(with_alpha(alpha))[..., 3]
    ).any()
    edge = np.where(np.arange(64)[None] < 30, 0, 255)
    assert set(np.unique(by_network(with_alpha(edge))[..., 3])) == {0, 255}


def test_a_tga_of_32_bits_without_alpha_is_opaque():
    pixels = np.dstack([BARS[..., ::-1], np.zeros((32, 64, 1), np.uint8)])[::-1]
    for bits, channels in ((0, 3), (8, 4)):
        header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 64, 32, 32, bits)
        found = read_picture(header + pixels.tobytes()).pixels
        assert found.shape[2] == channels
        np.testing.assert_array_equal(found[..., :3], BARS)


def test_alpha_of_a_tga_of_16_bits_and_of_one_that_is_multiplied():
    alpha = np.repeat([0, 255], 16)[:, None].repeat(64, 1).astype(np.uint8)
    five = (BARS // 8).astype("<u2")
    words = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2] | (alpha & 1).astype("<u2") << 15
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 64, 32, 16, 0x21)
    np.testing.assert_array_equal(read_picture(header + words.tobytes()).pixels[..., 3], alpha)
    multiplied = np.dstack([BARS[..., ::-1] // 2, np.full((32, 64), 128, np.uint8)])
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 64, 32, 32, 0x28)
    data = header + multiplied.tobytes()
    data += b"\xef\1".ljust(494, b"\0") + b"\4" + struct.pack("<II", len(data), 0) + b"TRUEVISION-XFILE.\0"
    assert np.abs(read_picture(data).pixels[..., :3].astype(int) - BARS).max() <= 2


def test_beyond_the_first_frame_of_a_gif_it_is_transparent():
    head = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0, 0, 0) + b"," + struct.pack("<HHHHB", 1, 1, 2, 2, 0x80)
    data = head + bytes([200, 40, 40, 9, 9, 9]) + b"\2\3\x84\x51\0\0;"  # all of the first colour
    pixels = read_picture(data).pixels
    assert pixels[1:3, 1:3].tolist() == [[[200, 40, 40, 255]] * 2] * 2
    assert not pixels[0].any() and not pixels[3].any() and not pixels[:, 0].any()


@pytest.mark.parametrize("scale", [None, 2, 1.5, 3])
def test_a_texture_that_repeats_stays_without_a_seam(scale, model):
    y, x = np.mgrid[:48, :64]
    waves = [np.sin(2 * np.pi * (x * a / 64 + y * b / 48)) for a, b in ((3, 1), (5, 4), (1, 7))]
    texture = np.rint(127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    result = Upscaler(model, precision="float32", wrap=True, scale=scale)(texture)
    moved = Upscaler(model, precision="float32", wrap=True, scale=scale)(np.roll(texture, (24, 32), (0, 1)))
    factor = scale or 4
    shifted = np.roll(moved, (-int(24 * factor), -int(32 * factor)), (0, 1)).astype(int)
    assert np.abs(result - shifted).max() <= 1  # no place in it is special
    plain = Upscaler(model, precision="float32", scale=scale)(texture)
    assert result.shape == plain.shape and np.abs(plain.astype(int) - shifted).max() > 8


def test_a_texture_with_alpha_repeats_too(model):
    picture = np.dstack([photograph(40, 40), photograph(40, 40)[..., 0]])
    wrapped = Upscaler(model, precision="float32", wrap=True)
    shifted = np.roll(wrapped(np.roll(picture, 20, 0)), -80, 0).astype(int)
    assert np.abs(wrapped(picture) - shifted)[..., 3].max() <= 1


def sprite():
    image = Image.fromarray(photograph(24, 32)).quantize(12)
    image.info["transparency"] = 3
    return image


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_sprite_keeps_its_palette(kind, model, tmp_path):
    image = sprite()
    (tmp_path / f"a.{kind.lower()}").write_bytes(b"")
    image.save(tmp_path / f"a.{kind.lower()}", kind, transparency=3)
    with Image.open(tmp_path / f"a.{kind.lower()}") as stored:
        palette = np.array(stored.getpalette("RGB"))
        colours = set(map(tuple, np.insert(palette.reshape(-1, 3), 3, 255, axis=1).tolist()))
        colours |= {(*colour[:3], 0) for colour in colours}
    picture = read_picture(tmp_path / f"a.{kind.lower()}")
    result = Upscaler(model, palette=True)(picture)
    write_picture(result, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "P" and written.size == (128, 96)
        np.testing.assert_array_equal(
            np.array(written.getpalette("RGB"))[: len(palette)], palette[: len(written.getpalette())]
        )
        found = set(written.convert("RGBA").get_flattened_data())
        assert found <= colours and len(found) > 6
    again = read_picture(tmp_path / "out.png")
    np.testing.assert_array_equal(again.pixels, result.pixels)
    assert Upscaler(model)(picture).palette is None
    assert Upscaler(model, palette=True)(image).mode == "P" and Upscaler(model)(image).mode == "RGBA"


def palette_of(path, size=None):
    with Image.open(path) as image:
        assert image.mode == "P" and size in (None, image.size)
        return image.getpalette("RGB")


def test_each_numbered_sprite_keeps_its_palette(model, tmp_path):
    (tmp_path / "in").mkdir()
    colours = {}
    for number in (1, 2):
        image = sprite()
        image.putpalette(np.roll(np.reshape(image.getpalette("RGB"), (-1, 3)), number, axis=1).tobytes())
        image.save(tmp_path / "in" / f"{number}.png")
        colours[number] = palette_of(tmp_path / "in" / f"{number}.png")
    options = ["--palette", "--alpha", "network", "--wrap"]
    done = run_command("upscale", tmp_path / "in", tmp_path / "out" / "%03d.png", "--model", model, *options)
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        assert palette_of(tmp_path / "out" / f"{number:03}.png", (128, 96)) == colours[number]
    assert colours[1] != colours[2]


def test_the_command_has_these_options(model, tmp_path):
    sprite().save(tmp_path / "a.png")
    options = ["--palette", "--wrap", "--alpha", "data", "--strip-metadata", "--keep-time"]
    done = run_command("upscale", tmp_path / "a.png", tmp_path / "b.png", "--model", model, *options)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "b.png").mode == "P"
    assert (tmp_path / "a.png").stat().st_mtime_ns == (tmp_path / "b.png").stat().st_mtime_ns
    done = run_command("upscale", tmp_path / "a.png", tmp_path / "b.png", "--model", model, "--alpha", "no")
    assert done.returncode == 2 and "alpha: 'no' is none of auto, data, network" in done.stderr


def test_the_nearest_colour_is_found_in_the_palette():
    palette = np.array([[0, 0, 0, 0], [255, 255, 255, 255], [250, 10, 10, 255]], np.uint8)
    pixels = np.array([[[200, 60, 60, 255], [9, 9, 9, 3], [240, 255, 230, 255], [20, 20, 20, 255]]], np.uint8)
    found = nearest_in_palette(pixels, palette)
    np.testing.assert_array_equal(found[0], palette[[2, 0, 1, 2]])


def test_metadata_can_be_stripped(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Nikon"
    file = io.BytesIO()
    Image.fromarray(photograph(20, 30)).save(file, "JPEG", exif=exif, dpi=(300, 300), xmp=b"<x:xmpmeta/>")
    picture = read_picture(file.getvalue())
    assert picture.exif and picture.xmp and picture.dpi
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        write_picture(picture, tmp_path / f"a{suffix}", strip_metadata=True)
        again = read_picture(tmp_path / f"a{suffix}")
        assert not (again.exif or again.xmp or (again.dpi and again.dpi[0] > 254)), suffix


def test_what_is_transparent_is_not_lost_in_a_plain_picture(tmp_path):
    write_picture(Picture(with_alpha(0)), tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, with_alpha(0))

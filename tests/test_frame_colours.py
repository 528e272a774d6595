"""What the colours of numbered pictures mean: kept in numbered pictures, and in sRGB in a clip."""

import numpy as np
import pytest
from PIL import Image
from upscaling import in_adobe_rgb, make_model, photograph

from srgan.clips.reading import FrameFolder
from srgan.pictures import Picture, read_picture, read_rgb, write_picture
from srgan.pictures.profiles import ADOBE_RGB, gray_profile
from srgan.upscale import Upscaler
from srgan.upscale.clip_job import upscale_clip


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    path = make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear")
    return Upscaler(path, precision="float32")


def frames(folder, make, count=3):
    folder.mkdir()
    for number in range(count):
        write_picture(make(number), folder / f"{number}.png")
    return [read_picture(folder / f"{number}.png") for number in range(count)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_numbered_pictures_keep_their_profile_and_gray(channels, dtype, upscaler, tmp_path):
    def make(number):
        pixels = np.dstack([photograph(24, 32, top=9 * number), photograph(24, 32)[..., :1]])
        pixels = pixels[..., {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]].astype(dtype)
        icc = (gray_profile(ADOBE_RGB) if channels < 3 else ADOBE_RGB) if number else None
        return Picture(pixels * dtype(1 if dtype == np.uint8 else 257), icc)

    sources = frames(tmp_path / "in", make)
    upscale_clip(tmp_path / "in", tmp_path / "out" / "%d.png", lambda: upscaler)
    for number, source in enumerate(sources):
        result, wanted = read_picture(tmp_path / "out" / f"{number + 1}.png"), upscaler(source)
        assert result.icc == source.icc and result.pixels.shape == wanted.pixels.shape and result.pixels.dtype == dtype
        difference = np.abs(result.pixels.astype(int) - wanted.pixels) / (1 if dtype == np.uint8 else 257)
        # Of gray the network's three results are clipped one by one here.
        assert difference.mean() < 0.5 if channels < 3 else difference.max() == 0


def test_pngs_colours_in_numbers_survive(upscaler, tmp_path):
    colour = {b"gAMA": (100000).to_bytes(4)}
    frames(tmp_path / "in", lambda number: Picture(photograph(24, 32), colour=colour))
    upscale_clip(tmp_path / "in", tmp_path / "out" / "%d.png", lambda: upscaler)
    assert read_picture(tmp_path / "out" / "2.png").colour == colour


def test_a_clip_of_pictures_is_in_srgb(tmp_path):
    inside, wide, icc = in_adobe_rgb(Image.fromarray(photograph(200, 200)))
    frames(tmp_path / "in", lambda number: Picture(np.asarray(wide), icc))
    lines = []
    clip = FrameFolder(tmp_path / "in", 25, notice=lines.append)
    shown = [clip.pixels(frame).astype(int) for frame in clip.frames()]
    assert np.abs(np.stack(shown) - np.asarray(inside)).max() <= 3
    assert lines == [f"{tmp_path / 'in'}: its colours are converted to sRGB"]
    assert np.abs(read_rgb(tmp_path / "in" / "0.png").astype(int) - np.asarray(inside)).max() <= 3

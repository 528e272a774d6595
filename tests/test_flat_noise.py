"""The measure of noise in flat parts, and the damage that low resolutions are given before they are measured."""

import sys

import numpy as np
import pytest
from helpers import SAMPLE
from PIL import Image, ImageFilter

from srgan.compare.damage import Damage
from srgan.errors import UsageError
from srgan.metrics.flat_noise import flat_noise
from srgan.pictures import downscale, read_rgb, resize_bicubic, through_jpeg

PICTURES = sorted((SAMPLE / "val").iterdir())


@pytest.fixture(params=PICTURES, ids=lambda path: path.stem)
def low(request):
    """A photograph at its own resolution, with noise as a camera leaves it."""
    pixels = read_rgb(request.param)[:160, :160].astype(float)
    return np.clip(pixels + np.random.default_rng(0).normal(0, 4, pixels.shape), 0, 255).round().astype(np.uint8)


def bicubic(low):
    return resize_bicubic(low, 4 * low.shape[1], 4 * low.shape[0])


def test_bicubic_is_1_less_noise_is_less_and_more_is_more(low):
    enlarged = bicubic(low)
    assert flat_noise(low, enlarged) == (1, 1)
    soft = np.asarray(Image.fromarray(enlarged).filter(ImageFilter.GaussianBlur(3)))
    sharp = np.asarray(Image.fromarray(enlarged).filter(ImageFilter.UnsharpMask(3, 200, 0)))
    assert max(flat_noise(low, soft)) < 0.6
    assert flat_noise(low, sharp)[0] > 1.3


def test_noise_of_colour_alone_is_chroma(low):
    enlarged, blue = bicubic(low).astype(float), np.random.default_rng(1).normal(0, 8, (640, 640, 1))
    coloured = np.clip(enlarged + blue * [0, -0.344, 1.772], 0, 255).round().astype(np.uint8)
    luma, chroma = flat_noise(low, coloured)
    assert chroma > 1.5 and chroma - 1 > 3 * abs(luma - 1)


def test_what_has_no_flat_part_has_no_figure():
    black = np.zeros((40, 40, 3), np.uint8)
    assert np.isnan(flat_noise(black, bicubic(black))).all()
    tiny = np.full((7, 7, 3), 128, np.uint8)
    assert np.isnan(flat_noise(tiny, bicubic(tiny))).all()
    with pytest.raises(ValueError, match="is no enlargement of"):
        flat_noise(black, np.zeros((150, 160, 3), np.uint8))


def test_it_is_the_measure_of_the_shared_tool(low, shared, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(shared / "tools"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import flatnoise

    enlarged = np.asarray(Image.fromarray(bicubic(low)).filter(ImageFilter.UnsharpMask(2, 100, 0)))
    for folder, pixels in (("low", low), ("out", enlarged)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    ((_, *expected),) = flatnoise.measure(str(tmp_path / "low"), str(tmp_path / "out"))
    assert flat_noise(low, enlarged) == pytest.approx(tuple(expected))


def test_evaluate_has_it_as_a_column_of_medians(low):
    from srgan.compare.evaluate import score_picture
    from srgan.compare.scenes import Scene
    from srgan.compare.scores import mean_scores

    scene = Scene(PICTURES[0], 4, low, {"bicubic": bicubic(low)}, bicubic(low))
    scores = score_picture(scene)["bicubic"]
    assert scores["flat_luma"] == scores["flat_chroma"] == 1 and "psnr_y" in scores
    pictures = [{"scores": {"a": {"flat_luma": value}}} for value in (1.0, 2.0, 9.0)]
    assert mean_scores(pictures, ["a"], ["flat_luma"]) == {"a": {"flat_luma": 2.0}}


def test_damage_is_blur_then_noise_then_jpeg():
    low = downscale(read_rgb(PICTURES[0])[:160, :160], 4)
    assert np.array_equal(Damage()(low), low) and not Damage()
    assert np.array_equal(Damage(jpeg=60)(low), through_jpeg(low, 60))
    blurred = np.asarray(Image.fromarray(low).filter(ImageFilter.GaussianBlur(0.8)))
    assert np.array_equal(Damage(blur=0.8)(low), blurred)
    noisy = Damage(blur=0.8, noise=3)(low)
    assert np.array_equal(noisy, Damage(blur=0.8, noise=3)(low))
    noise = noisy.astype(float) - blurred
    assert (
        noise.std() == pytest.approx(3, abs=0.2)
        and abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.1
    )
    assert np.array_equal(Damage(blur=0.8, noise=3, jpeg=60)(low), through_jpeg(noisy, 60))


@pytest.mark.parametrize("wrong", [{"blur": -0.1}, {"noise": 256}, {"jpeg": 0}, {"jpeg": 101}])
def test_damage_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))}: "):
        Damage(**wrong)

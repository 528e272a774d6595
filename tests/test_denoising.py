"""`--denoise auto`: the noise that a picture has decides, the same however it is read and computed."""

import json

import numpy as np
import pytest
import tifffile
from helpers import SAMPLE, run_command
from PIL import Image
from upscaling import make_model, photograph

from srgan.compare.methods import load_methods
from srgan.errors import UsageError
from srgan.pictures import read_rgb, resize_bicubic, through_jpeg
from srgan.upscale import Upscaler, large_job
from srgan.upscale.denoising import VALUES, choose_denoise
from srgan.upscale.picture_job import upscale_files


def noisy(pixels, level=8):
    """A picture with white noise of a deviation of so many levels, gray as in a raw file that was not smoothed."""
    noise = level * np.random.default_rng(0).standard_normal((*pixels.shape[:2], 1))
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def clean(height=96, width=128):
    """A photograph that was reduced, so that it has no noise of its own."""
    return resize_bicubic(read_rgb(SAMPLE / "val" / "chelsea.jpg"), width, height)


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """A model between ends of less noise and more."""
    folder = tmp_path_factory.mktemp("ends")
    for seed, name in enumerate(("mine", "mine-denoise0", "mine-denoise1")):
        make_model(folder / f"{name}.keras", seed=seed)
    return folder / "mine.keras"


@pytest.fixture(scope="module")
def upscaler(ends):
    return Upscaler(ends, engine="openvino", precision="float32")


def by(ends, value, pixels, **settings):
    return Upscaler(ends, engine="openvino", precision="float32", denoise=value, **settings)(pixels)


@pytest.mark.parametrize("name", ["astronaut.jpg", "coffee.jpg", "retina-1.jpg", "rocket-1.jpg"])
def test_the_more_noise_the_larger_the_value(name):
    photograph = read_rgb(SAMPLE / "train" / name)
    values = [choose_denoise(noisy(photograph, level)) for level in (0, 1, 2, 4, 8, 16, 32)]
    assert values == sorted(values) and set(values) <= set(VALUES)
    assert (values[0], values[-1]) == (VALUES[0], VALUES[-1])


@pytest.mark.parametrize("name", ["chelsea.jpg", "hopper.jpg", "raccoon.jpg"])
@pytest.mark.parametrize("level", [14, 24, 40])
def test_strong_noise_is_no_texture(name, level):
    very = noisy(read_rgb(SAMPLE / "val" / name), level)
    assert choose_denoise(very) == choose_denoise(through_jpeg(very, 75)) == VALUES[-1]


def test_texture_is_no_noise():
    """Grass deviates as much as noise of many levels does, but from neighbour to neighbour less."""
    grass = read_rgb(SAMPLE / "train" / "grass-2.jpg")
    assert grass.std() > 25 and choose_denoise(grass) == VALUES[0]
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert choose_denoise(flat) == VALUES[0] < choose_denoise(noisy(flat, 3))


def test_types_and_channels_of_a_picture_do_not_matter():
    for pixels in (clean(), noisy(clean(), 2), noisy(clean())):
        value = choose_denoise(pixels)
        for same in (pixels.astype(np.uint16) * 257, pixels / np.float32(255)):
            assert choose_denoise(same) == value
        gray = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
        assert choose_denoise(gray) == choose_denoise(gray.repeat(3, axis=2))
        assert choose_denoise(np.dstack([pixels, np.full((96, 128), 255, np.uint8)])) == value


def test_what_alpha_hides_is_not_measured(ends, upscaler):
    hidden = np.dstack([noisy(clean()), np.full((96, 128), 255, np.uint8)])
    hidden[:, 64:, :3] = 128  # flat, and much of the picture
    assert choose_denoise(hidden) == VALUES[0]
    hidden[:, 64:, 3] = 0
    assert choose_denoise(hidden) == VALUES[-1] and choose_denoise(hidden, transparency=False) == VALUES[0]
    np.testing.assert_array_equal(upscaler(hidden), by(ends, VALUES[-1], hidden))
    data = {"alpha": "data"}
    np.testing.assert_array_equal(by(ends, "auto", hidden, **data), by(ends, VALUES[0], hidden, **data))


def test_of_a_tall_picture_rows_are_measured_that_lie_all_over_it():
    tall = np.tile(clean(), (60, 1, 1))
    assert choose_denoise(tall) == VALUES[0]
    tall[-1200:] = noisy(tall[-1200:])
    tall[:-1200] = 0  # black blocks have no noise
    assert choose_denoise(tall) == VALUES[-1]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_picture_gets_what_its_value_gives(quiet, ends, upscaler):
    pixels = clean() if quiet else noisy(clean())
    value = VALUES[0] if quiet else VALUES[-1]
    expected = by(ends, value, pixels)
    assert upscaler.denoise is None and upscaler.for_picture(pixels).denoise == value
    np.testing.assert_array_equal(upscaler(pixels), expected)
    np.testing.assert_array_equal(np.asarray(upscaler(Image.fromarray(pixels))), expected)
    np.testing.assert_array_equal(by(ends, "auto", pixels), expected)
    assert not np.array_equal(expected, by(ends, 0.5, pixels))
    deep = pixels.astype(np.uint16) * 257
    np.testing.assert_array_equal(upscaler(deep), by(ends, value, deep))


def test_another_scale_and_a_texture_that_repeats_have_the_value_of_the_picture(ends):
    pixels = noisy(clean())
    for settings in ({"scale": 2}, {"wrap": True}, {"tile": 48}):
        np.testing.assert_array_equal(
            by(ends, None, pixels, **settings), by(ends, VALUES[-1], pixels, **settings), err_msg=str(settings)
        )


def test_tiles_do_not_choose_for_themselves(ends):
    """One half of the picture is noisy: by itself, it would have another value."""
    pixels = clean(96, 160).copy()
    pixels[:, 80:] = noisy(pixels[:, 80:])
    assert choose_denoise(pixels[:, :80]) != choose_denoise(pixels[:, 80:])
    tiled, whole = by(ends, None, pixels, tile=48), by(ends, None, pixels)
    assert np.abs(tiled.astype(int) - whole).max() <= 1


def test_keras_computes_the_same(ends, upscaler):
    pixels = noisy(clean())
    keras = Upscaler(ends, engine="keras", precision="float32")
    assert keras.for_picture(pixels).denoise == VALUES[-1]
    assert np.abs(keras(pixels).astype(int) - upscaler(pixels)).max() <= 1


def test_a_picture_too_small_to_be_measured_gets_the_model_itself(ends, upscaler):
    for pixels in (photograph(9, 40), photograph(40, 9), photograph(1, 1)):
        assert upscaler.for_picture(pixels) is upscaler
        np.testing.assert_array_equal(upscaler(pixels), by(ends, 0.5, pixels))


def test_clips_get_the_model_itself(ends, upscaler):
    frames = [noisy(clean()), clean()]
    expected = [by(ends, 0.5, frame) for frame in frames]
    np.testing.assert_array_equal(list(upscaler.clip(frames)), expected)


def test_a_model_without_ends_is_as_it_is(model, ends):
    pixels = noisy(clean())
    for denoise in (None, "auto"):
        upscaler = Upscaler(model, denoise=denoise)
        assert upscaler.for_picture(pixels) is upscaler
    with pytest.raises(UsageError, match="has no weights for more and less noise"):
        Upscaler(model, denoise=0.7)
    with pytest.raises(UsageError, match="denoise: 'much' is not between 0 and 1"):
        Upscaler(ends, denoise="much")


def test_numbers_are_taken_without_a_look_at_the_picture(ends, monkeypatch):
    monkeypatch.setattr("srgan.upscale.upscaler.choose_denoise", None)
    upscaler = Upscaler(ends, engine="openvino", denoise=0.5)
    assert upscaler(clean(16, 16)).shape == (64, 64, 3)


@pytest.mark.parametrize(("kind", "orientation"), [("noisy", 6), ("clean", 1), ("gray", 1), ("deep", 1)])
def test_strips_have_the_value_of_the_whole(kind, orientation, ends, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "srgan")
    pixels = clean(160, 200) if kind == "clean" else noisy(clean(160, 200))
    if kind == "deep":
        tifffile.imwrite(source := tmp_path / "deep.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(pixels).convert("L" if kind == "gray" else "RGB")
        image.save(source := tmp_path / f"{kind}.png", exif=exif)
    upscaler, told = Upscaler(ends, engine="openvino", tile=64), []
    targets = [tmp_path / "whole.png", tmp_path / "strips.png"]
    for target in targets:
        upscale_files([(source, target)], lambda: upscaler, on_file=lambda task, *_: told.append(task.denoise))
        monkeypatch.setattr(large_job, "LARGE", 20_000)
    assert "made in strips" in caplog.text and told == 2 * [VALUES[0] if kind == "clean" else VALUES[-1]]
    whole, strips = (np.asarray(Image.open(target)).astype(int) for target in targets)
    assert np.abs(whole - strips).max() <= 1


def test_each_file_of_a_batch_has_its_own_value_and_it_is_said(ends, tmp_path):
    for name, pixels in (("quiet", clean()), ("noisy", noisy(clean())), ("tiny", clean(8, 8))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    sources = [tmp_path / f"{name}.png" for name in ("quiet", "noisy", "tiny")]
    options = ["--model", ends, "--engine", "openvino", "--precision", "float32"]
    done = run_command("upscale", *sources, tmp_path / "large", *options, "--json", "-v", "--denoise", "auto")
    assert done.returncode == 0, done.stderr
    facts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["denoise"] for each in facts] == [VALUES[0], VALUES[-1], None]
    for source, value in zip(sources, (VALUES[0], VALUES[-1], 0.5)):
        large = np.asarray(Image.open(tmp_path / "large" / source.name))
        np.testing.assert_array_equal(large, by(ends, value, np.asarray(Image.open(source))))
    assert f"noisy.png -> {tmp_path / 'large' / 'noisy.png'}, --denoise {VALUES[-1]:g}" in done.stderr


def test_the_command_says_what_denoise_takes(ends, tmp_path):
    done = run_command("upscale", "a.png", "b.png", "--model", ends, "--denoise", "much")
    assert done.returncode == 2 and "'much' is neither auto nor a number from 0 to 1" in done.stderr
    for name in ("upscale", "compare", "evaluate"):
        text = " ".join(run_command(name, "--help").stdout.split())
        assert "auto (the default) goes by the noise of each picture and is 0.5 for clips" in text


def test_comparing_chooses_for_each_picture(ends):
    [auto], _ = load_methods([ends], denoise="auto", engine="openvino")
    assert auto.label == "mine"
    assert auto.upscale.for_picture(noisy(clean())).denoise == VALUES[-1]
    [given], _ = load_methods([ends], denoise=0.7, engine="openvino")
    assert given.label == "mine denoise 0.7"
    jpeg = through_jpeg(clean(), 75)
    np.testing.assert_array_equal(auto.upscale(jpeg), by(ends, choose_denoise(jpeg), jpeg))

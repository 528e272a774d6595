"""Low resolutions as photographs are: noise as asked for, nothing moved, the same every time, and the measure of noise."""

import numpy as np
import pytest
from helpers import SAMPLE, load_script
from PIL import Image

from srgan.config.data import Photograph
from srgan.errors import UsageError
from srgan.metrics.noise import noise_level
from srgan.pictures import downscale, read_rgb, resize_bicubic
from srgan.train.data.batches import Batches
from srgan.train.data.degradation_photograph import camera_noise, degrade_photograph, gaussian_blur
from srgan.train.data.prepare import prepare

LUMA = np.float32([0.299, 0.587, 0.114])
PICTURES = sorted((SAMPLE / "train").iterdir())
GRAY = np.full((240, 240, 3), 0.5, np.float32)


@pytest.fixture(scope="module")
def lr():
    return downscale(read_rgb(SAMPLE / "train" / "astronaut.jpg")[:384, :384], 4)


def only(**ranges):
    """Ranges of which only what is given happens."""
    never = dict.fromkeys(("clean", "mild", "blur", "motion", "noise", "sharpen", "resize", "jpeg", "webp"), 0.0)
    return Photograph(**never | ranges)


def test_most_noise_is_little_and_some_is_strong():
    random, gray = np.random.default_rng(0), np.full((48, 48, 3), 128, np.uint8)
    ranges = only(noise=1.0, noise_level=(1, 16), correlated=0.0, photon=0.0, chroma_noise=(0.2, 0.2))
    levels = sorted(float((degrade_photograph(gray, random, ranges) @ LUMA).std()) for _ in range(200))
    assert levels[0] > 0.9 and levels[-1] < 18
    assert 1.5 < levels[100] < 2.8 and levels[180] > 8


def test_the_sheet_of_degraded_crops_is_drawn(tmp_path, capsys):
    draw = load_script("draw_degradation")
    assert draw.main([str(tmp_path / "sheet.png"), "--real", str(PICTURES[0])]) == 0
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.size == (8 * 132, 5 * 132)
    assert draw.main([str(tmp_path / "sheet.png"), "--real", str(tmp_path / "none.jpg")]) == 1
    assert "none.jpg" in capsys.readouterr().err


def test_it_is_a_function_of_the_random_numbers_and_nothing_else(lr):
    made = [degrade_photograph(lr, np.random.default_rng(seed), Photograph()) for seed in (3, 3, 4, 5, 6)]
    np.testing.assert_array_equal(made[0], made[1])
    assert any((made[0] != other).any() for other in made[2:])
    assert {(pixels.shape, pixels.dtype.name) for pixels in made} == {(lr.shape, "uint8")}


def test_so_many_stay_clean_and_what_is_never_drawn_never_happens(lr):
    made = [degrade_photograph(lr, np.random.default_rng(seed), Photograph()) for seed in range(200)]
    assert 8 <= sum((pixels == lr).all() for pixels in made) <= 35  # a tenth
    for seed in range(20):
        np.testing.assert_array_equal(degrade_photograph(lr, np.random.default_rng(seed), only()), lr)


def test_noise_has_the_level_that_is_asked_for():
    for seed in range(6):
        noise = 255 * camera_noise(GRAY, 10, Photograph(photon=0), np.random.default_rng(seed))
        assert (noise @ LUMA).std() == pytest.approx(10, rel=0.1)
    even = only(photon=0.0, chroma_noise=(0, 0))
    assert np.ptp(camera_noise(GRAY, 10, even, np.random.default_rng(0)), axis=-1).max() < 1e-6  # gray


def test_chroma_noise_is_smoother_than_white_and_luma_noise_where_it_is_correlated():
    def neighbours(plane):
        return np.corrcoef(plane[:, 1:].ravel(), plane[:, :-1].ravel())[0, 1]

    ranges = only(photon=0.0, correlated=0.0, chroma_smoothing=(2, 2), chroma_noise=(1, 1))
    noise = camera_noise(GRAY, 10, ranges, np.random.default_rng(0))
    luma = noise @ LUMA
    assert abs(neighbours(luma)) < 0.1 and neighbours(noise[..., 0] - luma) > 0.8
    ranges = only(photon=0.0, correlated=1.0, luma_smoothing=(1, 1))
    assert neighbours(camera_noise(GRAY, 10, ranges, np.random.default_rng(0)) @ LUMA) > 0.5


def test_photon_noise_grows_with_the_light():
    planes = np.concatenate([np.full((240, 120, 3), 0.05), np.full((240, 120, 3), 0.8)], axis=1).astype(np.float32)
    noise = camera_noise(planes, 10, only(photon=1.0), np.random.default_rng(0)) @ LUMA
    assert noise[:, 120:].std() == pytest.approx(4 * noise[:, :120].std(), rel=0.15)  # the square root of 16


@pytest.mark.parametrize("step", [{"blur": 1.0}, {"blur": 1.0, "motion": 1.0}, {"resize": 1.0}, {"sharpen": 1.0}])
def test_nothing_moves(step, lr):
    """Each step, averaged over many, leaves the picture where it was: a shift by half a pixel would be worse than none."""
    made = np.mean([degrade_photograph(lr, np.random.default_rng(seed), only(**step)) for seed in range(24)], axis=0)
    assert 0 < np.abs(made - lr).mean() < 12

    def off(rows, columns):
        return np.abs(np.roll(made, (rows, columns), (0, 1)) - lr)[4:-4, 4:-4].mean()

    assert off(0, 0) < min(off(1, 0), off(-1, 0), off(0, 1), off(0, -1))
    assert np.abs(made.mean((0, 1)) - lr.mean((0, 1))).max() < 1


def test_a_gaussian_blur_is_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    plane = np.random.default_rng(0).random((40, 50, 1), np.float32)
    wanted = ndimage.gaussian_filter(plane[..., 0], 0.9, mode="reflect", radius=3)
    np.testing.assert_allclose(gaussian_blur(plane, 0.9)[..., 0], wanted, atol=1e-5)


@pytest.mark.parametrize("level", [2.0, 6.0])
def test_the_measure_of_noise_gives_the_noise_that_was_added(level):
    clean = resize_bicubic(read_rgb(SAMPLE / "val" / "chelsea.jpg"), 600, 400)
    random = np.random.default_rng(0)
    noisy = np.clip(np.rint(clean + level * random.standard_normal((400, 600, 1))), 0, 255).astype(np.uint8)
    assert noise_level(clean) < 1
    assert 0.7 * level < noise_level(noisy) < 1.1 * level


def test_noisy_pictures_are_left_out_of_the_store(tmp_path):
    levels = {path: noise_level(read_rgb(path)) for path in PICTURES[:6]}
    limit = float(np.median(list(levels.values())))
    quiet = [path.name for path, level in levels.items() if level <= limit]
    assert 0 < len(quiet) < 6
    store = prepare(PICTURES[:6], tmp_path, size=128, scale=4, maximum_noise=limit, label="pictures")
    assert store.names == quiet
    assert store.skipped == [f"{6 - len(quiet)} of 6 pictures: more noise than data.maximum_noise = {limit:g} levels"]
    assert prepare(PICTURES[:6], tmp_path, size=128, scale=4).count == 6


def test_batches_have_the_same_crops_with_and_without(tmp_path):
    store = prepare(PICTURES[:4], tmp_path, size=128, scale=4)
    options = {"size": 4, "crop": 64, "steps": 2, "seed": (0, 0)}
    clean = Batches(store, **options)
    made = Batches(store, degradation="photograph", photograph=Photograph(clean=0, mild=0), **options)
    for step in range(2):
        (low, high), (degraded, same) = clean[step], made[step]
        np.testing.assert_array_equal(high, same)
        assert degraded.shape == low.shape and 0 < np.abs(degraded.astype(int) - low).mean() < 25
    np.testing.assert_array_equal(made[1][0], made[1][0])


@pytest.mark.parametrize(
    "change, message",
    [
        ("batches.photograph.noise_level=[5, 2]", r"noise_level = \[5.0, 2.0\]: must rise"),
        ("batches.photograph.noise_level=[0, 2]", r"noise_level = \[0.0, 2.0\]: must be above 0"),
        ("batches.photograph.mild=0.95", r"mild = 0.95: must be at most 1 with clean = 0.1"),
        ("batches.photograph.nois=1", "unknown key, did you mean batches.photograph.noise"),
    ],
)
def test_ranges_that_cannot_be_are_refused(change, message, tiny):
    with pytest.raises(UsageError, match=message):
        tiny(change)

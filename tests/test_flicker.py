"""Flicker on clips whose motion is known, because they are windows that move over a photograph."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import SAMPLE
from PIL import Image, ImageFilter

from srgan.metrics.flicker import flicker, follow
from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale, resize_bicubic

STEP = np.array([3, -2])  # pixels to the right and down by which the scene moves from frame to frame
LUMA = 219 / 255  # levels of studio luma a level of grey


@pytest.fixture(scope="module")
def photo():
    picture = resize_bicubic(read_rgb(SAMPLE / "val" / "raccoon.jpg"), 512, 384)
    return np.clip(picture, 30, 220)  # so that nothing that is added here is clipped


@pytest.fixture(scope="module")
def pan(photo):
    tops, lefts = (100 - STEP[::-1, None] * np.arange(5)).tolist()
    return [photo[top : top + 120, left : left + 160] for top, left in zip(tops, lefts, strict=True)]


def of(originals, results):
    """The mean flicker of a clip."""
    pairs = zip(pairwise(originals), pairwise(results), strict=True)
    return np.mean([flicker(follow(*original), *result) for original, result in pairs])


def noisy(frames, deviation, fixed=False):
    generator = np.random.default_rng(0)
    noise = [generator.normal(0, deviation, (*frame.shape[:2], 1)) for frame in frames]
    return [
        np.rint(frame + (noise[0] if fixed else added)).clip(0, 255).astype(np.uint8)
        for frame, added in zip(frames, noise, strict=True)
    ]


def filtered(frames, kernel):
    return [np.asarray(Image.fromarray(frame).filter(kernel)) for frame in frames]


def test_the_motion_is_found(pan):
    motion = follow(pan[0], pan[1])
    height, width = motion.valid.shape
    rows, columns = np.mgrid[:height, :width]
    moved = np.stack([columns, rows], axis=-1) - motion.origin
    assert np.median(moved[motion.valid], axis=0) == pytest.approx(STEP, abs=0.05)
    assert np.quantile(np.abs(moved - STEP)[motion.valid], 0.95) < 0.3
    assert not motion.valid[:, : STEP[0]].any() and not motion.valid[STEP[1] :].any()  # what has just come in
    assert motion.valid[20:-20, 20:-20].mean() > 0.95


def test_the_border_counts_for_nothing(pan):
    framed = [frame.copy() for frame in pan]
    for index, frame in enumerate(framed):
        frame[:4], frame[-4:], frame[:, :4], frame[:, -4:] = [index * 40] * 4
    motion = follow(pan[0], pan[1], border=10)  # cubic interpolation looks two pixels around
    assert flicker(motion, framed[0], framed[1]) == 0
    assert flicker(follow(pan[0], pan[1], border=0), framed[0], framed[1]) > 1


def test_nothing_flickers_in_the_original_and_in_another_tone_of_it(pan):
    assert of(pan, pan) == 0
    assert of(pan, [frame + 11 for frame in pan]) < 1e-4
    assert of(pan, [np.rint(frame * 0.7).astype(np.uint8) for frame in pan]) < 0.1  # but for the rounding


def test_noise_counts_by_its_deviation(pan):
    """Of two independent normal values the difference is 2 / sqrt(pi) deviations on average."""
    measured = [of(pan, noisy(pan, deviation)) for deviation in (1, 2, 4, 8)]
    for deviation, value in zip((4, 8), measured[2:], strict=True):
        assert value == pytest.approx(2 / np.pi**0.5 * deviation * LUMA, rel=0.15)
    assert measured == sorted(measured) and measured[0] > 0.3


def test_what_sticks_to_the_screen_counts_like_noise(pan):
    assert of(pan, noisy(pan, 4, fixed=True)) == pytest.approx(of(pan, noisy(pan, 4)), rel=0.1)


def test_a_blur_that_moves_along_hardly_flickers_but_one_that_depends_on_the_grid_does(pan):
    blurred = filtered(pan, ImageFilter.GaussianBlur(2))
    on_a_grid = [resize_bicubic(downscale(frame, 4), 160, 120) for frame in pan]
    assert of(pan, blurred) < 0.1
    assert of(pan, on_a_grid) > 3 * of(pan, blurred)


def test_a_result_that_stands_still_flickers(pan):
    assert of(pan, [pan[0]] * len(pan)) > 4


def test_pulsing_brightness_counts_and_that_of_the_scene_does_not(pan):
    pulsing = [frame + 6 * (index % 2) for index, frame in enumerate(pan)]
    assert of(pan, pulsing) == pytest.approx(6 * LUMA, rel=0.1)
    assert of(pulsing, pulsing) == 0
    assert of(pulsing, pan) < 0.2


def test_what_was_hidden_is_left_out(photo):
    """A part of the photograph moves 8 pixels to the right in front of the rest, and uncovers as much on its left."""
    frames = []
    for left in (60, 68):
        frame = photo[:120, 200:360].copy()
        frame[30:90, left : left + 40] = photo[250:310, 100:140]
        frames.append(frame)
    valid = follow(*frames).valid
    assert valid[35:85, 60:68].mean() < 0.35
    assert valid[35:85, 75:100].mean() > 0.9
    assert valid[35:85, 10:40].mean() > 0.95


def test_where_there_is_no_motion_to_find(pan):
    assert follow(pan[0], 255 - pan[1]) is None  # a cut
    assert follow(pan[0][:15], pan[1][:15]) is None
    still = pan[0][:16, :16]
    assert np.isnan(flicker(follow(still, still, border=8), still, still))  # nothing inside the border

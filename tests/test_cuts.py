"""Scene cuts: found between pictures that have nothing in common, and nowhere else."""

import itertools

import numpy as np
import pytest
from helpers import SAMPLE
from PIL import Image

from srgan.clips.cuts import is_cut
from srgan.pictures import read_rgb
from srgan.pictures.arrays import resize

PHOTOGRAPHS = sorted(SAMPLE.glob("*/*.jpg"))


def camera(path, height=96, width=128):
    """A photograph as a camera sees it that moves by half of its view a second, and zooms."""
    whole = Image.open(path).convert("RGB")
    for index in range(6):
        side = min(whole.size) * (0.7 + 0.01 * index)
        left, top = 0.02 * index * side * np.array([1, 0.5])
        view = left, top, left + side, top + side
        yield np.asarray(whole.resize((width, height), Image.Resampling.BICUBIC, box=view))


def test_a_picture_after_another_is_a_cut():
    gray = ("brick", "grass", "gravel")
    different = [path for path in PHOTOGRAPHS if not path.stem.startswith(gray) and not path.stem.endswith("-2")]
    frames = [resize(read_rgb(path), 128, 96) for path in different]
    assert len(frames) == 9
    for before, after in itertools.combinations(frames, 2):
        assert is_cut(before, after)


def test_a_moving_camera_light_and_noise_are_none():
    random = np.random.default_rng(0)
    for path in PHOTOGRAPHS:
        frames = list(camera(path))
        for before, after in itertools.pairwise(frames):
            assert not is_cut(before, after), path
        brighter = np.clip(frames[0] * 1.15 + random.normal(0, 20, frames[0].shape), 0, 255).astype(np.uint8)
        assert not is_cut(frames[0], brighter), path


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_depth_channels_and_size(depth):
    one, other = (resize(read_rgb(path), 128, 96) for path in PHOTOGRAPHS[:2])
    one, other = (frame.astype(depth) * (np.iinfo(depth).max // 255) for frame in (one, other))
    assert is_cut(one, other) and is_cut(one[..., :1], other[..., :1])
    assert not is_cut(one, one // 10 * 9) and not is_cut(one[..., :1], one[..., :1] // 10 * 9)
    assert is_cut(one, one[:, 1:])

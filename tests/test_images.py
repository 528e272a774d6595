"""Pixels: rounding, resizing, filling under transparency, and files that are whole or not there."""

import numpy as np
import pytest
from PIL import Image
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.pictures import read_rgb
from srgan.pictures.arrays import fill_transparent, resize, to_float, to_uint8


def test_atomic_path_leaves_the_old_file_when_the_work_fails(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        assert temporary.suffix == ".png" and temporary.parent == tmp_path
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [path] == list(tmp_path.iterdir())
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and [path] == list(tmp_path.iterdir())


def test_rounding_is_to_the_nearest_and_clipped():
    values = np.array([-1, 0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1, 2])
    np.testing.assert_array_equal(to_uint8(values), [0, 0, 0, 1, 254, 255, 255])
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(to_float(pixels)), pixels)


def test_read_rgb_brings_everything_to_upright_rgb(tmp_path):
    pixels = photograph(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_rgb(tmp_path / "turned.png"), np.rot90(pixels, -1))
    half = np.dstack([pixels, np.full((20, 30), 0, np.uint8)])
    Image.fromarray(half).save(tmp_path / "clear.png")
    assert (read_rgb(tmp_path / "clear.png") == 255).all()
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(tmp_path / "gray16.png")
    gray = read_rgb(tmp_path / "gray16.png")
    assert gray.shape == (20, 30, 3) and gray.max() == round(59900 / 257)
    (tmp_path / "bad.png").write_bytes((tmp_path / "clear.png").read_bytes()[:90])
    with pytest.raises(SRGANError, match="bad.png: cannot be read"):
        read_rgb(tmp_path / "bad.png")


@pytest.mark.parametrize("size", [(60, 40), (13, 7), (1, 1), (30, 20)])
def test_resize_works_on_every_kind_alike(size):
    pixels = photograph(20, 30)
    wanted = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resize(pixels, *size), wanted)
    deep = resize(pixels.astype(np.uint16) * 257, *size)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - wanted).max() < 1.5  # Pillow rounds bytes twice
    if size == (60, 40):
        assert len(np.unique(deep % 257)) > 50  # in between what 8 bits can say
    floats = resize(to_float(pixels), *size)
    assert floats.dtype == np.float32 and np.abs(np.clip(floats, 0, 1) * 255 - wanted).max() < 1.5
    assert resize(pixels[..., :1], *size).shape == (size[1], size[0], 1)


def test_filling_takes_the_colour_from_the_nearest_surroundings():
    pixels, alpha = photograph(40, 50).copy(), np.full((40, 50), 255, np.uint8)
    pixels[:, :25], pixels[:, 25:] = (200, 10, 10), (10, 10, 200)
    alpha[10:30, 5:20] = alpha[10:30, 30:45] = 0
    hidden = pixels.copy()
    hidden[alpha == 0] = 255
    np.testing.assert_array_equal(fill_transparent(hidden, alpha), pixels)


def test_filling_touches_only_what_is_wholly_transparent():
    random = np.random.default_rng(0)
    pixels, alpha = photograph(33, 47), random.choice([0, 1, 128, 255], (33, 47)).astype(np.uint8)
    for dtype in (np.uint8, np.uint16, np.float32):
        filled = fill_transparent(pixels.astype(dtype), alpha)
        assert filled.dtype == dtype
        np.testing.assert_array_equal(filled[alpha > 0], pixels.astype(dtype)[alpha > 0])
        assert filled.min() >= pixels.min() and filled.max() <= pixels.max()
    # What is barely visible tells little of its colour: what is opaque decides.
    two = np.array([[[0], [200], [9]]], np.uint8)
    assert fill_transparent(two, np.array([[1, 255, 0]], np.uint8))[0, 2, 0] >= 190

"""The Upscaler from Python: what it is given is taken as it is meant, or refused in words."""

import copy
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from upscaling import make_model, photograph

from srgan.errors import SRGANError, UsageError
from srgan.models import find_model
from srgan.upscale import Upscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear")


@pytest.fixture(scope="module")
def upscaler(model):
    return Upscaler(model)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_in_the_input_is_the_inputs_fault(bad, upscaler):
    pixels = photograph(20, 30) / 255
    pixels[3, 3] = bad
    with pytest.raises(UsageError, match="not all numbers"):
        upscaler(pixels)


def test_floats_of_another_range_are_refused(upscaler):
    with pytest.raises(UsageError, match=r"floats are in \[0, 1\]"):
        upscaler(photograph(20, 30).astype(np.float32))
    with pytest.raises(UsageError, match=r"floats are in \[0, 1\]"):
        upscaler(photograph(20, 30) / 127.5 - 1)
    assert upscaler(photograph(20, 30) / 255 * 1.1 - 0.02).max() <= 1  # as filters leave them


@pytest.mark.parametrize("kind", [">u2", ">f4", "<u2", ">f8"])
def test_arrays_of_either_byte_order_work(kind, upscaler):
    pixels = photograph(20, 30) / 255 * (65535 if "u" in kind else 1)
    native = pixels.astype(np.dtype(kind).newbyteorder("="))
    result = upscaler(pixels.astype(kind))
    assert result.dtype == np.dtype(kind)
    np.testing.assert_array_equal(result, upscaler(native))


def test_pillows_modes_work_or_are_refused_in_words(upscaler):
    picture = Image.fromarray(photograph(20, 30))
    with pytest.raises(SRGANError, match="mode F"):
        upscaler(Image.fromarray(photograph(20, 30)[..., 0].astype(np.float32)))
    premultiplied = picture.convert("LA").convert("La")
    assert upscaler(premultiplied).mode == "LA"
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"):
        image = Image.new("I;16", (30, 20), 999) if mode == "I;16" else picture.convert(mode)
        assert upscaler(image).size == (120, 80), mode


@pytest.mark.parametrize(
    "wrong",
    [
        *({"scale": "2"}, {"scale": float("nan")}, {"tile": "64"}, {"tile": 64.5}, {"alpha": "x"}),
        *({"strength": "0.5"}, {"strength": None}, {"fit": 5}, {"fit": "9x9"}, {"pixel_model": 5, "strength": 0.5}),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(wrong, model):
    with pytest.raises(UsageError, match="model" if "pixel_model" in wrong else next(iter(wrong))):
        Upscaler(model, **wrong)


def test_a_files_name_is_no_picture(upscaler):
    with pytest.raises(UsageError, match="open the file first"):
        upscaler("photo.jpg")
    with pytest.raises(UsageError, match="a picture is an array or a Pillow picture"):
        upscaler([[1, 2], [3]])


def test_an_upscaler_can_be_pickled_and_copied(model):
    upscaler = Upscaler(model, precision="float32", scale=2, alpha="data", tile=64)
    expected = upscaler(photograph(20, 30))
    for again in (pickle.loads(pickle.dumps(upscaler)), copy.deepcopy(upscaler), copy.copy(upscaler)):
        np.testing.assert_array_equal(again(photograph(20, 30)), expected)
        assert (again.scale, again.alpha, again.tile) == (2, "data", 64)


def test_a_pickled_upscaler_finds_its_models_from_another_folder(model, tmp_path, monkeypatch):
    shutil.copy(model, tmp_path / "a.keras")
    pixel = make_model(tmp_path / "b.keras", seed=1, skip="bilinear")
    monkeypatch.chdir(tmp_path)
    upscaler = Upscaler("a.keras", precision="float32", pixel_model=Path("b.keras"), strength=0.5)
    pickled = pickle.dumps(upscaler)
    monkeypatch.chdir("/")
    result = pickle.loads(pickled)(photograph(20, 30))
    np.testing.assert_array_equal(result, upscaler(photograph(20, 30)))
    whole = Upscaler(pixel, precision="float32")(photograph(20, 30))
    assert (result != whole).any()


def test_a_name_is_meant_though_a_folder_is_called_so_too(tmp_path, monkeypatch):
    """As in a folder into which this project was cloned."""

    def file_of(model):
        return next(iter(Upscaler(model).engine.weights))

    folder = tmp_path / "srgan"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    assert file_of("srgan") == find_model("srgan")
    run = make_model(tmp_path / "srgan" / "generator.keras")
    assert file_of("srgan") == find_model("srgan")
    assert file_of("./srgan").samefile(run)


def test_what_is_no_frame_is_refused(upscaler):
    for wrong in (None, Image.new("RGB", (8, 8))):
        with pytest.raises(UsageError, match="a frame is"):
            list(upscaler.clip([wrong]))


def test_an_upscaler_goes_into_a_pool_of_processes(model):
    upscaler = Upscaler(model, precision="float32")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(upscaler, photograph(20, 30)).result()
    np.testing.assert_array_equal(result, upscaler(photograph(20, 30)))

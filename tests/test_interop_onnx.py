"""Models in .onnx: the compact network of scale 2 in the forms that such files come in."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from srgan import Upscaler
from srgan.errors import SRGANError
from srgan.interop.loading import load_generator

FOREIGN = Path(__file__).parent / "data" / "foreign"
FORMS = ["nchw", "nhwc", "255", "fixed", "half", "window"]


@pytest.fixture(scope="module")
def original():
    return load_generator(FOREIGN / "compact-x2.pth")


def picture(height, width, channels=3):
    return np.random.default_rng(1).random((height, width, channels), np.float32) * 0.5 + 0.25


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(40, 48), (23, 31), (70, 101)])
def test_onnx_makes_what_its_network_makes(form, size, original):
    upscaler = Upscaler(FOREIGN / f"{form}.onnx", precision="float32")
    description = upscaler.engine.description
    assert (description.scale, description.channels) == (2, 3)
    assert description.multiple == (8 if form == "window" else 1)
    assert (description.fixed_height, description.fixed_width) == ((40, 48) if form == "fixed" else (0, 0))
    lr = picture(*size)
    wanted = np.clip(np.asarray(original(lr[None], training=False))[0], 0, 1)
    result = upscaler(lr)
    assert result.shape == wanted.shape
    tolerance = 4e-3 if form == "half" else 1e-4
    if form in ("fixed", "window"):  # whose edges are continued where the others have none
        result, wanted = result[:-16, :-16], wanted[:-16, :-16]
    assert np.abs(result - wanted).max() < tolerance


def test_range_can_be_said_and_is_told_where_it_is_measured(caplog):
    caplog.set_level("INFO", "srgan")
    lr = picture(40, 48)
    measured = Upscaler(FOREIGN / "255.onnx", precision="float32")(lr)
    said = Upscaler(FOREIGN / "255.onnx", precision="float32", value_range=255)(lr)
    assert np.array_equal(measured, said) and caplog.text.count("--range") == 1
    wrong = Upscaler(FOREIGN / "255.onnx", precision="float32", value_range=1)(lr)
    assert np.abs(wrong - said).max() > 0.1


def test_luma_is_enlarged_alone_with_chroma_beside_it(original):
    upscaler = Upscaler(FOREIGN / "luma.onnx", precision="float32")
    assert upscaler.engine.description.channels == 1
    gray = picture(30, 40, 1)
    wanted = np.asarray(original(np.repeat(gray, 3, -1)[None], training=False))[0].mean(-1, keepdims=True)
    result = upscaler(gray)
    assert result.shape == (60, 80, 1) and np.abs(result - np.clip(wanted, 0, 1)).max() < 1e-4
    coloured = np.concatenate([gray + 0.1, gray, gray - 0.1], axis=-1)
    result = upscaler(coloured)
    assert result.shape == (60, 80, 3)
    assert np.allclose(
        (result[..., 0] - result[..., 2])[(result > 0.01).all(-1) & (result < 0.99).all(-1)], 0.2, atol=0.02
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:100],
        lambda content: content[: len(content) // 2],
        lambda content: b"\x08\x07" + bytes(500),
        lambda content: content.replace(b"Conv", b"Cinv"),
    ],
)
def test_damaged_onnx_gets_one_line(change, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(change((FOREIGN / "nchw.onnx").read_bytes()))
    with pytest.raises(SRGANError, match="model.onnx: ") as caught:
        Upscaler(path)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_onnx_trains_and_runs_in_keras_not(tmp_path):
    path = shutil.copy(FOREIGN / "nchw.onnx", tmp_path / "model.onnx")
    with pytest.raises(SRGANError, match="OpenVINO"):
        Upscaler(path, engine="keras")

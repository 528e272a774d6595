"""scripts/ship.py: the files of a shipped model are small and compute what the trained one does."""

from functools import partial

import keras
import numpy as np
import pytest
from helpers import SAMPLE, load_script

from srgan import Upscaler
from srgan.networks.files import load_generator
from srgan.networks.generators import srresnet
from srgan.networks.layers import PixelShuffle
from srgan.networks.over_time import video_srresnet
from srgan.pictures import read_rgb

ship = load_script("ship")


def test_half_the_size_and_the_same_picture_through_either_engine(tmp_path, monkeypatch):
    trained, shipped = tmp_path / "trained.keras", tmp_path / "weights" / "small.keras"
    srresnet(filters=16, blocks=2, normalization="none", skip="bilinear").save(trained)
    shipped.parent.mkdir()
    assert ship.main([str(trained), "small", "--folder", str(shipped.parent)]) == 0
    assert {path.name for path in shipped.parent.iterdir()} == {"small.keras", "small.xml", "small.bin"}
    parameters = load_generator(shipped).count_params()
    assert shipped.with_suffix(".bin").stat().st_size < 3 * parameters  # 4 in float32
    assert shipped.stat().st_size < 0.8 * trained.stat().st_size

    monkeypatch.setattr("srgan.models.WEIGHTS", shipped.parent)  # so that the .xml is what OpenVINO reads
    monkeypatch.setattr("srgan.upscale.engines.openvino_engine.convert", None)
    picture = read_rgb(SAMPLE / "val" / "raccoon.jpg")[:64, :80]
    first = Upscaler(str(trained), engine="keras", precision="float32")(picture).astype(int)
    for engine in ("keras", "openvino"):
        result = Upscaler(str(shipped), engine=engine, precision="float32")(picture)
        assert np.abs(result - first).max() <= 1


@pytest.mark.parametrize(
    "build", [srresnet, partial(video_srresnet, fusion="recurrent"), partial(video_srresnet, fusion="early")]
)
def test_a_generator_that_runs_away_is_refused(build, tmp_path, capsys):
    generator = build(filters=4, blocks=2, normalization="none", skip="bilinear")
    tail = generator.get_layer("tail_conv")
    tail.kernel.assign(1000 * tail.kernel)
    generator.save(tmp_path / "wild.keras")
    assert ship.main([str(tmp_path / "wild.keras"), "wild", "--folder", str(tmp_path / "weights")]) == 1
    assert "wild.keras: runs away on the pattern" in capsys.readouterr().err
    assert not list((tmp_path / "weights").glob("*"))


def test_a_missing_model_is_named_and_nothing_is_written(tmp_path, capsys):
    assert ship.main([str(tmp_path / "none.keras"), "small", "--folder", str(tmp_path)]) in (1, 2)
    assert "none.keras" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_openvino_cannot_run_is_said_in_one_line_and_replaces_nothing(tmp_path, capsys):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(12, 3, padding="same", dilation_rate=2, name="odd")(inputs)
    keras.Model(inputs, PixelShuffle(2)(x)).save(tmp_path / "odd.keras")
    weights = tmp_path / "weights"
    weights.mkdir()
    before = {"small.keras": b"a", "small.xml": b"b", "small.bin": b"c"}
    for name, content in before.items():
        (weights / name).write_bytes(content)
    assert ship.main([str(tmp_path / "odd.keras"), "small", "--folder", str(weights)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ship: ") and "odd.keras: OpenVINO cannot run it (layer odd" in line
    assert {path.name: path.read_bytes() for path in weights.iterdir()} == before


def test_models_are_judged_on_photographs(tmp_path, capsys):
    srresnet(filters=4, blocks=1, normalization="none", skip="bilinear").save(tmp_path / "small.keras")
    assert (
        load_script("judge").main(
            [str(SAMPLE / "val"), str(tmp_path / "small.keras"), "--noisy", "1", "--reduced", "1"]
        )
        == 0
    )
    heading, row = capsys.readouterr().out.splitlines()
    luma, chroma, *scores = map(float, row.split("small.keras")[1].replace("dB", "").replace(",", "").split())
    assert (
        min(luma, chroma) > 0
        and all(20 < psnr < 50 for psnr in scores[::2])
        and all(0 < each < 1 for each in scores[1::2])
    )
    assert load_script("judge").main([str(tmp_path / "none"), "srgan"]) == 2
    assert "none: no such picture or folder" in capsys.readouterr().err

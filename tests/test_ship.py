"""scripts/ship.py: the files of a shipped model are small and compute what the trained one does."""

import keras
import numpy as np
from helpers import SAMPLE, load_script

from srgan import Upscaler, engines
from srgan.images import read_rgb
from srgan.networks.generator import load_generator, srresnet

ship = load_script("ship")


def test_half_the_size_and_the_same_picture_through_either_engine(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    trained, shipped = tmp_path / "trained.keras", tmp_path / "weights" / "small.keras"
    srresnet(filters=16, blocks=2, normalization="none", skip="bilinear").save(trained)
    shipped.parent.mkdir()
    assert ship.main([str(trained), "small", "--folder", str(shipped.parent)]) == 0
    assert {path.name for path in shipped.parent.iterdir()} == {"small.keras", "small.xml", "small.bin"}
    parameters = load_generator(shipped).count_params()
    assert shipped.with_suffix(".bin").stat().st_size < 3 * parameters  # 4 in float32
    assert shipped.stat().st_size < 0.8 * trained.stat().st_size

    monkeypatch.setattr(engines, "WEIGHTS", shipped.parent)  # so that the .xml is what OpenVINO reads
    monkeypatch.setattr(engines, "convert", None)
    picture = read_rgb(SAMPLE / "val" / "raccoon.jpg")[:64, :80]
    first = Upscaler(str(trained), engine="keras", precision="float32")(picture).astype(int)
    for engine in ("keras", "openvino"):
        result = Upscaler(str(shipped), engine=engine, precision="float32")(picture)
        assert np.abs(result - first).max() <= 1


def test_a_missing_model_is_named_and_nothing_is_written(tmp_path, capsys):
    assert ship.main([str(tmp_path / "none.keras"), "small", "--folder", str(tmp_path)]) in (1, 2)
    assert "none.keras" in capsys.readouterr().err and not list(tmp_path.iterdir())

"""Upscaling through Keras on JAX, which compiles for each size of its input."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from srgan import Upscaler
from srgan.networks.files import load_generator, save_generator
from srgan.networks.generators import srresnet

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="KERAS_BACKEND=jax runs it")


def test_pictures_of_many_sizes_are_compiled_for_a_few(tmp_path):
    save_generator(srresnet(filters=4, blocks=1, normalization="none", skip="bilinear"), tmp_path / "small.keras")
    upscaler = Upscaler(tmp_path / "small.keras", engine="keras")
    generator = load_generator(tmp_path / "small.keras")
    random = np.random.default_rng(0)
    sizes = set()
    predict = keras.Model.predict_on_batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "predict_on_batch", lambda self, x: sizes.add(x.shape[1:3]) or predict(self, x))
        for height, width in [(33, 40), (41, 60), (64, 50), (50, 90), (20, 100)]:
            picture = random.random((height, width, 3), np.float32)
            made = upscaler(picture)
            wanted = np.clip(generator(picture[None])[0], 0, 1)
            assert made.shape == (4 * height, 4 * width, 3)
            reach = 4 * 15  # beyond it the padding is not seen
            np.testing.assert_allclose(made[:-reach, :-reach], wanted[:-reach, :-reach], atol=2e-3)
            assert np.abs(made - wanted).mean() < 0.02
    assert sizes == {(64, 64), (64, 128)}


def test_a_gpu_of_ampere_or_later_computes_in_mixed_precision(tmp_path, monkeypatch):
    import jax

    keras.utils.set_random_seed(0)
    save_generator(srresnet(filters=4, blocks=1, normalization="none", skip="bilinear"), tmp_path / "small.keras")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    made = {}
    for capability, precision in {"7.5": "float32", "gfx90a": "float32", "8.0": "bfloat16"}.items():
        with monkeypatch.context() as patch:
            patch.setattr(
                jax, "devices", lambda capability=capability: [SimpleNamespace(compute_capability=capability)]
            )
            upscaler = Upscaler(tmp_path / "small.keras", engine="keras")
        assert upscaler.engine.precision == precision
        made[precision] = upscaler(picture).astype(int)
    difference = np.abs(made["bfloat16"] - made["float32"])
    assert 0 < difference.max() <= 4

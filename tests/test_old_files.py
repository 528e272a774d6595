"""Generators of four filters that version 0.1 wrote, with what it made of a random input, load and compute as before."""

import numpy as np
import pytest
from helpers import ROOT

from srgan import Upscaler
from srgan.networks.files import load_generator
from srgan.networks.layers import BilinearUpsampling

FOLDER = ROOT / "tests" / "data" / "version-0.1"
BILINEAR = {"instance-bilinear", "video-recurrent", "video-slow"}  # by Keras' own layer then, by ours now
NAMES = sorted(path.stem for path in FOLDER.glob("*.keras"))


@pytest.fixture(scope="module")
def outputs():
    with np.load(FOLDER / "outputs.npz") as arrays:
        return {name: arrays[name].astype("float32") for name in arrays}


def inputs_of(outputs, name):
    return [outputs[key] for key in sorted(outputs) if key.startswith(f"{name}-input")]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_version_0_1_makes_the_same_picture(name, outputs):
    generator = load_generator(FOLDER / f"{name}.keras")
    assert any(isinstance(layer, BilinearUpsampling) for layer in generator.layers) == (name in BILINEAR)
    made = generator(inputs_of(outputs, name))
    np.testing.assert_allclose(made[0] if name == "video-recurrent" else made, outputs[name], atol=2e-3)


@pytest.mark.parametrize("name", ["compact", "instance-bilinear", "srresnet"])
def test_a_file_of_version_0_1_upscales(name, outputs):
    upscaler = Upscaler(FOLDER / f"{name}.keras", precision="float32")
    (given,) = inputs_of(outputs, name)
    np.testing.assert_allclose(upscaler(given[0]), outputs[name][0].clip(0, 1), atol=2e-3)

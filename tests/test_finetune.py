"""Training that starts from other people's models."""

from pathlib import Path

import numpy as np
import pytest
from helpers import run_command

from srgan import Upscaler
from srgan.config.schema import Config
from srgan.errors import SRGANError
from srgan.interop.loading import load_generator
from srgan.train.initial import network_of

FOREIGN = Path(__file__).parent / "data" / "foreign"
NETWORKS = sorted(path for path in FOREIGN.iterdir() if path.suffix in (".pth", ".safetensors"))
SMALL = ["data.size=48", "batches.crop=24", "batches.size=2", "batches.steps_per_epoch=2", "samples=1"]
SMALL += ["data.validation_count=1"]
PIXELS = ["pixel.epochs=1", "pixel.warmup_steps=0", "pixel.learning_rate=1e-6"]
GAN = ["pixel.epochs=0", "gan.epochs=1", "gan.warmup_steps=0", "gan.learning_rate=1e-6", "gan.vgg19=random"]


@pytest.mark.parametrize("path", NETWORKS, ids=[path.stem for path in NETWORKS])
def test_network_is_taken_from_the_file(path):
    config = Config.load("finetune", [f"initial_weights={path}"], network_of)
    network, wanted = config.network.model_dump(), network_of(path)
    assert {key: network[key] for key in wanted} == wanted
    assert wanted["generator"] == path.stem.split("-")[0]
    changed = Config.load("finetune", [f"initial_weights={path}", "network.discriminator=unet"], network_of).network
    assert changed.model_dump() == network | {"discriminator": "unet"}


@pytest.mark.parametrize(
    ("name", "stage"),
    [("compact-x2.pth", PIXELS), ("realplksr-dysample-x3.safetensors", PIXELS), ("rrdb-basicsr-x4.pth", GAN)],
)
def test_finetuning_starts_from_a_file_and_makes_a_model(name, stage, tmp_path):
    changes = [f"initial_weights={FOREIGN / name}", *SMALL, *stage]
    done = run_command("train", "--config", "finetune", "--set", *changes, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    made = Upscaler(tmp_path / "run", precision="float32")
    before = Upscaler(FOREIGN / name, precision="float32")
    picture = np.random.default_rng(0).random((20, 24, 3), np.float32)
    assert 0 < np.abs(made(picture) - before(picture)).max() < 0.01
    one, other = load_generator(tmp_path / "run" / "generator.keras"), load_generator(FOREIGN / name)
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]


def test_shipped_model_and_run_have_their_recipes_network():
    assert network_of("srresnet") == {"normalization": "none", "skip": "bilinear"}


def test_onnx_cannot_be_trained():
    with pytest.raises(SRGANError, match="onnx file cannot be trained"):
        network_of(str(FOREIGN / "nchw.onnx"))

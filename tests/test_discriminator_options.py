"""What a run can choose for its discriminator: a learning rate of its own, and where it starts."""

import keras
import numpy as np
import pytest
from conftest import TINY

from srgan.config.schema import Config
from srgan.errors import SRGANError
from srgan.train.build import build_discriminator, build_generator, build_model
from srgan.train.run import train
from srgan.train.weights import start_discriminator_from

PATCH = ("pixel.epochs=0", "gan.epochs=1", "gan.content_weight=0", "network.discriminator=patch")


def steps_taken(config, seed=0):
    """How far each kernel of the generator and of the discriminator moves in one step on the same random pictures."""
    keras.utils.set_random_seed(seed)
    model = build_model("gan", config, build_generator(config))
    networks = model.generator, model.discriminator
    before = [[np.array(v) for v in network.trainable_variables] for network in networks]
    random, crop, scale = np.random.default_rng(0), config.batches.crop, config.network.scale
    hr = random.integers(0, 256, (2, crop, crop, 3), np.uint8)
    model.train_on_batch(hr[:, ::scale, ::scale], hr)
    return [
        [np.array(v) - old for v, old in zip(network.trainable_variables, start, strict=True)]
        for network, start in zip(networks, before, strict=True)
    ]


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_discriminator_has_a_learning_rate_of_its_own(tiny, optimizer):
    options = *PATCH, f"gan.optimizer={optimizer}", "gan.warmup_steps=0"
    plain, quarter = (steps_taken(tiny(*options, f"gan.discriminator_rate={factor}")) for factor in (1.0, 0.25))
    for full, same in zip(plain[0], quarter[0], strict=True):
        np.testing.assert_array_equal(full, same)  # the generator
    for full, less in zip(plain[1], quarter[1], strict=True):
        assert full.size == 1 or np.abs(full).max() > 0  # the bias of the logits cancels in a relativistic loss
        np.testing.assert_allclose(less, 0.25 * full, rtol=2e-2, atol=1e-6)


def discriminator_of(output, config):
    """The weights of the discriminator that a run has left."""
    discriminator = build_discriminator(config)
    start_discriminator_from(output, discriminator)
    return [np.array(variable) for variable in discriminator.trainable_variables]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a run with a GAN stage, and the run's configuration."""
    folder = tmp_path_factory.mktemp("first")
    config = Config.load("sample", [*TINY, f"data.store={folder / 'stores'}", *PATCH])
    train(config, folder / "run")
    return folder / "run", config


def test_a_run_goes_on_with_the_discriminator_of_another(first, tiny, tmp_path):
    output, config = first
    taught = discriminator_of(output, config)
    keras.utils.set_random_seed(config.seed + 1)
    fresh = [np.array(variable) for variable in build_discriminator(config).trainable_variables]
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(taught, fresh, strict=True))

    still = tiny(*PATCH, "gan.learning_rate=1e-12", f"gan.initial_discriminator={output}")
    train(still, tmp_path / "second")
    for old, new in zip(taught, discriminator_of(tmp_path / "second", still), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-7)


@pytest.mark.parametrize("change", ["network.discriminator_filters=8", "network.discriminator=unet"])
def test_a_discriminator_of_another_shape_is_refused_before_anything_is_trained(first, tiny, tmp_path, change):
    config = tiny(*PATCH, "pixel.epochs=1", f"gan.initial_discriminator={first[0]}", change)
    with pytest.raises(SRGANError, match="has another shape than network.discriminator"):
        train(config, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_folder_without_a_gan_stage_is_refused(tiny, tmp_path):
    config = tiny(*PATCH, f"gan.initial_discriminator={tmp_path}")
    with pytest.raises(SRGANError, match="holds no checkpoint of a GAN stage"):
        train(config, tmp_path / "run")

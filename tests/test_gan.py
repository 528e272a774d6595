"""The objective: who moves whom, and that it teaches."""

import keras
import numpy as np
import pytest

from srgan.networks.discriminators import patch, srgan
from srgan.networks.generators import srresnet
from srgan.networks.vgg19 import vgg19_features
from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale
from srgan.train.losses import (
    adversarial_loss,
    artifact_loss,
    checkerboard_loss,
    chroma_loss,
    colour_loss,
    content_loss,
    discriminator_accuracy,
    discriminator_loss,
    flat_loss,
    pixel_loss,
)
from srgan.train.objective import SRGAN
from srgan.train.optimizers import Muon, orthogonal

KINDS = ("vanilla", "relativistic", "hinge", "least_squares")


def batch(size=2, crop=32):
    picture = read_rgb("data/sample/val/raccoon.jpg")
    hr = np.stack([picture[100 * i : 100 * i + crop, 300 : 300 + crop] for i in range(1, size + 1)])
    return np.stack([downscale(crop_, 4) for crop_ in hr]), hr


def networks(discriminator=srgan, normalization="batch"):
    keras.utils.set_random_seed(0)
    return srresnet(filters=4, blocks=1), discriminator(filters=4, crop=32, normalization=normalization)


def trained(model, steps=1, learning_rate=1e-3, eagerly=True):
    """Compile, train on one batch, and return the last logs. Eagerly, since tracing takes longer than a few steps."""
    compiled = "auto" if keras.backend.backend() == "jax" else False
    model.compile(keras.optimizers.Adam(learning_rate), run_eagerly=eagerly, jit_compile=False if eagerly else compiled)
    model.reset_metrics()
    data = batch()
    for _ in range(steps):
        logs = model.train_on_batch(*data, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


def weights(network):
    return [np.array(variable) for variable in network.trainable_variables]


def moved(network, before):
    return [not np.array_equal(old, np.array(new)) for old, new in zip(before, network.trainable_variables)]


@pytest.mark.parametrize(
    "discriminator, normalization, kind",
    [*((patch, "spectral", kind) for kind in KINDS), (srgan, "batch", "vanilla"), (patch, "instance", "relativistic")],
)
def test_neither_loss_moves_the_other_network(kind, discriminator, normalization):
    """To the bit: a step with the adversarial loss leaves D where it goes without it, and the reverse."""
    after = {}
    for adversarial_weight in (0.0, 1.0):
        generator, judge = networks(discriminator, normalization)
        start = weights(generator)
        model = SRGAN(
            generator,
            judge,
            pixel_weight=0.0,
            content_weight=0.0,
            adversarial=kind,
            adversarial_weight=adversarial_weight,
        )
        before = weights(judge)
        trained(model)
        after[adversarial_weight] = weights(judge)
        assert any(moved(judge, before))
        # Without an adversarial weight only the discriminator's loss is left, and it must not reach the generator.
        assert any(moved(generator, start)) == (adversarial_weight > 0)
    assert all(np.array_equal(a, b) for a, b in zip(after[0.0], after[1.0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_by_hand(kind):
    real, fake = np.array([[2.0], [0.5]], "float32"), np.array([[-1.0], [0.25]], "float32")

    def softplus(x):
        return np.log1p(np.exp(x)).mean()

    expected = {
        "vanilla": (softplus(-fake), softplus(-real) + softplus(fake)),
        "relativistic": (
            0.5 * (softplus(-(fake - real.mean())) + softplus(real - fake.mean())),
            0.5 * (softplus(-(real - fake.mean())) + softplus(fake - real.mean())),
        ),
        "hinge": (0.375, 0.25 + 0.625),
        "least_squares": ((4 + 0.5625) / 2, (1 + 0.25) / 2 + (1 + 0.0625) / 2),
    }[kind]
    found = adversarial_loss(kind, real, fake), discriminator_loss(kind, real, fake)
    np.testing.assert_allclose([float(value) for value in found], expected, rtol=1e-6)


def test_discriminator_accuracy_by_hand():
    real, fake = np.array([2.0, 0.25], "float32"), np.array([-1.0, 1.5], "float32")
    shares = {kind: [float(share) for share in discriminator_accuracy(kind, real, fake)] for kind in KINDS}
    assert shares["vanilla"] == shares["hinge"] == [1.0, 0.5] and shares["least_squares"] == [0.5, 0.5]
    assert shares["relativistic"] == [0.5, 0.5]  # the means are 1.125 and 0.25


def test_pixel_and_content_losses_by_hand():
    hr, sr = np.zeros((1, 2, 2, 3), "float32"), np.full((1, 2, 2, 3), 0.5, "float32")
    found = [float(pixel_loss(kind, hr, sr)) for kind in ("mse", "l1", "charbonnier")]
    np.testing.assert_allclose(found, [0.25, 0.5, np.sqrt(0.25 + 1e-6)], rtol=1e-6)
    maps, others = [np.full((1, 2), 4.0, "float32"), np.ones((1, 3), "float32")], [np.zeros((1, 2)), np.zeros((1, 3))]
    assert float(content_loss("mse", maps, others, [1.0, 2.0], 0.5)) == pytest.approx(4.0 + 2 * 0.25)
    assert float(content_loss("l1", maps, others, [1.0, 2.0], "unit")) == pytest.approx(3.0)


def test_the_flat_loss_sees_noise_where_the_original_is_flat_and_nothing_else():
    random = np.random.default_rng(0)
    hr = np.full((1, 64, 64, 3), 0.5, "float32")
    hr[:, :, 32:] += 0.2 * random.random((1, 64, 32, 1), np.float32)  # texture on the right
    noise = (0.02 * random.standard_normal((1, 64, 64, 1))).astype("float32")
    left, right = (noise * mask[:, None] for mask in (np.arange(64) < 28, np.arange(64) >= 36))
    on_the_left, on_the_right = float(flat_loss(hr, hr + left)), float(flat_loss(hr, hr + right))
    assert on_the_right == 0 and on_the_left == pytest.approx(np.abs(left).mean(), rel=0.1)
    assert float(flat_loss(hr, hr + 0.1)) == pytest.approx(0, abs=1e-6)  # a shift of colour is for another loss
    colour = left * np.float32([1, -0.299 / 0.587, 0])  # the same luma
    assert float(flat_loss(hr, hr + colour)) > 0.3 * np.abs(left).mean()
    assert float(flat_loss(hr, hr + left, level=0)) == 0


def test_the_chroma_loss_sees_colour_and_not_light():
    hr = np.full((1, 8, 8, 3), 0.5, "float32")
    assert float(chroma_loss(hr, hr + 0.1)) == pytest.approx(0, abs=1e-6)
    red = hr + np.float32([0.1, 0, 0])
    assert float(chroma_loss(hr, red)) == pytest.approx(0.1 * (0.701 + 2 * 0.299) / 3, rel=1e-4)


def test_the_lattice_loss_sees_a_lattice_and_nothing_else():
    random = np.random.default_rng(0)
    hr = random.random((2, 32, 40, 3)).astype("float32")
    lattice = np.tile(random.normal(size=(4, 4, 3)).astype("float32"), (8, 10, 1))
    expected = np.abs(lattice - lattice.mean((0, 1))).mean()
    assert float(checkerboard_loss(hr, hr + lattice, 4)) == pytest.approx(expected, rel=1e-4)
    assert float(checkerboard_loss(hr, hr + [0.1, 0.2, 0.3], 4)) == pytest.approx(0, abs=1e-6)  # a colour
    texture = random.normal(size=hr.shape).astype("float32")
    assert float(checkerboard_loss(hr, hr + texture, 4)) < 0.15 * np.abs(texture).mean()
    assert float(checkerboard_loss(hr, hr + np.stack([lattice, -lattice]), 4)) == pytest.approx(expected, rel=1e-4)
    large = np.tile(lattice, (4, 3, 1))
    sign = np.where(np.arange(large.shape[1]) < 64, 1, -1)[
        :, None
    ]  # another lattice to the right, in windows of its own
    hr = random.random((1, *large.shape)).astype("float32")
    assert float(checkerboard_loss(hr, hr + large * sign, 4)) > 0.8 * expected


def test_the_colour_loss_sees_a_shift_and_blotches_and_no_texture():
    random = np.random.default_rng(0)
    hr = random.random((2, 96, 80, 3)).astype("float32")
    shift = np.array([0.01, -0.02, 0.03], "float32")
    assert float(colour_loss(hr, hr + shift)) == pytest.approx(0.02, rel=1e-3)
    checks = np.indices((96, 80)).sum(0)[..., None] % 2 - 0.5
    assert float(colour_loss(hr, hr + checks.astype("float32"))) == pytest.approx(0, abs=1e-6)
    blotches = np.kron((-1) ** np.indices((3, 3)).sum(0), np.ones((32, 32)))[:, :80, None].astype("float32")
    assert float(colour_loss(hr, hr + 0.1 * blotches)) > 0.02
    assert float(colour_loss(hr[:, :8, :8], hr[:, :8, :8] + shift)) == pytest.approx(0.02, rel=1e-3)


def test_the_artifact_loss_by_hand():
    random = np.random.default_rng(0)
    hr, sr = random.random((2, 2, 12, 10, 3)).astype("float32")
    difference = np.abs(hr - sr).sum(-1)
    expected = np.zeros((2, 12, 10))
    for picture in range(2):
        padded = np.pad(difference[picture], 3, "reflect")
        for y, x in np.ndindex(12, 10):
            expected[picture, y, x] = padded[y : y + 7, x : x + 7].var() * difference[picture].var() ** 0.2
    expected = expected[..., None] * np.abs(hr - sr)
    assert float(artifact_loss(hr, sr, hr)) == pytest.approx(expected.mean(), rel=1e-4)
    # Where the steady generator is further off than this one, nothing counts as an artifact.
    steady = sr.copy()
    steady[:, :6] = hr[:, :6] + 2 * (sr - hr)[:, :6]
    assert float(artifact_loss(hr, sr, steady)) == pytest.approx(expected[:, 6:].sum() / expected.size, rel=1e-4)
    assert float(artifact_loss(hr, hr + 0.1, hr)) == pytest.approx(0, abs=1e-6)  # even: a colour, no artifact


def test_the_steady_generator_is_the_average_and_nothing_trains_it():
    generator, judge = networks(patch, "spectral")
    start = weights(generator)
    model = SRGAN(generator, judge, content_weight=0.0, artifact_weight=1.0, average=0.9)
    assert len(model.trainable_variables) == len(generator.trainable_variables) + len(judge.trainable_variables)
    logs = trained(model)
    assert logs["loss/artifact"] > 0 and any(moved(generator, start))
    between = weights(generator)
    trained(model)
    averages = [np.array(variable) for variable in model.steady.variables if variable.path.endswith("kernel")]
    kernels = [index for index, v in enumerate(generator.trainable_variables) if v.path.endswith("kernel")]
    for average, index in zip(averages, kernels, strict=True):
        # A step moves the average before the weights: it has seen the first weights, then those after a step.
        np.testing.assert_allclose(average, 0.9 * start[index] + 0.1 * between[index], atol=1e-6)


def test_muon_makes_orthogonal_updates_of_kernels_and_leaves_the_rest_to_adam():
    for shape in ((36, 8), (8, 36), (16, 16)):
        values = np.linalg.svd(np.asarray(orthogonal(np.random.default_rng(0).normal(size=shape).astype("float32"))))[1]
        assert values.min() > 0.5 and values.max() < 1.3
    variables = {shape: keras.Variable(np.zeros(shape, "float32")) for shape in [(3, 3, 8, 12), (9, 9, 3, 8), (8,)]}
    gradients = [np.random.default_rng(0).normal(size=shape).astype("float32") for shape in variables]
    Muon(1e-3).apply(gradients, list(variables.values()))
    hidden, first, bias = (np.array(variable) for variable in variables.values())
    np.testing.assert_allclose(np.abs(first), 1e-3, rtol=2e-2)  # Adam's first step: the sign
    np.testing.assert_allclose(np.abs(bias), 1e-3, rtol=1e-3)
    assert np.sqrt(np.mean(hidden**2)) == pytest.approx(0.6e-3, rel=0.2)
    values = np.linalg.svd(hidden.reshape(-1, 12))[1]
    assert values.max() < 2.5 * values.min()


def test_muon_teaches():
    generator, _ = networks(normalization="none")
    model = SRGAN(generator, pixel_weight=1.0, content_weight=0.0, adversarial_weight=0.0)
    model.compile(Muon(2e-3), jit_compile=False)
    losses = [float(model.train_on_batch(*batch(), return_dict=True)["loss/pixel"]) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_few_steps_lower_the_pixel_loss_on_a_real_picture():
    generator, _ = networks()
    model = SRGAN(generator)
    first = trained(model, eagerly=False)["loss/pixel"]
    assert trained(model, steps=12, eagerly=False)["loss/pixel"] < 0.7 * first


def test_the_whole_objective_teaches_generator_and_discriminator():
    generator, judge = networks()
    features = vgg19_features(["block2_conv2"], weights="random")
    model = SRGAN(generator, judge, features)
    first, last = trained(model), trained(model, steps=12)
    assert set(last) == {"loss", "loss/content", "loss/adversarial", "loss/discriminator", "discriminator/real",
                         "discriminator/fake"}  # fmt: skip
    assert last["loss/content"] < first["loss/content"]
    assert last["loss/discriminator"] < first["loss/discriminator"]
    total = last["loss/content"] + 1e-3 * last["loss/adversarial"] + last["loss/discriminator"]
    assert last["loss"] == pytest.approx(total, rel=1e-4)


def test_vgg19_is_neither_trained_nor_saved(tmp_path):
    generator, judge = networks()
    model = SRGAN(generator, judge, vgg19_features(["block5_conv4"], weights="random"))
    assert len(model.trainable_variables) == len(generator.trainable_variables) + len(judge.trainable_variables)
    model.build(None)
    model.save_weights(tmp_path / "x.weights.h5")
    assert (tmp_path / "x.weights.h5").stat().st_size < 2e6  # VGG19 has 80 MB
    assert len(model.variables) <= 3 + len(model.trackers) * 2 + len(generator.variables) + len(judge.variables)


def test_a_checkpoint_gives_back_every_variable(tmp_path):
    """Those too that no gradient moves: of the spectral normalisation, the moving averages and the steady generator."""

    def build():
        model = SRGAN(*networks(patch, "spectral"), content_weight=0.0, artifact_weight=1.0)
        model.compile(Muon(1e-3, use_ema=True))
        model.build(None)
        model.optimizer.build(model.trainable_variables)
        return model, [*model.variables, *model.optimizer.variables]

    model, variables = build()
    for index, variable in enumerate(variables, start=1):
        variable.assign(variable + index)
    model.save_weights(tmp_path / "x.weights.h5")
    model, restored = build()
    model.load_weights(tmp_path / "x.weights.h5")
    for one, other in zip(variables, restored, strict=True):
        assert np.array_equal(np.array(one), np.array(other)), one.path


def test_one_adam_does_what_one_for_each_network_would():
    """A joint step equals a step of each network with the other held still."""

    def step(held=None):
        keras.utils.set_random_seed(0)
        # No batch normalisation here: Keras runs it with its running statistics where a network is held still.
        pair = srresnet(filters=4, blocks=1, normalization="none"), patch(filters=4, normalization="spectral")
        if held is not None:
            pair[held].trainable = False
        trained(SRGAN(*pair, pixel_weight=1.0, content_weight=0.0))
        return [[np.array(variable) for variable in network.variables] for network in pair]

    generator, discriminator = step()
    for together, alone in ((generator, step(held=1)[0]), (discriminator, step(held=0)[1])):
        for found, wanted in zip(together, alone):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("adversarial", ["vanilla", "relativistic"])
def test_mixed_bfloat16_stays_finite(adversarial):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        generator, judge = networks(patch, "spectral")
        features = vgg19_features(["block1_conv2"], weights="random", before_activation=True)
        model = SRGAN(generator, judge, features, pixel_weight=1.0, adversarial=adversarial, content_scale="unit")
        logs = trained(model, steps=4, eagerly=False)
    finally:
        keras.config.set_dtype_policy(policy)
    assert all(np.isfinite(value) for value in logs.values())
    assert all(np.isfinite(array).all() for array in weights(model))
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}

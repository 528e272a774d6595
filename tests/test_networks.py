import zipfile

import keras
import numpy as np
import pytest
from keras import ops

from srgan.errors import SRGANError
from srgan.networks.discriminators import DISCRIMINATORS, patch, srgan, unet
from srgan.networks.files import load_generator, save_generator, scale_of
from srgan.networks.generators import compact, rdn, rrdb, srresnet
from srgan.networks.layers import (
    BilinearUpsampling,
    BlockConv2D,
    PixelShuffle,
    PReLU,
    SpectralConv2D,
    SubPixelInitializer,
    kind_of,
)
from srgan.networks.span import BranchedConv2D, span
from srgan.networks.vgg19 import vgg19_features


def conv(kernel, inputs, outputs):
    return kernel * kernel * inputs * outputs + outputs


def test_pixel_shuffle_is_the_papers_formula():
    scale, x = 2, np.random.default_rng(0).normal(size=(2, 3, 5, 12)).astype("float32")
    out = np.asarray(PixelShuffle(scale)(x))
    assert out.shape == (2, 6, 10, 3)
    for row in range(6):
        for column in range(10):
            for channel in range(3):
                source = 3 * (scale * (row % scale) + column % scale) + channel
                assert (out[:, row, column, channel] == x[:, row // scale, column // scale, source]).all()


def test_sub_pixels_start_equal():
    kernel = SubPixelInitializer(keras.initializers.GlorotUniform(seed=1), 2)((3, 3, 8, 12))
    layer = keras.layers.Conv2D(12, 3, padding="same", kernel_initializer=lambda shape, dtype: kernel)
    out = np.asarray(PixelShuffle(2)(layer(np.random.default_rng(0).random((1, 4, 4, 8)))))
    assert np.ptp(out.reshape(1, 4, 2, 4, 2, 3), axis=(2, 4)).max() == 0 and out.std() > 0


@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-5), ("mixed_bfloat16", 0.02)])
@pytest.mark.parametrize(
    ("fast", "own", "options"),
    [
        (BlockConv2D, keras.layers.Conv2D, {"filters": 3, "kernel_size": 9, "padding": "same"}),
        (BlockConv2D, keras.layers.Conv2D, {"filters": 2, "kernel_size": 3, "padding": "same", "use_bias": False}),
        (PReLU, keras.layers.PReLU, {"shared_axes": [1, 2]}),
    ],
    ids=["9x9", "3x3 without bias", "PReLU"],
)
def test_layers_that_train_faster_are_trained_as_keras_own(fast, own, options, precision, error):
    random = np.random.default_rng(0)
    fast, own = fast(**options, dtype=precision), own(**options)
    x = random.normal(size=(4, 12, 22, 8)).astype("float32")
    models = [keras.Sequential([keras.Input((None, None, 8)), layer]) for layer in (fast, own)]
    start = [random.normal(size=weights.shape) for weights in own.get_weights()]
    for model in models:
        model.set_weights(start)
    given = [np.asarray(model(x), np.float32) for model in models]
    assert np.linalg.norm(given[0] - given[1]) < error * np.linalg.norm(given[1])
    target = random.normal(size=given[0].shape)
    for model in models:
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(x, target)
    for fast_weights, own_weights, before in zip(fast.get_weights(), own.get_weights(), start):
        assert np.linalg.norm(own_weights - before) > 0.01
        assert np.linalg.norm(fast_weights - own_weights) < 2 * error * np.linalg.norm(own_weights - before)
    assert kind_of(fast) == kind_of(own)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="sums in float32 as it is")
def test_slopes_are_learnt_from_a_million_values_in_bfloat16():
    """Whose sum a bfloat16 would not hold: it has 8 bits."""
    model = keras.Sequential([keras.Input((None, None, 2)), PReLU(shared_axes=[1, 2], dtype="mixed_bfloat16")])
    model.compile(keras.optimizers.SGD(1.0), lambda wanted, given: ops.sum(ops.cast(given, "float32")))
    x = np.random.default_rng(0).integers(-3, 2, (1, 1024, 1024, 2)) / 1024
    model.train_on_batch(x, np.zeros_like(x))
    np.testing.assert_allclose(model.get_weights()[0].ravel(), -np.minimum(x, 0).sum((0, 1, 2)), rtol=0.01)


def test_the_papers_generator_has_the_papers_layers():
    generator = srresnet()
    block = 2 * (conv(3, 64, 64) + 4 * 64) + 64
    expected = (
        conv(9, 3, 64) + 64 + 16 * block + conv(3, 64, 64) + 4 * 64 + 2 * (conv(3, 64, 256) + 64) + conv(9, 64, 3)
    )
    assert generator.count_params() == expected == 1_554_883
    slopes = [layer for layer in generator.layers if isinstance(layer, keras.layers.PReLU)]
    assert len(slopes) == 1 + 16 + 2 and all(layer.alpha.shape == (1, 1, 64) for layer in slopes)


def test_the_papers_discriminator_has_the_papers_layers():
    discriminator = srgan(crop=96)
    widths = [3, 64, 64, 128, 128, 256, 256, 512, 512]
    convolutions = sum(conv(3, inputs, outputs) for inputs, outputs in zip(widths, widths[1:]))
    dense = 6 * 6 * 512 * 1024 + 1024 + 1024 + 1
    assert discriminator.count_params() == convolutions + 4 * sum(widths[2:]) + dense == 23_569_217
    strides = [layer.strides[0] for layer in discriminator.layers if isinstance(layer, keras.layers.Conv2D)]
    assert strides == [1, 2] * 4


def test_the_patch_discriminator_judges_patches_of_any_picture():
    discriminator = patch(filters=4)
    assert discriminator(np.zeros((1, 64, 96, 3))).shape == (1, 8, 12, 1)


def test_the_unet_discriminator_has_real_esrgans_layers_and_judges_pixels():
    widths = [(64, 128, 4), (128, 256, 4), (256, 512, 4), (512, 256, 3), (256, 128, 3), (128, 64, 3), (64, 64, 3)]
    kernels = sum(k * k * inputs * outputs for inputs, outputs, k in [*widths, (64, 64, 3)])
    biases = 128 + 256 + 512 + 256 + 128 + 64 + 64 + 64  # which the authors leave out
    discriminator = unet()
    trainable = sum(int(np.prod(variable.shape)) for variable in discriminator.trainable_variables)
    assert trainable == conv(3, 3, 64) + kernels + biases + conv(3, 64, 1) == 4_376_897 + biases
    assert unet(filters=4)(np.zeros((1, 64, 96, 3))).shape == (1, 64, 96, 1)


def dense_block(filters, growth, count):
    return sum(conv(3, filters + index * growth, growth) for index in range(count))


def test_rdn_has_the_papers_layers():
    block = dense_block(64, 64, 8) + conv(1, 64 + 8 * 64, 64)
    ends = conv(3, 3, 64) + 2 * conv(3, 64, 64) + 2 * conv(3, 64, 256) + conv(3, 64, 3)
    assert rdn().count_params() == 16 * block + conv(1, 16 * 64, 64) + ends == 22_271_107


def test_rrdb_has_esrgans_parameters():
    block = 3 * (dense_block(64, 32, 4) + conv(3, 64 + 4 * 32, 64))
    ends = conv(3, 3, 64) + 4 * conv(3, 64, 64) + conv(3, 64, 3)
    assert rrdb().count_params() == 23 * block + ends == 16_697_987


def test_compact_has_real_esrgans_parameters():
    assert compact().count_params() == conv(3, 3, 64) + 16 * conv(3, 64, 64) + 17 * 64 + conv(3, 64, 48) == 621_424


def test_span_has_the_papers_parameters_once_merged():
    ends = conv(3, 3, 48) + conv(3, 48, 48) + conv(1, 4 * 48, 48) + conv(3, 48, 48)
    weights = [
        [layer.kernel, layer.bias] if isinstance(layer, BranchedConv2D) else layer.weights for layer in span().layers
    ]
    assert sum(np.prod(weight.shape) for weight in sum(weights, [])) == 6 * 3 * conv(3, 48, 48) + ends == 426_288


def test_a_branched_convolution_is_its_branches():
    """Also at the borders, where the 3x3 convolution sees the first one's bias."""
    layer, x = BranchedConv2D(5), np.random.default_rng(0).normal(size=(1, 6, 7, 4)).astype("float32")
    layer.build(x.shape)
    for variable in layer.variables:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    (skip, skip_bias), (expand, expand_bias), (spatial, between), (reduce, last) = (
        [np.array(weight) for weight in pair] for pair in (layer.skip, layer.expand, layer.spatial, layer.reduce)
    )
    wide = padded @ expand + expand_bias
    narrow = sum(wide[:, i : i + 6, j : j + 7] @ spatial[i, j] for i in range(3) for j in range(3)) + between
    expected = narrow @ reduce + last + x @ skip + skip_bias
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-4, atol=1e-3)


GENERATORS = {
    "srresnet": (srresnet, {"blocks": 1}),
    "instance": (srresnet, {"blocks": 1, "normalization": "instance", "activation": "relu"}),
    "bilinear": (srresnet, {"blocks": 1, "normalization": "none", "skip": "bilinear", "activation": "leaky_relu"}),
    "rdn": (rdn, {"blocks": 2, "layers_per_block": 2, "growth": 4}),
    "rrdb": (rrdb, {"blocks": 1, "growth": 4}),
    "compact": (compact, {"blocks": 2}),
    "span": (span, {"blocks": 2}),
}


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_takes_any_size_and_comes_back_from_disk_to_the_bit(scale, kind, tmp_path):
    build, options = GENERATORS[kind]
    generator = build(filters=4, scale=scale, **options)
    lr = np.random.default_rng(0).random((2, 7, 11, 3), "float32")
    sr = generator.predict(lr, verbose=0)
    assert sr.shape == (2, 7 * scale, 11 * scale, 3) and sr.dtype == "float32" and scale_of(generator) == scale
    save_generator(generator, tmp_path / "g.keras")
    assert np.array_equal(load_generator(tmp_path / "g.keras").predict(lr, verbose=0), sr)
    with zipfile.ZipFile(tmp_path / "g.keras") as file:
        config = file.read("config.json")
    assert (
        b"VarianceScaling" not in config and b"Glorot" not in config
    )  # other versions of Keras lack some of their keys


def test_a_fresh_generator_with_a_skip_is_close_to_bilinear():
    generator = srresnet(filters=32, blocks=4, normalization="none", skip="bilinear")
    lr = np.random.default_rng(0).random((1, 8, 8, 3), "float32")
    bilinear = ops.image.resize(lr, (32, 32), interpolation="bilinear")
    assert np.abs(generator.predict(lr, verbose=0) - np.asarray(bilinear)).mean() < 0.08


def test_a_fresh_compact_generator_is_close_to_nearest_neighbour():
    lr = np.random.default_rng(0).random((1, 8, 8, 3), "float32")
    nearest = lr.repeat(4, 1).repeat(4, 2)
    assert np.abs(compact(filters=32, blocks=4).predict(lr, verbose=0) - nearest).mean() < 0.08


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_fresh_generator_at_full_depth_keeps_its_values_in_hand(kind):
    """At the depth of the papers the sum over the blocks neither dies nor explodes."""
    build, options = GENERATORS[kind]
    options = {key: value for key, value in options.items() if key in ("normalization", "activation", "skip")}
    lr = np.random.default_rng(0).random((1, 8, 8, 3), "float32")
    assert 0.02 < np.asarray(build(filters=8, **options)(lr, training=True)).std() < 3


@pytest.mark.parametrize("kind", DISCRIMINATORS)
@pytest.mark.parametrize("normalization", ["batch", "instance", "spectral", "none"])
def test_a_discriminator_takes_each_normalisation(kind, normalization):
    discriminator = DISCRIMINATORS[kind](filters=4, crop=32, normalization=normalization)
    logits = np.asarray(discriminator(np.random.default_rng(0).random((2, 32, 32, 3), "float32"), training=True))
    assert np.isfinite(logits).all() and logits.std() > 0 and logits.shape[0] == 2 and logits.shape[-1] == 1


def test_files_that_are_no_generator_are_refused(tmp_path):
    with pytest.raises(SRGANError, match="no such model file"):
        load_generator(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(SRGANError, match="text.keras: not a Keras model"):
        load_generator(tmp_path / "text.keras")
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    with pytest.raises(SRGANError, match="dense.keras: not a generator"):
        load_generator(tmp_path / "dense.keras")


def test_spectral_convolution_has_a_largest_singular_value_of_one():
    layer = SpectralConv2D(6, 3, padding="same")
    x = np.random.default_rng(0).random((2, 8, 8, 4), "float32")
    layer(x)
    layer.kernel.assign(np.random.default_rng(1).normal(size=(3, 3, 4, 6)) * 5)
    for _ in range(200):
        layer(x, training=True)
    largest = np.linalg.svd(np.asarray(layer.kernel).reshape(-1, 6))[1][0]
    reference = keras.layers.Conv2D(6, 3, padding="same")
    reference(x)
    reference.kernel.assign(np.asarray(layer.kernel) / largest)
    np.testing.assert_allclose(np.asarray(layer(x)), np.asarray(reference(x)), atol=1e-4)


def test_vgg19_features_are_those_of_keras_and_frozen():
    keras.utils.set_random_seed(3)
    extract = vgg19_features(["block1_conv2", "block2_conv1"], weights="random")
    keras.utils.set_random_seed(3)
    vgg19 = keras.applications.VGG19(include_top=False, weights=None)
    pictures = np.random.default_rng(0).random((1, 16, 16, 3), "float32")
    reference = keras.Model(vgg19.inputs, [vgg19.get_layer(n).output for n in ("block1_conv2", "block2_conv1")])
    expected = reference(keras.applications.vgg19.preprocess_input(pictures * 255.0))
    for found, wanted in zip(extract(pictures), expected):
        np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-4, atol=1e-3)
    keras.utils.set_random_seed(3)
    before = vgg19_features(["block2_conv1"], weights="random", before_activation=True)(pictures)[0]
    assert np.asarray(before).min() < 0
    np.testing.assert_allclose(np.maximum(np.asarray(before), 0), np.asarray(expected[1]), rtol=1e-4, atol=1e-3)


def test_vgg19_weights_that_are_missing_or_wrong(tmp_path):
    with pytest.raises(SRGANError, match="gone.weights.h5: no such file of VGG19 weights"):
        vgg19_features(["block1_conv1"], weights=str(tmp_path / "gone.weights.h5"))
    (tmp_path / "bad.weights.h5").write_text("hello")
    with pytest.raises(SRGANError, match="bad.weights.h5: cannot be loaded; set gan.vgg19"):
        vgg19_features(["block1_conv1"], weights=str(tmp_path / "bad.weights.h5"))


def test_vgg19_knows_a_picture_by_its_shared_weights(shared):
    """The features of a real picture are nearer to those of its slightly brighter self than to another picture's."""
    from srgan.pictures import read_rgb
    from srgan.pictures.arrays import resize_bicubic, to_float

    extract = vgg19_features(["block5_conv4"], weights=str(shared / "weights" / "vgg19_notop_float16.weights.h5"))
    cat, raccoon = (
        to_float(resize_bicubic(read_rgb(f"data/sample/val/{n}.jpg"), 96, 96)) for n in ("chelsea", "raccoon")
    )
    maps = np.asarray(extract(np.stack([cat, cat * 0.9, raccoon]))[0])
    assert maps.shape == (3, 6, 6, 512)
    assert 3 * np.abs(maps[0] - maps[1]).mean() < np.abs(maps[0] - maps[2]).mean()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bilinear_upsampling_is_keras_own(scale):
    x = np.random.default_rng(0).random((2, 7, 5, 3), np.float32)
    wanted = keras.layers.UpSampling2D(scale, interpolation="bilinear")(x)
    np.testing.assert_allclose(BilinearUpsampling(scale)(x), wanted, atol=1e-6)


def test_a_file_with_keras_own_bilinear_upsampling_is_the_same_network(tmp_path):
    """As every generator with a bilinear skip was saved up to version 0.1."""
    new = srresnet(filters=4, blocks=1, normalization="none", skip="bilinear")

    def as_before(layer):
        if isinstance(layer, BilinearUpsampling):
            kept = {"name": layer.name, "dtype": layer.dtype_policy}
            return keras.layers.UpSampling2D(layer.scale, interpolation="bilinear", **kept)
        return type(layer).from_config(layer.get_config())

    old = keras.models.clone_model(new, clone_function=as_before)
    old.set_weights(new.get_weights())
    assert {"UpSampling2D"} == {type(old.get_layer("skip_upsample")).__name__}
    old.save(tmp_path / "old.keras")
    loaded = load_generator(tmp_path / "old.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in new.layers]
    assert [variable.path for variable in loaded.variables] == [variable.path for variable in new.variables]
    x = np.random.default_rng(0).random((1, 9, 12, 3), np.float32)
    np.testing.assert_allclose(loaded(x), old(x), atol=1e-6)

"""scripts/draw_model.py: what it reads from a network is what the network is, and the committed picture shows it."""

import json
from fractions import Fraction

import keras
import pytest
from helpers import ROOT, load_script
from PIL import Image

from srgan.networks import discriminators, generators

draw_model = load_script("draw_model")
from drawing.graph import Skip  # noqa: E402


def words(blocks):
    """Blocks as a row of words: the text, and the label where there is one."""
    return [f"{block.text} {block.label}".strip() for block in blocks]


def read(model):
    return draw_model.fold(draw_model.read(model))


@pytest.fixture(scope="module")
def papers():
    """The generator and the discriminator of the paper, as Keras models."""
    return generators.srresnet(), discriminators.srgan()


UP = ["Conv k3n256s1", "PixelShuffle x2", "PReLU"]
RESIDUAL = ["Conv k3n64s1", "BN", "PReLU", "Conv k3n64s1", "BN", "+"]


def test_the_generator_is_the_papers(papers):
    network = read(papers[0])
    expected = ["Conv k9n64s1", "PReLU", *RESIDUAL, "Conv k3n64s1", "BN", "+", *UP, *UP, "Conv k9n3s1"]
    assert words(network.blocks) == expected
    assert network.repeats == ((2, 7, 16),)
    assert network.skips == (Skip(1, 7), Skip(1, 10))
    assert network.parameters == papers[0].count_params()
    assert network.size is None and network.patches


def test_unfolded_nothing_is_left_out(papers):
    network = draw_model.read(papers[0])
    assert len(network.blocks) == 2 + 16 * 6 + 3 + 6 + 1
    assert len(network.skips) == 17
    assert network.repeats == ()


def test_the_discriminator_is_the_papers(papers):
    network = read(papers[1])
    stages = [(64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2)]
    expected = ["Conv k3n64s1", "LeakyReLU"]
    for filters, stride in stages:
        expected += [f"Conv k3n{filters}s{stride}", "BN", "LeakyReLU"]
    assert words(network.blocks) == [*expected, "Dense 1024", "LeakyReLU", "Dense 1"]
    assert network.skips == () and network.repeats == ()
    assert network.size == 96 and not network.patches
    sizes = [draw_model.size_text(network, block) for block in network.blocks if block.kind == "convolution"]
    assert sizes == ["96 x 96", *["48 x 48"] * 2, *["24 x 24"] * 2, *["12 x 12"] * 2, "6 x 6"]


def test_scale_2_instance_normalisation_and_another_activation():
    network = read(generators.srresnet(filters=8, blocks=3, scale=2, normalization="instance", activation="relu"))
    body = ["Conv k3n8s1", "IN", "ReLU", "Conv k3n8s1", "IN", "+"]
    up = ["Conv k3n32s1", "PixelShuffle x2", "ReLU"]
    assert words(network.blocks) == ["Conv k9n8s1", "ReLU", *body, "Conv k3n8s1", "IN", "+", *up, "Conv k9n3s1"]
    assert network.repeats == ((2, 7, 3),)
    assert network.blocks[-1].scale == 2
    assert draw_model.size_text(network, network.blocks[-1]) == "2h x 2w"


def test_without_normalisation_and_with_a_bilinear_skip():
    network = read(
        generators.srresnet(filters=4, blocks=5, normalization="none", activation="leaky_relu", skip="bilinear")
    )
    body = ["Conv k3n4s1", "LeakyReLU", "Conv k3n4s1", "+"]
    up = ["Conv k3n16s1", "PixelShuffle x2", "LeakyReLU"]
    row = ["Conv k9n4s1", "LeakyReLU", *body, "Conv k3n4s1", "+", *up, *up, "Conv k9n3s1", "+"]
    assert words(network.blocks) == row
    assert network.repeats == ((2, 5, 5),)
    *others, long = network.skips
    assert [(skip.start, skip.end) for skip in others] == [(1, 5), (1, 7)]
    assert (long.start, long.end, words(long.via)) == (-1, len(row) - 1, ["Bilinear x4"])
    assert long.via[0].scale == 4


@pytest.mark.parametrize(("normalization", "mark"), [("batch", ["BN"]), ("instance", ["IN"]), ("none", [])])
def test_the_patch_discriminator(normalization, mark):
    network = read(discriminators.patch(filters=8, normalization=normalization))
    expected = ["Conv k4n8s2", "LeakyReLU"]
    for filters, stride in [(16, 2), (32, 2), (64, 1)]:
        expected += [f"Conv k4n{filters}s{stride}", *mark, "LeakyReLU"]
    assert words(network.blocks) == [*expected, "Conv k4n1s1"]
    assert network.patches
    assert network.blocks[-1].scale == Fraction(1, 8)
    assert draw_model.size_text(network, network.blocks[-1]) == "h/8 x w/8"


def test_spectral_normalisation_is_part_of_its_convolution():
    network = read(discriminators.srgan(filters=4, crop=32, normalization="spectral"))
    assert "Conv + SN k3n4s2" in words(network.blocks)
    assert "BN" not in words(network.blocks)


def test_only_equal_neighbours_are_folded():
    x = inputs = keras.Input((None, None, 4))
    for kernel in (3, 3, 5, 3):
        x = keras.layers.Add()([x, keras.layers.Conv2D(4, kernel, padding="same")(x)])
    network = read(keras.Model(inputs, keras.layers.Conv2D(3, 1)(x)))
    assert words(network.blocks) == ["Conv k3n4s1", "+", "Conv k5n4s1", "+", "Conv k3n4s1", "+", "Conv k1n3s1"]
    assert [count for _, _, count in network.repeats] == [2, 1, 1]
    assert [(skip.start, skip.end) for skip in network.skips] == [(-1, 1), (1, 3), (3, 5)]


def test_an_unknown_layer_is_drawn_by_its_name():
    inputs = keras.Input((None, None, 3))
    network = read(keras.Model(inputs, keras.layers.Conv2D(3, 3)(keras.layers.GaussianNoise(0.1)(inputs))))
    assert words(network.blocks) == ["GaussianNoise", "Conv k3n3s1"]
    assert network.blocks[0].kind == "other"


@pytest.mark.parametrize(
    ("options", "judge"),
    [
        ({}, discriminators.srgan),
        ({"scale": 2, "normalization": "instance", "blocks": 1}, discriminators.patch),
        ({"normalization": "none", "skip": "bilinear", "blocks": 2}, discriminators.srgan),
        ({"blocks": 0}, discriminators.patch),
    ],
)
def test_every_variant_can_be_drawn(options, judge):
    networks = read(generators.srresnet(filters=4, **options)), read(judge(filters=4))
    picture = draw_model.draw(*networks)
    assert picture.mode == "RGB" and picture.width >= 1800
    colours = {colour for _, colour in picture.getcolors(1 << 24)}
    kinds = {block.kind for network in networks for block in network.blocks}
    for kind, (bar, _) in draw_model.COLOURS.items():
        drawn = tuple(bytes.fromhex(bar[1:])) in colours
        assert drawn == (kind in kinds), kind
    # Nothing runs over the edge.
    for strip in [(0, 0, picture.width, 12), (0, 0, 12, picture.height), (picture.width - 12, 0, *picture.size)]:
        assert picture.crop(strip).getextrema() == ((255, 255),) * 3


def test_the_committed_picture_shows_the_networks_as_they_are(papers):
    with Image.open(ROOT / "model.png") as picture:
        shown = json.loads(picture.text["Description"])
        assert picture.mode == "RGB" and picture.width >= 1800
    assert shown == [draw_model.describe(read(model)) for model in papers], "run python scripts/draw_model.py"


def test_main_writes_a_png_or_says_why_not(tmp_path, capsys):
    assert draw_model.main(["--output", str(tmp_path / "drawn.png")]) == 0
    with Image.open(tmp_path / "drawn.png") as picture, Image.open(ROOT / "model.png") as committed:
        picture.load()
        assert picture.size == committed.size
    assert draw_model.main(["--output", str(tmp_path / "missing" / "drawn.png")]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and "missing" in error[0]

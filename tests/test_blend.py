"""scripts/blend.py: generators on the line between two, and the chroma of the last kernel smoothed."""

from functools import partial

import numpy as np
import pytest
from helpers import SAMPLE, load_script

from srgan import Upscaler
from srgan.metrics.flat_noise import flat_noise
from srgan.networks.files import load_generator
from srgan.networks.generators import srresnet
from srgan.networks.span import BranchedConv2D, span
from srgan.pictures import read_rgb

blend = load_script("blend")
small = partial(srresnet, filters=4, blocks=1, normalization="none", skip="bilinear")


def saved(folder, *generators):
    paths = [str(folder / f"{index}.keras") for index in range(len(generators))]
    for generator, path in zip(generators, paths, strict=True):
        generator.save(path)
    return paths


def test_the_mean_and_what_lies_beyond(tmp_path):
    generators, output = [small(), small()], tmp_path / "new.keras"
    paths = saved(tmp_path, *generators)
    for options, shares in (([], (0.5, 0.5)), (["--way", "1.3"], (-0.3, 1.3)), (["--way", "0"], (1, 0))):
        assert blend.main([*paths, str(output), *options]) == 0
        for new, *old in zip(load_generator(output).weights, *(each.weights for each in generators), strict=True):
            expected = sum(share * weight.numpy() for share, weight in zip(shares, old, strict=True))
            np.testing.assert_allclose(new.numpy(), expected, atol=1e-6)


def test_of_branched_convolutions_the_merged_kernels_are_averaged(tmp_path):
    generators, output = [span(filters=4, blocks=1), span(filters=4, blocks=1)], tmp_path / "new.keras"
    assert blend.main([*saved(tmp_path, *generators), str(output)]) == 0
    trios = list(zip(load_generator(output).layers, *(each.layers for each in generators), strict=True))
    assert any(isinstance(new, BranchedConv2D) for new, *_ in trios)
    for new, *old in trios:
        if isinstance(new, BranchedConv2D):
            expected = np.mean([np.asarray(layer.kernel) for layer in old], axis=0)
            np.testing.assert_allclose(np.asarray(new.kernel), expected, atol=1e-6)


def test_smooth_chroma_takes_colour_noise_and_leaves_luma_and_flat_colours(tmp_path):
    noisy = read_rgb(SAMPLE / "val" / "raccoon.jpg")[:96, :96]
    output = tmp_path / "new.keras"
    generator = small()
    tail = generator.get_layer("tail_conv")
    tail.kernel.assign(tail.kernel * 3)  # enough of what it adds to be seen beside the bilinear enlargement
    paths = saved(tmp_path, generator)
    assert blend.main([paths[0], paths[0], str(output), "--smooth-chroma", "1"]) == 0
    before, after = (np.asarray(load_generator(path).get_layer("tail_conv").kernel) for path in (paths[0], output))
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(after @ luma, before @ luma, atol=1e-6)
    np.testing.assert_allclose(after.sum((0, 1)), before.sum((0, 1)), atol=1e-5)
    large = [Upscaler(path, precision="float32")(noisy) for path in (paths[0], str(output))]
    noise = [flat_noise(noisy, each) for each in large]
    assert noise[1][1] < 0.9 * noise[0][1] and abs(noise[1][0] / noise[0][0] - 1) < 0.05


@pytest.mark.parametrize(
    ("build", "options", "says"),
    [
        (span, [], "are not built alike"),
        (small, ["--way", "nan"], "--way: nan is not a finite number"),
        (small, ["--smooth-chroma", "-1"], "--smooth-chroma: -1.0 is not a number of pixels"),
    ],
)
def test_a_mistake_is_said_in_one_line_and_nothing_is_written(build, options, says, tmp_path, capsys):
    paths = saved(tmp_path, small(), build(filters=4, blocks=1))
    assert blend.main([*paths, str(tmp_path / "new.keras"), *options]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "new.keras").exists()


def test_a_network_that_does_not_end_in_a_convolution_is_not_smoothed(tmp_path, capsys):
    paths = saved(tmp_path, span(filters=4, blocks=1))
    assert blend.main([paths[0], paths[0], str(tmp_path / "new.keras"), "--smooth-chroma", "1"]) == 2
    assert "does not end in a convolution" in capsys.readouterr().err
    assert blend.main([paths[0], str(tmp_path / "none.keras"), str(tmp_path / "new.keras")]) == 2
    assert blend.main([paths[0], paths[0], str(tmp_path / "new.png")]) == 2

"""How far tiles see beyond their own pixels: as far as the weights of the model need."""

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.ndimage import uniform_filter1d
from skimage import data

from srgan import Upscaler
from srgan.interop.probing import measured_overlap, measured_overlap_of_one_size


def compact(path, spread):
    """A compact network of a receptive field of 18 pixels whose kernels spread what they see, 1 evenly, or 0 not at all."""
    channels = [3, *[4] * 17, 12]
    tensors = {}
    for index, (before, after) in enumerate(zip(channels, channels[1:])):
        kernel = np.full((3, 3), spread / 9, np.float32)
        kernel[1, 1] += 1 - spread
        kernels = np.broadcast_to(kernel / before, (after, before, 3, 3))
        tensors[f"body.{2 * index}.weight"] = np.ascontiguousarray(kernels)
        tensors[f"body.{2 * index}.bias"] = np.zeros(after, np.float32)
        if index < 17:
            tensors[f"body.{2 * index + 1}.weight"] = np.full(after, 0.2, np.float32)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(("spread", "overlap"), [(1, 16), (0.01, 12)])
def test_overlap_is_what_the_weights_need(spread, overlap, tmp_path):
    path = compact(tmp_path / "model.safetensors", spread)
    pixels = data.chelsea()[:100, 100:200]
    whole = Upscaler(path, precision="float32", tile=128)(pixels)
    tiled = Upscaler(path, precision="float32", tile=64)
    assert tiled.overlap == overlap
    assert np.abs(tiled(pixels).astype(int) - whole).max() <= 1
    if spread == 1:
        tiled.overlap = 4
        assert np.abs(tiled(pixels).astype(int) - whole).max() > 1  # or this test would see nothing


@pytest.mark.parametrize(("reach", "least", "most"), [(3, 3, 12), (20, 20, 30), (60, 32, 32)])
def test_overlap_of_a_network_of_one_size(reach, least, most):
    """Which a blur over so many pixels to each side stands for; more than a quarter of the side is not to be had."""

    def run(picture):
        return uniform_filter1d(np.pad(picture, [(0, 0), (0, 0), (reach, reach), (0, 0)]), 2 * reach + 1, 2)[
            :, :, reach:-reach
        ]

    assert least <= measured_overlap_of_one_size(run, 3, 1, 128, 128) <= most
    assert reach <= measured_overlap(run, 3, 1) <= 112

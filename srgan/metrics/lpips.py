"""LPIPS: how different two pictures look, by the features of a network trained to recognise objects.

Zhang et al., arXiv 1801.03924, section 3: version 0.1, AlexNet with the learned linear weights on top. The weights are
torchvision's AlexNet and the paper's linear layers in float16, with their licences beside them. OpenVINO computes it, so
that it needs no training framework and gives the same figures with each of them.
"""

from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np

from srgan.pictures.arrays import to_float
from srgan.runtime import load_openvino

_WEIGHTS = Path(__file__).parents[1] / "weights" / "lpips-alex.npz"
_SMALLEST = 31  # pixels a side, below which AlexNet's last feature maps are empty

# Normalised by the mean and deviation of ImageNet's colours, which the paper's code gives for values in [-1, 1].
_MEAN, _DEVIATION = np.array([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]], np.float32)
_one_at_a_time = Lock()


def lpips(reference: np.ndarray, picture: np.ndarray) -> float:
    """The LPIPS distance of two pictures: 0 if they are equal, to about 1.

    Args:
        reference, picture: uint8 (height, width, 3).

    Returns:
        The distance, computed in float32; NaN if a side has less than 31 pixels.

    Raises:
        ValueError: the pictures differ in shape.
    """
    if np.shape(reference) != np.shape(picture):
        raise ValueError(f"the pictures differ in shape: {np.shape(reference)} and {np.shape(picture)}")
    if min(np.shape(reference)[:2]) < _SMALLEST:
        return float("nan")
    pair = np.stack([to_float(pixels) for pixels in (reference, picture)])
    with _one_at_a_time:  # it uses all cores by itself
        return float(_compiled()(pair)[0])


@cache
def _compiled():
    """The distance of the two pictures in a batch, (2, height, width, 3) in [0, 1]: a scalar."""
    openvino = load_openvino()
    from openvino import opset13 as opset

    with np.load(_WEIGHTS) as file:
        weights = {name: values.astype(np.float32) for name, values in file.items()}
    pair = opset.parameter([2, -1, -1, 3], np.float32)
    signed = opset.subtract(opset.multiply(pair, np.float32(2)), np.float32(1) + _MEAN)
    features = opset.transpose(opset.divide(signed, _DEVIATION), np.array([0, 3, 1, 2]))
    distance = np.float32(0)
    # AlexNet's five rectified feature maps (arXiv 1404.5997).
    for index, padding in enumerate((2, 2, 1, 1, 1), 1):
        if index in (2, 3):
            features = opset.max_pool(features, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3]).output(0)
        stride = [4, 4] if index == 1 else [1, 1]
        kernel = np.ascontiguousarray(weights[f"conv{index}/kernel"].transpose(3, 2, 0, 1))
        features = opset.convolution(features, kernel, stride, [padding] * 2, [padding] * 2, [1, 1])
        features = opset.relu(opset.add(features, weights[f"conv{index}/bias"].reshape(1, -1, 1, 1)))
        # Each pixel's features as a vector of length 1, then their squared difference, weighted and averaged over pixels.
        length = opset.sqrt(opset.reduce_sum(opset.multiply(features, features), np.array([1]), keep_dims=True))
        one, other = opset.split(opset.divide(features, opset.add(length, np.float32(1e-10))), 0, 2).outputs()
        square = opset.squared_difference(one, other)
        mean = opset.reduce_mean(square, np.array([0, 2, 3]))
        distance = opset.add(distance, opset.reduce_sum(opset.multiply(mean, weights[f"lin{index}"]), np.array([0])))
    model = openvino.Model([distance], [pair], "lpips")
    return openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

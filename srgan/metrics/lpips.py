"""LPIPS: how different two pictures look, by the features of a network trained to recognise objects.

Zhang et al., arXiv 1801.03924, section 3: version 0.1, AlexNet with the learned linear weights on top. The weights are
torchvision's AlexNet and the paper's linear layers in float16, with their licences beside them.
"""

from functools import cache
from pathlib import Path
from threading import Lock

import keras
import numpy as np
from keras import layers, ops

from srgan.pictures.arrays import to_float

_WEIGHTS = Path(__file__).parents[1] / "weights" / "lpips-alex.npz"
_SMALLEST = 31  # pixels a side, below which AlexNet's last feature maps are empty


class LPIPS(keras.Model):
    """The perceptual distance between two pictures, from 0 (equal) to about 1.

    Takes [reference, picture], both (batch, height, width, 3) in [0, 1] with sides of at least 31 pixels, and returns
    float32 (batch,). It is frozen and computes in float32 under every dtype policy.
    """

    def __init__(self):
        super().__init__(name="lpips", trainable=False, dtype="float32")
        self.alexnet = _alexnet()
        with np.load(_WEIGHTS) as weights:
            for layer in self.alexnet.layers:
                if f"{layer.name}/kernel" in weights:
                    layer.set_weights(
                        [weights[f"{layer.name}/{part}"].astype(np.float32) for part in ("kernel", "bias")]
                    )
            self.linear = [weights[f"lin{index}"].astype(np.float32) for index in range(1, 6)]

    def call(self, inputs):
        distance = 0.0
        for x, y, weight in zip(*map(self.alexnet, inputs), self.linear, strict=True):
            difference = ops.square(_unit(x) - _unit(y))
            distance = distance + ops.sum(ops.mean(difference, axis=(1, 2)) * weight, axis=-1)
        return distance


def _alexnet():
    """From (batch, height, width, 3) in [0, 1] to AlexNet's five rectified feature maps (arXiv 1404.5997)."""
    float32 = {"dtype": "float32", "trainable": False}
    x = inputs = keras.Input((None, None, 3), name="picture", dtype="float32")
    # Normalised by the mean and deviation of ImageNet's colours, which the paper's code gives for values in [-1, 1].
    x = layers.Rescaling(2.0, -1.0, name="to_signed", **float32)(x)
    mean, variance = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450]) ** 2
    x = layers.Normalization(mean=mean, variance=variance, name="normalize", **float32)(x)
    features = []
    for index, (filters, size, padding) in enumerate(
        [(64, 11, 2), (192, 5, 2), (384, 3, 1), (256, 3, 1), (256, 3, 1)], 1
    ):
        if index in (2, 3):
            x = layers.MaxPooling2D(3, 2, name=f"pool{index}", **float32)(x)
        x = layers.ZeroPadding2D(padding, name=f"pad{index}", **float32)(x)
        strides = 4 if index == 1 else 1
        x = layers.Conv2D(filters, size, strides=strides, activation="relu", name=f"conv{index}", **float32)(x)
        features.append(x)
    return keras.Model(inputs, features, name="alexnet")


def _unit(features):
    """Every pixel's features as a vector of length 1."""
    return features / (ops.sqrt(ops.sum(ops.square(features), axis=-1, keepdims=True)) + 1e-10)


_model, _one_at_a_time = cache(LPIPS), Lock()


def lpips(reference: np.ndarray, picture: np.ndarray) -> float:
    """The LPIPS distance of two uint8 (height, width, 3) pictures; NaN if a side has less than 31 pixels.

    Raises:
        ValueError: the pictures differ in shape.
    """
    if np.shape(reference) != np.shape(picture):
        raise ValueError(f"the pictures differ in shape: {np.shape(reference)} and {np.shape(picture)}")
    if min(np.shape(reference)[:2]) < _SMALLEST:
        return float("nan")
    batch = [to_float(pixels)[None] for pixels in (reference, picture)]
    with _one_at_a_time:  # it uses all cores by itself
        return float(_model().predict_on_batch(batch)[0])  # compiled, which JAX needs to be quick

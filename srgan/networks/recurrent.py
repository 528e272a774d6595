"""The memory of a recurrent generator: the previous enlarged frame, moved along the motion, blended with the current one.

The network compares the current frame, enlarged without a memory, with the memory and with the low-resolution frame. It
blends the two by a weight for each pixel, and corrects the result by back-projection so that its downscaled version
agrees with the low-resolution frame. The initial weights implement a fixed formula that already helps (0.18 dB over frame by
frame on two clips); training starts from there.

Feeding back the previous enlarged frame, warped along an optical flow, comes from FRVSR (Sajjadi et al., CVPR 2018, arXiv
1801.04590). There the warped frame is an input of the network's first layer, and the network estimates the flow itself.
"""

import keras
import numpy as np
from keras import layers, ops

from srgan.networks.blocks import make_activation, residual_block
from srgan.networks.layers import PixelShuffle, PixelUnshuffle, ScaledLayer

BACK_PROJECTIONS = 3
OPENCV_BICUBIC, PILLOW_BICUBIC = -0.75, -0.5  # coefficients of Keys' kernel; srgan.clips.flow moves memories by OpenCV


def blend_with_memory(
    sr: keras.KerasTensor,
    memory: keras.KerasTensor,
    lr: keras.KerasTensor,
    *,
    scale: int,
    filters: int,
    normalization: str,
    activation: str,
) -> keras.KerasTensor:
    """Blend an enlarged frame with the memory of the previous one.

    Args:
        sr: the frame enlarged without a memory, float32 (batch, scale h, scale w, 3).
        memory: the previous result in [0, 1], unshuffled to (batch, h, w, 3 scale²) (see PixelUnshuffle) and moved along the
            motion; 0 where there is none.
        lr: the low-resolution frame, float32 (batch, h, w, 3) in [0, 1].

    Returns:
        (sr, memory): the blended frame, and the memory for the next one.
    """
    # Everything runs at the low resolution, where a convolution costs a sixteenth. Only the convolutions that extract
    # features may compute in less than float32.
    exact, same = {"dtype": "float32"}, {"padding": "same"}
    outputs = {"filters": memory.shape[-1], "kernel_size": 3, "kernel_initializer": "zeros", **same, **exact}
    alone = PixelUnshuffle(scale, **exact, name="recall_alone")(sr)
    residual = DownscaleResidual(scale, **exact, name="recall_shortfall")([alone, lr])
    x = MemoryFeatures(**exact, name="recall_evidence")([alone, lr, residual])
    x = layers.Conv2D(filters, 3, **same, name="recall_look_conv1")(x)
    x = make_activation(activation, "recall_look_act1")(x)
    x = residual_block(x, "recall_look_block", filters=filters, normalization=normalization, activation=activation)
    corrected = layers.Add(**exact, name="recall_add")([alone, layers.Conv2D(**outputs, name="recall_mend")(x)])
    difference = MemoryDifference(**exact, name="recall_difference")([alone, memory])
    disagreement = LocalDisagreement(**exact, name="recall_doubt")(difference)
    x = layers.Concatenate(name="recall_look_concat")([x, difference, disagreement])
    x = layers.Conv2D(filters, 3, **same, name="recall_look_conv2")(x)
    x = make_activation(activation, "recall_look_act2")(x)
    logits = layers.Conv2D(bias_initializer=keras.initializers.Constant(1.5), **outputs, name="recall_logits")(x)
    x = Blend(**exact, name="recall_blend")([corrected, memory, logits, disagreement])
    # Back-projection (Irani and Peleg, 1991); its kernels start as those of bicubic interpolation.
    for index in range(1, BACK_PROJECTIONS + 1):
        residual = DownscaleResidual(scale, **exact, name=f"recall_shortfall{index}")([x, lr])
        enlarge = layers.Conv2D(
            memory.shape[-1], 5, use_bias=False, kernel_initializer=EnlargingInitializer(0.8), **same, **exact,
            name=f"recall_enlarge{index}",
        )  # fmt: skip
        x = layers.Add(**exact, name=f"recall_projected{index}")([x, enlarge(residual)])
    sr = PixelShuffle(scale, **exact, name="recall_shuffle")(x)
    # Bounded, so that it cannot grow over a long clip; float32, so that storing it loses nothing.
    return sr, layers.ReLU(max_value=1.0, **exact, name="remember")(x)


@keras.saving.register_keras_serializable("srgan", "Shortfall")  # the name in saved files
class DownscaleResidual(ScaledLayer):
    """[result, lr] to lr - downscaled(result), (batch, h, w, 3).

    The result is unshuffled, (batch, h, w, 3 scale²); lr is (batch, h, w, 3). The downscaling is the bicubic one that the
    low-resolution pictures are made by, so that the residual of the original is 0, also at the borders.
    """

    @property
    def kernel(self):
        """From an unshuffled picture to a downscaled one: (5, 5, 3 scale², 3)."""
        return _for_each_colour(bicubic_reduction(self.scale))

    def call(self, inputs):
        result, lr = inputs
        kernel = ops.convert_to_tensor(self.kernel, dtype=self.compute_dtype)
        inside = ops.conv(ops.ones_like(result), kernel, padding="same")  # 1 except at the borders
        return lr - ops.conv(result, kernel, padding="same") / inside

    def compute_output_shape(self, input_shape):
        return input_shape[1]


@keras.saving.register_keras_serializable("srgan")
class EnlargingInitializer(keras.initializers.Initializer):
    """Kernel of a convolution that enlarges lr to an unshuffled picture: bicubic interpolation, times `gain`."""

    def __init__(self, gain):
        self.gain = gain

    def __call__(self, shape, dtype=None):
        scale = round((shape[-1] / 3) ** 0.5)
        kernel = _for_each_colour(bicubic_enlargement(scale)).swapaxes(2, 3)
        return ops.convert_to_tensor(self.gain * kernel, dtype=dtype)

    def get_config(self):
        return {"gain": self.gain}


@keras.saving.register_keras_serializable("srgan", "Evidence")  # the name in saved files
class MemoryFeatures(keras.layers.Layer):
    """[alone, lr, residual] stacked as channels, each scaled to about the same magnitude."""

    def call(self, inputs):
        alone, lr, residual = inputs
        detail = alone - ops.tile(lr, (1, 1, 1, alone.shape[-1] // lr.shape[-1]))
        return ops.concatenate([detail, lr - 0.5, 10.0 * residual], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], sum(shape[-1] for shape in input_shape))


@keras.saving.register_keras_serializable("srgan", "Difference")  # the name in saved files
class MemoryDifference(keras.layers.Layer):
    """[alone, memory] to 5 (memory - alone), and 0 where the memory is empty."""

    def call(self, inputs):
        alone, memory = inputs
        return ops.where(_is_present(memory), 5.0 * (memory - alone), 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable("srgan", "Doubt")  # the name in saved files
class LocalDisagreement(keras.layers.Layer):
    """Mean magnitude of a difference over all channels and 3 x 3 pixels; large where the estimated motion is wrong.

    (batch, h, w, c) to (batch, h, w, 1).
    """

    def call(self, inputs):
        return ops.average_pool(ops.mean(ops.abs(inputs), axis=-1, keepdims=True), 3, strides=1, padding="same")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable("srgan")
class Blend(keras.layers.Layer):
    """[picture, memory, logits, disagreement] to picture + trust (memory - picture).

    The trust is sigmoid(logits - 20 slope disagreement) with a trainable slope, and 0 where the memory is empty. This keeps
    the result between picture and memory: an unconstrained variant trained on 5 frames diverged within 60.
    """

    def build(self, input_shape):
        self.slope = self.add_weight(shape=(), initializer="ones", name="slope")

    def call(self, inputs):
        picture, memory, logits, disagreement = inputs
        trust = ops.where(_is_present(memory), ops.sigmoid(logits - 20.0 * self.slope * disagreement), 0.0)
        return picture + trust * (memory - picture)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


# These layers compare or blend a picture with the memory. In bfloat16 the picture would lose levels.
COMPARING = (DownscaleResidual, MemoryFeatures, MemoryDifference, LocalDisagreement, Blend)


def _is_present(memory):
    """Where a memory is not empty; black pixels count as empty."""
    return ops.max(memory, axis=-1, keepdims=True) > 0


class MoveAlong(keras.layers.Layer):
    """Warp pictures along a motion, as srgan.clips.flow.moved: [(batch, h, w, c), origin (batch, h, w, 2)] to (batch, h, w, c).

    `origin` holds, for each pixel of the result, its x and y in the picture. By bicubic interpolation; no gradient passes.
    """

    def call(self, inputs):
        pictures, origin = map(ops.stop_gradient, inputs)
        batch, height, width, channels = ops.shape(pictures)
        first = ops.floor(origin)
        between = origin - first
        a = OPENCV_BICUBIC
        of_columns, of_rows = (
            (_far(t + 1, a), _near(t, a), _near(1 - t, a), _far(2 - t, a)) for t in (between[..., 0], between[..., 1])
        )
        x, y = (ops.cast(first[..., axis], "int32") for axis in (0, 1))
        pixels = ops.reshape(pictures, (-1, channels))
        top = ops.reshape(ops.arange(batch) * height, (-1, 1, 1))  # of each picture, where all are one below the other
        columns = [ops.clip(x + offset, 0, width - 1) for offset in (-1, 0, 1, 2)]
        result = 0.0
        for offset, of_row in zip((-1, 0, 1, 2), of_rows):
            row = (top + ops.clip(y + offset, 0, height - 1)) * width
            for column, of_column in zip(columns, of_columns):
                result += (of_row * of_column)[..., None] * ops.take(pixels, row + column, axis=0)
        return result

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def bicubic_reduction(scale: int) -> np.ndarray:
    """Weights of the sub-pixels of the low-resolution pixels at -2 to 2 in the one at 0: (5, scale), with sum 1."""
    weights = _keys(np.arange(-2, 3)[:, None] + (np.arange(scale) - (scale - 1) / 2) / scale)
    return weights / weights.sum()


def bicubic_enlargement(scale: int) -> np.ndarray:
    """Weights of the low-resolution pixels at -2 to 2 in each sub-pixel of the one at 0: (5, scale), columns with sum 1."""
    return _keys(np.arange(-2, 3)[:, None] - (np.arange(scale) - (scale - 1) / 2) / scale)


def _keys(x, a=PILLOW_BICUBIC):
    """The bicubic kernel (Keys, 1981), by default with the coefficient of Pillow and MATLAB."""
    x = np.abs(x)
    return np.where(x <= 1, _near(x, a), np.where(x < 2, _far(x, a), 0.0))


def _near(x, a):
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x, a):
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _for_each_colour(weights):
    """The separable kernel of weights (5, scale), from an unshuffled picture to colours: (5, 5, 3 scale², 3)."""
    both = np.einsum("yi,xj->yxij", weights, weights)  # at pixel (y, x), sub-pixel (i, j)
    return np.einsum("yxij,kl->yxijkl", both, np.eye(3)).reshape(5, 5, -1, 3)

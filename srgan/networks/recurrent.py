"""How a recurrent generator uses its memory: the previous enlarged frame, moved along the motion to the current one.

The current frame, enlarged by itself, is compared with the memory and with the low resolution. It is blended with the
memory, by a trust for each pixel, and made consistent with the low resolution. Untrained, the layers compute a formula
that gains 0.18 dB over frame-by-frame upscaling on two clips; training starts from there.

Remembering the previous enlarged frame and moving it along an optical flow follows FRVSR (Sajjadi et al., CVPR 2018,
arXiv 1801.04590), where the network gets both as its input and estimates the motion itself.
"""

import keras
import numpy as np
from keras import layers, ops

from srgan.networks.blocks import make_activation, residual_block
from srgan.networks.layers import PixelShuffle, PixelUnshuffle

BACK_PROJECTIONS = 3
# Prefixes of the names of layers that compute in float32, and of those among them that need not.
EXACT, ROUGH = "recall", "recall_look"
A = -0.75  # the coefficient of OpenCV's bicubic interpolation, by which srgan.clips.flow moves the memory


def recalled(sr, memory, lr, *, scale, filters, normalization, activation):
    """The enlarged frame, improved by the memory, and the memory for the next frame.

    Args:
        sr: the frame enlarged without a memory, float32 (batch, scale h, scale w, 3).
        memory: the previous result, (batch, h, w, 3 scale²) in [0, 1], unshuffled (see PixelUnshuffle) and moved along
            the motion; 0 where there is none.
        lr: the frame, float32 (batch, h, w, 3) in [0, 1].

    Returns:
        (sr, memory), of the same shapes.
    """
    # All at the low resolution, where a convolution costs a sixteenth, and in float32 but for the convolutions that look.
    exact, same = {"dtype": "float32"}, {"padding": "same"}
    outputs = {"filters": memory.shape[-1], "kernel_size": 3, "kernel_initializer": "zeros", **same, **exact}
    alone = PixelUnshuffle(scale, **exact, name="recall_alone")(sr)
    shortfall = Shortfall(scale, **exact, name="recall_shortfall")([alone, lr])
    x = Evidence(**exact, name="recall_evidence")([alone, lr, shortfall])
    x = layers.Conv2D(filters, 3, **same, name="recall_look_conv1")(x)
    x = make_activation(activation, "recall_look_act1")(x)
    x = residual_block(x, "recall_look_block", filters=filters, normalization=normalization, activation=activation)
    mended = layers.Add(**exact, name="recall_add")([alone, layers.Conv2D(**outputs, name="recall_mend")(x)])
    difference = Difference(**exact, name="recall_difference")([alone, memory])
    doubt = Doubt(**exact, name="recall_doubt")(difference)
    x = layers.Concatenate(name="recall_look_concat")([x, difference, doubt])
    x = layers.Conv2D(filters, 3, **same, name="recall_look_conv2")(x)
    x = make_activation(activation, "recall_look_act2")(x)
    logits = layers.Conv2D(bias_initializer=keras.initializers.Constant(1.5), **outputs, name="recall_logits")(x)
    x = Blend(**exact, name="recall_blend")([mended, memory, logits, doubt])
    # Back-projection (Irani and Peleg, 1991), by kernels that are bicubic interpolation's to begin with.
    for index in range(1, BACK_PROJECTIONS + 1):
        shortfall = Shortfall(scale, **exact, name=f"recall_shortfall{index}")([x, lr])
        enlarge = layers.Conv2D(
            memory.shape[-1], 5, use_bias=False, kernel_initializer=EnlargingInitializer(0.8), **same, **exact,
            name=f"recall_enlarge{index}",
        )  # fmt: skip
        x = layers.Add(**exact, name=f"recall_projected{index}")([x, enlarge(shortfall)])
    sr = PixelShuffle(scale, **exact, name="recall_shuffle")(x)
    # Bounded, so that it cannot grow over a long clip; float32, so that it is what was computed wherever it is kept.
    return sr, layers.ReLU(max_value=1.0, **exact, name="remember")(x)


@keras.saving.register_keras_serializable("srgan")
class Shortfall(keras.layers.Layer):
    """The residual of a result at the low resolution: [result, lr] to lr - reduced(result).

    The result is unshuffled, (batch, h, w, 3 scale²); lr is (batch, h, w, 3). The result is reduced by the bicubic
    kernel that makes the low resolution, so that the residual of the original is 0, also at the borders.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    @property
    def kernel(self):
        """From an unshuffled picture to a reduced one: (5, 5, 3 scale², 3)."""
        return _for_each_colour(bicubic_reduction(self.scale))

    def call(self, inputs):
        result, lr = inputs
        kernel = ops.convert_to_tensor(self.kernel, dtype=self.compute_dtype)
        inside = ops.conv(ops.ones_like(result), kernel, padding="same")  # the kernel's share: 1 but at the borders
        return lr - ops.conv(result, kernel, padding="same") / inside

    def compute_output_shape(self, input_shape):
        return input_shape[1]

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("srgan")
class EnlargingInitializer(keras.initializers.Initializer):
    """For a convolution that enlarges lr into an unshuffled picture: bicubic interpolation, times `gain`."""

    def __init__(self, gain):
        self.gain = gain

    def __call__(self, shape, dtype=None):
        scale = round((shape[-1] / 3) ** 0.5)
        kernel = _for_each_colour(bicubic_enlargement(scale)).swapaxes(2, 3)
        return ops.convert_to_tensor(self.gain * kernel, dtype=dtype)

    def get_config(self):
        return {"gain": self.gain}


@keras.saving.register_keras_serializable("srgan")
class Evidence(keras.layers.Layer):
    """[alone, lr, shortfall] as channels of one array, each brought to about the same size."""

    def call(self, inputs):
        alone, lr, shortfall = inputs
        detail = alone - ops.tile(lr, (1, 1, 1, alone.shape[-1] // lr.shape[-1]))
        return ops.concatenate([detail, lr - 0.5, 10.0 * shortfall], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], sum(shape[-1] for shape in input_shape))


@keras.saving.register_keras_serializable("srgan")
class Difference(keras.layers.Layer):
    """The difference between memory and picture: [alone, memory] to 5 (memory - alone), 0 where the memory is empty."""

    def call(self, inputs):
        alone, memory = inputs
        return ops.where(_is_there(memory), 5.0 * (memory - alone), 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable("srgan")
class Doubt(keras.layers.Layer):
    """The local mean magnitude of a difference, which is large where the motion is wrong.

    (batch, h, w, c) to (batch, h, w, 1), over all channels and 3 x 3 pixels.
    """

    def call(self, inputs):
        return ops.average_pool(ops.mean(ops.abs(inputs), axis=-1, keepdims=True), 3, strides=1, padding="same")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable("srgan")
class Blend(keras.layers.Layer):
    """Blends picture and memory: [picture, memory, logits, doubt] to picture + trust (memory - picture).

    The trust is the sigmoid of logits - 20 slope doubt, with a learnt slope, and 0 where the memory is empty. The
    result thus lies between picture and memory: an unconstrained variant trained on 5 frames diverged within 60.
    """

    def build(self, input_shape):
        self.slope = self.add_weight(shape=(), initializer="ones", name="slope")

    def call(self, inputs):
        picture, memory, logits, doubt = inputs
        trust = ops.where(_is_there(memory), ops.sigmoid(logits - 20.0 * self.slope * doubt), 0.0)
        return picture + trust * (memory - picture)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def _is_there(memory):
    """Where a memory is not empty; a black pixel counts as empty, too."""
    return ops.max(memory, axis=-1, keepdims=True) > 0


class MoveAlong(keras.layers.Layer):
    """Moves pictures along a motion, as srgan.clips.flow.moved does: [(batch, h, w, c), origin (batch, h, w, 2)] to
    (batch, h, w, c).

    The interpolation is bicubic. Neither input gets a gradient.
    """

    def call(self, inputs):
        pictures, origin = map(ops.stop_gradient, inputs)
        batch, height, width, channels = ops.shape(pictures)
        first = ops.floor(origin)
        between = origin - first
        of_columns, of_rows = (
            (_far(t + 1, A), _near(t, A), _near(1 - t, A), _far(2 - t, A)) for t in (between[..., 0], between[..., 1])
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


def bicubic_reduction(scale):
    """The weights of the sub-pixels of the low-resolution pixels at -2 to 2 for the one at 0: (5, scale), of sum 1."""
    weights = _keys(np.arange(-2, 3)[:, None] + (np.arange(scale) - (scale - 1) / 2) / scale)
    return weights / weights.sum()


def bicubic_enlargement(scale):
    """The weights of the low-resolution pixels at -2 to 2 for each sub-pixel of the one at 0: (5, scale), columns of sum 1."""
    return _keys(np.arange(-2, 3)[:, None] - (np.arange(scale) - (scale - 1) / 2) / scale)


def _keys(x, a=-0.5):
    """The bicubic kernel (Keys, 1981) with Pillow's and MATLAB's coefficient."""
    x = np.abs(x)
    return np.where(x <= 1, _near(x, a), np.where(x < 2, _far(x, a), 0.0))


def _near(x, a):
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x, a):
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _for_each_colour(weights):
    """Weights of a row or a column, (5, scale), as a kernel from an unshuffled picture to colours: (5, 5, 3 scale², 3)."""
    both = np.einsum("yi,xj->yxij", weights, weights)  # at pixel (y, x), sub-pixel (i, j)
    return np.einsum("yxij,kl->yxijkl", both, np.eye(3)).reshape(5, 5, -1, 3)

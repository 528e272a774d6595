"""The few layers that Keras lacks, or that train faster than its own."""

from functools import cache

import keras
import numpy as np
from keras import ops


class ScaledLayer(keras.layers.Layer):
    """A layer with a `scale`."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@keras.saving.register_keras_serializable("srgan")
class PixelShuffle(ScaledLayer):
    """Sub-pixel upsampling: (batch, h, w, scale² c) to (batch, scale h, scale w, c).

    out[y, x, k] = in[y // r, x // r, c (r (y mod r) + (x mod r)) + k], the periodic shuffling of Shi et al.,
    arXiv 1609.05158, equation 4.
    """

    def call(self, inputs):
        return ops.nn.depth_to_space(inputs, self.scale)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and height * self.scale, width and width * self.scale, channels // self.scale**2)


@keras.saving.register_keras_serializable("srgan")
class PixelUnshuffle(ScaledLayer):
    """The way back from PixelShuffle: (batch, scale h, scale w, c) to (batch, h, w, scale² c)."""

    def call(self, inputs):
        return ops.nn.space_to_depth(inputs, self.scale)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        scale = self.scale
        return (batch, height and height // scale, width and width // scale, scale**2 * channels)


@keras.saving.register_keras_serializable("srgan")
class BilinearUpsampling(ScaledLayer):
    """Bilinear enlargement, half-pixel centres and repeated edges: (batch, h, w, c) to (batch, scale h, scale w, c).

    The values are UpSampling2D's. That one asks the backend to resize: TensorFlow cannot trace it for pictures of any size,
    Keras' OpenVINO backend lacks it, and OpenVINO would compute it in bfloat16, which has fewer levels than a picture. Sums
    of shifted copies, one for each sub-pixel, work everywhere.
    """

    def call(self, inputs):
        padded = ops.pad(inputs, [[0, 0], [0, 0], [1, 1], [0, 0]], mode="symmetric")
        columns = self._phases(padded[:, :, :-2], inputs, padded[:, :, 2:])
        padded = ops.pad(columns, [[0, 0], [1, 1], [0, 0], [0, 0]], mode="symmetric")
        return ops.nn.depth_to_space(self._phases(padded[:, :-2], columns, padded[:, 2:]), self.scale)

    def _phases(self, before, here, after):
        """The sub-pixels along one axis, as channels: each lies between a pixel and one of its neighbours."""
        phases = []
        for sub_pixel in range(self.scale):
            offset = (sub_pixel + 0.5) / self.scale - 0.5  # of its centre, in pixels
            neighbour = after if offset > 0 else before
            phases.append(here * (1 - abs(offset)) + neighbour * abs(offset))
        return ops.concatenate(phases, axis=-1)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and height * self.scale, width and width * self.scale, channels)


@keras.saving.register_keras_serializable("srgan")
class SubPixelInitializer(keras.initializers.Initializer):
    """Draws one kernel and repeats it for the scale² sub-pixels, so that training starts without a checkerboard.

    ICNR of Aitken et al., arXiv 1707.02937, for PixelShuffle's channel order.
    """

    def __init__(self, initializer, scale):
        self.initializer = keras.initializers.get(initializer)
        self.scale = scale

    def __call__(self, shape, dtype=None):
        *kernel, filters = shape
        drawn = self.initializer((*kernel, filters // self.scale**2), dtype=dtype)
        return ops.tile(drawn, [1] * len(kernel) + [self.scale**2])

    def get_config(self):
        return {"initializer": keras.initializers.serialize(self.initializer), "scale": self.scale}


@keras.saving.register_keras_serializable("srgan")
class PReLU(keras.layers.PReLU):
    """Keras' PReLU; in training on TensorFlow one pass over the values, there and back, in place of a dozen."""

    def call(self, inputs, training=None):
        if not training:  # which sees too many sizes to compile for each
            return super().call(inputs)
        return _prelu()(inputs, ops.cast(self.alpha, "float32"))


@cache
def _prelu():
    def prelu(x, slope):
        wide = ops.cast(x, "float32")  # for the sum that is the slope's gradient
        return ops.cast(ops.where(wide > 0, wide, slope * wide), x.dtype)

    if keras.backend.backend() != "tensorflow":
        return prelu
    import tensorflow as tf

    compiled = tf.function(prelu, jit_compile=True)
    try:
        with tf.init_scope():  # at once, also where a training step is being traced
            compiled(tf.zeros((1, 1)), tf.zeros(1))
    except tf.errors.OpError:  # a TensorFlow without XLA
        return prelu
    return compiled


@keras.saving.register_keras_serializable("srgan")
class BlockConv2D(keras.layers.Conv2D):
    """Conv2D for few filters, computed on blocks of 2 x 2 pixels: same padding, an odd kernel, even heights and widths.

    The result is Conv2D's. Processors compute 16 channels at a time or more, so that most of the work on the 3 channels
    of a picture is lost; so is less of the work on the 12 of a block. See `shuffled_kernel`.
    """

    def call(self, inputs):
        kernel = shuffled_kernel(ops.cast(self.kernel, "float32"), 2)  # for the sum of the copies' gradients
        blocks = ops.nn.space_to_depth(inputs, 2)
        x = ops.nn.depth_to_space(ops.conv(blocks, ops.cast(kernel, self.compute_dtype), padding="same"), 2)
        return self.activation(x + ops.cast(self.bias, self.compute_dtype) if self.use_bias else x)


def shuffled_kernel(kernel: keras.KerasTensor, r: int) -> keras.KerasTensor:
    """The kernel that does to a picture before pixel shuffling by `r` what `kernel` does to it afterwards.

    (h, w, c, k), h and w odd, becomes (about h/r, w/r, r² c, r² k): each of the r² output sub-pixels has a copy of the
    kernel, whose taps are dealt out to the sub-pixels they fall on. Zeros around the picture are zeros either way, so
    that the result is the same. For the 9x9 kernel of the SRGAN's end, from 64 to 3 channels, this is 5x5 from 256 to 12
    channels on a quarter of the pixels: a quarter more multiplications, but 12 of 16 output channels in use instead of 3.
    Measured with bfloat16 on AMX: the end of the network takes a third.
    """
    *sizes, channels, filters = kernel.shape
    reach = [-(-(size // 2) // r) for size in sizes]
    copies = []
    for sub_pixel in np.ndindex(r, r):
        before = [r * far + place - size // 2 for far, place, size in zip(reach, sub_pixel, sizes)]
        after = [2 * r * far + r - size - zeros for far, size, zeros in zip(reach, sizes, before)]
        copies.append(ops.pad(kernel, [*zip(before, after), (0, 0), (0, 0)]))
    height, width = (2 * far + 1 for far in reach)
    dealt = ops.reshape(ops.stack(copies, axis=-2), (height, r, width, r, channels, r * r * filters))
    return ops.reshape(ops.transpose(dealt, (0, 2, 1, 3, 4, 5)), (height, width, r * r * channels, r * r * filters))


@keras.saving.register_keras_serializable("srgan")
class SpectralConv2D(keras.layers.Conv2D):
    """Conv2D whose kernel is divided by its largest singular value (Miyato et al., arXiv 1802.05957, section 2.1).

    The value comes from one power iteration each time the layer is called in training. Unlike Keras'
    SpectralNormalization the kernel itself is left alone and the gradient goes through the division, as in the paper and
    the same on every backend.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.u = self.add_weight(
            shape=(self.filters,), initializer="random_normal", trainable=False, autocast=False, name="u"
        )

    def call(self, inputs, training=None):
        kernel = ops.cast(self.kernel, "float32")
        matrix = ops.reshape(kernel, (-1, self.filters))
        fixed = ops.stop_gradient(matrix)
        v = _unit(ops.matmul(fixed, self.u[:, None]))
        u = _unit(ops.matmul(ops.transpose(fixed), v))
        if training:
            self.u.assign(u[:, 0])
        largest = ops.sum(v * ops.matmul(matrix, u))
        kernel = ops.cast(kernel / largest, self.compute_dtype)
        x = ops.conv(inputs, kernel, strides=self.strides, padding=self.padding)
        return self.activation(x + self.bias if self.use_bias else x)

    def save_own_variables(self, store):
        super().save_own_variables(store)  # which knows of kernel and bias only
        store["u"] = self.u

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.u.assign(store["u"])


@keras.saving.register_keras_serializable("srgan")
class FoldFrames(keras.layers.Layer):
    """Frames as pictures of a larger batch: (batch, frames, h, w, c) to (batch * frames, h, w, c)."""

    def call(self, inputs):
        return ops.reshape(inputs, (-1, *ops.shape(inputs)[2:]))

    def compute_output_shape(self, input_shape):
        batch, frames, *rest = input_shape
        return (batch and batch * frames, *rest)


@keras.saving.register_keras_serializable("srgan")
class MergeFrames(keras.layers.Layer):
    """Every run of `merged` successive frames stacked as channels, the first frame's first.

    (batch * frames, h, w, c) to (batch * (frames - merged + 1), h, w, merged * c).
    """

    def __init__(self, frames, merged, **kwargs):
        super().__init__(**kwargs)
        self.frames, self.merged = frames, merged

    def call(self, inputs):
        shape = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, self.frames, *shape[1:]))
        left = self.frames - self.merged + 1
        x = ops.concatenate([x[:, start : start + left] for start in range(self.merged)], axis=-1)
        return ops.reshape(x, (-1, *shape[1:-1], self.merged * shape[-1]))

    def compute_output_shape(self, input_shape):
        batch, *space, channels = input_shape
        left = self.frames - self.merged + 1
        return (batch and batch // self.frames * left, *space, self.merged * channels)

    def get_config(self):
        return {**super().get_config(), "frames": self.frames, "merged": self.merged}


@keras.saving.register_keras_serializable("srgan")
class MiddleFrame(keras.layers.Layer):
    """The middle one of every `frames` pictures: (batch * frames, h, w, c) to (batch, h, w, c)."""

    def __init__(self, frames, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, inputs):
        return inputs[self.frames // 2 :: self.frames]

    def compute_output_shape(self, input_shape):
        batch, *rest = input_shape
        return (batch and batch // self.frames, *rest)

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}


@keras.saving.register_keras_serializable("srgan")
class MiddleFrameInitializer(keras.initializers.Initializer):
    """For a convolution of `merged` stacked frames: at first it lets the middle frame through as it is."""

    def __init__(self, merged):
        self.merged = merged

    def __call__(self, shape, dtype=None):
        height, width, channels, filters = shape
        first = self.merged // 2 * (channels // self.merged)
        kernel = np.zeros(shape, "float32")
        kernel[height // 2, width // 2, first : first + filters] = np.eye(filters)
        return ops.convert_to_tensor(kernel, dtype=dtype)

    def get_config(self):
        return {"merged": self.merged}


def kind_of(layer: keras.layers.Layer) -> str:
    """The class of a layer, by Keras' name where it only computes faster what a layer of Keras does."""
    return {PReLU: "PReLU", BlockConv2D: "Conv2D"}.get(type(layer), type(layer).__name__)


def _unit(vector):
    return vector / (ops.norm(vector) + 1e-12)

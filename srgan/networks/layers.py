"""The few layers that Keras lacks."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("srgan")
class PixelShuffle(keras.layers.Layer):
    """Sub-pixel upsampling: (batch, h, w, scale² c) to (batch, scale h, scale w, c).

    out[y, x, k] = in[y // r, x // r, c (r (y mod r) + (x mod r)) + k], the periodic shuffling of Shi et al.,
    arXiv 1609.05158, equation 4.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        if hasattr(ops.nn, "depth_to_space"):
            return ops.nn.depth_to_space(inputs, self.scale)
        # Keras 3.12, the last for Python 3.10, has to do it by hand.
        _, height, width, channels = ops.shape(inputs)
        scale = self.scale
        x = ops.reshape(inputs, (-1, height, width, scale, scale, channels // scale**2))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * scale, width * scale, channels // scale**2))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (
            batch,
            height and height * self.scale,
            width and width * self.scale,
            channels // self.scale**2,
        )

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


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


def _unit(vector):
    return vector / (ops.norm(vector) + 1e-12)

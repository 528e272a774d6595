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
        return ops.nn.depth_to_space(inputs, self.scale)

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

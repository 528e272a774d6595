"""DySample, upsampling that learns where to look: Liu et al., "Learning to Upsample by Learning to Sample", arXiv 2308.15085."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("srgan")
class DySample(keras.layers.Layer):
    """Bilinear samples at learned positions, as RealPLKSR ends in.

    Takes a pair: features, (batch, h, w, 3 scale²), to which the picture, (batch, h, w, 3), is added with each of its
    channels repeated scale² times; gives (batch, scale h, scale w, 3). For each group of channels and each sub-pixel, one
    1x1 convolution gives an offset in pixels and another halves it at most; positions outside of the picture are moved to
    its border. The 1x1 convolution that the original does after sampling is done before it, which gives the same with a
    quarter of the samples.

    Args:
        scale: of the result.
        groups: of channels, each with offsets of its own.
    """

    def __init__(self, scale, groups, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})  # half precision has too few digits for positions
        self.scale, self.groups = scale, groups

    def build(self, input_shape):
        channels, offsets = input_shape[0][-1], 2 * self.groups * self.scale**2
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.offset_kernel = self.add_weight((channels, offsets), small, name="offset_kernel")
        self.offset_bias = self.add_weight((offsets,), "zeros", name="offset_bias")
        self.scope_kernel = self.add_weight((channels, offsets), "zeros", name="scope_kernel")
        self.end_kernel = self.add_weight((channels, 3), "glorot_uniform", name="end_kernel")
        self.end_bias = self.add_weight((3,), "zeros", name="end_bias")
        self.centres = self.add_weight((offsets,), self._centres, trainable=False, name="centres")
        self.built = True

    def _centres(self, shape, dtype=None):
        """The centres of the sub-pixels in pixels: (2, groups, scale, scale), x before y, flat."""
        along = (np.arange(self.scale) + 0.5) / self.scale - 0.5
        columns, rows = np.meshgrid(along, along)
        positions = np.stack([columns, rows])[:, None].repeat(self.groups, 1)
        return ops.convert_to_tensor(positions.reshape(shape).astype(np.float32))

    def call(self, inputs):
        features, picture = inputs
        groups, sub_pixels = self.groups, self.scale**2
        x = features + ops.repeat(picture, sub_pixels, axis=-1)
        batch, height, width, channels = ops.shape(x)
        offsets = ops.matmul(x, self.offset_kernel) + self.offset_bias
        offsets = 0.5 * offsets * ops.sigmoid(ops.matmul(x, self.scope_kernel)) + self.centres
        offsets = ops.reshape(offsets, (batch, height, width, 2, groups, sub_pixels))
        rows = ops.cast(ops.reshape(ops.arange(height), (1, -1, 1, 1, 1)), "float32") + offsets[:, :, :, 1]
        columns = ops.cast(ops.reshape(ops.arange(width), (1, 1, -1, 1, 1)), "float32") + offsets[:, :, :, 0]

        kernel = ops.reshape(self.end_kernel, (groups, channels // groups, 3))
        split = ops.split(x, groups, axis=-1)
        parts = [ops.matmul(part, kernel[group]) for group, part in enumerate(split)]  # each (batch, h, w, 3)
        flat = ops.reshape(ops.stack(parts, axis=3), (-1, 3))
        first = ops.reshape(ops.arange(batch), (-1, 1, 1, 1, 1)) * height
        group = ops.reshape(ops.arange(groups), (1, 1, 1, -1, 1))

        def corners(positions, length):
            """The two pixels between which each position lies, with their weights."""
            positions = ops.clip(positions, 0.0, ops.cast(length - 1, "float32"))
            before = ops.floor(positions)
            share = positions - before
            before = ops.cast(before, "int32")
            return (before, 1 - share), (ops.minimum(before + 1, length - 1), share)

        samples = 0.0
        for row, row_share in corners(rows, height):
            for column, column_share in corners(columns, width):
                index = ((first + row) * width + column) * groups + group
                samples += ops.take(flat, index, axis=0) * (row_share * column_share)[..., None]
        result = ops.reshape(ops.sum(samples, axis=3) + self.end_bias, (batch, height, width, 3 * sub_pixels))
        return ops.nn.depth_to_space(result, self.scale) if self.scale > 1 else result

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape[0]
        return (batch, height and height * self.scale, width and width * self.scale, 3)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "groups": self.groups}

"""RealPLKSR, exactly as its authors publish it: large kernels on a part of the channels.

Lee et al., "Partial Large Kernel CNNs for Efficient Super-Resolution", arXiv 2404.11848, in the variant for real pictures.
"""

import keras
from keras import layers, ops

from srgan.networks.blocks import picture_with_skip
from srgan.networks.dysample import DySample
from srgan.networks.layers import PixelShuffle


def realplksr(
    *,
    filters: int = 64,
    blocks: int = 28,
    scale: int = 4,
    kernel_size: int = 17,
    partial_filters: int = 16,
    attention: bool = True,
    block_normalization: str = "group",
    dysample_groups: int = 0,
) -> keras.Model:
    """RealPLKSR with a pixel shuffle or DySample at its end (7.4 million parameters at full size).

    Args:
        filters: channels of the body.
        blocks: blocks, each with a residual connection.
        scale: 1, 2, 3, 4 or 8.
        kernel_size: of the large convolution, odd.
        partial_filters: channels that it sees; the others pass by.
        attention: whether each block multiplies its values by a gate.
        block_normalization: "group" (4 groups, over the whole picture, so that tiles differ in tone) or "layer" (of each pixel).
        dysample_groups: groups of channels of `srgan.networks.dysample` at the end; 0: a pixel shuffle is there.

    Returns:
        keras.Model: (batch, h, w, 3) float32 in [0, 1] to (batch, scale h, scale w, 3) float32, nominally in [0, 1].
    """

    def convolution(channels, size, name):
        return layers.Conv2D(channels, size, padding="same", name=name)

    inputs = keras.Input((None, None, 3), name="lr")
    x = convolution(filters, 3, "head_conv")(inputs)
    for block in range(1, blocks + 1):
        name, before = f"block{block}", x
        if block_normalization == "layer":
            x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
        x = convolution(2 * filters, 3, f"{name}_mixer1")(x)
        x = layers.Activation("mish", name=f"{name}_mish")(x)
        x = convolution(filters, 3, f"{name}_mixer2")(x)
        x = PartialConv2D(partial_filters, kernel_size, name=f"{name}_large")(x)
        if attention:
            gate = convolution(filters, 3, f"{name}_attention")(x)
            gate = layers.Activation("sigmoid", name=f"{name}_sigmoid")(gate)
            x = layers.Multiply(name=f"{name}_multiply")([x, gate])
        x = convolution(filters, 1, f"{name}_refine")(x)
        if block_normalization == "group":
            x = layers.GroupNormalization(4, epsilon=1e-5, name=f"{name}_norm")(x)
        x = layers.Add(name=f"{name}_add")([x, before])
    x = convolution(3 * scale**2, 3, "tail_conv")(x)
    if dysample_groups:
        x = DySample(scale, dysample_groups, name="sr")([x, inputs])
        return keras.Model(inputs, x, name="realplksr")
    x = PixelShuffle(scale, name="tail_shuffle")(x) if scale > 1 else x
    return keras.Model(inputs, picture_with_skip(x, inputs, "nearest", scale, signed=False), name="realplksr")


@keras.saving.register_keras_serializable("srgan")
class PartialConv2D(keras.layers.Conv2D):
    """A convolution of the first `filters` channels; the others stay as they are."""

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs):
        super().__init__(filters, kernel_size, **{**kwargs, "padding": "same"})

    def build(self, input_shape):
        super().build((*input_shape[:-1], self.filters))
        self.input_spec = None

    def call(self, inputs):
        part = super().call(inputs[..., : self.filters])
        return ops.concatenate([part, inputs[..., self.filters :]], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

"""Generators exactly as BasicSR publishes them, for weights of other people: MSRResNet and EDSR."""

import keras
from keras import layers

from srgan.networks.blocks import doublings, make_activation, picture_with_skip, small_he
from srgan.networks.layers import PixelShuffle

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K's training pictures, which EDSR and SPAN subtract


def msrresnet(*, filters: int = 64, blocks: int = 16, scale: int = 4) -> keras.Model:
    """The modified SRResNet of ESRGAN's authors (BasicSR's MSRResNet; 1.5 million parameters at full size).

    SRResNet without normalisation, with 3x3 convolutions throughout, leaky ReLU outside of the blocks, and a bilinear
    skip from the input to the output.

    Args:
        filters: channels of the body.
        blocks: residual blocks.
        scale: 2, 3 or 4; 4 by two pixel shuffles.

    Returns:
        keras.Model: (batch, h, w, 3) float32 in [0, 1] to (batch, scale h, scale w, 3) float32, nominally in [0, 1].
    """
    inputs = keras.Input((None, None, 3), name="lr")
    x = _leaky(_convolution(filters, "head_conv")(inputs), "head_act")
    for index in range(1, blocks + 1):
        x = _block(x, f"block{index}", filters)
    for step, factor in enumerate([2] * doublings(scale) if scale != 3 else [3], 1):
        x = _convolution(filters * factor**2, f"up{step}_conv")(x)
        x = _leaky(PixelShuffle(factor, name=f"up{step}_shuffle")(x), f"up{step}_act")
    x = _leaky(_convolution(filters, "tail_conv1")(x), "tail_act")
    x = _convolution(3, "tail_conv2")(x)
    return keras.Model(inputs, picture_with_skip(x, inputs, "bilinear", scale, signed=False), name="msrresnet")


def edsr(
    *, filters: int = 64, blocks: int = 16, scale: int = 4, residual_scale: float = 1.0, value_range: int = 255
) -> keras.Model:
    """EDSR (Lim et al., arXiv 1707.02921, section 3) as BasicSR has it.

    Args:
        filters: channels of the body; 64 in the small network, 256 in the large one.
        blocks: residual blocks; 16 and 32.
        scale: 2, 3, 4 or 8.
        residual_scale: what a block's outcome is multiplied by; 1 in the small network, 0.1 in the large one.
        value_range: the network computes in [0, value_range], less the mean colour.

    Returns:
        keras.Model: as msrresnet's.
    """
    inputs = keras.Input((None, None, 3), name="lr")
    x = head = _convolution(filters, "head_conv")(centred(inputs, value_range))
    for index in range(1, blocks + 1):
        x = _block(x, f"block{index}", filters, residual_scale)
    x = layers.Add(name="body_add")([head, _convolution(filters, "body_conv")(x)])
    for step, factor in enumerate([2] * doublings(scale) if scale != 3 else [3], 1):
        x = _convolution(filters * factor**2, f"up{step}_conv")(x)
        x = PixelShuffle(factor, name=f"up{step}_shuffle")(x)
    x = _convolution(3, "tail_conv")(x)
    sr = layers.Rescaling(1 / value_range, list(RGB_MEAN), dtype="float32", name="sr")(x)
    return keras.Model(inputs, sr, name="edsr")


def centred(inputs: keras.KerasTensor, value_range: float) -> keras.KerasTensor:
    """[0, 1] as [0, value_range], less the mean colour."""
    return layers.Rescaling(value_range, [-value_range * mean for mean in RGB_MEAN], name="centred")(inputs)


def _convolution(filters, name):
    return layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=name)


def _leaky(x, name):
    return make_activation("leaky_relu", name, leak=0.1)(x)


def _block(x, name, filters, residual_scale=1.0):
    y = layers.Activation("relu", name=f"{name}_act")(_convolution(filters, f"{name}_conv1")(x))
    y = layers.Conv2D(filters, 3, padding="same", kernel_initializer=small_he(), name=f"{name}_conv2")(y)
    if residual_scale != 1:
        y = layers.Rescaling(residual_scale, name=f"{name}_scaled")(y)
    return layers.Add(name=f"{name}_add")([x, y])

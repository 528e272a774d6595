"""Generators: from a low-resolution picture to one `scale` times as large, both (batch, height, width, 3) in [0, 1].

Every generator takes any height and width and scales the values itself, so that a saved `.keras` file is complete. The
output is float32 and not clipped.
"""

from collections.abc import Callable

import keras
from keras import layers

from srgan.networks.blocks import (
    concatenate,
    doublings,
    end_of_body,
    make_activation,
    picture_from_body,
    picture_with_skip,
    residual_block,
    shuffled_tail,
    small_he,
    sub_pixel,
)
from srgan.networks.layers import PixelUnshuffle
from srgan.networks.published import edsr, msrresnet
from srgan.networks.realplksr import realplksr
from srgan.networks.span import span


def srresnet(
    *,
    filters: int = 64,
    blocks: int = 16,
    scale: int = 4,
    normalization: str = "batch",
    activation: str = "prelu",
    skip: str = "none",
) -> keras.Model:
    """SRResNet, the generator of SRGAN (Ledig et al., arXiv 1609.04802, section 2.1.1 and figure 4).

    Args:
        filters: channels of the body; 64 in the paper.
        blocks: residual blocks; 16 in the paper.
        scale: 2 or 4; one sub-pixel step for each factor of 2.
        normalization: "batch" as in the paper, "instance", or "none".
        activation: "prelu" as in the paper, "relu" or "leaky_relu".
        skip: "none" as in the paper; "bilinear" adds the enlarged input to the output, so that the network learns only
            what bilinear interpolation misses.

    Without normalisation the residual convolutions start at a tenth of He's standard deviation: at full size the sum
    over the blocks grows so large that training stalls.

    Returns:
        keras.Model: (batch, h, w, 3) float32 in [0, 1] to (batch, scale h, scale w, 3) float32, nominally in [0, 1].
    """
    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = layers.Conv2D(filters, 9, padding="same", name="head_conv")(x)
    x = head = make_activation(activation, "head_act")(x)
    for index in range(1, blocks + 1):
        x = residual_block(x, f"block{index}", filters=filters, normalization=normalization, activation=activation)
    x = end_of_body(x, head, filters=filters, normalization=normalization)
    sr = picture_from_body(x, inputs, filters=filters, scale=scale, activation=activation, skip=skip)
    return keras.Model(inputs, sr, name="srresnet")


def rdn(
    *, filters: int = 64, blocks: int = 16, layers_per_block: int = 8, growth: int = 64, scale: int = 4
) -> keras.Model:
    """Residual Dense Network (Zhang et al., arXiv 1802.08797, section 3; 22 million parameters at full size).

    Args:
        filters: channels between the blocks, G0.
        blocks: residual dense blocks, D.
        layers_per_block: 3x3 convolutions in a block, C, each fed with all that came before it in the block.
        growth: channels that each of them adds, G.
        scale: 2 or 4; one sub-pixel step for each factor of 2.

    Returns:
        keras.Model: as srresnet's.
    """

    def convolution(filters, kernel_size, name):
        return layers.Conv2D(filters, kernel_size, padding="same", kernel_initializer="he_normal", name=name)

    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = head = convolution(filters, 3, "head_conv1")(x)
    x = convolution(filters, 3, "head_conv2")(x)
    outcomes = []
    for block in range(1, blocks + 1):
        dense = [x]
        for index in range(1, layers_per_block + 1):
            y = concatenate(dense, f"block{block}_concat{index}")
            y = convolution(growth, 3, f"block{block}_conv{index}")(y)
            dense.append(layers.Activation("relu", name=f"block{block}_act{index}")(y))
        y = concatenate(dense, f"block{block}_fusion_concat")
        y = layers.Conv2D(filters, 1, kernel_initializer=small_he(), name=f"block{block}_fusion")(y)
        x = layers.Add(name=f"block{block}_add")([x, y])
        outcomes.append(x)
    x = layers.Conv2D(filters, 1, kernel_initializer=small_he(), name="fusion")(concatenate(outcomes, "fusion_concat"))
    x = convolution(filters, 3, "fusion_conv")(x)
    x = layers.Add(name="body_add")([head, x])
    for step in range(1, doublings(scale) + 1):
        x = sub_pixel(x, filters, f"up{step}")
    x = layers.Conv2D(3, 3, padding="same", name="tail_conv")(x)
    return keras.Model(inputs, picture_with_skip(x, inputs, "none", scale), name="rdn")


def rrdb(
    *, filters: int = 64, blocks: int = 23, growth: int = 32, scale: int = 4, layout: str = "srgan", unshuffle: int = 1
) -> keras.Model:
    """ESRGAN's generator (Wang et al., arXiv 1809.00219, section 3.1; 16.7 million parameters at full size).

    Each block is three dense blocks of five 3x3 convolutions; a dense block's outcome and a block's are multiplied by
    0.2 before they are added. There is no normalisation, and the residual convolutions start small. Upsampling is by
    nearest neighbour, each step with a convolution behind it, as in the authors' code.

    Args:
        filters: channels between the blocks.
        blocks: residual-in-residual dense blocks.
        growth: channels that each convolution of a dense block adds.
        scale: 1, 2, 4 or 8.
        layout: "srgan" computes in [-1, 1]; "original" in [0, 1] as the authors' code, for weights of other people.
        unshuffle: 1, 2 or 4: first, each block of so many pixels a side becomes one of more channels, as in Real-ESRGAN's
            generators of scale 2 (by 2) and 1 (by 4); heights and widths must be multiples of it.

    Returns:
        keras.Model: as srresnet's.
    """

    def convolution(filters, name):
        return layers.Conv2D(filters, 3, padding="same", kernel_initializer=small_he(), name=name)

    def act(x, name):
        return layers.LeakyReLU(0.2, name=name)(x)

    def added(x, residual, name):
        return layers.Add(name=f"{name}_add")([x, layers.Rescaling(0.2, name=f"{name}_scaled")(residual)])

    inputs = keras.Input((None, None, 3), name="lr")
    x = _to_signed(inputs, layout)
    if unshuffle > 1:
        x = PixelUnshuffle(unshuffle, name="unshuffle")(x)
    x = head = layers.Conv2D(filters, 3, padding="same", name="head_conv")(x)
    for block in range(1, blocks + 1):
        before = x
        for part in range(1, 4):
            name, dense = f"block{block}_dense{part}", [x]
            for index in range(1, 5):
                y = convolution(growth, f"{name}_conv{index}")(concatenate(dense, f"{name}_concat{index}"))
                dense.append(act(y, f"{name}_act{index}"))
            x = added(x, convolution(filters, f"{name}_conv5")(concatenate(dense, f"{name}_concat5")), name)
        x = added(before, x, f"block{block}")
    x = layers.Add(name="body_add")([head, convolution(filters, "body_conv")(x)])
    for step in range(1, doublings(scale * unshuffle) + 1):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{step}_nearest")(x)
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"up{step}_conv")(x)
        x = act(x, f"up{step}_act")
    x = act(layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name="tail_conv1")(x), "tail_act")
    x = layers.Conv2D(3, 3, padding="same", name="tail_conv2")(x)
    return keras.Model(inputs, picture_with_skip(x, inputs, "none", scale, signed=layout == "srgan"), name="rrdb")


def compact(
    *, filters: int = 64, blocks: int = 16, activation: str = "prelu", scale: int = 4, layout: str = "srgan"
) -> keras.Model:
    """The fast one: every convolution at low resolution, one pixel shuffle at the end, and a nearest-neighbour skip.

    As Real-ESRGAN's small generator (Wang et al., arXiv 2107.10833, in the authors' code; 0.62 million parameters).

    Args:
        filters: channels of the body.
        blocks: 3x3 convolutions of the body, each with an activation, between the first convolution and the last.
        activation: "prelu", "relu" or "leaky_relu".
        scale: 1, 2, 3, 4 or 8.
        layout: "srgan" computes in [-1, 1]; "original" in [0, 1], with a leak of 0.1, as the authors' code, for weights
            of other people.

    Returns:
        keras.Model: as srresnet's.
    """
    leak = 0.2 if layout == "srgan" else 0.1
    inputs = keras.Input((None, None, 3), name="lr")
    x = _to_signed(inputs, layout)
    for index in range(blocks + 1):
        name = f"body{index}" if index else "head"
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"{name}_conv")(x)
        x = make_activation(activation, f"{name}_act", leak=leak)(x)
    x = shuffled_tail(x, scale)
    return keras.Model(inputs, picture_with_skip(x, inputs, "nearest", scale, signed=layout == "srgan"), name="compact")


def _to_signed(inputs, layout):
    """[0, 1] as [-1, 1], but in the original layout as it is."""
    return layers.Rescaling(2.0, -1.0, name="to_signed")(inputs) if layout == "srgan" else inputs


GENERATORS: dict[str, Callable[..., keras.Model]] = {
    build.__name__: build for build in (srresnet, rdn, rrdb, compact, span, msrresnet, edsr, realplksr)
}

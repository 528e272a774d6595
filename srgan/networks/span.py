"""SPAN, a fast generator: few convolutions, all at low resolution, and an attention without weights of its own.

Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", arXiv 2311.12770. It looks at no
statistics of the whole picture, so that a picture may be cut into tiles.
"""

import keras
from keras import layers, ops

from srgan.networks.blocks import concatenate, picture_with_skip, shuffled_tail
from srgan.networks.published import centred


def span(
    *, filters: int = 48, blocks: int = 6, scale: int = 4, layout: str = "srgan", value_range: int | None = None
) -> keras.Model:
    """The generator of SPAN (section 3, figure 2; 0.43 million parameters once merged).

    Args:
        filters: channels of the body; 48 in the paper.
        blocks: attention blocks of three convolutions; 6 in the paper.
        scale: 1, 2, 3, 4 or 8, by one pixel shuffle at the end.
        layout: "srgan" scales pictures to [-1, 1] and adds the input, enlarged by nearest neighbour, to the output, so
            that the network learns only what is missing; "original" is the authors', for weights of other people. There
            the last block's first convolution is passed on behind its activation, which works in place in their code.
        value_range: in the original layout: pictures are scaled to [0, value_range], less the mean colour; None: they
            stay in [0, 1].

    Returns:
        keras.Model: (batch, h, w, 3) float32 in [0, 1] to (batch, scale h, scale w, 3) float32, nominally in [0, 1].
    """
    own = layout == "srgan"
    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs) if own else inputs
    if value_range and not own:
        x = centred(inputs, value_range)
    x = head = BranchedConv2D(filters, name="head_conv")(x)
    for block in range(1, blocks + 1):
        x, last = _attention_block(x, f"block{block}", filters, activated=not own)
        if block == 1:
            first = x
    x = BranchedConv2D(filters, name="body_conv")(x)
    x = layers.Conv2D(filters, 1, name="fusion")(concatenate([head, x, first, last], "fusion_concat"))
    x = shuffled_tail(x, scale)
    sr = picture_with_skip(x, inputs, "nearest" if own else "none", scale, signed=own)
    return keras.Model(inputs, sr, name="span")


def _attention_block(x, name, filters, activated):
    """Three convolutions whose result y gates itself and the input: (x + y) (sigmoid(y) - 1/2), section 3.2.

    Returns:
        The block's result, and that of its first convolution, `activated` or not, of which the network's end takes the
        last block's.
    """
    y = first = BranchedConv2D(filters, name=f"{name}_conv1")(x)
    for index in (2, 3):
        y = layers.Activation("silu", name=f"{name}_act{index - 1}")(y)
        first = y if activated and index == 2 else first
        y = BranchedConv2D(filters, name=f"{name}_conv{index}")(y)
    gate = layers.Activation("sigmoid", name=f"{name}_sigmoid")(y)
    gate = layers.Rescaling(1.0, -0.5, name=f"{name}_gate")(gate)
    return layers.Multiply(name=f"{name}_multiply")([layers.Add(name=f"{name}_add")([x, y]), gate]), first


@keras.saving.register_keras_serializable("srgan")
class BranchedConv2D(keras.layers.Conv2D):
    """A 3x3 convolution with the weights of four, which train better than those of one and cost nothing more to apply.

    A 1x1 convolution to `gain` times the channels, a 3x3 convolution, and a 1x1 convolution to `filters`; added to it a
    1x1 convolution of the input (section 3.3). With nothing between them, they are one 3x3 convolution, whose kernel and
    bias are computed first, so that a step costs hardly more than that of a plain convolution.

    Args:
        filters: output channels.
        gain: how many times as many channels there are in between.
    """

    def __init__(self, filters, gain=2, **kwargs):
        super().__init__(filters, 3, **{**kwargs, "padding": "same"})
        self.gain = gain

    def build(self, input_shape):
        channels = input_shape[-1]
        wide, narrow = channels * self.gain, self.filters * self.gain
        # PyTorch's default, which the authors trained with: a variance of 1 / 3 of the inputs'.
        initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")

        def weights(name, shape):
            return (
                self.add_weight(shape=shape, initializer=initializer, name=f"{name}_kernel"),
                self.add_weight(shape=shape[-1:], initializer="zeros", name=f"{name}_bias"),
            )

        self.skip = weights("skip", (channels, self.filters))
        self.expand = weights("expand", (channels, wide))
        self.spatial = weights("spatial", (3, 3, wide, narrow))
        self.reduce = weights("reduce", (narrow, self.filters))
        self.built = True

    @property
    def kernel(self):
        """The merged kernel, (3, 3, channels, filters) float32."""
        (skip, _), (expand, _), (spatial, _), (reduce, _) = self._branches()
        around = ops.pad(skip[None, None], [(1, 1), (1, 1), (0, 0), (0, 0)])
        return ops.matmul(ops.matmul(expand, spatial), reduce) + around

    @property
    def bias(self):
        """The merged bias, (filters,) float32."""
        (_, skip), (_, expand), (spatial, between), (reduce, last) = self._branches()
        between = between + ops.matmul(expand, ops.sum(spatial, axis=(0, 1)))
        return skip + ops.matmul(between, reduce) + last

    def _branches(self):
        """Pairs of kernel and bias, in float32 whatever the layer computes in: their product would lose too much."""
        return [
            [ops.cast(ops.convert_to_tensor(weight), "float32") for weight in pair]
            for pair in (self.skip, self.expand, self.spatial, self.reduce)
        ]

    def call(self, inputs):
        kernel, bias = (ops.cast(value, self.compute_dtype) for value in (self.kernel, self.bias))
        return ops.conv(inputs, kernel, padding="same") + bias

    # Conv2D's know of kernel and bias only.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self):
        config = super().get_config()
        return {key: config[key] for key in ("name", "trainable", "dtype", "filters")} | {"gain": self.gain}

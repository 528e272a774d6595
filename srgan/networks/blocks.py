"""The building blocks of generators."""

import keras
from keras import layers

from srgan.networks.layers import BilinearUpsampling, BlockConv2D, PixelShuffle, PReLU, SubPixelInitializer


def make_activation(kind: str, name: str, axes: tuple[int, ...] = (1, 2), leak: float = 0.2) -> keras.layers.Layer:
    if kind == "prelu":
        return PReLU(shared_axes=list(axes), name=name)  # one slope a channel, shared over space
    if kind == "leaky_relu":
        return layers.LeakyReLU(leak, name=name)
    return layers.Activation(kind, name=name)


def make_normalization(kind: str, name: str) -> keras.layers.Layer | None:
    """The normalisation layer, or None. Batch normalisation's momentum is the one of the SRGAN's time, 0.8 to 0.9."""
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.9, name=name)
    if kind == "instance":
        return layers.GroupNormalization(groups=-1, name=name)
    return None


def residual_block(
    x: keras.KerasTensor, name: str, *, filters: int, normalization: str, activation: str
) -> keras.KerasTensor:
    """conv - norm - act - conv - norm - add (Ledig et al., figure 4, upper half), of pictures or of clips."""
    skip, convolution, axes = x, *{4: (layers.Conv2D, (1, 2)), 5: (layers.Conv3D, (1, 2, 3))}[x.ndim]
    for half in (1, 2):
        initializer = residual_initializer(normalization)
        x = convolution(filters, 3, padding="same", kernel_initializer=initializer, name=f"{name}_conv{half}")(x)
        norm = make_normalization(normalization, f"{name}_norm{half}")
        x = norm(x) if norm else x
        if half == 1:
            x = make_activation(activation, f"{name}_act", axes)(x)
    return layers.Add(name=f"{name}_add")([skip, x])


def residual_initializer(normalization: str) -> keras.Initializer:
    """He's, or without normalisation a tenth of it: at full size the sum over the blocks stalls the training."""
    return keras.initializers.HeNormal() if normalization != "none" else small_he()


def end_of_body(
    x: keras.KerasTensor, head: keras.KerasTensor, *, filters: int, normalization: str
) -> keras.KerasTensor:
    """conv - norm - add: what the residual blocks made, and around them what went in."""
    initializer = residual_initializer(normalization)
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer, name="body_conv")(x)
    norm = make_normalization(normalization, "body_norm")
    return layers.Add(name="body_add")([head, norm(x) if norm else x])


def picture_from_body(
    x: keras.KerasTensor, lr: keras.KerasTensor, *, filters: int, scale: int, activation: str, skip: str
) -> keras.KerasTensor:
    """The sub-pixel steps and the last convolution; `lr` is what a bilinear skip enlarges."""
    for step in range(1, doublings(scale) + 1):
        x = sub_pixel(x, filters, f"up{step}")
        x = make_activation(activation, f"up{step}_act")(x)
    x = BlockConv2D(3, 9, padding="same", name="tail_conv")(x)
    return picture_with_skip(x, lr, skip, scale)


def shuffled_tail(x: keras.KerasTensor, scale: int) -> keras.KerasTensor:
    """The last convolution of networks that compute at the low resolution, and one pixel shuffle to the picture."""
    initializer = SubPixelInitializer(small_he(), scale)
    x = layers.Conv2D(3 * scale**2, 3, padding="same", kernel_initializer=initializer, name="tail_conv")(x)
    return PixelShuffle(scale, name="tail_shuffle")(x) if scale > 1 else x


def small_he() -> keras.Initializer:
    """He's initialisation at a tenth of its standard deviation, for what is added to a residual sum."""
    return keras.initializers.VarianceScaling(2.0 * 0.1**2, "fan_in", "truncated_normal")


def sub_pixel(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Twice the height and width by a 3x3 convolution and a pixel shuffle."""
    initializer = SubPixelInitializer("glorot_uniform", 2)
    x = layers.Conv2D(4 * filters, 3, padding="same", kernel_initializer=initializer, name=f"{name}_conv")(x)
    return PixelShuffle(2, name=f"{name}_shuffle")(x)


def concatenate(values: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    return layers.Concatenate(name=name)(values) if len(values) > 1 else values[0]


def picture_with_skip(
    x: keras.KerasTensor, inputs: keras.KerasTensor, skip: str, scale: int, signed: bool = True
) -> keras.KerasTensor:
    """From the last convolution's values to the float32 picture; `skip` as srresnet's.

    In float32, because bfloat16 has fewer levels than the picture.

    Args:
        signed: the values are nominally in [-1, 1]; else in [0, 1].
    """
    if skip == "none":
        if signed:
            return layers.Rescaling(0.5, 0.5, dtype="float32", name="sr")(x)
        return layers.Activation("linear", dtype="float32", name="sr")(x)
    name = {"dtype": "float32", "name": "skip_upsample"}
    if scale == 1:
        enlarged = inputs
    elif skip == "bilinear":
        enlarged = BilinearUpsampling(scale, **name)(inputs)
    else:
        enlarged = layers.UpSampling2D(scale, interpolation=skip, **name)(inputs)
    if signed:
        x = layers.Rescaling(0.5, 0.0, dtype="float32", name="to_unit")(x)
    return layers.Add(dtype="float32", name="sr")([enlarged, x])


def doublings(scale: int) -> int:
    return {1: 0, 2: 1, 4: 2, 8: 3}[scale]

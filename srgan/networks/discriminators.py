"""Discriminators: from pictures (batch, height, width, 3) in [0, 1] to logits, high for real pictures.

The output is (batch, 1), or (batch, h, w, 1) with a logit for each patch. There is no sigmoid: the losses take logits.
"""

import keras
from keras import layers

from srgan.networks.blocks import make_normalization
from srgan.networks.layers import SpectralConv2D


def _convolution(x, filters, kernel_size, strides, normalization, name):
    """A convolution and its normalisation: "batch", "instance", "none", or "spectral", which is one of the kernel."""
    kind = SpectralConv2D if normalization == "spectral" else layers.Conv2D
    x = kind(filters, kernel_size, strides=strides, padding="same", name=name)(x)
    norm = make_normalization(normalization, f"{name}_norm")
    return norm(x) if norm else x


def srgan(*, filters: int = 64, crop: int = 96, normalization: str = "batch") -> keras.Model:
    """The discriminator of SRGAN (Ledig et al., arXiv 1609.04802, figure 4, lower half).

    Eight 3x3 convolutions of 64 to 512 filters with LeakyReLU (slope 0.2) and batch normalisation, every second one
    with stride 2, then dense layers of 1024 and 1 units. The dense layers fix the input size to `crop` x `crop`.
    """
    inputs = keras.Input((crop, crop, 3), name="picture")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = layers.Conv2D(filters, 3, padding="same", name="conv1")(x)
    x = layers.LeakyReLU(0.2, name="act1")(x)
    for index in range(2, 9):
        width, stride = filters * 2 ** ((index - 1) // 2), 2 - index % 2
        x = _convolution(x, width, 3, stride, normalization, f"conv{index}")
        x = layers.LeakyReLU(0.2, name=f"act{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(16 * filters, name="dense1")(x)
    x = layers.LeakyReLU(0.2, name="dense1_act")(x)
    outputs = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(inputs, outputs, name="srgan_discriminator")


def patch(*, filters: int = 64, crop: int = 96, normalization: str = "instance") -> keras.Model:
    """The small patch discriminator of pix2pix (Isola et al., arXiv 1611.07004, section 6.1.2): a logit per 70x70
    pixels.

    Takes pictures of any size; `crop` is ignored.
    """
    inputs = keras.Input((None, None, 3), name="picture")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    for index, (multiple, stride) in enumerate([(1, 2), (2, 2), (4, 2), (8, 1)], start=1):
        # Batch and instance normalisation leave out the first convolution, which sees the picture itself.
        kind = normalization if index > 1 or normalization == "spectral" else "none"
        x = _convolution(x, filters * multiple, 4, stride, kind, f"conv{index}")
        x = layers.LeakyReLU(0.2, name=f"act{index}")(x)
    outputs = layers.Conv2D(1, 4, padding="same", dtype="float32", name="logit")(x)
    return keras.Model(inputs, outputs, name="patch_discriminator")


def unet(*, filters: int = 64, crop: int = 96, normalization: str = "spectral") -> keras.Model:
    """The U-Net discriminator of Real-ESRGAN (Wang et al., arXiv 2107.10833, figure 6): a logit per pixel.

    Takes pictures of any size that is a multiple of 8; `crop` is ignored.
    """
    inputs = keras.Input((None, None, 3), name="picture")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = layers.Conv2D(filters, 3, padding="same", name="conv1")(x)
    x = layers.LeakyReLU(0.2, name="act1")(x)
    skips = []
    for index, multiple in enumerate((2, 4, 8), start=1):
        skips.append(x)
        x = _convolution(x, filters * multiple, 4, 2, normalization, f"down{index}")
        x = layers.LeakyReLU(0.2, name=f"down{index}_act")(x)
    for index, multiple in enumerate((4, 2, 1), start=1):
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"up{index}_bilinear")(x)
        x = _convolution(x, filters * multiple, 3, 1, normalization, f"up{index}")
        x = layers.LeakyReLU(0.2, name=f"up{index}_act")(x)
        x = layers.Add(name=f"up{index}_add")([x, skips.pop()])
    for index in (2, 3):
        x = _convolution(x, filters, 3, 1, normalization, f"conv{index}")
        x = layers.LeakyReLU(0.2, name=f"act{index}")(x)
    outputs = layers.Conv2D(1, 3, padding="same", dtype="float32", name="logit")(x)
    return keras.Model(inputs, outputs, name="unet_discriminator")


DISCRIMINATORS = {"srgan": srgan, "patch": patch, "unet": unet}

"""Generators: from a low-resolution picture to one `scale` times as large, both (batch, height, width, 3) in [0, 1].

Every generator takes any height and width, and brings its own scaling of values along, so that a saved `.keras` file
needs nothing beside it. The output is float32 and not clipped.
"""

import zipfile
from pathlib import Path

import keras
from keras import layers

from srgan.errors import SRGANError
from srgan.networks.layers import PixelShuffle, SubPixelInitializer


def _activation(kind, name):
    if kind == "prelu":
        return layers.PReLU(shared_axes=[1, 2], name=name)  # one slope a channel, shared over space
    if kind == "leaky_relu":
        return layers.LeakyReLU(0.2, name=name)
    return layers.Activation(kind, name=name)


def _normalization(kind, name):
    """The normalisation layer, or None. Batch normalisation's momentum is the one of the SRGAN's time, 0.8 to 0.9."""
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.9, name=name)
    if kind == "instance":
        return layers.GroupNormalization(groups=-1, name=name)
    return None


def _residual_block(x, filters, normalization, activation, initializer, name):
    """conv - norm - act - conv - norm - add (Ledig et al., figure 4, upper half)."""
    skip = x
    for half in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer(), name=f"{name}_conv{half}")(x)
        norm = _normalization(normalization, f"{name}_norm{half}")
        x = norm(x) if norm else x
        if half == 1:
            x = _activation(activation, f"{name}_act")(x)
    return layers.Add(name=f"{name}_add")([skip, x])


def srresnet(*, filters=64, blocks=16, scale=4, normalization="batch", activation="prelu", skip="none"):
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

    def small_he():
        he_variance = 2.0 if normalization != "none" else 2.0 * 0.1**2
        return keras.initializers.VarianceScaling(he_variance, "fan_in", "truncated_normal")

    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = layers.Conv2D(filters, 9, padding="same", name="head_conv")(x)
    x = head = _activation(activation, "head_act")(x)
    for index in range(1, blocks + 1):
        x = _residual_block(x, filters, normalization, activation, small_he, f"block{index}")
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=small_he(), name="body_conv")(x)
    norm = _normalization(normalization, "body_norm")
    x = norm(x) if norm else x
    x = layers.Add(name="body_add")([head, x])
    for step in range(1, _doublings(scale) + 1):
        initializer = SubPixelInitializer("glorot_uniform", 2)
        x = layers.Conv2D(4 * filters, 3, padding="same", kernel_initializer=initializer, name=f"up{step}_conv")(x)
        x = PixelShuffle(2, name=f"up{step}_shuffle")(x)
        x = _activation(activation, f"up{step}_act")(x)
    x = layers.Conv2D(3, 9, padding="same", name="tail_conv")(x)
    if skip == "bilinear":
        # In float32, because bfloat16 has fewer levels than the picture.
        enlarged = layers.UpSampling2D(scale, interpolation="bilinear", dtype="float32", name="skip_upsample")(inputs)
        x = layers.Rescaling(0.5, 0.0, dtype="float32", name="to_unit")(x)
        outputs = layers.Add(dtype="float32", name="sr")([enlarged, x])
    else:
        outputs = layers.Rescaling(0.5, 0.5, dtype="float32", name="sr")(x)
    return keras.Model(inputs, outputs, name="srresnet")


def _doublings(scale):
    return {2: 1, 4: 2}[scale]


GENERATORS = {"srresnet": srresnet}


def load_generator(path) -> keras.Model:
    """Load a generator that was saved as `.keras`, compiled for nothing.

    Raises:
        SRGANError: the file is missing, is no Keras model, or maps no RGB picture to an RGB picture.
    """
    path = Path(path)
    if not path.is_file():
        raise SRGANError(f"{path}: no such model file")
    if not zipfile.is_zipfile(path):
        raise SRGANError(f"{path}: not a Keras model (a .keras file, as srgan-train writes it, is expected)")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise SRGANError(f"{path}: cannot be loaded as a Keras model ({str(error).splitlines()[0]})") from error
    shapes = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if any(not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3 for shape in shapes):
        raise SRGANError(
            f"{path}: not a generator: it maps {shapes[0]} to {shapes[1]}, not RGB pictures to RGB pictures"
        )
    return model


def scale_of(generator: keras.Model) -> int:
    """How many times as large the generator's output is as its input."""
    return generator.compute_output_shape((1, 8, 8, 3))[1] // 8

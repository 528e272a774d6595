"""Generators: from a low-resolution picture to one `scale` times as large, both (batch, height, width, 3) in [0, 1].

Every generator takes any height and width, and brings its own scaling of values along, so that a saved `.keras` file
needs nothing beside it. The output is float32 and not clipped.
"""

import zipfile
from pathlib import Path

import keras
from keras import layers

from srgan.errors import SRGANError
from srgan.images import atomic_path
from srgan.networks.layers import BlockConv2D, PixelShuffle, PReLU, SubPixelInitializer


def make_activation(kind, name, axes=(1, 2)):
    if kind == "prelu":
        return PReLU(shared_axes=list(axes), name=name)  # one slope a channel, shared over space
    if kind == "leaky_relu":
        return layers.LeakyReLU(0.2, name=name)
    return layers.Activation(kind, name=name)


def make_normalization(kind, name):
    """The normalisation layer, or None. Batch normalisation's momentum is the one of the SRGAN's time, 0.8 to 0.9."""
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.9, name=name)
    if kind == "instance":
        return layers.GroupNormalization(groups=-1, name=name)
    return None


def residual_block(x, name, *, filters, normalization, activation):
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


def residual_initializer(normalization):
    """He's, or without normalisation a tenth of it: at full size the sum over the blocks stalls the training."""
    return keras.initializers.HeNormal() if normalization != "none" else _small_he()


def end_of_body(x, head, *, filters, normalization):
    """conv - norm - add: what the residual blocks made, and around them what went in."""
    initializer = residual_initializer(normalization)
    x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer, name="body_conv")(x)
    norm = make_normalization(normalization, "body_norm")
    return layers.Add(name="body_add")([head, norm(x) if norm else x])


def picture_from_body(x, lr, *, filters, scale, activation, skip):
    """The sub-pixel steps and the last convolution; `lr` is what a bilinear skip enlarges."""
    for step in range(1, _doublings(scale) + 1):
        x = _sub_pixel(x, filters, f"up{step}")
        x = make_activation(activation, f"up{step}_act")(x)
    x = BlockConv2D(3, 9, padding="same", name="tail_conv")(x)
    return _picture(x, lr, skip, scale)


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
    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = layers.Conv2D(filters, 9, padding="same", name="head_conv")(x)
    x = head = make_activation(activation, "head_act")(x)
    for index in range(1, blocks + 1):
        x = residual_block(x, f"block{index}", filters=filters, normalization=normalization, activation=activation)
    x = end_of_body(x, head, filters=filters, normalization=normalization)
    sr = picture_from_body(x, inputs, filters=filters, scale=scale, activation=activation, skip=skip)
    return keras.Model(inputs, sr, name="srresnet")


def rdn(*, filters=64, blocks=16, layers_per_block=8, growth=64, scale=4):
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
            y = _concatenate(dense, f"block{block}_concat{index}")
            y = convolution(growth, 3, f"block{block}_conv{index}")(y)
            dense.append(layers.Activation("relu", name=f"block{block}_act{index}")(y))
        y = _concatenate(dense, f"block{block}_fusion_concat")
        y = layers.Conv2D(filters, 1, kernel_initializer=_small_he(), name=f"block{block}_fusion")(y)
        x = layers.Add(name=f"block{block}_add")([x, y])
        outcomes.append(x)
    x = layers.Conv2D(filters, 1, kernel_initializer=_small_he(), name="fusion")(
        _concatenate(outcomes, "fusion_concat")
    )
    x = convolution(filters, 3, "fusion_conv")(x)
    x = layers.Add(name="body_add")([head, x])
    for step in range(1, _doublings(scale) + 1):
        x = _sub_pixel(x, filters, f"up{step}")
    x = layers.Conv2D(3, 3, padding="same", name="tail_conv")(x)
    return keras.Model(inputs, _picture(x, inputs, "none", scale), name="rdn")


def rrdb(*, filters=64, blocks=23, growth=32, scale=4):
    """ESRGAN's generator (Wang et al., arXiv 1809.00219, section 3.1; 16.7 million parameters at full size).

    Each block is three dense blocks of five 3x3 convolutions; a dense block's outcome and a block's are multiplied by 0.2
    before they are added. There is no normalisation, and the residual convolutions start small. Upsampling is by nearest
    neighbour, each step with a convolution behind it, as in the authors' code.

    Args:
        filters: channels between the blocks.
        blocks: residual-in-residual dense blocks.
        growth: channels that each convolution of a dense block adds.
        scale: 2 or 4.

    Returns:
        keras.Model: as srresnet's.
    """

    def convolution(filters, name):
        return layers.Conv2D(filters, 3, padding="same", kernel_initializer=_small_he(), name=name)

    def act(x, name):
        return layers.LeakyReLU(0.2, name=name)(x)

    def added(x, residual, name):
        return layers.Add(name=f"{name}_add")([x, layers.Rescaling(0.2, name=f"{name}_scaled")(residual)])

    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    x = head = layers.Conv2D(filters, 3, padding="same", name="head_conv")(x)
    for block in range(1, blocks + 1):
        before = x
        for part in range(1, 4):
            name, dense = f"block{block}_dense{part}", [x]
            for index in range(1, 5):
                y = convolution(growth, f"{name}_conv{index}")(_concatenate(dense, f"{name}_concat{index}"))
                dense.append(act(y, f"{name}_act{index}"))
            x = added(x, convolution(filters, f"{name}_conv5")(_concatenate(dense, f"{name}_concat5")), name)
        x = added(before, x, f"block{block}")
    x = layers.Add(name="body_add")([head, convolution(filters, "body_conv")(x)])
    for step in range(1, _doublings(scale) + 1):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{step}_nearest")(x)
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"up{step}_conv")(x)
        x = act(x, f"up{step}_act")
    x = act(layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name="tail_conv1")(x), "tail_act")
    x = layers.Conv2D(3, 3, padding="same", name="tail_conv2")(x)
    return keras.Model(inputs, _picture(x, inputs, "none", scale), name="rrdb")


def compact(*, filters=64, blocks=16, activation="prelu", scale=4):
    """The fast one: every convolution at low resolution, one pixel shuffle at the end, and a nearest-neighbour skip.

    As Real-ESRGAN's small generator (Wang et al., arXiv 2107.10833, in the authors' code; 0.62 million parameters).

    Args:
        filters: channels of the body.
        blocks: 3x3 convolutions of the body, each with an activation, between the first convolution and the last.
        activation: "prelu", "relu" or "leaky_relu".
        scale: 2 or 4.

    Returns:
        keras.Model: as srresnet's.
    """
    inputs = keras.Input((None, None, 3), name="lr")
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    for index in range(blocks + 1):
        name = f"body{index}" if index else "head"
        x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"{name}_conv")(x)
        x = make_activation(activation, f"{name}_act")(x)
    initializer = SubPixelInitializer(_small_he(), scale)
    x = layers.Conv2D(3 * scale**2, 3, padding="same", kernel_initializer=initializer, name="tail_conv")(x)
    x = PixelShuffle(scale, name="tail_shuffle")(x)
    return keras.Model(inputs, _picture(x, inputs, "nearest", scale), name="compact")


def _small_he():
    """He's initialisation at a tenth of its standard deviation, for what is added to a residual sum."""
    return keras.initializers.VarianceScaling(2.0 * 0.1**2, "fan_in", "truncated_normal")


def _sub_pixel(x, filters, name):
    """Twice the height and width by a 3x3 convolution and a pixel shuffle."""
    initializer = SubPixelInitializer("glorot_uniform", 2)
    x = layers.Conv2D(4 * filters, 3, padding="same", kernel_initializer=initializer, name=f"{name}_conv")(x)
    return PixelShuffle(2, name=f"{name}_shuffle")(x)


def _concatenate(values, name):
    return layers.Concatenate(name=name)(values) if len(values) > 1 else values[0]


def _picture(x, inputs, skip, scale):
    """From the last convolution's values, nominally in [-1, 1], to the float32 picture; `skip` as srresnet's.

    In float32, because bfloat16 has fewer levels than the picture.
    """
    if skip == "none":
        return layers.Rescaling(0.5, 0.5, dtype="float32", name="sr")(x)
    enlarged = layers.UpSampling2D(scale, interpolation=skip, dtype="float32", name="skip_upsample")(inputs)
    x = layers.Rescaling(0.5, 0.0, dtype="float32", name="to_unit")(x)
    return layers.Add(dtype="float32", name="sr")([enlarged, x])


def _doublings(scale):
    return {2: 1, 4: 2}[scale]


GENERATORS = {"srresnet": srresnet, "rdn": rdn, "rrdb": rrdb, "compact": compact}


def save_generator(generator, path):
    """Save as `.keras`, whole or not at all.

    The kernels' initialisers become zeros, in the file and in the generator given: they have done their work, and other
    versions of Keras may not know them. Its weights stay as they are.
    """
    for layer in generator.layers:
        if hasattr(layer, "kernel_initializer"):
            layer.kernel_initializer = keras.initializers.Zeros()
    with atomic_path(path) as temporary:
        generator.save(temporary)


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
        import srgan.networks.recall  # noqa: F401  the layers of a recurrent one are registered there

        model = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise SRGANError(f"{path}: cannot be loaded as a Keras model ({str(error).splitlines()[0]})") from error
    shapes = [tuple(tensor.shape) for tensor in (*getattr(model, "inputs", []), *getattr(model, "outputs", []))]
    if not _is_generator(shapes):
        raise SRGANError(f"{path}: not a generator of RGB pictures: it maps {shapes[:-1]} to {shapes[-1:]}")
    return model


def _is_generator(shapes):
    """Whether these are the shapes of what a generator takes and gives: of pictures, or one of srgan.networks.video."""
    match [(len(shape), shape[-1]) for shape in shapes]:
        case [(4, 3), (4, 3)]:
            return True
        case [(5, 3), (4, 3)]:
            return bool(shapes[0][1]) and shapes[0][1] % 2 == 1
        case [(4, 3), (4, memory), (4, 3), (4, remembered)]:
            return memory == remembered
    return False


def scale_of(generator: keras.Model) -> int:
    """How many times as large the generator's output is as its input."""
    shapes = [[side or 8 for side in tensor.shape] for tensor in generator.inputs]
    given = keras.Model(generator.inputs, generator.outputs[0]).compute_output_shape(
        shapes if len(shapes) > 1 else shapes[0]
    )
    return given[-2] // 8

"""Features of the frozen VGG19, the ruler of the content loss (Ledig et al., arXiv 1609.04802, section 2.2.1)."""

import warnings
from pathlib import Path

import keras
from keras import ops

from srgan.errors import SRGANError


def vgg19_features(layers: dict[str, float], *, weights: str | Path | None = None, before_activation: bool = False):
    """A function from pictures to the feature maps of some VGG19 layers.

    Args:
        layers: names of convolutions; "block5_conv4" is the paper's VGG54 and "block2_conv2" its VGG22.
        weights: path of a `.weights.h5` file without the top, None for Keras' ImageNet weights (downloaded once), or
            "random" for untrained ones.
        before_activation: take the maps before the ReLU, as ESRGAN does (arXiv 1809.00219, section 3.3).

    Returns:
        A function of (batch, height, width, 3) pictures in [0, 1] that returns a list of maps, in the order of `layers`.
        It is no layer and no model, so that a model which keeps it does not train, count or save VGG19.

    Raises:
        SRGANError: the weights are missing or belong to another network.
    """
    names = list(layers)
    if weights is not None and weights != "random" and not Path(weights).is_file():
        raise SRGANError(f"{weights}: no such file of VGG19 weights (gan.vgg19)")
    source = None if weights == "random" else str(weights or "imagenet")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that do not fit, layer by layer; the error says it once
            vgg19 = keras.applications.VGG19(include_top=False, weights=source)
    except Exception as error:  # Keras raises bare Exception for a failed download and ValueError for a misfit
        origin = weights or "VGG19's ImageNet weights"
        reason = str(error).strip().splitlines()[0]
        raise SRGANError(f"{origin}: cannot be loaded; set gan.vgg19 to a file of VGG19 weights ({reason})") from error
    inputs = x = keras.Input((None, None, 3))
    maps = {}
    for layer in vgg19.layers[1:]:
        if isinstance(layer, keras.layers.Conv2D):
            layer.activation = keras.activations.linear  # applied by hand below, to reach what comes before it
            maps[layer.name] = x = layer(x)
            x = ops.relu(x)
            maps[layer.name] = maps[layer.name] if before_activation else x
        else:
            x = layer(x)
        if all(name in maps for name in names):
            break
    features = keras.Model(inputs, {name: maps[name] for name in names})
    features.trainable = False

    def extract(pictures):
        caffe = keras.applications.vgg19.preprocess_input(pictures * 255.0)
        found = features(caffe, training=False)
        return [ops.cast(found[name], "float32") for name in names]

    return extract

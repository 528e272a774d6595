"""Any model file as a Keras model: this project's own, or other people's."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srgan.errors import SRGANError
from srgan.interop.architectures import DEFAULTS, Network, Options, refuse_unasked
from srgan.interop.onnx import is_onnx
from srgan.interop.recognition import read_network
from srgan.interop.tensors import Unreadable
from srgan.models import find_model

if TYPE_CHECKING:
    import keras


def load_generator(path: str | Path, options: Options = DEFAULTS) -> "keras.Model":
    """A generator as a Keras model, uncompiled.

    Args:
        path: as for `srgan.models.find_model`, of a `.keras` file as srgan-train writes it, or of a .pth, .pt or .safetensors
            file of a network that is known here (see docs/other-models.md). Which kind it is, is told by its content.
        options: for other people's: what their files do not say.

    Returns:
        keras.Model: (batch, h, w, 3) float32 in [0, 1] to (batch, scale h, scale w, 3); over time as described in
        `srgan.networks.over_time`.

    Raises:
        SRGANError: the file is missing, damaged or of another kind, or its network is none of those that are known.
    """
    from srgan.networks import files

    path = find_model(path)
    if is_onnx(path):
        raise SRGANError(
            f"{path}: a graph of .onnx has no layers that Keras can run or train; OpenVINO upscales with it"
        )
    if is_foreign(path):
        return build(read_network(path, options), path)
    try:
        refuse_unasked(options, set(), "a .keras file")
    except Unreadable as error:
        raise error.of(path) from error
    return files.load_generator(path)


def is_foreign(path: str | Path) -> bool:
    """Whether a file is other people's: anything but a zip with the `config.json` of Keras."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" not in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):  # the latter two of damaged names and versions
        return Path(path).suffix.lower() != ".keras"


def build(network: Network, path: str | Path) -> "keras.Model":
    """The Keras model of a network that was read from the file `path`, which is for messages only.

    Raises:
        SRGANError: a tensor has another shape than the network needs, or holds values that are no numbers.
    """
    from srgan.networks.generators import GENERATORS

    generator = GENERATORS[network.generator](**network.settings)
    for layer in generator.layers:
        if layer.name in network.weights:
            _give(layer, network, path)
        elif layer.weights:
            raise SRGANError(f"{path}: it lacks the weights of {layer.name}")
    generator.assumed = "; ".join(network.assumed)
    return generator


def _give(layer, network, path):
    """Put a layer's weights into it."""
    given = network.weights[layer.name]
    wanted = [tuple(weight.shape) for weight in layer.weights]
    shapes = [values.shape for values in given]
    if shapes != wanted:
        raise SRGANError(f"{path}: {network.names[layer.name]} is {shapes}, where the network needs {wanted}")
    if not all(np.isfinite(values).all() for values in given):
        raise SRGANError(f"{path}: {network.names[layer.name]} holds values that are no numbers")
    layer.set_weights(given)

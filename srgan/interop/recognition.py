"""From a file of tensors to a network of `srgan.networks`, which uses every one of them."""

import re
from pathlib import Path

from srgan.errors import SRGANError, printable
from srgan.interop.architectures import ARCHITECTURES, DEFAULTS, Network, Options, refuse_unasked
from srgan.interop.checkpoint import Checkpoint
from srgan.interop.reading import read_tensors
from srgan.interop.tensors import NotAsked, Unreadable


class UnknownNetwork(SRGANError):
    """A file holds tensors of a network that is none of ARCHITECTURES."""


class AlteredNetwork(UnknownNetwork):
    """A file's network looks like one of ARCHITECTURES, but a tensor is missing, left over or of another shape."""


_COUNTERS = r"(^|\.)num_batches_tracked$"  # of batch normalisation in training


def read_network(path: str | Path, options: Options = DEFAULTS) -> Network:
    """Recognise the network in a .pth, .pt or .safetensors file by its tensors' names and shapes.

    Args:
        options: what the file does not say; by default its authors' published choices.

    Returns:
        The generator's name in `srgan.networks.generators`, its settings, and the weights of its layers.

    Raises:
        SRGANError: the file cannot be read, its network is none of the known ones (then an
            `UnknownNetwork`), or a tensor is missing or left over.
    """
    checkpoint = Checkpoint(read_tensors(path))
    try:
        return _network(checkpoint, options)
    except UnknownNetwork as error:
        raise type(error)(f"{path}: {printable(str(error))}") from error
    except Unreadable as error:
        raise error.of(path) from error


def _network(checkpoint, options):
    for name, architecture in ARCHITECTURES.items():
        renamed = checkpoint.renamed(*architecture.rules)
        if not architecture.recognised(renamed):
            continue
        refuse_unasked(options, architecture.asks(renamed), architecture.title)
        try:
            settings, sources, assumed = architecture.settle(renamed, options)
            weights = {layer: source.weights(renamed) for layer, source in sources.items()}
        except NotAsked:
            raise
        except Unreadable as error:
            raise AlteredNetwork(f"looks like {architecture.title}, but {error}") from error
        known = re.compile(f"{architecture.unused}|{_COUNTERS}")
        left = [key for key in renamed.tensors if key not in renamed.used and not known.search(key)]
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise AlteredNetwork(f"looks like {architecture.title}, which has no {left[0]}{more}")
        names = {layer: source.name for layer, source in sources.items()}
        return Network(name, settings, weights, names, assumed)
    found = ", ".join(f"{name} {tuple(values.shape)}" for name, values in list(checkpoint.tensors.items())[:3])
    titles = ", ".join(architecture.title for architecture in ARCHITECTURES.values())
    raise UnknownNetwork(
        f"its network is not known here: {len(checkpoint.tensors)} tensors ({found} ...); known are {titles}, and for "
        "upscaling what spandrel knows, where it is installed: pip install '.[torch]'"
    )

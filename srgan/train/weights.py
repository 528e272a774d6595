"""Weights from one generator to another."""

from itertools import zip_longest

from keras import ops

from srgan.errors import SRGANError
from srgan.models import find_model
from srgan.networks.files import load_generator
from srgan.networks.layers import kind_of
from srgan.networks.over_time import frames_of, is_recurrent, start_from_picture


def start_from(name, generator):
    """Give the generator the weights of a model; one over time may get those of a generator of pictures."""
    path = find_model(name)
    source = load_generator(path)
    if _is_of_pictures(source) and not _is_of_pictures(generator):
        start_from_picture(generator, source, path)
    else:
        copy_weights(source, generator, path)


def _is_of_pictures(generator):
    return frames_of(generator) == 1 and not is_recurrent(generator)


def copy_weights(source, generator, path):
    """Put the weights of `source` into `generator`.

    Raises:
        SRGANError: they are of different networks; the first weight or layer that differs is named.
    """
    misfit = f"{path}: does not fit the network of the configuration"
    by_name = {variable.path: variable for variable in source.variables}
    for variable in generator.variables:
        other = by_name.pop(variable.path, None)
        if other is None or tuple(other.shape) != tuple(variable.shape):
            has = "has none" if other is None else f"has {tuple(other.shape)}"
            raise SRGANError(f"{misfit}: {variable.path} is {tuple(variable.shape)}, the file {has}")
        variable.assign(ops.cast(other, variable.dtype))
    if by_name:
        raise SRGANError(f"{misfit}: it also has {next(iter(by_name))}")
    # Without weights of their own: activations, and whether there is a skip from input to output.
    theirs, ours = ([(layer.name, kind_of(layer)) for layer in model.layers] for model in (source, generator))
    for (name, kind), (wanted, wanted_kind) in zip_longest(theirs, ours, fillvalue=("the end", "nothing")):
        if (name, kind) != (wanted, wanted_kind):
            raise SRGANError(f"{misfit}: where that has {wanted} ({wanted_kind}), the file has {name} ({kind})")

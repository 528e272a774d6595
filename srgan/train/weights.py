"""Weights from one network to another."""

import warnings
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import keras
from keras import ops

from srgan.errors import SRGANError
from srgan.interop.loading import load_generator
from srgan.models import find_model
from srgan.networks.layers import kind_of
from srgan.networks.over_time import frames_of, is_recurrent, start_from_picture
from srgan.networks.precision import compute_in
from srgan.train.checkpoint import Checkpoint


def start_from(name: str, generator: keras.Model) -> None:
    """Give the generator the weights of a model; one over time may get those of a generator of pictures."""
    path = find_model(name)
    source = load_generator(path)
    if _is_of_pictures(source) and not _is_of_pictures(generator):
        start_from_picture(generator, source, path)
    else:
        copy_weights(source, generator, path)


def load_teacher(name: str, scale: int) -> Callable:
    """The generator of pictures that `gan.teacher` names, in the precision that Keras is set to.

    Returns:
        A function from low resolutions to pictures, both in [0, 1]. It is no layer and no model, so that a model which
        keeps it does not train, count or save the teacher.

    Raises:
        SRGANError: it is none of single RGB pictures, or it enlarges by another factor than `scale`.
    """
    path = find_model(name)
    teacher = load_generator(path)
    small, large = (None, 48, 48, 3), (None, 48 * scale, 48 * scale, 3)
    fits = _is_of_pictures(teacher) and teacher.inputs[0].shape[-1] == 3
    if not fits or teacher.compute_output_spec(keras.KerasTensor(small)).shape != large:
        raise SRGANError(f"gan.teacher: {path} is no generator of single RGB pictures x{scale}")
    teacher.trainable = False
    compute_in(keras.config.dtype_policy().name.removeprefix("mixed_"), teacher)
    return lambda lr: ops.clip(teacher(lr, training=False), 0.0, 1.0)


def _is_of_pictures(generator):
    return frames_of(generator) == 1 and not is_recurrent(generator)


class _DiscriminatorOf(keras.Model):
    """The part of an SRGAN's checkpoint that holds its discriminator; Keras passes over the rest of the file."""

    def __init__(self, discriminator):
        super().__init__()
        self.discriminator = discriminator
        self.built = True


def start_discriminator_from(run: str, discriminator: keras.Model) -> None:
    """Give the discriminator the weights that the GAN stage of another run has reached.

    Args:
        run: path of a run folder.
        discriminator: from srgan.networks.discriminators; it must have the shape of the run's.

    Raises:
        SRGANError: the run has no checkpoint of a GAN stage, or no discriminator, or one of another shape.
    """
    checkpoint = Checkpoint(Path(run) / "checkpoint", "gan")
    if not checkpoint.state().epoch:
        raise SRGANError(f"gan.initial_discriminator: {run} holds no checkpoint of a GAN stage")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns where layers of the file are missing
            checkpoint.load(_DiscriminatorOf(discriminator))
    except (SRGANError, UserWarning) as error:
        raise SRGANError(
            f"gan.initial_discriminator: {run} has no discriminator, or one that has another shape than network.discriminator, "
            "network.discriminator_filters and network.discriminator_normalization give it"
        ) from error


def copy_weights(source: keras.Model, generator: keras.Model, path: str | Path) -> None:
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

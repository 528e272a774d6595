"""Generators as `.keras` files."""

import zipfile
from pathlib import Path

import keras

from srgan.errors import SRGANError, is_out_of_memory
from srgan.files import atomic_path
from srgan.networks.layers import BilinearUpsampling


def save_generator(generator: keras.Model, path: str | Path) -> None:
    """Save as `.keras`, uncompiled, whole or not at all.

    The kernels' initialisers become zeros, in the file and in the generator given: they have done their work, and other
    versions of Keras may not know them. Its weights stay as they are.
    """
    for layer in generator.layers:
        if hasattr(layer, "kernel_initializer"):
            layer.kernel_initializer = keras.initializers.Zeros()
    # Uncompiled, because Keras would load an optimizer, too, and warn that it has another's state.
    compiled, generator.compiled = generator.compiled, False
    try:
        with atomic_path(path) as temporary:
            generator.save(temporary)
    finally:
        generator.compiled = compiled


def load_generator(path: str | Path) -> keras.Model:
    """Load a generator that was saved as `.keras`, uncompiled.

    Raises:
        SRGANError: the file is missing, is no Keras model, or maps no RGB picture to an RGB picture.
    """
    path = Path(path)
    if not path.is_file():
        raise SRGANError(f"{path}: no such model file")
    if not zipfile.is_zipfile(path):
        raise SRGANError(f"{path}: not a Keras model (a .keras file, as srgan-train writes it, is expected)")
    try:
        import srgan.networks  # noqa: F401  registers its layers

        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # what Keras, h5py and zipfile meet in damaged data raises anything
        if is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SRGANError(f"{path}: damaged, or cannot be loaded as a Keras model ({reason})") from error
    shapes = [tuple(tensor.shape) for tensor in (*getattr(model, "inputs", []), *getattr(model, "outputs", []))]
    if not _is_generator(shapes):
        raise SRGANError(f"{path}: not a generator of RGB pictures: it maps {shapes[:-1]} to {shapes[-1:]}")
    return _with_own_upsampling(model)


def _with_own_upsampling(model):
    """The same network with BilinearUpsampling in place of Keras' bilinear UpSampling2D, which older files have."""

    def is_bilinear(layer: keras.layers.Layer) -> bool:
        kind = keras.layers.UpSampling2D
        return isinstance(layer, kind) and layer.interpolation == "bilinear" and len(set(layer.size)) == 1

    def copy_of(layer: keras.layers.Layer) -> keras.layers.Layer:
        if is_bilinear(layer):
            return BilinearUpsampling(layer.size[0], name=layer.name, dtype=layer.dtype_policy)
        return type(layer).from_config(layer.get_config())

    if not any(map(is_bilinear, model.layers)):
        return model
    copy = keras.models.clone_model(model, clone_function=copy_of)
    copy.set_weights(model.get_weights())
    return copy


def _is_generator(shapes):
    """Whether these are the shapes of what a generator takes and gives: of pictures, or one of srgan.networks.over_time."""
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
    picture = keras.Model(generator.inputs, generator.outputs[0])
    return picture.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])[-2] // 8

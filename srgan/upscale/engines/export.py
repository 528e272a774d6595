"""Writing a generator for other programs: as ONNX, OpenVINO, TensorFlow SavedModel or LiteRT.

In every format the generator takes float32 pictures (batch, height, width, 3) in [0, 1], of any number and size, and
gives them `scale` times as large, not clipped; one of frames takes windows, (batch, frames, height, width, 3), and gives
the middle frames. What was written is run by its own runtime on pictures of two sizes and compared with Keras before it
gets its name.
"""

import contextlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path, temporary_folder
from srgan.models import find_model
from srgan.pictures.arrays import resize_bicubic, to_float
from srgan.runtime import choose_backend, has_framework, load_keras, load_openvinos_keras
from srgan.upscale.engines.conversion import convert, save_openvino

if TYPE_CHECKING:
    import keras

TOLERANCE = 0.1  # levels of 255; rounding in another order makes some thousandths of one, a mistake whole levels


def export(model: str | Path | None, output: Path, name: str | None = None) -> str:
    """Write the generator `model` as `output`, and say in a line what was written.

    Args:
        model: a `.keras` file, a run folder or a shipped model's name; None: the default model.
        output: a file, or for a SavedModel a folder; an earlier export there is replaced.
        name: of FORMATS; None: told from the ending of `output`.

    Raises:
        SRGANError: there is no such model, it cannot be had in that format, or what was written computes something else.
        UsageError: `output` fits no format, or holds something else.
    """
    name = name or next((key for key, known in FORMATS.items() if known.suffix == output.suffix.lower()), None)
    if name is None:
        endings = ", ".join(known.suffix for known in FORMATS.values() if known.suffix)
        raise UsageError(f"{output}: ends in none of {endings} (and a SavedModel in nothing): pass --format")
    chosen = FORMATS[name]
    _check_output(output, chosen.suffix)
    model = find_model(model)
    if missing := [package for package in chosen.packages if not find_spec(package)]:
        packages = ", ".join(missing).replace("_", "-")
        raise SRGANError(f"--format {name} needs more than is installed ({packages}): pip install '.[export]'")
    if "tensorflow" in chosen.packages and choose_backend() != "tensorflow":
        raise UsageError(f"--format {name} is written by TensorFlow: set KERAS_BACKEND=tensorflow")
    generator = load_float32(model)
    if len(generator.inputs) > 1:
        raise SRGANError(f"{model}: is recurrent: what it remembers is passed on by srgan alone; export one of frames")
    with _placed(output) as file:
        try:
            chosen.write(model, file)
            difference = largest_difference(chosen.load(file), generator)
        except (SRGANError, OSError):
            raise
        except Exception as error:  # Inconvertible, or whatever a converter or a runtime has of its own
            said = " ".join(str(error).split())[:300]
            raise SRGANError(f"{model}: cannot be written as {name} ({said})") from error
        if not difference <= TOLERANCE:
            raise SRGANError(
                f"{output}: not written, because what was made of {model} differs from Keras by up to "
                f"{difference:.3g} levels of 255"
            )
    what = "pictures" if generator.inputs[0].ndim == 4 else "frames"
    return f"{output}: {name}, for {what} of any size; differs from Keras by at most {difference:.1g} levels of 255"


def _check_output(output, suffix):
    """See that writing `output`, a file that ends in `suffix` or else a SavedModel's folder, destroys nothing else."""
    if suffix:
        if output.suffix.lower() != suffix:
            raise UsageError(f"{output}: must end in {suffix} in this format")
        if output.is_dir():
            raise UsageError(f"{output}: is a folder, a file was to be written")
    elif output.is_dir():
        if any(output.iterdir()) and not (output / "saved_model.pb").is_file():
            raise UsageError(f"{output}: holds something other than a SavedModel; choose a new folder")
    elif output.exists():
        raise UsageError(f"{output}: is a file, a folder was to be written")


@contextlib.contextmanager
def _placed(output):
    """Yield a path to write to; what is there gets its place at `output` if the block ends well, else it is removed."""
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(prefix=".export-", dir=output.parent) as staging:
        yield staging / output.name
        for written in sorted(staging.iterdir()):  # OpenVINO's weights before the graph that refers to them
            target = output.parent / written.name
            if written.is_dir():
                if target.exists():
                    target.rename(staging / "replaced")
                written.rename(target)
            else:
                with atomic_path(target) as temporary:
                    written.rename(temporary)


def load_float32(model: str | Path) -> "keras.Model":
    """The generator, computing in float32 whatever it was trained in."""
    keras = load_keras() if has_framework() else load_openvinos_keras()
    from srgan.interop.loading import load_generator

    generator = load_generator(model)
    for layer in generator.layers[1:]:
        layer.dtype_policy = keras.DTypePolicy("float32")
    return generator


def largest_difference(run: Callable, generator: "keras.Model") -> float:
    """The largest difference between what `run` and the Keras generator make of pictures, in levels of 255.

    Three small pictures in two batches, of different sizes, so that a size that is not free would fail.
    """
    import keras

    frames = generator.inputs[0].shape[1:-3]
    # Coarse noise enlarged has smooth parts and edges of all colours, as photographs do.
    noise = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), np.uint8)
    made = [to_float(resize_bicubic(each, 60, 60)) for each in noise]
    differences = []
    for crops in ([picture[:37, :45] for picture in made[:1]], [picture[:50, :22] for picture in made[1:]]):
        pictures = np.stack(crops)
        if frames:  # pans
            pictures = np.stack([np.roll(pictures, index, axis=2) for index in range(*frames)], axis=1)
        expected = keras.ops.convert_to_numpy(generator(pictures, training=False))
        given = np.asarray(run(pictures))
        if given.shape != expected.shape:
            raise ValueError(f"it makes {given.shape} of {pictures.shape}, Keras {expected.shape}")
        differences.append(255 * np.abs(given - expected).max())
    return float(np.max(differences))


# --- the formats: `write(model, file)` from a .keras file, `load(file)` as a function from pictures to pictures --------


def write_onnx(model: str | Path, file: Path) -> None:
    """By Keras, through TensorFlow and tf2onnx, with an input `lr` and an output `sr`."""
    import keras
    import onnx

    copy = _traceable(load_float32(model))
    signature = [keras.InputSpec(shape=copy.inputs[0].shape, dtype="float32", name="lr")]
    copy.export(file, format="onnx", input_signature=signature, verbose=False)
    written = onnx.load(file)
    (output,) = written.graph.output  # Keras has no name for it
    for node in written.graph.node:
        node.output[:] = ["sr" if name == output.name else name for name in node.output]
        node.input[:] = ["sr" if name == output.name else name for name in node.input]
    output.name = "sr"
    onnx.save(written, file)


def load_onnx(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # errors only
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(["sr"], {"lr": pictures})[0]


def write_openvino(model: str | Path, file: Path) -> None:
    save_openvino(convert(model), file)


def load_openvino(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pictures: compiled(pictures)[0]


def write_saved_model(model: str | Path, folder: Path) -> None:
    _traceable(load_float32(model)).export(folder, format="tf_saved_model", verbose=False)


def _traceable(generator):
    """A copy of the generator whose layers are the plain ones: what makes them faster in training is lost on a runtime."""
    import keras
    import tensorflow as tf

    from srgan.networks.layers import BlockConv2D, PReLU

    class NearestUpsampling(keras.layers.UpSampling2D):  # Keras' own leaves LiteRT without the number of channels
        def call(self, inputs):
            return tf.image.resize(inputs, tf.shape(inputs)[1:3] * self.size, self.interpolation)

    plain = {keras.layers.UpSampling2D: NearestUpsampling, BlockConv2D: keras.layers.Conv2D, PReLU: keras.layers.PReLU}

    def copy_of(layer):
        return plain.get(type(layer), type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(generator, clone_function=copy_of)
    copy.set_weights(generator.get_weights())
    return copy


def load_saved_model(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    return lambda pictures: loaded.serve(pictures).numpy()


def write_litert(model: str | Path, file: Path) -> None:
    """From a SavedModel, with LiteRT's own operations only."""
    import keras
    import tensorflow as tf

    if any(isinstance(layer, keras.layers.Conv3D) for layer in load_float32(model).layers):
        raise ValueError("LiteRT has no PReLU behind 3D convolutions; .onnx and .xml take them")
    with temporary_folder() as folder:
        write_saved_model(model, folder)
        file.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


def load_litert(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    (lr,), (sr,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pictures):
        interpreter.resize_tensor_input(lr["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(lr["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(sr["index"])

    return run


class Format(NamedTuple):
    suffix: str
    packages: tuple[str, ...]  # by the names they are imported by
    write: Callable
    load: Callable


FORMATS = {
    "onnx": Format(".onnx", ("tensorflow", "tf2onnx", "onnxruntime"), write_onnx, load_onnx),
    "openvino": Format(".xml", ("openvino",), write_openvino, load_openvino),
    "saved_model": Format("", ("tensorflow",), write_saved_model, load_saved_model),
    "litert": Format(".tflite", ("tensorflow", "ai_edge_litert"), write_litert, load_litert),
}

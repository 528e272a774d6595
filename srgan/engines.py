"""Engines: a generator as a plain function on pictures, float32 (batch, h, w, 3) in [0, 1] to `scale` times the size.

Generators over time (srgan.networks.video) take what they take there: windows of frames, (batch, frames, h, w, 3), or a
frame and a memory, for which they give a pair, the enlarged frame and the next memory.

`load_engine` gives one of two kinds: OpenVINO, the faster on a CPU, which starts in a fraction of a second because no
framework is imported, and Keras on any backend, for GPUs. The output is not clipped. Engines may be called from several
threads at once.
"""

import contextlib
import copy
import ctypes
import hashlib
import io
import logging
import os
import sys
import tempfile
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.errors import SRGANError, UsageError
from srgan.images import atomic_path
from srgan.runtime import load_keras

WEIGHTS = Path(__file__).parent / "weights"
# The first that is there is the default: most pictures are JPEGs, whose artifacts the others enlarge.
SHIPPED = ("srgan-photo", "srresnet", "srgan", "srgan-video")
ENGINES = ("auto", "openvino", "keras")
PRECISIONS = ("auto", "float32", "bfloat16")

_CACHE_FORMAT = "1"  # raise it when ir.py builds something else from the same generator
_log = logging.getLogger("srgan")


def find_model(name_or_path=None) -> Path:
    """The `.keras` file of a model: a path, or the name of a shipped one; without either the default model.

    Raises:
        UsageError: there is none; the message lists what there is.
    """
    shipped = {name: WEIGHTS / f"{name}.keras" for name in SHIPPED if (WEIGHTS / f"{name}.keras").is_file()}
    if name_or_path is None:
        if not shipped:
            raise UsageError("no model is shipped yet: pass --model with a .keras file, as srgan-train writes it")
        return next(iter(shipped.values()))
    path = Path(name_or_path)
    if str(name_or_path) in shipped and not path.is_file():
        return shipped[str(name_or_path)]
    if path.is_dir() and (path / "generator.keras").is_file():  # a run folder of srgan-train
        return path / "generator.keras"
    if not path.is_file():
        have = f"shipped: {', '.join(shipped)}" if shipped else "no model is shipped yet"
        raise UsageError(f"{name_or_path}: no such model; pass the path of a .keras file ({have})")
    return path


def _pixel_trained(path, name=None):
    """The pixel-trained model that belongs to a GAN-trained one: as named, else its sister file."""
    if name is not None:
        return find_model(name)
    for sister in (path.name.replace("srgan", "srresnet"), f"{path.stem}-pixel.keras"):
        if sister != path.name and path.with_name(sister).is_file():
            return path.with_name(sister)
    raise UsageError(f"{path}: strength below 1 needs the pixel-trained model that belongs to it: pass --pixel-model")


class Inconvertible(Exception):
    """OpenVINO cannot run this generator; the message says why."""


class Description(NamedTuple):
    """What can be said of a generator without running it."""

    scale: int
    receptive_field: int  # how many input pixels away an output pixel still depends on the input; -1: on all of them
    values_per_pixel: int  # the most values that one layer gives, an input pixel
    frames: int = 1  # that it looks at, at once
    memory: int = 0  # channels of what a recurrent one remembers

    @property
    def over_time(self):
        """Whether other frames count than the one that is enlarged."""
        return self.frames > 1 or self.memory > 0


def describe(generator) -> Description:
    """Describe a Keras generator by its layers alone."""
    from keras import Model, layers, tree

    from srgan.networks.generator import scale_of
    from srgan.networks.layers import FoldFrames, MergeFrames, MiddleFrame, PixelShuffle, PixelUnshuffle
    from srgan.networks.recall import Blend, Difference, Doubt, Evidence, Shortfall
    from srgan.networks.video import frames_of, is_recurrent

    probe = 64  # pixels
    outputs = [operation.output for operation in generator.operations]
    given = [(1, *tensor.shape[1:-3], probe, probe, tensor.shape[-1]) for tensor in generator.inputs]
    shapes = Model(generator.inputs, outputs).compute_output_shape(given if len(given) > 1 else given[0])
    on_each_pixel = (layers.Rescaling, layers.PReLU, layers.LeakyReLU, layers.ReLU, layers.Activation, PixelShuffle)
    on_each_pixel += (layers.InputLayer, layers.BatchNormalization, layers.Add, layers.Multiply, layers.Concatenate)
    on_each_pixel += (FoldFrames, MergeFrames, MiddleFrame, PixelUnshuffle, Evidence, Difference, Blend)
    reach, scale = {}, {}
    for layer, output, shape in zip(generator.operations, outputs, shapes):
        sources = [] if isinstance(layer, layers.InputLayer) else [id(source) for source in tree.flatten(layer.input)]
        before = scale.get(sources[0], 1) if sources else 1
        match layer:
            case layers.Conv2D() | layers.Conv3D():
                here = max(layer.kernel_size[-2:]) // 2 * max(layer.dilation_rate[-2:]) / before
            case layers.UpSampling2D():
                here = 1 / before
            case Doubt():
                here = 1
            case Shortfall():
                here = 2
            case _:
                here = 0 if isinstance(layer, on_each_pixel) else np.inf
        reach[id(output)] = max([reach.get(source, np.inf) for source in sources], default=0) + here
        scale[id(output)] = shape[-3] / probe
    field = max(reach.get(id(output), np.inf) for output in generator.outputs)  # not found: from a layer used twice
    return Description(
        scale=scale_of(generator),
        receptive_field=int(np.ceil(field)) if np.isfinite(field) else -1,
        values_per_pixel=int(max(np.prod(shape) for shape in shapes) / probe**2),
        frames=frames_of(generator),
        memory=generator.inputs[1].shape[-1] if is_recurrent(generator) else 0,
    )


def load_engine(model=None, *, engine="auto", precision="auto", pixel_model=None, strength=1.0):
    """The generator `model` (see `find_model`) as a function from pictures to pictures.

    Args:
        model: a path of a `.keras` file or the name of a shipped model.
        engine: "openvino", "keras", or "auto": Keras where there is an NVIDIA GPU that its backend can use, else
            OpenVINO.
        precision: of the computation inside: "float32", "bfloat16" or "auto", which is bfloat16 with OpenVINO on a CPU
            that computes in it, else float32.
        pixel_model: a generator of the same shape, to interpolate the weights with (Wang et al., arXiv 1809.00219,
            section 3.4); only with `strength` below 1.
        strength: the weight of `model` in that, in [0, 1].

    Returns:
        A callable with the attributes `name`, `device`, `precision`, `description`, `bytes_per_pixel`, `weights` (the
        files that they are from, and the strength) and `with_precision(precision)`.
        It raises MemoryError where the memory does not suffice for a picture.

    Raises:
        SRGANError: no such model, it cannot be loaded, or the engine asked for cannot run it.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine: {engine!r} is none of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision: {precision!r} is none of {', '.join(PRECISIONS)}")
    if not 0 <= strength <= 1:
        raise UsageError(f"strength: {strength} is not between 0 and 1")
    path = find_model(model)
    pixel_path = _pixel_trained(path, pixel_model) if strength < 1 else None
    loaded = _load(path, engine, precision, pixel_path, strength)
    if loaded.description.memory not in (0, 3 * loaded.description.scale**2):
        raise SRGANError(
            f"{path}: a recurrent generator of another version, which remembers something else: train it again"
        )
    return loaded


def _load(path, engine, precision, pixel_path, strength):
    if engine == "keras":
        return KerasEngine(path, precision, pixel_path, strength)
    if engine == "auto" and (_cuda_devices() or find_spec("openvino") is None):
        keras_engine = KerasEngine(path, precision, pixel_path, strength)
        if keras_engine.device != "CPU" or find_spec("openvino") is None:
            return keras_engine
    try:
        return OpenVINOEngine(path, precision, pixel_path, strength)
    except ImportError as error:
        raise SRGANError(
            f"OpenVINO cannot be imported ({error}): pip install openvino, or pass --engine keras"
        ) from error
    except Inconvertible as error:
        if engine == "openvino":
            raise SRGANError(f"{path}: OpenVINO cannot run it ({error}); pass --engine keras") from error
        _log.info("%s: %s; Keras runs it", path, error)
        return KerasEngine(path, precision, pixel_path, strength)


def _keras_device(backend):
    """Where Keras computes: "GPU" or "CPU"."""
    if backend == "tensorflow":
        import tensorflow

        return "GPU" if tensorflow.config.list_physical_devices("GPU") else "CPU"
    if backend == "jax":
        import jax

        return jax.default_backend().upper()
    if backend == "torch":
        import torch

        return "GPU" if torch.cuda.is_available() else "CPU"
    return "CPU"


def _cuda_devices() -> int:
    """How many NVIDIA GPUs the driver shows. Asked of the driver, because asking a framework takes seconds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _import_openvino():
    """Import OpenVINO without its conversion tools, which take most of its start-up time and report every start to a
    server. It counts them as optional itself; they are still imported when something asks for them."""
    if "openvino" not in sys.modules:
        sys.modules["openvino.tools.ovc"] = None  # the import system's way to say that a module is not there
        try:
            import openvino
        finally:
            del sys.modules["openvino.tools.ovc"]
        openvino.convert_model = lambda *args, **kwargs: import_module("openvino.tools.ovc").convert_model(
            *args, **kwargs
        )
    return sys.modules["openvino"]


class OpenVINOEngine:
    """A generator on the CPU, for pictures of any size. Imports no framework, except the first time it sees a model."""

    name = "OpenVINO"
    device = "CPU"
    largest_tile = 224  # input pixels a side: up to here what the layers pass on stays in the caches

    def __init__(self, path, precision="auto", pixel_path=None, strength=1.0):
        self.weights = path, pixel_path, strength
        self._core = _import_openvino().Core()
        self._folder = _cache_folder(path)
        self._model = _openvino_model(self._core, path, self._folder)
        self.description = _read_description(self._model)
        if pixel_path:
            other = _openvino_model(self._core, pixel_path, _cache_folder(pixel_path))
            self._model = _interpolate_openvino(self._model, other, strength, f"{path} and {pixel_path}")
            self._folder = None  # what is compiled is kept for whole models only
        self._compile(precision)

    @property
    def bytes_per_pixel(self):
        """Memory it takes for each input pixel; measured: 1.8 times the largest layer in bfloat16, 1.5 in float32."""
        return 2 * self.description.values_per_pixel * (4 if self.precision == "float32" else 2)

    def with_precision(self, precision):
        """The same engine, computing in another precision."""
        if precision == self.precision:
            return self
        engine = copy.copy(self)
        engine._compile(precision)
        return engine

    def _compile(self, precision):
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "auto":
            precision = "bfloat16" if "BF16" in capabilities else "float32"
        self.precision = precision
        settings = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        hardware = [self._core.get_property("CPU", "FULL_DEVICE_NAME"), *sorted(capabilities)]
        self._compiled = _compile_or_import(self._core, self._model, settings, hardware, self._folder)
        self._request = None  # has buffers as large as its largest picture
        self._lock = threading.Lock()  # one picture takes all cores

    def __call__(self, *inputs):
        with self._lock:
            try:
                self._request = self._request or self._compiled.create_infer_request()
                self._request.infer([np.ascontiguousarray(values, np.float32) for values in inputs], share_inputs=True)
                results = tuple(tensor.data.copy() for tensor in self._request.output_tensors)
                return results if len(results) > 1 else results[0]
            except RuntimeError as error:
                self._request = None  # its buffers are of no use
                raise _meant(error) from error


def _cache_folder(path):
    """Where what is made of the model at `path` is kept: a folder named by the file's content."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "srgan" / "models" / f"{digest}-{_CACHE_FORMAT}"


def _openvino_model(core, path, folder):
    """The OpenVINO form of a `.keras` file: the one shipped beside it, the one in the cache, or made and cached now."""
    if path.parent == WEIGHTS and path.with_suffix(".xml").is_file():
        return core.read_model(path.with_suffix(".xml"))
    kept = folder / "openvino"
    if kept.is_dir():
        return core.read_model(kept / "generator.xml")
    _log.info("%s: converting it for OpenVINO, once", path)
    model = convert(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as temporary:
            whole = Path(temporary) / "openvino"
            save_openvino(model, whole / "generator.xml")
            with contextlib.suppress(OSError):  # another process was faster: its folder holds the same
                whole.rename(kept)
        return core.read_model(kept / "generator.xml")  # what every later call gets, to the order of its operations
    except OSError as error:
        _log.info("%s: cannot be kept (%s)", kept, error)
    return model


def convert(path):
    """The generator in a `.keras` file as an OpenVINO model, with its `Description` as runtime information.

    Raises:
        Inconvertible: it has a layer that cannot be converted.
    """
    load_keras()
    _import_openvino()
    from srgan import ir
    from srgan.networks.generator import load_generator

    generator = load_generator(path)
    model = ir.from_keras(generator)
    for key, value in describe(generator)._asdict().items():
        model.set_rt_info(value, ["srgan", key])
    return model


def save_openvino(model, path, half=False):
    """Write an OpenVINO model as `path` (.xml) and its weights beside it (.bin), in float32 or `half` of that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _import_openvino().save_model(model, path, compress_to_fp16=half)


def _read_description(model):
    """Its `Description`; what an older file does not say yet is as it was then, by default."""
    said = [key for key in Description._fields if model.has_rt_info(["srgan", key])]
    return Description(**{key: int(model.get_rt_info(["srgan", key]).value) for key in said})


def _compile_or_import(core, model, settings, hardware, folder):
    """Compile `model`, or take what was compiled from it before by the same OpenVINO on the same hardware."""
    stamp = " ".join([_import_openvino().get_version(), *hardware]).encode() + b"\n"
    kept = folder and folder / f"compiled-{settings['INFERENCE_PRECISION_HINT']}.blob"
    if kept and kept.is_file():
        content = kept.read_bytes()
        if content.startswith(stamp):
            with contextlib.suppress(RuntimeError):
                return core.import_model(io.BytesIO(content[len(stamp) :]), "CPU", settings)
    compiled = core.compile_model(model, "CPU", settings)
    if kept:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as temporary:
                temporary.write_bytes(stamp + compiled.export_model().getvalue())
        except (OSError, RuntimeError) as error:
            _log.info("%s: cannot be kept (%s)", kept, error)
    return compiled


def _interpolate_openvino(model, other, strength, names):
    """`model` with its weights moved towards those of `other`."""
    from openvino import opset13 as opset

    operations, others = model.get_ordered_ops(), other.get_ordered_ops()
    if [(o.get_type_name(), o.output(0).partial_shape) for o in operations if o.get_output_size()] != [
        (o.get_type_name(), o.output(0).partial_shape) for o in others if o.get_output_size()
    ]:
        raise SRGANError(f"{names} are not built alike, so that their weights cannot be interpolated")
    for one, two in zip(operations, others):
        if one.get_type_name() == "Constant" and np.issubdtype(one.data.dtype, np.floating):  # shipped ones are float16
            mixed = strength * one.data.astype(np.float32) + (1 - strength) * two.data.astype(np.float32)
            one.output(0).replace(opset.constant(mixed.astype(one.data.dtype)).output(0))
    model.validate_nodes_and_infer_types()
    return model


class KerasEngine:
    """A generator through Keras, on whatever device its backend takes."""

    name = "Keras"
    largest_tile = 384

    def __init__(self, path, precision="auto", pixel_path=None, strength=1.0):
        keras = load_keras()
        from srgan.networks.generator import load_generator

        self.weights = path, pixel_path, strength
        self._generator = load_generator(path)
        if pixel_path:
            other = load_generator(pixel_path)
            if [w.shape for w in other.weights] != [w.shape for w in self._generator.weights]:
                raise SRGANError(
                    f"{path} and {pixel_path} are not built alike, so that their weights cannot be interpolated"
                )
            pairs = zip(self._generator.get_weights(), other.get_weights())
            self._generator.set_weights([strength * one + (1 - strength) * two for one, two in pairs])
        self.description = describe(self._generator)
        self.device = _keras_device(keras.backend.backend())
        self.precision = "float32" if precision == "auto" else precision
        self._lock = threading.Lock()
        # Traced for pictures of any size, TensorFlow fails in Keras' bilinear upsampling.
        self._generator.compile(run_eagerly=keras.backend.backend() == "tensorflow")
        _compute_in(self.precision, self._generator)

    @property
    def bytes_per_pixel(self):
        """Memory it takes for each input pixel, at a guess: backends keep several layers, in float32 here and there."""
        return 4 * self.description.values_per_pixel * 4

    def with_precision(self, precision):
        """The same engine, computing in another precision."""
        if precision == self.precision:
            return self
        return KerasEngine(self.weights[0], precision, *self.weights[1:])

    def __call__(self, *inputs):
        inputs = [np.asarray(values, np.float32) for values in inputs]
        with self._lock:
            try:
                results = self._generator.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
                if isinstance(results, (list, tuple)):
                    return tuple(np.asarray(result, np.float32) for result in results)
                return np.asarray(results, np.float32)
            except Exception as error:  # each backend has its own
                raise _meant(error) from error


def _compute_in(precision, generator):
    """Set what the layers compute in. Behind the last weights, and where a picture passes none or is compared with a memory,
    it is float32 always: in bfloat16 the picture would lose levels.
    """
    from keras import DTypePolicy, layers, tree

    from srgan.networks.recall import EXACT, ROUGH

    makers = {id(operation.output): operation for operation in generator.operations}
    exact, before = set(), list(generator.outputs)
    while before:
        layer = makers.get(id(before.pop()))
        if layer in generator.layers and layer not in exact and not layer.weights:
            exact.add(layer)
            before += [] if isinstance(layer, layers.InputLayer) else tree.flatten(layer.input)
    for layer in generator.layers:
        if not isinstance(layer, layers.InputLayer):
            compares = layer.name.startswith(EXACT) and not layer.name.startswith(ROUGH)
            rough = precision == "bfloat16" and layer not in exact and not compares
            layer.dtype_policy = DTypePolicy("mixed_bfloat16" if rough else "float32")


def _meant(error):
    """The MemoryError or SRGANError that an engine's error stands for: every backend has its own."""
    said = str(error)
    if any(words in said.lower() for words in ("bad_alloc", "resource_exhausted", "out of memory", "allocate")):
        return MemoryError(said)
    return SRGANError(f"the engine failed: {' '.join(said.split())[:300]}")

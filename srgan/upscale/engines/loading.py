"""Loading a generator as an engine; one over time takes and gives what it does in `srgan.networks.over_time`.

`load_engine` gives one of two kinds: OpenVINO, the faster on a CPU, which starts in a fraction of a second because no
framework is imported, and Keras on any backend, for GPUs. The output is not clipped. Engines may be called from several
threads at once.
"""

import logging
from pathlib import Path

from srgan.errors import SRGANError, UsageError
from srgan.interop.architectures import Options
from srgan.interop.onnx import is_onnx
from srgan.models import find_model
from srgan.runtime import INSTALL, has_framework
from srgan.upscale.engines.backend_errors import Inconvertible
from srgan.upscale.engines.blending import blend
from srgan.upscale.engines.devices import on_device
from srgan.upscale.engines.keras_engine import KerasEngine, _cuda_devices
from srgan.upscale.engines.openvino_engine import OpenVINOEngine

ENGINES = ("auto", "openvino", "keras")
PRECISIONS = ("auto", "float32", "bfloat16")

_log = logging.getLogger("srgan")


def load_engine(
    model: str | Path | None = None,
    *,
    engine: str = "auto",
    precision: str = "auto",
    pixel_model: str | None = None,
    strength: float = 1.0,
    denoise: float | None = None,
    activation: str | None = None,
    value_range: float | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> OpenVINOEngine | KerasEngine:
    """The generator `model` (see `find_model`) as a function from pictures to pictures.

    Args:
        model: a path of a model file (.keras, .pth, .safetensors or .onnx) or the name of a shipped model.
        engine: "openvino", "keras", or "auto": Keras where there is an NVIDIA GPU that its backend can use, else
            OpenVINO.
        precision: of the computation inside: "float32", "bfloat16" or "auto": with OpenVINO what the device is fast in
            (bfloat16 on a CPU that computes in it, float16 on a GPU or NPU), with JAX on an NVIDIA GPU of Ampere or later bfloat16, else
            float32.
        pixel_model: a generator of the same shape, to interpolate the weights with (Wang et al., arXiv 1809.00219,
            section 3.4); only with `strength` below 1.
        strength: the weight of `model` in that, in [0, 1].
        denoise: how much noise goes, in [0, 1]: 0.5 is the model itself, as None is, which is blended with the nearer of its
            two fine-tuned ends; only with models that have them. See `srgan.upscale.engines.blending`.
        activation: what files of other people do not say: "relu" or "leaky_relu"; None: as its authors published it.
        value_range: likewise, the largest value that the network takes: 1 or 255; None: as published, or measured.
        device: of OpenVINO: "CPU", "GPU", "GPU.1", "NPU"; None: the CPU, or a GPU that computes a tile faster. What fails
            there is computed on the CPU.
        threads: that compute on the CPU, with OpenVINO; None: as many as there are cores.

    Returns:
        A callable with the attributes `name`, `device`, `precision`, `description`, `bytes_per_pixel`, `weights` (the
        share of each file in them) and `with_precision(precision)`.
        It raises MemoryError where the memory does not suffice for a picture.

    Raises:
        SRGANError: no such model, it cannot be loaded, or the engine asked for cannot run it.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine: {engine!r} is none of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise UsageError(f"precision: {precision!r} is none of {', '.join(PRECISIONS)}")
    if activation not in (None, "prelu", "relu", "leaky_relu"):
        raise UsageError(f"activation: {activation!r} is none of prelu, relu, leaky_relu")
    if value_range not in (None, 1, 255):
        raise UsageError(f"value_range: {value_range!r} is neither 1 nor 255")
    if threads is not None and not (isinstance(threads, int) and threads > 0):
        raise UsageError(f"threads: {threads!r} is not a whole number above 0")
    if engine == "keras" and (device or threads):
        raise UsageError("device, threads: are OpenVINO's, and the engine is Keras")
    options = Options(activation, str(value_range) if value_range else None)
    path = find_model(model)
    weights = blend(path, strength, pixel_model, denoise)
    loaded = _load(path, "openvino" if device else engine, (weights, precision, options), device, threads)
    if loaded.description.memory not in (0, 3 * loaded.description.scale**2):
        raise SRGANError(
            f"{path}: a recurrent generator of another version, which remembers something else: train it again"
        )
    return loaded


def _load(path, engine, rest, device, threads):
    if engine == "keras":
        return KerasEngine(*rest)
    if engine == "auto" and not is_onnx(path) and _cuda_devices() and has_framework():
        keras_engine = KerasEngine(*rest)
        if keras_engine.device != "CPU":
            return keras_engine
    try:
        return on_device(OpenVINOEngine(*rest, threads=threads), device, rest[1])
    except Inconvertible as error:
        if engine == "openvino":
            raise SRGANError(f"{path}: OpenVINO cannot run it ({error}); pass --engine keras") from error
        if not has_framework():
            raise SRGANError(
                f"{path}: OpenVINO cannot run it ({error}); for Keras to run it, install a framework: {INSTALL}"
            ) from error
        _log.info("%s: %s; Keras runs it", path, error)
        return KerasEngine(*rest)

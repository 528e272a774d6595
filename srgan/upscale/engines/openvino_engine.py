"""A generator through OpenVINO."""

import contextlib
import copy
import hashlib
import io
import logging
import os
import threading
from pathlib import Path

import numpy as np

from srgan.errors import SRGANError
from srgan.files import atomic_path, temporary_folder
from srgan.interop.architectures import DEFAULTS
from srgan.interop.onnx import external_files
from srgan.models import is_shipped
from srgan.runtime import load_openvino
from srgan.upscale.engines.backend_errors import translate_backend_error
from srgan.upscale.engines.blending import UNLIKE
from srgan.upscale.engines.conversion import convert, save_openvino
from srgan.upscale.engines.description import Description, description_from_info

_log = logging.getLogger("srgan")
# Of each a capability and a hint.
_PRECISIONS = {"float32": ("FP32", "f32"), "bfloat16": ("BF16", "bf16"), "float16": ("FP16", "f16")}
_NPU_TILE = 128  # input pixels a side; an NPU takes one size only
_BUILT = ["srgan", "built"]  # where a model says what it has beside its weights, see `built_as`; shipped ones do not
_CACHE_FORMAT = "7"  # raise it when the same generator gets another graph or description


class OpenVINOEngine:
    """A generator on a device that OpenVINO knows, for pictures of any size. Needs no framework.

    It begins on the CPU; `on` gives one on another device.
    """

    name = "OpenVINO"
    largest_tile = 224  # input pixels a side: up to here what the layers pass on stays in the caches

    def __init__(self, weights, precision="auto", options=DEFAULTS, threads=None):
        self.weights = weights if isinstance(weights, dict) else {weights: 1.0}
        path, *others = self.weights
        self._core = load_openvino().Core()
        self._threads = threads
        self._folder = _cache_folder(path, options)
        shipped = all(is_shipped(file) and file.with_suffix(".xml").is_file() for file in self.weights)
        ready = shipped and not any(options)
        self._model = _openvino_model(self._core, path, self._folder, options, ready)
        self.description = _read_description(self._model)
        if self._model.has_rt_info(["srgan", "assumed"]):
            _log.info("%s: the file does not say: %s", path, self._model.get_rt_info(["srgan", "assumed"]).astype(str))
        if others:
            folders = [_cache_folder(other, options) for other in others]
            read = [_openvino_model(self._core, *each, options, ready) for each in zip(others, folders)]
            _blend([self._model, *read], self.weights)
            self._folder = None  # what is compiled is kept for whole models only
        self._compile("CPU", precision)
        self._lock = threading.Lock()  # one picture takes all cores

    @property
    def devices(self):
        """The devices that OpenVINO finds, such as CPU, GPU.0 and NPU."""
        return self._core.available_devices

    @property
    def bytes_per_pixel(self):
        """Memory it takes for each input pixel, at most.

        Measured from 128 to 256 pixels a side, in bytes in float32 and bfloat16: RealESRGAN_x4plus' layers 11,340 to 11,787 and
        6,243 to 6,551 (1,024 values in the largest one), realesr-animevideov3 972 to 1,090 and 964 to 988 (64 values). At
        full size, 192 pixels a side: MSRResNet 9,526 and 5,470 (1,024), EDSR 5,650 and 3,338 (1,024, so that twice as much is
        reckoned), SPAN 2,318 and 1,539 (192), RealPLKSR 2,640 and 1,808 (192), with DySample 4,050 and 4,236 (576). The second
        term is of pictures as large as the result, which are float32 in both.
        """
        largest = self.description.values_per_pixel * (4 if self.precision == "float32" else 2)
        return 3 * largest + 4 * 4 * self.description.channels * self.description.scale**2

    def with_precision(self, precision):
        """The same engine, computing in another precision."""
        return self if precision == self.precision else self.on(self.device, precision)

    def on(self, device, precision="auto"):
        """The same engine on another device.

        Raises:
            RuntimeError: OpenVINO cannot use the device, or not for this network.
        """
        engine = copy.copy(self)
        if device.startswith("NPU") and not self.description.fixed_height:
            if self.description.over_time:
                raise RuntimeError("an NPU takes single pictures only")
            engine._model = self._model.clone()
            engine._model.reshape([1, _NPU_TILE, _NPU_TILE, self.description.channels])
            engine.description = self.description._replace(fixed_height=_NPU_TILE, fixed_width=_NPU_TILE)
        engine._compile(device, precision)
        engine._lock = threading.Lock()
        return engine

    def _compile(self, device, precision):
        capabilities = self._core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        fast = "bfloat16" if device == "CPU" else "float16"
        if precision == "auto":
            precision = fast if _PRECISIONS[fast][0] in capabilities else "float32"
        elif _PRECISIONS[precision][0] not in capabilities:
            kind = "processor" if device == "CPU" else device
            _log.info("this %s has no %s instructions: float32 is used", kind, precision)
            precision = "float32"
        self.device, self.precision = device, precision
        settings = {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision][1], "PERFORMANCE_HINT": "LATENCY"}
        if device == "CPU":
            if self._threads:
                # Pinned, processes that take some of the cores each would all take the first ones.
                settings |= {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}
            hardware = [self._core.get_property("CPU", "FULL_DEVICE_NAME"), *sorted(capabilities)]
            self._compiled = _compile_or_import(self._core, self._model, settings, hardware, self._folder)
        else:
            self._compiled = self._core.compile_model(self._model, device, settings)
        self._request = None  # it keeps buffers as large as the largest picture so far

    def __call__(self, *inputs):
        with self._lock:
            try:
                return self._infer(inputs)
            except SRGANError as error:
                if self.device == "CPU":
                    raise
                reason = " ".join(str(error.__cause__).split())[-200:]
                _log.warning("%s failed (%s): the CPU goes on", self.device, reason)
                self._compile("CPU", self.precision if self.precision == "float32" else "auto")
                return self._infer(inputs)

    def _infer(self, inputs):
        try:
            if self._compiled is None:
                self._compile(self.device, self.precision)
            self._request = self._request or self._compiled.create_infer_request()
            self._request.infer([np.ascontiguousarray(values, np.float32) for values in inputs], share_inputs=True)
            results = tuple(tensor.data.copy() for tensor in self._request.output_tensors)
            return results if len(results) > 1 else results[0]
        except RuntimeError as error:
            self._request = self._compiled = None  # out of memory leaves both with shapes of two pictures
            raise translate_backend_error(error) from error


def _cache_folder(path, options=DEFAULTS):
    """Where what is made of the model at `path` is kept: a folder named by the file's content."""
    digest = hashlib.sha256(path.read_bytes())
    for file in external_files(path):
        digest.update(file.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    settled = "".join(f"-{value}" for value in options if value)
    return Path(cache) / "srgan" / "models" / f"{digest.hexdigest()[:32]}-{_CACHE_FORMAT}{settled}"


def _openvino_model(core, path, folder, options, ready):
    """The OpenVINO form of a model file: the one shipped beside it (if those of all that are blended are `ready`, as the
    shipped ones are laid out in float16), the one in the cache, or made and cached now."""
    if ready:
        return core.read_model(path.with_suffix(".xml"))
    kept = folder / "openvino"
    if kept.is_dir():
        return core.read_model(kept / "generator.xml")
    _log.info("%s: converting it for OpenVINO, once", path)
    model = convert(path, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_folder(prefix=".part-", dir=folder) as temporary:
            whole = temporary / "openvino"
            save_openvino(model, whole / "generator.xml")
            with contextlib.suppress(OSError):  # another process was faster: its folder holds the same
                whole.rename(kept)
        # Read back, so that this call computes in the same order as later ones.
        return core.read_model(kept / "generator.xml")
    except OSError as error:
        _log.info("%s: cannot be kept (%s)", kept, error)
    return model


def _read_description(model):
    keys = [key for key in Description._fields if model.has_rt_info(["srgan", key])]
    return description_from_info({key: int(model.get_rt_info(["srgan", key]).value) for key in keys})


def _compile_or_import(core, model, settings, hardware, folder):
    """Compile `model`, or take what was compiled from it before by the same OpenVINO on the same hardware."""
    stamp = " ".join([load_openvino().get_version(), *hardware]).encode() + b"\n"
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


def _blend(models, weights):
    """Give the first model the weights of all, by their shares."""
    from openvino import opset13 as opset

    operations = [model.get_ordered_ops() for model in models]
    shapes = [
        [(o.get_type_name(), o.output(0).partial_shape) for o in ops if o.get_output_size()] for ops in operations
    ]
    built = [model.get_rt_info(_BUILT).astype(str) if model.has_rt_info(_BUILT) else None for model in models]
    for path, others, digest in zip(weights, shapes, built):
        if others != shapes[0] or digest and built[0] and digest != built[0]:
            raise SRGANError(f"{next(iter(weights))} and {path} {UNLIKE}")
    for alike in zip(*operations):
        first = alike[0]
        # Those of shipped models are float16.
        if first.get_type_name() == "Constant" and np.issubdtype(first.data.dtype, np.floating):
            mixed = sum(share * one.data.astype(np.float32) for one, share in zip(alike, weights.values()))
            first.output(0).replace(opset.constant(mixed.astype(first.data.dtype)).output(0))
    models[0].validate_nodes_and_infer_types()

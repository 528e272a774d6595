"""A generator through Keras."""

import ctypes
import logging
import re
import sys
import threading

import numpy as np

from srgan.errors import SRGANError
from srgan.interop.architectures import DEFAULTS
from srgan.runtime import load_keras
from srgan.upscale.engines.backend_errors import translate_backend_error
from srgan.upscale.engines.blending import UNLIKE, built_as
from srgan.upscale.engines.description import describe

_log = logging.getLogger("srgan")


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


def _jax_is_fast_in_bfloat16():
    """Whether JAX computes on an NVIDIA GPU of Ampere or later: those before have no units for it."""
    import jax

    capability = getattr(jax.devices()[0], "compute_capability", "")  # "8.0"; ROCm's is "gfx90a"
    return re.fullmatch(r"\d+\.\d+", capability) is not None and float(capability) >= 8


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


class KerasEngine:
    """A generator through Keras, on whatever device its backend takes."""

    name = "Keras"
    largest_tile = 384
    side_multiple = 64  # of the sizes that JAX is given, which compiles anew for each

    def __init__(self, weights, precision="auto", options=DEFAULTS):
        keras = load_keras()
        from srgan.interop.loading import load_generator
        from srgan.networks.precision import compute_in

        self.weights = weights if isinstance(weights, dict) else {weights: 1.0}
        self._options = options
        path = next(iter(self.weights))
        generators = [load_generator(file, options) for file in self.weights]
        self._generator = generators[0]
        for file, other in zip(self.weights, generators):
            if built_as(other) != built_as(self._generator):
                raise SRGANError(f"{path} and {file} {UNLIKE}")
        if len(generators) > 1:
            _mix(generators, list(self.weights.values()))
        if assumed := getattr(self._generator, "assumed", ""):
            _log.info("%s: the file does not say: %s", path, assumed)
        self.description = describe(self._generator)
        self.device = _keras_device(keras.backend.backend())
        self._pads = keras.backend.backend() == "jax" and self.description.receptive_field is not None
        fast = "bfloat16" if keras.backend.backend() == "jax" and _jax_is_fast_in_bfloat16() else "float32"
        self.precision = fast if precision == "auto" else precision
        self._lock = threading.Lock()
        self._generator.compile()
        compute_in(self.precision, self._generator)

    @property
    def bytes_per_pixel(self):
        """Memory it takes for each input pixel, at a guess: backends keep several layers, in float32 here and there."""
        return 4 * self.description.values_per_pixel * 4

    def with_precision(self, precision):
        """The same engine, computing in another precision."""
        if precision == self.precision:
            return self
        return KerasEngine(self.weights, precision, self._options)

    def __call__(self, *inputs):
        inputs = [np.asarray(values, np.float32) for values in inputs]
        sizes = [values.shape[-3:-1] for values in inputs]
        if self._pads:
            inputs = [_padded(values, self.side_multiple) for values in inputs]
        with self._lock:
            try:
                results = self._generator.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
            except Exception as error:  # each backend has its own
                raise translate_backend_error(error) from error
        results = results if isinstance(results, (list, tuple)) else [results]
        # A recurrent generator's are the picture, and the memory, which has the size of the input.
        found = []
        for result, (height, width), scale in zip(results, sizes, (self.description.scale, 1)):
            result = np.asarray(result, np.float32)
            found.append(result[..., : scale * height, : scale * width, :] if self._pads else result)
        return tuple(found) if len(found) > 1 else found[0]


def _mix(generators, shares):
    """Give the first generator the weights of all, by their shares; of SPAN's branches those of the convolution that they make."""
    from keras.ops import convert_to_numpy

    from srgan.interop.architectures import branches_of
    from srgan.networks.span import BranchedConv2D

    for alike in zip(*(generator.layers for generator in generators)):
        branched = isinstance(alike[0], BranchedConv2D)
        given = [[layer.kernel, layer.bias] if branched else layer.get_weights() for layer in alike]
        mixed = [sum(share * convert_to_numpy(values) for share, values in zip(shares, same)) for same in zip(*given)]
        alike[0].set_weights(branches_of(*mixed) if branched else mixed)


def _padded(values, multiple):
    """(..., h, w, c) continued by its last row and column, so that both sides are multiples of `multiple`.

    A network pads by zeros beyond the edge, so that the pixels near the lower and the right edge differ a little.
    """
    margins = [(0, -side % multiple) for side in values.shape[-3:-1]]
    return np.pad(values, [(0, 0)] * (values.ndim - 3) + margins + [(0, 0)], "edge")

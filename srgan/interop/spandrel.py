"""Networks that are not built here, by spandrel's classes and PyTorch, as graphs of OpenVINO.

The tensors are read by `srgan.interop.reading`: PyTorch gets numbers alone, and no pickle.
"""

import contextlib
import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from srgan.errors import SRGANError
from srgan.interop.architectures import DEFAULTS, Options, refuse_unasked
from srgan.interop.onnx import Measured, read_graph
from srgan.interop.reading import read_tensors
from srgan.interop.tensors import BFLOAT16, Unreadable, as_float32
from srgan.runtime import allow_tensorflow, load_openvino

_FIXED = 128  # the side of what networks take whose graph holds for one size only; multiples of it are of windows, too
_TOLERANCE = 2e-3  # of the graph to the original; in [0, 1]


def is_installed() -> bool:
    """Whether spandrel and PyTorch are there: the extra `torch`."""
    return bool(find_spec("spandrel") and find_spec("torch"))


def read_with_spandrel(path: str | Path, options: Options = DEFAULTS) -> tuple[Any, Measured]:
    """The network in a .pth, .pt or .safetensors file as an OpenVINO model of float32 NHWC pictures in [0, 1].

    Its graph is that of PyTorch's tracing. Where that holds for other sizes than the traced one, the model takes any size,
    or multiples of a number; else, as for many transformers with windows, it takes 128 x 128 pixels.

    Raises:
        SRGANError: spandrel does not know the network, or its values are not those of PyTorch once it is converted.
    """
    tensors = read_tensors(path)
    allow_tensorflow()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        descriptor = _load(path, tensors)
        try:
            refuse_unasked(options, set(), descriptor.architecture.name)
            model = _converted(descriptor)
        except Unreadable as error:
            raise error.of(path) from error
        except Exception as error:
            raise SRGANError(
                f"{path}: {descriptor.architecture.name} cannot be converted ({_line(error)}); export it as .onnx"
            ) from error
    return read_graph(path, model, Options(range="1"))


def _load(path, tensors):
    import spandrel
    import torch

    def of_torch(values):
        is_float = values.dtype.kind == "f" or values.dtype == BFLOAT16
        return torch.from_numpy(np.array(as_float32(values) if is_float else values))

    try:
        state = {name: of_torch(tensors[name]) for name in tensors}
        descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(state)
    except Exception as error:  # each of its architectures has others
        raise SRGANError(f"{path}: its network is known neither here nor to spandrel ({_line(error)})") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise SRGANError(f"{path}: {descriptor.architecture.name} makes no picture of one picture alone")
    if (descriptor.input_channels, descriptor.output_channels) not in ((1, 1), (3, 3)):
        raise SRGANError(
            f"{path}: {descriptor.architecture.name} makes {descriptor.output_channels} channels of "
            f"{descriptor.input_channels}, where 3 of 3 or 1 of 1 are supported"
        )
    return descriptor


def _converted(descriptor):
    """The network as a graph for any size, if it gives what PyTorch gives at other sizes, else for one."""
    network, channels = descriptor.model.eval().float(), descriptor.input_channels
    any_size = None
    with contextlib.suppress(Exception):  # some graphs cannot even be run at another size
        any_size = _traced(network, (-1, channels, -1, -1))
        if all(_agrees(any_size, network, channels, *size) for size in ((_FIXED, _FIXED), (64, 192), (192, 128))):
            return any_size
    fixed = _traced(network, (1, channels, _FIXED, _FIXED))
    if not _agrees(fixed, network, channels, _FIXED, _FIXED):
        raise Unreadable(f"{descriptor.architecture.name} computes something else in OpenVINO; export it as .onnx")
    return fixed


def _traced(network, shape):
    import torch

    example = torch.zeros(1, shape[1], _FIXED, _FIXED)
    return load_openvino().convert_model(network, example_input=example, input=[list(shape)])


def _agrees(model, network, channels, height, width):
    import torch

    picture = np.random.default_rng(0).random((1, channels, height, width), np.float32)
    run = load_openvino().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.no_grad():
        wanted = network(torch.tensor(picture)).numpy()  # a copy: some networks change their input in place
    given = run(picture)[0]
    return given.shape == wanted.shape and np.abs(given - wanted).max() <= _TOLERANCE * max(1, np.abs(wanted).max())


def _line(error):
    return " ".join(str(error).split())[:150] or type(error).__name__

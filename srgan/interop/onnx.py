"""Models in .onnx, run unchanged by OpenVINO behind the inputs and outputs of this project's own models.

What is not in the file is measured: the scale, of which numbers a picture's sides must be multiples, how far the network
sees, and whether values are in [0, 1] or [0, 255].
"""

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan.errors import SRGANError
from srgan.interop.architectures import DEFAULTS, Options, refuse_unasked
from srgan.interop.probing import measured_overlap, measured_overlap_of_one_size, probe
from srgan.interop.tensors import Unreadable
from srgan.runtime import load_openvino

_MOST_MULTIPLE = 64  # of which sides may have to be multiples
_MOST_SCALE = 16
_KEPT, _LOST = 0.1, 0.2  # changes of a picture's mean: less is none, more is another range
_RANGES = {"Normalized_0_1": 1, "NominalRange_0_255": 255}


class Measured(NamedTuple):
    """What is to be known of a model beside its graph; sides in input pixels."""

    scale: int
    channels: int  # 1: luma, 3: RGB
    multiple: int
    overlap: int
    fixed_height: int  # 0: any
    fixed_width: int
    values_per_pixel: int
    assumed: str


def is_onnx(path: str | Path) -> bool:
    """Whether the first two bytes look like ONNX; the name is ignored."""
    with open(path, "rb") as file:
        begin = file.read(2)
    return begin[:1] == b"\x08" and begin[1:] < b"\x20"  # field 1, a version


def external_files(path: str | Path) -> list[Path]:
    """The files beside an .onnx file that hold its tensors; of those in other folders, which OpenVINO refuses, none."""
    if not is_onnx(path):
        return []
    folder = Path(path).resolve().parent
    # Each such tensor has an entry of the key `location`, and the name of the file behind its length.
    found = re.findall(rb"\x0a\x08location\x12(.)(.{1,127})", Path(path).read_bytes(), re.DOTALL)
    names = {name[: length[0]].decode(errors="replace") for length, name in found}
    files = {(folder / name).resolve() for name in names if "\0" not in name}
    return sorted(file for file in files if file.is_relative_to(folder) and file.is_file())


def read_onnx(path: str | Path, options: Options = DEFAULTS) -> tuple[Any, Measured]:
    """The model in an .onnx file as an OpenVINO model of float32 NHWC pictures in [0, 1].

    Raises:
        SRGANError: it is damaged, or it is no generator of pictures from pictures.
    """
    core = load_openvino().Core()
    core.set_property({"ENABLE_MMAP": False})
    return _read(path, core, lambda: core.read_model(path), options)


def read_graph(path: str | Path, model: Any, options: Options = DEFAULTS) -> tuple[Any, Measured]:
    """As `read_onnx`, of an OpenVINO model that was made of the file `path` elsewhere."""
    return _read(path, load_openvino().Core(), lambda: model, options)


def _read(path, core, read, options):
    try:
        refuse_unasked(options, {"range"}, "a graph")
        return _measured(core, read(), options)
    except Unreadable as error:
        raise error.of(path) from error
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter of names in it
        raise SRGANError(f"{path}: OpenVINO cannot read or run it ({_reason(error)})") from error


def _reason(error):
    """What OpenVINO's many lines say in one: data files and operations that it has not, or else all but places in its code."""
    if outside := re.search(r"Path '(.*?)' resolves to .* outside", str(error)):
        return f"its data file {outside[1]} lies outside of the model's folder"
    if missing := re.search(r"externally stored data in file \((.*), offset", str(error)):
        return f"its data file {missing[1]} is missing or cut off"
    lines = [line for line in str(error).splitlines() if line and "Exception from" not in line and ".cpp" not in line]
    unknown = [line.rpartition("for operations: ")[2] for line in lines if "No conversion rule found" in line]
    if unknown:
        return f"it has no operation {unknown[0].strip()[:200]}"
    return " ".join(" ".join(lines).split())[:200] or "damaged"


def _measured(core, model, options):
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise Unreadable(
            f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs, where one of each is supported"
        )
    shape, kind = model.inputs[0].partial_shape, model.inputs[0].element_type.get_type_name()
    if shape.rank.is_dynamic or len(shape) != 4 or kind not in ("f32", "f16", "bf16", "f64"):
        raise Unreadable(f"it takes {kind} {shape}, where pictures of floats in a batch are expected")
    sides = [0 if side.is_dynamic else side.get_length() for side in shape]
    channels_last = _channels_last(shape, False)
    channels = sides[3] if channels_last else sides[1] or 3
    if channels not in (1, 3) or sides[0] > 1:
        raise Unreadable(f"it takes {shape}, where one picture of 1 or 3 channels is expected")
    height, width = sides[1:3] if channels_last else sides[2:]
    if bool(height) != bool(width):
        raise Unreadable(f"it takes {shape}: one side is fixed and the other is not")
    if height and min(height, width) < 32:
        raise Unreadable(f"it takes pictures of {width} x {height} pixels only, which is too small for tiles")
    top = int(options.range) if options.range else _declared_range(model)

    def compiled(taken, given):
        whole = _wrapped(model, channels_last, channels, (height, width), taken, given)
        return whole, core.compile_model(whole, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    assumed, (wrapped, run) = "", compiled(top or 1, top or 1)
    scale, multiple = _scale_of(run, channels, (height, width))
    sides = (height, width) if height else (-(-128 // multiple) * multiple,) * 2
    error = _error_of_mean(run, probe(*sides, channels))
    if not np.isfinite(error):
        raise Unreadable("it makes values of a picture that are no numbers")
    if not top and error > _LOST:
        assumed = "a range of 1, though the mean of a picture is lost with it and with 255: look at the result"
        for taken, given in ((255, 255), (1, 255), (255, 1)):
            other = compiled(taken, given)
            if _error_of_mean(other[1], probe(*sides, channels)) < _KEPT:
                wrapped, run = other
                ranges = "of 255" if taken == given else f"of {taken} for what it takes and {given} for what it gives"
                assumed = f"a range {ranges}, as with that of 1 the mean of a picture is lost (--range 1 is the other possibility)"
                break

    def result(picture):
        return run(picture)[0]

    if height:
        overlap = measured_overlap_of_one_size(result, channels, scale, height, width)
    else:
        overlap = measured_overlap(result, channels, scale, multiple)
    values = _largest_output(wrapped, channels, sides)
    return wrapped, Measured(scale, channels, multiple, overlap, height, width, values, assumed)


def _wrapped(model, channels_last, channels, sides, taken, given):
    """The same network, which takes values up to `taken` and gives values up to `given`, behind a float32 NHWC parameter `lr`
    and before a result `sr`, both in [0, 1]."""
    ov = load_openvino()
    from openvino import opset13 as opset

    model = model.clone()
    parameter, result = model.get_parameters()[0], model.get_results()[0]
    height, width = sides
    lr = opset.parameter([1, height or -1, width or -1, channels], np.float32, name="lr")
    x = lr if channels_last else opset.transpose(lr, np.array([0, 3, 1, 2]))
    x = x if taken == 1 else opset.multiply(x, np.float32(taken))
    kind = parameter.get_element_type()
    x = x if kind == ov.Type.f32 else opset.convert(x, kind.get_type_name())
    for reader in parameter.output(0).get_target_inputs():
        reader.replace_source_output(x.output(0))
    y = result.input_value(0)
    y = y.get_node() if y.get_index() == 0 and len(y.get_node().outputs()) == 1 else opset.add(y, np.float32(0))
    y = y if result.get_element_type() == ov.Type.f32 else opset.convert(y, "f32")
    if y.output(0).partial_shape.rank.is_dynamic or len(y.output(0).partial_shape) != 4:
        raise Unreadable(f"it gives {y.output(0).partial_shape}, where a picture in a batch is expected")
    y = y if given == 1 else opset.multiply(y, np.float32(1 / given))
    last = _channels_last(y.output(0).partial_shape, channels_last)
    y = y if last else opset.transpose(y, np.array([0, 2, 3, 1]))
    whole = ov.Model([opset.result(y, name="sr")], [lr], "onnx")
    whole.validate_nodes_and_infer_types()  # with a batch of one picture
    return whole


def _channels_last(shape, unknown):
    """Whether channels, 1 or 3, are the last axis of a shape, and not the second; `unknown`: what counts where neither is known."""
    second, last = (not shape[axis].is_dynamic and shape[axis].get_length() in (1, 3) for axis in (1, 3))
    return last if second != last else unknown


def _declared_range(model):
    """The largest value of a picture that the file's metadata tells, by the name that ONNX has for it; 0: none."""
    place = ["framework", "Image.NominalPixelRange"]
    if not model.has_rt_info(place):
        return 0
    said = model.get_rt_info(place).astype(str)
    if said not in _RANGES:
        raise Unreadable(
            f"its metadata say that it takes values of {said}, where {' and '.join(_RANGES)} are supported"
        )
    return _RANGES[said]


def _error_of_mean(run, picture):
    """How much the mean of a picture changes."""
    return abs(float(run(picture)[0].mean()) - float(picture.mean()))


def _scale_of(run, channels, sides):
    """How many times as large the result is, and the smallest number of which sides must be multiples."""
    for multiple in range(1, 2 if sides[0] else _MOST_MULTIPLE + 1):
        count = -(-60 // multiple)
        # What divides both has to divide `multiple`, too. They differ, so that a result on its side is told.
        pair = (count * multiple, (count + 1) * multiple)
        with contextlib.suppress(RuntimeError):
            scales = [_scale_at(run, *each, channels) for each in ([sides] if sides[0] else [pair, pair[::-1]])]
            if scales[0] and scales[0] == scales[-1]:
                return scales[0], multiple
    raise Unreadable("it makes no picture that is a whole number of times as large as what it is given")


def _scale_at(run, height, width, channels):
    """How many times as large the result of such sides is; 0: it is no whole number, or too large."""
    _, new_height, new_width, new_channels = run(probe(height, width, channels))[0].shape
    scale = new_height // height
    if (new_height, new_width) != (scale * height, scale * width) or not 1 <= scale <= _MOST_SCALE:
        return 0
    if new_channels != channels:
        raise Unreadable(f"it makes {new_channels} channels of {channels}")
    return scale


def _largest_output(model, channels, sides):
    """Size of the largest intermediate result, per input pixel."""
    height, width = sides
    fixed = model.clone()
    with contextlib.suppress(RuntimeError):
        fixed.reshape([1, height, width, channels])
    sizes = []
    for operation in fixed.get_ordered_ops():
        if operation.get_type_name() != "Constant":
            for output in operation.outputs():
                if output.partial_shape.is_static:
                    sizes.append(int(np.prod(list(output.shape))))
    return max(1, max(sizes, default=0) // (height * width))

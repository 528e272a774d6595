"""A Keras generator as an ONNX model, built layer by layer.

As for OpenVINO (`srgan.upscale.engines.ir`): generators are made of a dozen kinds of layer, the same in both modules, so that writing the
graph down is short. It needs the `onnx` package and any Keras backend; Keras' own export needs another converter for each
backend, and TensorFlow's makes five operations of a PReLU. Here a layer is one operation, for any runtime to fuse. Values
are NHWC at both ends and NCHW in between, clips NDHWC and NCDHW.
"""

import functools

import keras
import numpy as np
import onnx
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from srgan.networks.files import scale_of
from srgan.networks.layers import FoldFrames, MergeFrames, MiddleFrame, PixelShuffle
from srgan.upscale.engines.problems import Inconvertible

# The lowest operator set that has all of them as they are used here, and its file format: old runtimes read them too.
OPERATOR_SET, FILE_FORMAT = 13, 7
_END = np.iinfo(np.int64).max  # of an axis, whatever its length


class _Graph:
    """Operations and constants as they come; a value is known by its name."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, values, dtype=np.float32):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def add(self, operation, inputs, name, **attributes):
        """Append an operation and return the name of its result: its own."""
        name = f"{name}/{operation}"
        self.nodes.append(helper.make_node(operation, inputs, [name], name, **attributes))
        return name


def from_keras(generator: keras.Model) -> onnx.ModelProto:
    """The generator as an ONNX model with float32 weights, from `lr` to `sr`, for any batch, height and width.

    Of pictures, or of windows of frames (srgan.networks.over_time).

    Raises:
        srgan.upscale.engines.problems.Inconvertible: a layer is none of those that generators are made of.
    """
    graph, values = _Graph(), {}
    for layer in generator.operations:
        if isinstance(layer, layers.InputLayer):
            rank = layer.output.ndim
            values[id(layer.output)] = graph.add("Transpose", ["lr"], "lr", perm=[0, rank - 1, *range(1, rank - 1)])
        else:
            sources = [id(source) for source in keras.tree.flatten(layer.input)]
            if not values.keys() >= set(sources):
                raise Inconvertible(f"layer {layer.name} comes after one that is used more than once")
            values[id(layer.output)] = _apply(graph, layer, [values[source] for source in sources])
    if id(generator.outputs[0]) not in values:
        raise Inconvertible("its last layer is used more than once")
    last = values[id(generator.outputs[0])]
    graph.nodes.append(helper.make_node("Transpose", [last], ["sr"], "sr/Transpose", perm=[0, 2, 3, 1]))

    def picture(name, *sides):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sides, 3])

    scale = scale_of(generator)
    lr = picture("lr", *generator.inputs[0].shape[1:-3], "height", "width")
    sr = picture("sr", f"{scale}*height", f"{scale}*width")
    return helper.make_model(
        helper.make_graph(graph.nodes, generator.name, [lr], [sr], graph.constants),
        producer_name="srgan",
        opset_imports=[helper.make_opsetid("", OPERATOR_SET)],
        ir_version=FILE_FORMAT,
    )


def _weight(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _per_channel(values, rank):
    """One value a channel, or one for all, shaped to be broadcast over NCHW or NCDHW."""
    return np.asarray(values, np.float32).reshape(-1, *[1] * (rank - 2))


def _apply(graph, layer, inputs):
    """Append what `layer` does to `inputs`; the name of the result."""
    x, name = inputs[0], layer.name
    rank, channels = layer.output.ndim, layer.output.shape[-1]
    match layer:
        # What works on each value alone.
        case layers.Rescaling():
            x = graph.add("Mul", [x, graph.constant(f"{name}/scale", _per_channel(layer.scale, rank))], name)
            if np.any(layer.offset):
                x = graph.add("Add", [x, graph.constant(f"{name}/offset", _per_channel(layer.offset, rank))], name)
            return x
        case layers.PReLU() if list(layer.shared_axes or []) == list(range(1, rank - 1)):
            slope = graph.constant(f"{name}/slope", _per_channel(_weight(layer.alpha), rank))
            return graph.add("PRelu", [x, slope], name)
        case layers.LeakyReLU():
            return graph.add("LeakyRelu", [x], name, alpha=float(layer.negative_slope))
        case layers.ReLU() if layer.max_value is None and not layer.threshold and not layer.negative_slope:
            return graph.add("Relu", [x], name)
        case layers.Activation():
            return _activation(graph, layer, x)
        # What moves pixels.
        case PixelShuffle():
            return graph.add("DepthToSpace", [x], name, blocksize=layer.scale, mode="DCR")
        case layers.UpSampling2D() if layer.interpolation in ("bilinear", "nearest") and len(set(layer.size)) == 1:
            return _enlarge(graph, layer, x)
        case layers.Conv2D() | layers.Conv3D():
            return _convolution(graph, layer, x)
        case layers.GroupNormalization() if layer.axis in (-1, rank - 1) and layer.groups in (-1, channels):
            return graph.add("InstanceNormalization", [x, *_affine(graph, layer)], name, epsilon=layer.epsilon)
        case layers.BatchNormalization() if layer.axis in (-1, rank - 1):
            mean = graph.constant(f"{name}/mean", _weight(layer.moving_mean))
            variance = graph.constant(f"{name}/variance", _weight(layer.moving_variance))
            inputs = [x, *_affine(graph, layer), mean, variance]
            return graph.add("BatchNormalization", inputs, name, epsilon=layer.epsilon)
        # What moves frames.
        case FoldFrames():
            x = graph.add("Transpose", [x], name, perm=[0, 2, 1, 3, 4])
            return _reshaped(graph, x, name, -1, channels)
        case MergeFrames():
            left = layer.frames - layer.merged + 1
            clips = _reshaped(graph, x, f"{name}/apart", -1, layer.frames, channels // layer.merged)
            runs = [
                _slice(graph, clips, f"{name}/run{start}", start, start + left, axis=1) for start in range(layer.merged)
            ]
            return _reshaped(graph, graph.add("Concat", runs, name, axis=2), name, -1, channels)
        case MiddleFrame():
            return _slice(graph, x, name, layer.frames // 2, _END, layer.frames, axis=0)
        # What joins.
        case layers.Add():
            numbered = enumerate(inputs[1:], 1)
            return functools.reduce(lambda x, y: graph.add("Add", [x, y[1]], f"{name}/{y[0]}"), numbered, x)
        case layers.Concatenate() if layer.axis in (-1, rank - 1):
            return graph.add("Concat", inputs, name, axis=1)
    raise Inconvertible(f"layer {name}, a {type(layer).__name__} with these settings, is not known here")


def _activation(graph, layer, x):
    name = getattr(layer.activation, "__name__", layer.activation)
    match name:
        case "linear":
            return x
        case "relu":
            return graph.add("Relu", [x], layer.name)
        case "tanh":
            return graph.add("Tanh", [x], layer.name)
    raise Inconvertible(f"layer {layer.name} has the activation {name}")


def _convolution(graph, layer, x):
    keeps_size = layer.padding == "same" or set(layer.kernel_size) == {1}
    even = any(size % 2 == 0 for size in layer.kernel_size)
    if even or not keeps_size or {*layer.strides, *layer.dilation_rate, layer.groups} != {1}:
        raise Inconvertible(
            f"layer {layer.name} is a convolution with strides, dilation, groups, an even kernel or without padding"
        )
    kernel = np.moveaxis(_weight(layer.kernel), [-1, -2], [0, 1])
    inputs = [x, graph.constant(f"{layer.name}/kernel", kernel)]
    if layer.use_bias:
        inputs.append(graph.constant(f"{layer.name}/bias", _weight(layer.bias)))
    margins = [size // 2 for size in layer.kernel_size] * 2
    x = graph.add("Conv", inputs, layer.name, kernel_shape=layer.kernel_size, pads=margins)
    return _activation(graph, layer, x)


def _reshaped(graph, x, name, *first):
    """The same values in another shape, of which the height and the width, which are the last, stay."""
    shape = graph.add("Shape", [x], name)
    height_and_width = _slice(graph, shape, f"{name}/size", -2, _END, axis=0)
    shape = [graph.constant(f"{name}/first", first, np.int64), height_and_width]
    return graph.add("Reshape", [x, graph.add("Concat", shape, f"{name}/shape", axis=0)], name)


def _slice(graph, x, name, start, stop, step=1, *, axis):
    values = {"start": start, "stop": stop, "axis": axis, "step": step}
    constants = [graph.constant(f"{name}/{key}", [value], np.int64) for key, value in values.items()]
    return graph.add("Slice", [x, *constants], name)


def _enlarge(graph, layer, x):
    if layer.interpolation == "bilinear":
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    else:
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales = graph.constant(f"{layer.name}/scales", [1, 1, *layer.size])
    return graph.add("Resize", [x, "", scales], layer.name, **how)


def _affine(graph, layer):
    """Scale and offset of a normalisation, a value a channel each."""
    channels = layer.output.shape[-1]
    gamma = _weight(layer.gamma) if layer.scale else np.ones(channels)
    beta = _weight(layer.beta) if layer.center else np.zeros(channels)
    return graph.constant(f"{layer.name}/gamma", gamma), graph.constant(f"{layer.name}/beta", beta)

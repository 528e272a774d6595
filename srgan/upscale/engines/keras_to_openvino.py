"""A Keras generator as an OpenVINO model, built layer by layer.

Keras can make the same graph by itself: with KERAS_BACKEND=openvino a generator that is called on an OpenVINO parameter
gives it, equal to the last bit. But Keras' convolutions are NHWC and OpenVINO's NCHW, and of the 160 transpositions that
this puts around them the CPU plugin leaves 76, where the graph written here has two. For `srresnet` and 192 x 192 pixels
in float32 on an AVX2 processor that took 5.4 s of processor time instead of 2.7 s. So generators, which are made of a dozen
kinds of layer, are converted here, channels first from end to end (clips NCDHW), with the last convolution done before the
pixel shuffle. It needs no particular Keras backend.
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import openvino as ov
from keras import layers
from openvino import opset13 as opset

from srgan.networks import layers as ours
from srgan.networks.dysample import DySample
from srgan.networks.realplksr import PartialConv2D
from srgan.networks.recurrent import Blend, DownscaleResidual, LocalDisagreement, MemoryDifference, MemoryFeatures
from srgan.upscale.engines.backend_errors import Inconvertible
from srgan.upscale.engines.dysample_to_openvino import dysample

_END = np.iinfo(np.int64).max  # of an axis, whatever its length
_ACTIVATIONS = {name: getattr(opset, name) for name in ("relu", "tanh", "sigmoid", "mish")} | {"silu": opset.swish}


class _Value(NamedTuple):
    """An intermediate result: what the node gives once `shuffle` more sub-pixel upsampling has been done to it.

    Pixel shuffling is put off as long as possible. What works on each value alone is done before it, where it fuses with
    the convolution, and the last convolution is done before it too (see `srgan.networks.layers.shuffled_kernel`).
    """

    node: ov.Node
    shuffle: int = 1

    def shuffled(self):
        node = opset.depth_to_space(self.node, "blocks_first", self.shuffle) if self.shuffle > 1 else self.node
        return _Value(node)


def from_keras(generator: keras.Model) -> ov.Model:
    """The generator as an OpenVINO model with float32 weights, for any batch, height and width.

    Of pictures or over time (srgan.networks.over_time), with the inputs and results in the same order.

    Raises:
        srgan.upscale.engines.backend_errors.Inconvertible: a layer is none of those that generators are made of, or the result computes something else.
    """
    parameters, values = [], {}
    for tensor, name in zip(generator.inputs, ("lr", "memory")):
        *frames, _, _, channels = tensor.shape[1:]
        parameters.append(opset.parameter([-1, *frames, -1, -1, channels], np.float32, name=name))
        channels_first = np.array([0, tensor.ndim - 1, *range(1, tensor.ndim - 1)])
        values[id(tensor)] = _Value(opset.transpose(parameters[-1], channels_first))
    for layer in generator.operations:
        if not isinstance(layer, layers.InputLayer):
            sources = [id(source) for source in keras.tree.flatten(layer.input)]
            if not values.keys() >= set(sources):
                raise Inconvertible(f"layer {layer.name} comes after one that is used more than once")
            values[id(layer.output)] = _apply(layer, [values[source] for source in sources])
    if not values.keys() >= {id(output) for output in generator.outputs}:
        raise Inconvertible("its last layer is used more than once")
    results = [
        opset.result(opset.transpose(values[id(output)].shuffled().node, np.array([0, 2, 3, 1]), name=name))
        for output, name in zip(generator.outputs, ("sr", "remembered"))
    ]
    model = ov.Model(results, parameters, generator.name)
    _check(model, generator)
    return model


def _check(model, generator):
    """Try both on a little noise: a layer that is used twice, say, would go unnoticed otherwise."""
    random = np.random.default_rng(0)
    shapes = [(1, *tensor.shape[1:-3], 24, 20, tensor.shape[-1]) for tensor in generator.inputs]
    noise = [random.random(shape, np.float32) for shape in shapes]
    everything_wanted = keras.tree.flatten(generator(noise if len(noise) > 1 else noise[0], training=False))
    everything_given = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(noise).values()
    for wanted, given in zip(everything_wanted, everything_given, strict=True):
        wanted, given = np.nan_to_num(keras.ops.convert_to_numpy(wanted)), np.nan_to_num(given)
        if given.shape != wanted.shape or not np.allclose(given, wanted, rtol=1e-2, atol=1e-2 * np.abs(wanted).max()):
            raise Inconvertible("its OpenVINO form computes something else")


def _weight(variable):
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _per_channel(values, rank, repeats=1):
    """One value a channel, or one for all, shaped to be broadcast over NCHW or NCDHW; the channels `repeats` times."""
    values = np.asarray(values, np.float32).reshape(-1)
    return np.tile(values, repeats if values.size > 1 else 1).reshape(1, -1, *[1] * (rank - 2))


def _apply(layer, inputs) -> _Value:
    x = inputs[0]
    repeats = x.shuffle**2  # a channel of the layer stands here as so many channels, one a sub-pixel
    rank, channels = layer.output.ndim, layer.output.shape[-1]
    match layer:
        # What works on each value alone.
        case layers.Rescaling():
            node = opset.multiply(x.node, _per_channel(layer.scale, rank, repeats))
            return x._replace(node=opset.add(node, _per_channel(layer.offset, rank, repeats)))
        case layers.PReLU() if list(layer.shared_axes or []) == list(range(1, rank - 1)):
            return x._replace(node=opset.prelu(x.node, np.tile(_weight(layer.alpha).reshape(-1), repeats)))
        case layers.LeakyReLU():
            return x._replace(node=opset.prelu(x.node, np.array([layer.negative_slope], np.float32)))
        case layers.ReLU() if layer.max_value and not layer.threshold and not layer.negative_slope:
            return x._replace(node=opset.clamp(x.node, 0.0, layer.max_value))
        case layers.ReLU() if layer.max_value is None and not layer.threshold and not layer.negative_slope:
            return x._replace(node=opset.relu(x.node))
        case layers.Activation():
            return x._replace(node=_activation(layer, x.node))
        # What moves pixels.
        case ours.PixelShuffle():
            return _Value(x.shuffled().node, layer.scale)
        case ours.BilinearUpsampling():
            scale = layer.scale
            return _Value(_bilinear(_bilinear(x.shuffled().node, scale, axis=3), scale, axis=2), scale)
        case layers.UpSampling2D() if layer.interpolation == "nearest" and len(set(layer.size)) == 1:
            scale = layer.size[0]
            return _Value(opset.concat([x.shuffled().node] * scale**2, 1), scale)
        case DySample():
            return _Value(dysample(layer, *(x.shuffled().node for x in inputs)))
        case PartialConv2D():
            node = x.shuffled().node
            part = _convolution(layer, _Value(_slice(node, 0, layer.filters, axis=1))).node
            return _Value(opset.concat([part, _slice(node, layer.filters, _END, axis=1)], 1))
        case layers.LayerNormalization() if tuple(np.atleast_1d(layer.axis)) in ((-1,), (rank - 1,)) and layer.center:
            node = opset.mvn(x.shuffled().node, np.array([1]), True, layer.epsilon, "inside_sqrt")
            node = opset.multiply(node, _per_channel(_weight(layer.gamma), rank))
            return _Value(opset.add(node, _per_channel(_weight(layer.beta), rank)))
        case layers.Conv2D() | layers.Conv3D():
            return _convolution(layer, x)
        case layers.GroupNormalization() if layer.axis in (-1, rank - 1):
            gamma = _weight(layer.gamma) if layer.scale else np.ones(channels, np.float32)
            beta = _weight(layer.beta) if layer.center else np.zeros(channels, np.float32)
            groups = channels if layer.groups == -1 else layer.groups
            return _Value(opset.group_normalization(x.shuffled().node, gamma, beta, groups, layer.epsilon))
        case layers.BatchNormalization() if layer.axis in (-1, rank - 1):
            mean, variance = _weight(layer.moving_mean), _weight(layer.moving_variance)
            gamma = _weight(layer.gamma) if layer.scale else np.ones_like(mean)
            beta = _weight(layer.beta) if layer.center else np.zeros_like(mean)
            return _Value(opset.batch_norm_inference(x.shuffled().node, gamma, beta, mean, variance, layer.epsilon))
        # What moves frames.
        case ours.FoldFrames():
            return _Value(_reshaped(opset.transpose(x.node, np.array([0, 2, 1, 3, 4])), -1, channels))
        case ours.MergeFrames():
            left = layer.frames - layer.merged + 1
            clips = _reshaped(x.shuffled().node, -1, layer.frames, channels // layer.merged)
            runs = [_slice(clips, start, start + left, axis=1) for start in range(layer.merged)]
            return _Value(_reshaped(opset.concat(runs, 2), -1, channels))
        case ours.MiddleFrame():
            return _Value(_slice(x.shuffled().node, layer.frames // 2, _END, layer.frames, axis=0))
        # What compares with a memory: see srgan.networks.recurrent.
        case ours.PixelUnshuffle():
            return _Value(opset.space_to_depth(x.shuffled().node, "blocks_first", layer.scale))
        case DownscaleResidual():
            result, lr = (x.shuffled().node for x in inputs)
            kernel = np.ascontiguousarray(layer.kernel.transpose(3, 2, 0, 1), np.float32)
            ones = opset.add(opset.multiply(result, np.float32(0)), np.float32(1))
            one, two = [1, 1], [2, 2]
            reduced, inside = (opset.convolution(node, kernel, one, two, two, one) for node in (result, ones))
            return _Value(opset.subtract(lr, opset.divide(reduced, inside)))
        case MemoryFeatures():
            alone, lr, shortfall = (x.shuffled().node for x in inputs)
            copies = layer.input[0].shape[-1] // layer.input[1].shape[-1]
            detail = opset.subtract(alone, opset.concat([lr] * copies, 1))
            lr, shortfall = opset.subtract(lr, np.float32(0.5)), opset.multiply(shortfall, np.float32(10))
            return _Value(opset.concat([detail, lr, shortfall], 1))
        case MemoryDifference():
            alone, memory = (x.shuffled().node for x in inputs)
            difference = opset.multiply(opset.subtract(memory, alone), np.float32(5))
            return _Value(opset.select(_is_there(memory), difference, np.float32(0)))
        case LocalDisagreement():
            size = opset.reduce_mean(opset.absolute(x.node), np.array([1]), keep_dims=True)
            return _Value(opset.avg_pool(size, [1, 1], [1, 1], [1, 1], [3, 3], exclude_pad=True))
        case Blend():
            picture, memory, logits, doubt = (x.shuffled().node for x in inputs)
            trust = opset.sigmoid(opset.subtract(logits, opset.multiply(doubt, 20 * _weight(layer.slope))))
            trust = opset.select(_is_there(memory), trust, np.float32(0))
            return _Value(opset.add(picture, opset.multiply(trust, opset.subtract(memory, picture))))
        # What joins.
        case layers.Multiply() if len({x.shuffle for x in inputs}) == 1:
            return x._replace(node=functools.reduce(opset.multiply, [x.node for x in inputs]))
        case layers.Add() if len({x.shuffle for x in inputs}) == 1:
            return x._replace(node=functools.reduce(opset.add, [x.node for x in inputs]))
        case layers.Add():
            return _Value(functools.reduce(opset.add, [x.shuffled().node for x in inputs]))
        case layers.Concatenate() if layer.axis in (-1, rank - 1):
            return _Value(opset.concat([x.shuffled().node for x in inputs], 1))
    raise Inconvertible(f"layer {layer.name}, a {type(layer).__name__} with these settings, is not known here")


def _activation(layer, node):
    name = getattr(layer.activation, "__name__", layer.activation)
    if name == "linear":
        return node
    if name not in _ACTIVATIONS:
        raise Inconvertible(f"layer {layer.name} has the activation {name}")
    return _ACTIVATIONS[name](node)


def _convolution(layer, x):
    keeps_size = layer.padding == "same" or set(layer.kernel_size) == {1}
    even = any(size % 2 == 0 for size in layer.kernel_size)
    if even or not keeps_size or {*layer.strides, *layer.dilation_rate, layer.groups} != {1}:
        raise Inconvertible(
            f"layer {layer.name} is a convolution with strides, dilation, groups, an even kernel or without padding"
        )
    kernel = _weight(layer.kernel)
    bias = _weight(layer.bias) if layer.use_bias else np.zeros(layer.filters, np.float32)
    # Matrix units compute 16 output channels at once; with only 3 in use, most of their work would be wasted.
    if x.shuffle > 1 and layer.filters * x.shuffle**2 <= 16:
        kernel, bias = _weight(ours.shuffled_kernel(kernel, x.shuffle)), np.tile(bias, x.shuffle**2)
    else:
        x = x.shuffled()
    margin = [size // 2 for size in kernel.shape[:-2]]
    kernel = np.ascontiguousarray(np.moveaxis(kernel, [-1, -2], [0, 1]))
    ones = [1] * len(margin)
    node = opset.convolution(x.node, kernel, ones, margin, margin, ones)
    node = opset.add(node, _per_channel(bias, layer.output.ndim))
    return x._replace(node=_activation(layer, node))


def _is_there(memory):
    return opset.greater(opset.reduce_max(memory, np.array([1]), keep_dims=True), np.float32(0))


def _slice(node, start, stop, step=1, *, axis):
    return opset.slice(node, *(np.array([value]) for value in (start, stop, step, axis)))


def _reshaped(node, *first):
    """The same values in another shape, of which the height and the width, which are the last, stay."""
    height_and_width = opset.gather(opset.shape_of(node), np.array([-2, -1]), np.array(0))
    return opset.reshape(node, opset.concat([np.array(first), height_and_width], 0), special_zero=False)


def _bilinear(node, scale, axis):
    """Enlarge one axis `scale` times by bilinear interpolation, the new pixels laid out as channels to be shuffled.

    Written out, because OpenVINO would compute its own operation in bfloat16, which has fewer levels than the picture.
    """
    one_pixel = np.eye(4, dtype=int)[axis]
    padded = opset.pad(node, one_pixel, one_pixel, "edge")
    before, after = (_slice(padded, start, stop, axis=axis) for start, stop in ((0, -2), (2, _END)))
    phases = []
    for phase in range(scale):
        offset = (phase + 0.5) / scale - 0.5  # of the new pixel's centre from the old one's
        near = opset.multiply(node, np.float32(1 - abs(offset)))
        far = opset.multiply(after if offset > 0 else before, np.float32(abs(offset)))
        phases.append(opset.add(near, far))
    return opset.concat(phases, 1)

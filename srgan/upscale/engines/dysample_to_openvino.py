"""`srgan.networks.dysample.DySample` as operations of OpenVINO, channels first."""

import functools

import numpy as np
import openvino as ov
from keras import ops
from openvino import opset13 as opset


def dysample(layer, features: ov.Node, picture: ov.Node) -> ov.Node:
    """The layer's result for (batch, 3 scale², h, w) and (batch, 3, h, w).

    All of its convolutions come before the sampling, so that OpenVINO samples in float32 where it computes in bfloat16,
    and the picture, which has more levels than bfloat16, goes around them.
    """
    scale, groups, sub_pixels = layer.scale, layer.groups, layer.scale**2
    repeated = opset.gather(picture, np.repeat(np.arange(3), sub_pixels), np.array(1))
    x = opset.add(features, repeated)

    def by_group(values):
        """Channels (2, groups, scale²) in the order of (groups, 2, scale²)."""
        parts = values.reshape(*values.shape[:-1], 2, groups, sub_pixels)
        return np.swapaxes(parts, -3, -2).reshape(values.shape)

    def convolution(node, kernel, bias=None):
        kernel = np.ascontiguousarray(kernel.T[:, :, None, None])
        node = opset.convolution(node, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        return node if bias is None else opset.add(node, bias.reshape(1, -1, 1, 1))

    def weight(variable):
        return np.asarray(ops.convert_to_numpy(variable), np.float32)

    def each_group(node, channels):
        return opset.reshape(node, np.array([-1, channels, 0, 0]), special_zero=True)

    offsets = convolution(x, by_group(weight(layer.offset_kernel)), by_group(weight(layer.offset_bias)))
    scope = opset.sigmoid(convolution(x, by_group(weight(layer.scope_kernel))))
    offsets = opset.multiply(opset.multiply(offsets, scope), np.float32(0.5))
    offsets = opset.add(offsets, by_group(weight(layer.centres)).reshape(1, -1, 1, 1))
    offsets = each_group(offsets, 2 * sub_pixels)
    x_offsets, y_offsets = opset.split(offsets, np.array(1), 2).outputs()
    grid = opset.concat([_positions(x_offsets, 3, scale), _positions(y_offsets, 2, scale)], 1)
    grid = opset.transpose(grid, np.array([0, 2, 3, 1]))

    # The 1x1 convolution after sampling, done before it: channels (groups, 3).
    end = weight(layer.end_kernel)
    per_group = end.shape[0] // groups
    kernel = np.zeros((end.shape[0], groups * 3), np.float32)
    for group in range(groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        kernel[rows, 3 * group : 3 * group + 3] = end[rows]
    mixed = opset.add(convolution(features, kernel), _mixed(picture, kernel, sub_pixels))
    sampled = opset.grid_sample(
        each_group(mixed, 3), grid, {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
    )
    sampled = opset.reshape(sampled, np.array([-1, 3 * groups, 0, 0]), special_zero=True)
    result = functools.reduce(opset.add, opset.split(sampled, np.array(1), groups).outputs())
    return opset.add(result, weight(layer.end_bias).reshape(1, -1, 1, 1))


def _mixed(picture, kernel, sub_pixels):
    """What a 1x1 convolution makes of the picture, its channels repeated, by products and sums, which stay in float32."""
    factors = kernel.reshape(3, sub_pixels, -1).sum(1)  # (3, results)
    channels = opset.split(picture, np.array(1), 3).outputs()
    parts = [opset.multiply(values, row.reshape(1, -1, 1, 1)) for values, row in zip(channels, factors)]
    return functools.reduce(opset.add, parts)


def _positions(offsets, axis, scale):
    """Offsets in pixels along an axis, (n, scale², h, w), as the positions in [-1, 1] of GridSample, (n, 1, ...)."""
    length = opset.gather(opset.shape_of(offsets), np.array(axis), np.array(0))
    pixels = opset.convert(opset.range(np.int64(0), length, np.int64(1), "i64"), "f32")
    pixels = opset.reshape(pixels, np.array([1, 1, 1, -1] if axis == 3 else [1, 1, -1, 1]), special_zero=False)
    step = opset.divide(np.float32(2), opset.convert(length, "f32"))
    positions = opset.add(opset.add(offsets, pixels), np.float32(0.5))
    positions = opset.subtract(opset.multiply(positions, step), np.float32(1))
    return opset.depth_to_space(positions, "blocks_first", scale) if scale > 1 else positions

"""Generators for clips: SRResNet whose frames meet early, late, slowly, in 3D convolutions or recurrently.

All but the recurrent one take 2k + 1 successive frames, (batch, frames, h, w, 3) in [0, 1], and return the middle one
enlarged, (batch, scale h, scale w, 3). The recurrent one takes a frame and a memory, and returns the enlarged frame and
the memory for the next frame, so that a clip may have any length. The memory is the enlarged frame, (batch, h, w, 3
scale²) in [0, 1]; the caller moves it along the motion, by srgan.clips.flow. An empty memory is 0.

Layers that a still-image generator has, too, have the same names, and `start_from_picture` copies their weights: the
middle frame is then enlarged exactly as by that generator, and only the use of the other frames has to be learnt. The
recurrent one blends the frame with its memory from the start.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from srgan.errors import SRGANError
from srgan.networks.blocks import end_of_body, make_activation, picture_from_body, residual_block
from srgan.networks.generators import srresnet
from srgan.networks.layers import (
    FoldFrames,
    MergeFrames,
    MiddleFrame,
    MiddleFrameInitializer,
    PixelShuffle,
    PixelUnshuffle,
)
from srgan.networks.recurrent import MoveAlong, blend_with_memory

FUSIONS = ("early", "late", "slow", "3d", "recurrent")
BLOCKS_3D = 2  # how many of the residual blocks, from the first, have 3D convolutions


def video_srresnet(
    *,
    fusion: str,
    frames: int = 5,
    filters: int = 64,
    blocks: int = 16,
    scale: int = 4,
    normalization: str = "none",
    activation: str = "prelu",
    skip: str = "bilinear",
) -> keras.Model:
    """SRResNet over time. The fusion decides where frames meet (the first three: Karpathy et al., CVPR 2014, section
    3.1):

    - "early": in the first convolution, stacked as channels; as fast as a still-image generator.
    - "late": after the residual blocks, which every frame passes through by itself.
    - "slow": in threes, k times, spread evenly over the residual blocks.
    - "3d": in 3D convolutions (Tran et al., arXiv 1412.0767) of 9 x 9 x 9 and, in the first two blocks, 3 x 3 x 3.
    - "recurrent": each frame, enlarged, meets the enlarged frame before it: see srgan.networks.recurrent.

    Args:
        fusion: one of `FUSIONS`.
        frames: 2k + 1; "recurrent" does not use it.
        filters, blocks, scale, normalization, activation, skip: see srgan.networks.generators.srresnet.

    Returns:
        keras.Model: see the module; for "recurrent" from [lr, memory] to [sr, next memory].
    """
    body: Any = {"filters": filters, "normalization": normalization}
    picture: Any = {"filters": filters, "scale": scale, "activation": activation, "skip": skip}
    if fusion == "recurrent":
        return _recurrent(blocks, activation, body, picture)
    inputs = keras.Input((frames, None, None, 3), name="lr")
    # In float32, as what is computed with it at the end: see srgan.networks.blocks.picture_with_skip.
    folded = FoldFrames(dtype="float32", name="frames")(inputs)
    middle = MiddleFrame(frames, dtype="float32", name="middle_frame")(folded)
    x = layers.Rescaling(2.0, -1.0, name="to_signed")(inputs)
    if fusion == "3d":
        x = layers.Conv3D(filters, 9, padding="same", name="head_conv")(x)
        x = head = make_activation(activation, "head_act", axes=(1, 2, 3))(x)
        for index in range(1, BLOCKS_3D + 1):
            x = residual_block(x, f"block{index}", activation=activation, **body)
        x, head = (FoldFrames(name=f"{name}_frames")(value) for value, name in ((x, "body"), (head, "head")))
    else:
        x = FoldFrames(name="signed_frames")(x)
        if fusion == "early":
            x = MergeFrames(frames, frames, name="merge")(x)
        x = layers.Conv2D(filters, 9, padding="same", name="head_conv")(x)
        x = head = make_activation(activation, "head_act")(x)
    left, merges = 1 if fusion == "early" else frames, _merges(fusion, frames, blocks)
    for index in range(blocks + 1):
        if index > (BLOCKS_3D if fusion == "3d" else 0):
            x = residual_block(x, f"block{index}", activation=activation, **body)
        if merged := merges.get(index):
            name = f"merge{index}"
            initializer = MiddleFrameInitializer(merged)
            x = MergeFrames(left, merged, name=name)(x)
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer=initializer, name=f"{name}_conv")(x)
            left -= merged - 1
    head = MiddleFrame(frames, name="head_middle")(head) if fusion != "early" else head
    x = end_of_body(x, head, **body)
    return keras.Model(inputs, picture_from_body(x, middle, **picture), name=f"video_{fusion}")


def _merges(fusion, frames, blocks):
    """Behind which residual blocks how many frames are merged into one."""
    if fusion == "slow":
        times = frames // 2
        return {round(time * blocks / (times + 1)): 3 for time in range(1, times + 1)}
    return {"early": {}, "late": {blocks: frames}, "3d": {min(BLOCKS_3D, blocks): frames}}[fusion]


def _recurrent(blocks, activation, body, picture):
    still, scale = srresnet(blocks=blocks, **body | picture), picture["scale"]
    (lr,), (sr,) = still.inputs, still.outputs
    memory = keras.Input((None, None, 3 * scale**2), name="memory")
    sr, remembered = blend_with_memory(sr, memory, lr, scale=scale, activation=activation, **body)
    return keras.Model([lr, memory], [sr, remembered], name="video_recurrent")


def is_recurrent(generator: keras.Model) -> bool:
    """Whether it takes a frame and a memory."""
    return len(generator.inputs) == 2


def frames_of(generator: keras.Model) -> int:
    """How many frames it sees at once: 1 for a still-image or recurrent generator."""
    shape = generator.inputs[0].shape
    return shape[1] if len(shape) == 5 else 1


def temporal_layers(generator: keras.Model) -> set[str]:
    """The names of the layers with weights that a still-image generator lacks.

    They are the convolutions that merge frames, known by their initializer, which files of version 0.1 may lack; in a
    recurrent generator, all behind the enlarged frame.
    """
    if not is_recurrent(generator):
        return {
            layer.name
            for layer in generator.layers
            if isinstance(getattr(layer, "kernel_initializer", None), MiddleFrameInitializer)
        }
    enlarged = next(layer.input for layer in generator.layers if isinstance(layer, PixelUnshuffle))
    still = keras.Model(generator.inputs[0], enlarged)
    return {layer.name for layer in generator.layers} - {layer.name for layer in still.layers}


def over_frames(generator: keras.Model, frames: int) -> keras.Model:
    """The model to train: the generator itself, or a recurrent one unrolled over `frames` successive frames.

    The unrolled model takes (batch, frames, h, w, 3) and, for all frames but the first, the position of each pixel of
    the result in the frame before, (batch, frames - 1, scale h, scale w, 2). It returns all frames enlarged, (batch,
    frames, scale h, scale w, 3), starting with an empty memory. No gradient flows from a frame to those before it. The
    weights are shared with the generator.
    """
    if not is_recurrent(generator):
        return generator
    lr = keras.Input((frames, None, None, 3), name="lr")
    origins = keras.Input((frames - 1, None, None, 2), name="origins")
    channels = generator.inputs[1].shape[-1]
    scale = round((channels / 3) ** 0.5)
    memory = ops.zeros_like(lr[:, 0, :, :, :1]) * ops.zeros((channels,))
    results = []
    for index in range(frames):
        if index:
            enlarged = PixelShuffle(scale, dtype="float32")(memory)
            enlarged = MoveAlong(dtype="float32")([enlarged, origins[:, index - 1]])
            memory = PixelUnshuffle(scale, dtype="float32")(enlarged)
        sr, memory = generator([lr[:, index], memory])
        results.append(sr)
    return keras.Model([lr, origins], ops.stack(results, axis=1), name=f"{generator.name}_over_frames")


def start_from_picture(generator: keras.Model, picture_generator: keras.Model, source: str) -> None:
    """Copy the weights of a still-image generator into a generator over time.

    Its convolutions then treat the middle frame as the source treats a picture, and ignore the other frames.

    Args:
        source: the file of picture_generator, for messages.

    Raises:
        SRGANError: their networks differ; the first weight that does not fit is named.
    """
    misfit = f"{source}: does not fit the network of the configuration"
    theirs = {variable.path: variable for variable in picture_generator.variables}
    temporal = temporal_layers(generator)
    for variable in generator.variables:
        if variable.path.split("/")[0] in temporal:
            continue
        other = theirs.pop(variable.path, None)
        if other is None:
            raise SRGANError(f"{misfit}: {variable.path} is {tuple(variable.shape)}, the file has none")
        try:
            variable.assign(_widened(ops.convert_to_numpy(other), tuple(variable.shape)))
        except ValueError:
            raise SRGANError(
                f"{misfit}: {variable.path} is {tuple(variable.shape)}, the file has {tuple(other.shape)}"
            ) from None
    if theirs:
        raise SRGANError(f"{misfit}: it also has {next(iter(theirs))}")
    # Without weights: activations, and whether there is a skip from input to output.
    kinds, wanted = ({layer.name: type(layer).__name__ for layer in model.layers if not layer.weights}
                     for model in (picture_generator, generator))  # fmt: skip
    for name, kind in kinds.items():
        if wanted.get(name) != kind:
            raise SRGANError(f"{misfit}: its {name} is {kind}, not {wanted.get(name, 'there')}")


def _widened(weight, shape):
    """A weight for pictures as one for frames: the same numbers at the middle frame, and zeros.

    Raises:
        ValueError: `shape` is not that of the same weight over time.
    """
    if weight.size == np.prod(shape):
        return weight.reshape(shape)
    result = np.zeros(shape, weight.dtype)
    if len(shape) == weight.ndim + 1:  # 3D convolution: (time, height, width, in, out)
        middle = result[shape[0] // 2]
    else:  # frames stacked as channels: (height, width, frames * in, out)
        if shape[-2] % weight.shape[-2]:
            raise ValueError
        first = shape[-2] // weight.shape[-2] // 2 * weight.shape[-2]
        middle = result[..., first : first + weight.shape[-2], :]
    if middle.shape != weight.shape:
        raise ValueError
    middle[...] = weight
    return result

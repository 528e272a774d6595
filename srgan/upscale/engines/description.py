"""What can be said of a generator without running it."""

from typing import NamedTuple

import numpy as np


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

    from srgan.networks.files import scale_of
    from srgan.networks.layers import (
        BilinearUpsampling,
        FoldFrames,
        MergeFrames,
        MiddleFrame,
        PixelShuffle,
        PixelUnshuffle,
    )
    from srgan.networks.over_time import frames_of, is_recurrent
    from srgan.networks.recurrent import Blend, Difference, Doubt, Evidence, Shortfall

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
            case layers.UpSampling2D() | BilinearUpsampling():
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

"""What a caller needs to know of a generator in order to run it: scale, inputs, memory, tiling."""

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srgan.upscale.tiles import OVERLAP, overlap_for

if TYPE_CHECKING:
    import keras


class Tiling(Enum):
    """How a picture may be cut into tiles."""

    # An output pixel depends on its surroundings only: overlapping tiles give the same result.
    OVERLAPPING = "overlapping"
    # It depends on the whole picture, as with instance normalisation: tiles differ in tone.
    WHOLE = "whole"


class Description(NamedTuple):
    """The properties of a generator that follow from its layers alone."""

    scale: int
    receptive_field: int | None  # input pixels from an output pixel to the farthest that counts; None: unbounded
    values_per_pixel: int  # size of the largest layer output, per input pixel; some layers count for more
    frames: int = 1  # successive frames in one input
    memory: int = 0  # channels of the memory that a recurrent generator takes and returns
    channels: int = 3  # 1: it takes luma, and colours are resized beside it
    multiple: int = 1  # of which heights and widths must be multiples, and tiles begin at multiples
    overlap: int = OVERLAP  # input pixels that a tile sees beyond its own; see srgan.upscale.tiles
    fixed_height: int = 0  # the only height and width that it takes, in input pixels; 0: any
    fixed_width: int = 0

    @property
    def over_time(self) -> bool:
        """Whether the result depends on other frames than the one that is enlarged."""
        return self.frames > 1 or self.memory > 0

    @property
    def tiling(self) -> Tiling:
        return Tiling.WHOLE if self.receptive_field is None else Tiling.OVERLAPPING


_UNBOUNDED = -1  # the receptive field in a model file, which holds integers


def description_to_info(description: Description) -> dict[str, int]:
    """The description as integers, for the runtime information of an OpenVINO model."""
    info = description._asdict()
    return info | {"receptive_field": _UNBOUNDED if description.receptive_field is None else info["receptive_field"]}


def description_from_info(info: dict[str, Any]) -> Description:
    """The description from what a model file holds; older files lack `frames` and `memory`, and get the defaults."""
    field = info["receptive_field"]
    return Description(**info | {"receptive_field": None if field == _UNBOUNDED else field})


def describe(generator: "keras.Model") -> Description:
    """Describe a Keras generator by its layers alone."""
    from keras import Model, layers, tree

    from srgan.networks import layers as ours
    from srgan.networks.dysample import DySample
    from srgan.networks.files import scale_of
    from srgan.networks.over_time import frames_of, is_recurrent
    from srgan.networks.realplksr import PartialConv2D
    from srgan.networks.recurrent import Blend, DownscaleResidual, LocalDisagreement, MemoryDifference, MemoryFeatures

    probe = 64  # pixels
    outputs = [operation.output for operation in generator.operations]
    given = [(1, *tensor.shape[1:-3], probe, probe, tensor.shape[-1]) for tensor in generator.inputs]
    shapes = Model(generator.inputs, outputs).compute_output_shape(given if len(given) > 1 else given[0])
    on_each_pixel = (
        *(layers.Rescaling, layers.PReLU, layers.LeakyReLU, layers.ReLU, layers.Activation, ours.PixelShuffle),
        *(layers.InputLayer, layers.Add, layers.Multiply, layers.Concatenate),
        *(layers.BatchNormalization, layers.LayerNormalization),
        *(ours.FoldFrames, ours.MergeFrames, ours.MiddleFrame, ours.PixelUnshuffle),
        *(MemoryFeatures, MemoryDifference, Blend),
    )
    largest = 0
    reach: dict[int, float] = {}
    scale: dict[int, float] = {}
    for layer, output, shape in zip(generator.operations, outputs, shapes):
        sources = [] if isinstance(layer, layers.InputLayer) else [id(source) for source in tree.flatten(layer.input)]
        before = scale.get(sources[0], 1) if sources else 1
        match layer:
            case layers.Conv2D() | layers.Conv3D():
                here = max(layer.kernel_size[-2:]) // 2 * max(layer.dilation_rate[-2:]) / before
            case layers.UpSampling2D() | ours.BilinearUpsampling():
                here = 1 / before
            case LocalDisagreement():
                here = 1
            case DySample():
                here = 4 / before  # its offsets are learned and have no bound
            case DownscaleResidual():
                here = 2
            case ours.PixelUnshuffle():
                here = max(layer.scale / before - 1, 0)
            case _:
                here = 0 if isinstance(layer, on_each_pixel) else np.inf
        reach[id(output)] = max([reach.get(source, np.inf) for source in sources], default=0) + here
        scale[id(output)] = shape[-3] / probe
        # How many times its output a layer counts for in the memory that a picture takes, as measured.
        times = 1
        if isinstance(layer, DySample):  # four corners of each sub-pixel and each group, with their places, in float32
            times = 3 * layer.groups
        elif isinstance(layer, PartialConv2D):  # what comes in, the part, the rest and both of them together
            times = 3
        largest = max(largest, np.prod(shape) * times)
    farthest = max(reach.get(id(output), np.inf) for output in generator.outputs)  # not found: from a layer used twice
    field = int(np.ceil(farthest)) if np.isfinite(farthest) else None
    return Description(
        scale=scale_of(generator),
        receptive_field=field,
        values_per_pixel=int(largest / probe**2),
        frames=frames_of(generator),
        memory=generator.inputs[1].shape[-1] if is_recurrent(generator) else 0,
        multiple=max(1, round(1 / min(scale.values()))),
        overlap=overlap_for(field),
    )

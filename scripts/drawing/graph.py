"""From a Keras model to blocks: a row of them, the skip connections around them, and the runs that are equal."""

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Block:
    """One box: `kind` decides its colour, `text` is written in it and `label` below; `scale` is its size / the input's."""

    kind: str
    text: str
    label: str = ""
    scale: Fraction = Fraction(1)


@dataclass(frozen=True)
class Skip:
    """A connection from behind block `start` (-1: the input) to the sum `end`, through the blocks `via`."""

    start: int
    end: int
    via: tuple = ()


@dataclass(frozen=True)
class Network:
    """A network as a row of blocks. Of each (first, last, count) in `repeats` the blocks stand for `count` such runs."""

    blocks: tuple
    skips: tuple
    repeats: tuple = ()
    size: int | None = None  # side of the input in pixels; None: any
    patches: bool = False  # whether the output is a map and not one number
    parameters: int = 0


INVISIBLE = ("InputLayer", "Rescaling", "Flatten", "Dropout")  # they do no more than pass values on
ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "gelu": "GELU", "silu": "SiLU"}


def block_of(layer, scale):
    """The block that stands for a Keras layer whose input is `scale` times the network's; None if it is not drawn."""
    from srgan.networks.layers import kind_of

    kind = kind_of(layer)
    if kind in INVISIBLE:
        return None
    if kind in ("Conv2D", "SpectralConv2D"):
        (kernel, _), (stride, _) = layer.kernel_size, layer.strides
        text = "Conv" if kind == "Conv2D" else "Conv + SN"
        return Block("convolution", text, f"k{kernel}n{layer.filters}s{stride}", scale / stride)
    if kind == "Dense":
        return Block("dense", "Dense", f"{layer.units}", Fraction(0))
    if kind == "BatchNormalization":
        return Block("normalization", "BN", scale=scale)
    if kind == "GroupNormalization":
        # A group a channel is instance normalisation; Keras replaces the -1 that asks for it when it builds the layer.
        return Block("normalization", "IN" if layer.groups in (-1, layer.input.shape[-1]) else "GN", scale=scale)
    if kind in ("PReLU", "LeakyReLU", "ReLU"):
        return Block("activation", kind, scale=scale)
    if kind == "Activation":
        name = layer.activation.__name__
        return Block("activation", ACTIVATIONS.get(name, name), scale=scale)
    if kind == "Add":
        return Block("sum", "+", scale=scale)
    if kind == "PixelShuffle":
        return Block("upsampling", "PixelShuffle", f"x{layer.scale}", scale * layer.scale)
    if kind == "BilinearUpsampling":
        return Block("upsampling", "Bilinear", f"x{layer.scale}", scale * layer.scale)
    if kind == "UpSampling2D":
        return Block("upsampling", layer.interpolation.capitalize(), f"x{layer.size[0]}", scale * layer.size[0])
    return Block("other", kind, scale=scale)


def parents_of(model):
    """For each layer of `model`, by name, the layers whose outputs it takes."""

    def tensors(value):
        return list(value) if isinstance(value, (list, tuple)) else [value]

    producer = {id(tensor): layer for layer in model.layers for tensor in tensors(layer.output)}
    return {
        layer.name: [producer[id(tensor)] for tensor in tensors(layer.input) if producer[id(tensor)] is not layer]
        for layer in model.layers
    }


def read(model):
    """Read a functional Keras model as a Network: its longest path is the row, what joins it from elsewhere is a skip."""
    parents = parents_of(model)
    depth = {}
    for layer in model.layers:  # Keras keeps them in the order of computation
        depth[layer.name] = 1 + max((depth[parent.name] for parent in parents[layer.name]), default=0)

    def chain(layer, until=()):
        """The layers from `layer` back to the input, or to one in `until`, in the order of computation."""
        found = []
        while layer.name not in until:
            found.insert(0, layer)
            if not parents[layer.name]:
                return found, None
            layer = max(parents[layer.name], key=lambda parent: depth[parent.name])
        return found, layer

    path, _ = chain(model.layers[-1])
    blocks, skips, position, scale = [], [], {}, {}
    for before, layer in zip([None, *path], path, strict=False):
        block = block_of(layer, scale[before.name] if before else Fraction(1))
        if block:
            blocks.append(block)
        position[layer.name] = len(blocks) - 1
        scale[layer.name] = block.scale if block else scale[before.name] if before else Fraction(1)
        for other in parents[layer.name]:
            if other is before:
                continue
            branch, source = chain(other, until=position)
            via, size = [], scale[source.name]
            for step in filter(None, (block_of(step, size) for step in branch)):
                via.append(step)
                size = step.scale
            skips.append(Skip(position[source.name], position[layer.name], tuple(via)))
    facts = {"size": model.input_shape[1], "patches": len(model.output_shape) == 4, "parameters": model.count_params()}
    return Network(tuple(blocks), tuple(skips), **facts)


def innermost(network):
    """The skips that hold no other skip, in the order of the row."""

    def holds(skip, other):
        return skip is not other and skip.start <= other.start and other.end <= skip.end

    found = [skip for skip in network.skips if not any(holds(skip, other) for other in network.skips)]
    return sorted(found, key=lambda skip: skip.start)


def fold(network):
    """Keep one of each run of equal residual blocks and note in `repeats` how many there were."""
    runs = []  # lists of skips that follow each other and hold equal blocks
    for skip in innermost(network):
        held = (network.blocks[skip.start + 1 : skip.end + 1], skip.via)
        if runs and runs[-1][1] == held and runs[-1][0][-1].end == skip.start:
            runs[-1][0].append(skip)
        else:
            runs.append(([skip], held))
    gone = {index for skips, _ in runs for again in skips[1:] for index in range(again.start + 1, again.end + 1)}
    # A position that goes is taken by the last one kept before it: the end of the block that stands for it.
    new, kept = {-1: -1}, -1
    for index in range(len(network.blocks)):
        kept += index not in gone
        new[index] = kept
    blocks = (block for index, block in enumerate(network.blocks) if index not in gone)
    moved = (replace(skip, start=new[skip.start], end=new[skip.end]) for skip in network.skips if skip.end not in gone)
    repeats = ((new[skips[0].start] + 1, new[skips[0].end], len(skips)) for skips, _ in runs)
    return replace(network, blocks=tuple(blocks), skips=tuple(moved), repeats=tuple(repeats))


def describe(network):
    """The folded network as plain values, as they are kept in the PNG's text."""
    return json.loads(json.dumps(asdict(network), default=str))

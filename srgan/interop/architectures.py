"""Which network a file's tensors are of, told by their names and shapes, and where in ours each of them belongs."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from srgan.interop.checkpoint import Checkpoint
from srgan.interop.tensors import NotAsked, Unreadable

_MOST_CHANNELS, _MOST_BLOCKS = 4096, 1000  # a file that asks for more is malicious or damaged


class Network(NamedTuple):
    """A network of `srgan.networks.generators` with the weights of a file."""

    generator: str  # its name there
    settings: dict  # its arguments
    weights: dict[str, list[np.ndarray]]  # of each layer, by the layer's name
    names: dict[str, list[str]]  # of the tensors, for messages
    assumed: tuple[str, ...] = ()  # what the file does not say and was taken from its authors


class Architecture(NamedTuple):
    """What is to be known of one kind of network."""

    title: str
    recognised: Callable[[Checkpoint], bool]
    settle: Callable  # (checkpoint, options) -> (settings, {layer: Source}, assumed)
    unused: str = "$^"  # a regular expression: tensors that the network does not use, as its authors know
    rules: tuple[tuple[str, str], ...] = ()  # other names of its tensors, see `Checkpoint.renamed`
    asks: Callable[[Checkpoint], set[str]] = lambda checkpoint: set()  # which of the `Options` its files leave open


class Options(NamedTuple):
    """What a file does not say; None: as its authors published it."""

    activation: str | None = None  # prelu, relu or leaky_relu
    range: str | None = None  # 1 or 255: the largest value


DEFAULTS = Options()


def refuse_unasked(options: Options, asked: set[str], title: str) -> None:
    """An option that a file leaves no room for is a mistake, and never ignored.

    Raises:
        NotAsked: naming it.
    """
    for name, value in options._asdict().items():
        if value is not None and name not in asked:
            raise NotAsked(f"--{name} {value}: {title} leaves nothing open there; run without it")


class Source(NamedTuple):
    """The tensors of a layer: a convolution, unless `take` says how else they are taken."""

    name: str
    shuffle: int = 1
    unshuffle: int = 1
    take: Callable[[Checkpoint, str], list[np.ndarray]] | None = None

    def weights(self, checkpoint):
        if self.take:
            return self.take(checkpoint, self.name)
        return checkpoint.convolution(self.name, self.shuffle, self.unshuffle)


def blocks_of(checkpoint: Checkpoint, pattern: str) -> int:
    """How many blocks there are, by their numbers."""
    count = checkpoint.count(pattern)
    if not 0 < count <= _MOST_BLOCKS:
        raise Unreadable(f"it has {count} blocks, where 1 to {_MOST_BLOCKS} are possible")
    return count


def channels_of(checkpoint: Checkpoint, name: str, dimension: int = 0) -> int:
    """The output channels of a convolution, or with dimension 1 its input channels."""
    shape = checkpoint.shape(name)
    if len(shape) != 4 or not 0 < shape[dimension] <= _MOST_CHANNELS:
        raise Unreadable(f"{name} is {shape}, not the kernel of a convolution of at most {_MOST_CHANNELS} channels")
    return shape[dimension]


def root_of(channels: int, name: str) -> int:
    """The scale of a pixel shuffle that makes RGB of so many channels."""
    scale = math.isqrt(channels // 3)
    if scale not in (1, 2, 3, 4, 8) or 3 * scale**2 != channels:
        raise Unreadable(f"{name} has {channels} channels, which makes no RGB picture at scale 1, 2, 3, 4 or 8")
    return scale


# --- RRDB, ESRGAN's generator, under the names of its authors, of BasicSR and of the first version ----------------------

_RRDB_OLD = (
    (r"^model\.0\.", "conv_first."),
    (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"^model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
)
_RRDB_AUTHORS = (
    (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"^trunk_conv\.", "conv_body."),
    (r"^upconv(\d)\.", r"conv_up\1."),
    (r"^HRconv\.", "conv_hr."),
)


def _rrdb_tail(checkpoint):
    """The names of the convolutions behind the body: of each upsampling, then the last two."""
    found = (re.fullmatch(r"model\.(\d+)\.weight", name) for name in checkpoint.tensors)
    numbered = sorted(int(match[1]) for match in found if match)
    if numbered:  # of the first version, whose layers have numbers only
        *ups, hr, last = [f"model.{number}" for number in numbered]
        return ups, hr, last
    ups = [f"conv_up{step}" for step in range(1, checkpoint.count(r"conv_up(\d+)\."))]
    return ups, "conv_hr", "conv_last"


def _rrdb(checkpoint, options):
    blocks = blocks_of(checkpoint, r"body\.(\d+)\.rdb1\.")
    filters = channels_of(checkpoint, "conv_first.weight")
    inputs = channels_of(checkpoint, "conv_first.weight", 1)
    unshuffle = {3: 1, 12: 2, 48: 4}.get(inputs)
    if unshuffle is None:
        raise Unreadable(f"its first convolution takes {inputs} channels, where 3 (RGB), 12 or 48 are supported")
    ups, hr, last = _rrdb_tail(checkpoint)
    scale = 2 ** len(ups) / unshuffle
    if scale not in (1, 2, 4, 8):
        raise Unreadable(f"its scale is {scale:g}, where 1, 2, 4 and 8 are supported")
    sources = {"head_conv": Source("conv_first", unshuffle=unshuffle), "body_conv": Source("conv_body")}
    for block in range(blocks):
        for part in range(1, 4):
            for index in range(1, 6):
                layer = f"block{block + 1}_dense{part}_conv{index}"
                sources[layer] = Source(f"body.{block}.rdb{part}.conv{index}")
    sources |= {f"up{step}_conv": Source(name) for step, name in enumerate(ups, 1)}
    sources |= {"tail_conv1": Source(hr), "tail_conv2": Source(last)}
    growth = channels_of(checkpoint, "body.0.rdb1.conv1.weight")
    settings = {"filters": filters, "blocks": blocks, "growth": growth, "scale": int(scale), "unshuffle": unshuffle}
    settings["layout"] = "original"
    return settings, sources, ()


# --- SRVGGNetCompact, Real-ESRGAN's small generator ---------------------------------------------------------------------


def _is_compact(checkpoint):
    within = sum(name.startswith("body.") for name in checkpoint.tensors)
    return "body.0.weight" in checkpoint and 2 * within > len(checkpoint.tensors)


def _compact(checkpoint, options):
    last = checkpoint.count(r"body\.(\d+)\.") - 1
    blocks = last // 2 - 1
    if last % 2 or not 0 <= blocks <= _MOST_BLOCKS:
        raise Unreadable(f"its last layer is body.{last}, where an even number from 2 on is expected")
    sources, assumed = {}, ()
    learned = "body.1.weight" in checkpoint
    for index in range(blocks + 1):
        name = f"body{index}" if index else "head"
        sources[f"{name}_conv"] = Source(f"body.{2 * index}")
        if learned:
            sources[f"{name}_act"] = Source(f"body.{2 * index + 1}", take=slopes)
    activation = options.activation or ("prelu" if learned else "leaky_relu")
    if learned != (activation == "prelu"):
        raise NotAsked(f"--activation {activation}: the file has {'the slopes of a PReLU' if learned else 'no slopes'}")
    if not learned and not options.activation:
        assumed = ("activation leaky_relu (--activation relu is the other possibility)",)
    scale = root_of(channels_of(checkpoint, f"body.{last}.weight"), f"body.{last}.weight")
    sources["tail_conv"] = Source(f"body.{last}", shuffle=scale)
    filters = channels_of(checkpoint, "body.0.weight")
    settings = {"filters": filters, "blocks": blocks, "activation": activation, "scale": scale, "layout": "original"}
    return settings, sources, assumed


def slopes(checkpoint: Checkpoint, name: str) -> list[np.ndarray]:
    """The slopes of a PReLU as Keras has them where they are shared over space, (1, 1, channels)."""
    return [checkpoint.take(f"{name}.weight").reshape(1, 1, -1)]


# --- BasicSR's MSRResNet and EDSR ---------------------------------------------------------------------------------------


def _residual_blocks(checkpoint):
    blocks = blocks_of(checkpoint, r"body\.(\d+)\.conv1\.")
    names = ((index, half) for index in range(blocks) for half in (1, 2))
    sources = {f"block{index + 1}_conv{half}": Source(f"body.{index}.conv{half}") for index, half in names}
    settings = {"filters": channels_of(checkpoint, "conv_first.weight"), "blocks": blocks}
    return settings, {"head_conv": Source("conv_first"), **sources}


def _factor(checkpoint, name, filters):
    """The factor of the pixel shuffle behind a convolution."""
    channels = channels_of(checkpoint, f"{name}.weight")
    factor = math.isqrt(channels // filters)
    if factor not in (2, 3) or channels != factor**2 * filters:
        raise Unreadable(
            f"{name}.weight makes {channels} channels of {filters}, where 4 or 9 times as many are expected"
        )
    return factor


def _msrresnet(checkpoint, options):
    settings, sources = _residual_blocks(checkpoint)
    names = [name for name in ("upconv1", "upconv2") if f"{name}.weight" in checkpoint]
    factors = [_factor(checkpoint, name, settings["filters"]) for name in names]
    if factors not in ([2], [3], [2, 2]):
        raise Unreadable(f"it enlarges by {factors}, where 2, 3 or twice 2 is expected")
    sources |= {f"up{n}_conv": Source(name, shuffle=factors[0]) for n, name in enumerate(names, 1)}
    sources |= {"tail_conv1": Source("conv_hr"), "tail_conv2": Source("conv_last")}
    return {**settings, "scale": math.prod(factors)}, sources, ()


def _edsr(checkpoint, options):
    settings, sources = _residual_blocks(checkpoint)
    names = sorted({name.rpartition(".")[0] for name in checkpoint.tensors if name.startswith("upsample.")})
    factors = [_factor(checkpoint, name, settings["filters"]) for name in names]
    if factors not in ([2], [3], [2, 2], [2, 2, 2]):
        raise Unreadable(f"it enlarges by {factors}, where 2, 3 or several times 2 is expected")
    sources |= {f"up{n}_conv": Source(name, shuffle=factors[0]) for n, name in enumerate(names, 1)}
    sources |= {"body_conv": Source("conv_after_body"), "tail_conv": Source("conv_last")}
    residual = 0.1 if settings["filters"] == 256 else 1.0
    value_range, said = _value_range(options)
    assumed = (f"a residual scale of {residual:g}", *said)
    settings |= {"scale": math.prod(factors), "residual_scale": residual, "value_range": value_range}
    return settings, sources, assumed


def _value_range(options):
    """The range that values less the mean colour have, and what of that was assumed."""
    if options.range:
        return int(options.range), ()
    return 255, ("the mean colour of DIV2K and a range of 255 (--range 1 is the other possibility)",)


# --- SPAN ---------------------------------------------------------------------------------------------------------------


def _span(checkpoint, options):
    blocks = blocks_of(checkpoint, r"block_(\d+)\.c1_r\.") - 1
    fused = not any(".sk." in name for name in checkpoint.tensors)  # with branches, the fused copies are never used
    take = _fused if fused else _branches
    sources = {"head_conv": Source("conv_1", take=take), "body_conv": Source("conv_2", take=take)}
    for block in range(1, blocks + 1):
        for index in (1, 2, 3):
            sources[f"block{block}_conv{index}"] = Source(f"block_{block}.c{index}_r", take=take)
    scale = root_of(channels_of(checkpoint, "upsampler.0.weight"), "upsampler.0.weight")
    sources |= {"fusion": Source("conv_cat"), "tail_conv": Source("upsampler.0", shuffle=scale)}
    settings = {"filters": channels_of(checkpoint, "conv_cat.weight"), "blocks": blocks, "scale": scale}
    value_range, assumed = (None, ()) if "no_norm" in checkpoint else _value_range(options)
    return {**settings, "layout": "original", "value_range": value_range}, sources, assumed


def _branches(checkpoint, name):
    """The weights of a `BranchedConv2D`: pairs of kernel and bias of the skip, of the way there, the middle, and back."""
    weights = []
    for part, spatial in (("sk", False), ("conv.0", False), ("conv.1", True), ("conv.2", False)):
        kernel, bias = checkpoint.convolution(f"{name}.{part}")
        weights += [kernel if spatial else kernel.reshape(kernel.shape[-2:]), bias]
    return weights


def _fused(checkpoint, name):
    kernel, bias = checkpoint.convolution(f"{name}.eval_conv")
    if kernel.shape[:2] != (3, 3) or bias.size != kernel.shape[3]:
        raise Unreadable(f"{name}.eval_conv is {kernel.shape}, not a 3x3 convolution")
    return branches_of(kernel, bias)


def branches_of(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """The weights of a `BranchedConv2D` that does what one 3x3 convolution does: its branches copy, but for the middle."""
    channels, filters = kernel.shape[2:]
    copy_in, copy_out = np.eye(channels, 2 * channels), np.eye(2 * filters, filters)
    middle = np.pad(kernel, [(0, 0), (0, 0), (0, channels), (0, filters)])
    skip = [np.zeros((channels, filters)), np.zeros(filters)]
    weights = [*skip, copy_in, np.zeros(2 * channels), middle, np.zeros(2 * filters), copy_out, bias]
    return [values.astype(np.float32) for values in weights]


# --- RealPLKSR ----------------------------------------------------------------------------------------------------------


def _realplksr(checkpoint, options):
    filters = channels_of(checkpoint, "feats.0.weight")
    last = checkpoint.count(r"feats\.(\d+)\.") - 1
    blocks = blocks_of(checkpoint, r"feats\.(\d+)\.refine\.") - 1
    scale = root_of(channels_of(checkpoint, f"feats.{last}.weight"), f"feats.{last}.weight")
    attention, by_pixel = "feats.1.attn.f.0.weight" in checkpoint, "feats.1.layer_norm.weight" in checkpoint
    groups = channels_of(checkpoint, "to_img.offset.weight") // (2 * scale**2) if "to_img.init_pos" in checkpoint else 0
    sources = {"head_conv": Source("feats.0")}
    sources["tail_conv"] = Source(f"feats.{last}", shuffle=1 if groups else scale)
    if groups:
        sources["sr"] = Source("to_img", take=_dysample)
    parts = {"mixer1": "channel_mixer.0", "mixer2": "channel_mixer.2", "large": "lk.conv", "refine": "refine"}
    parts |= {"attention": "attn.f.0"} if attention else {}
    for block in range(1, blocks + 1):
        sources |= {f"block{block}_{layer}": Source(f"feats.{block}.{name}") for layer, name in parts.items()}
        norm = f"feats.{block}.{'layer_norm' if by_pixel else 'norm'}"
        sources[f"block{block}_norm"] = Source(norm, take=_gain_and_offset)
    settings = {
        "filters": filters,
        "blocks": blocks,
        "scale": scale,
        "kernel_size": channels_of(checkpoint, "feats.1.lk.conv.weight", 2),
        "partial_filters": channels_of(checkpoint, "feats.1.lk.conv.weight"),
        "attention": attention,
        "block_normalization": "layer" if by_pixel else "group",
        "dysample_groups": groups,
    }
    return settings, sources, () if by_pixel else ("4 groups of channels in each normalisation",)


def _dysample(checkpoint, name):
    """The weights of a `DySample`; at scale 1 the original samples without a convolution."""
    (scope,), centres = checkpoint.convolution(f"{name}.scope", bias=False), checkpoint.take(f"{name}.init_pos")
    offset, offset_bias = checkpoint.convolution(f"{name}.offset")
    end, end_bias = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    if f"{name}.end_conv.weight" in checkpoint:
        end, end_bias = checkpoint.convolution(f"{name}.end_conv")
    kernels = [kernel.reshape(kernel.shape[-2:]) for kernel in (offset, scope, end)]
    return [kernels[0], offset_bias, *kernels[1:], end_bias, centres.reshape(-1)]


def _gain_and_offset(checkpoint, name):
    return [checkpoint.take(f"{name}.weight"), checkpoint.take(f"{name}.bias")]


ARCHITECTURES = {
    "rrdb": Architecture(
        "RRDB (ESRGAN, Real-ESRGAN, BSRGAN)",
        lambda checkpoint: "body.0.rdb1.conv1.weight" in checkpoint,
        _rrdb,
        rules=(*_RRDB_OLD, *_RRDB_AUTHORS),
    ),
    "compact": Architecture(
        "SRVGGNetCompact (Real-ESRGAN's small models)", _is_compact, _compact, asks=lambda checkpoint: {"activation"}
    ),
    "span": Architecture(
        "SPAN",
        lambda checkpoint: "block_1.c1_r.sk.weight" in checkpoint or "block_1.c1_r.eval_conv.weight" in checkpoint,
        _span,
        unused=r"\.eval_conv\.|^no_norm$",  # beside branches, the fused copies are those of some earlier step
        asks=lambda checkpoint: set() if "no_norm" in checkpoint else {"range"},
    ),
    "realplksr": Architecture(
        "RealPLKSR",
        lambda checkpoint: "feats.1.channel_mixer.0.weight" in checkpoint and "feats.1.lk.conv.weight" in checkpoint,
        _realplksr,
    ),
    "msrresnet": Architecture(
        "MSRResNet",
        lambda checkpoint: "body.0.conv1.weight" in checkpoint and "upconv1.weight" in checkpoint,
        _msrresnet,
        rules=((r"^recon_trunk\.", "body."), (r"^HRconv\.", "conv_hr.")),
    ),
    "edsr": Architecture(
        "EDSR",
        lambda checkpoint: "body.0.conv1.weight" in checkpoint and "conv_after_body.weight" in checkpoint,
        _edsr,
        asks=lambda checkpoint: {"range"},
    ),
}

"""The section `network`: one class for each generator, told apart by `generator`."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from srgan.config.section import Count, Section

# Fusions whose frames meet in layers that a still-image generator lacks.
WITH_OWN_LAYERS = ("late", "slow", "recurrent")

Scale = Literal[1, 2, 3, 4, 8]
Layout = Literal["srgan", "original"]


class Network(Section):
    """What every generator has, and the discriminator."""

    filters: Count = 64
    """Channels of the generator's body."""
    scale: Literal[2, 4] = 4
    """How many times as wide and high the output is."""
    discriminator: Literal["srgan", "patch", "unet"] = "srgan"
    """SRGAN's, pix2pix's patch discriminator, or Real-ESRGAN's U-Net."""
    discriminator_filters: Count = 64
    """Channels of the discriminator's first convolution."""
    discriminator_normalization: Literal["batch", "instance", "spectral", "none"] | None = None
    """Normalisation of the discriminator's convolutions except the last; null: batch for srgan, instance for patch,
    spectral for unet."""


class SRResNet(Network):
    """SRResNet, the generator of SRGAN."""

    generator: Literal["srresnet"] = "srresnet"
    blocks: Count = 16
    """Residual blocks."""
    normalization: Literal["batch", "instance", "none"] = "batch"
    """Normalisation of the residual blocks; batch as published."""
    activation: Literal["prelu", "relu", "leaky_relu"] = "prelu"
    """Activation function; prelu as published."""
    skip: Literal["none", "bilinear"] = "none"
    """`bilinear` adds the enlarged input to the output."""
    fusion: Literal["none", "early", "late", "slow", "3d", "recurrent"] = "none"
    """Where successive frames of a clip meet (see srgan.networks.over_time); none: a generator of single pictures."""
    frames: Annotated[int, Field(ge=3)] = 5
    """An odd number: how many frames meet or, for recurrent, follow each other in training."""

    @model_validator(mode="after")
    def _frames_meet(self):
        if self.frames % 2 == 0:
            raise ValueError(f"frames = {self.frames}: must be odd, so that one is the middle")
        least = {"slow": self.frames // 2 + 1, "3d": 2}.get(self.fusion, 1)  # blocks between the places where they meet
        if self.blocks < least:
            raise ValueError(f"blocks = {self.blocks}: must be at least {least} for fusion: {self.fusion}"
                             + f" of {self.frames} frames" * (self.fusion == "slow"))  # fmt: skip
        return self


class RDN(Network):
    """Residual dense network."""

    generator: Literal["rdn"]
    blocks: Count = 16
    """Residual dense blocks."""
    layers_per_block: Count = 8
    """Convolutions of a block."""
    growth: Count = 64
    """Channels that each layer of a block adds."""


class RRDB(Network):
    """ESRGAN's generator."""

    generator: Literal["rrdb"]
    scale: Scale = 4
    """How many times as wide and high the output is; 3 is not possible."""
    layout: Layout = "srgan"
    """`original` as its authors have it, for weights of other people."""
    unshuffle: Literal[1, 2, 4] = 1
    """Side of the blocks of pixels that become channels first, as in Real-ESRGAN's generator of scale 2."""
    blocks: Count = 23
    """Residual-in-residual dense blocks."""
    growth: Count = 32
    """Channels that each layer of a dense block adds."""


class Compact(Network):
    """A fast generator: every layer but the last works at low resolution."""

    generator: Literal["compact"]
    scale: Scale = 4
    """How many times as wide and high the output is."""
    layout: Layout = "srgan"
    """`original` as its authors have it, for weights of other people."""
    blocks: Annotated[int, Field(ge=0)] = 16
    """Convolutions of the body."""
    activation: Literal["prelu", "relu", "leaky_relu"] = "prelu"
    """Activation function."""


class SPAN(Network):
    """Attention without weights of its own, at low resolution: faster still."""

    generator: Literal["span"]
    scale: Scale = 4
    """How many times as wide and high the output is."""
    layout: Layout = "srgan"
    """`original` as its authors have it, for weights of other people."""
    value_range: Literal[1, 255] | None = None
    """In the original layout, the largest value of a picture, less the mean colour; null: 1, and it keeps the mean."""
    filters: Count = 48
    """Channels of the body."""
    blocks: Count = 6
    """Attention blocks of three convolutions each."""


class MSRResNet(Network):
    """SRResNet as ESRGAN's authors changed it, in BasicSR's layout."""

    generator: Literal["msrresnet"]
    scale: Literal[2, 3, 4] = 4
    """How many times as wide and high the output is."""
    blocks: Count = 16
    """Residual blocks."""


class EDSR(Network):
    """EDSR in BasicSR's layout."""

    generator: Literal["edsr"]
    scale: Literal[2, 3, 4, 8] = 4
    """How many times as wide and high the output is."""
    blocks: Count = 16
    """Residual blocks."""
    residual_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of a block's outcome; 0.1 in the large network."""
    value_range: Literal[1, 255] = 255
    """The largest value of a picture, less the mean colour."""


class RealPLKSR(Network):
    """RealPLKSR: large kernels on a part of the channels."""

    generator: Literal["realplksr"]
    scale: Scale = 4
    """How many times as wide and high the output is."""
    blocks: Count = 28
    """Blocks with a residual connection."""
    kernel_size: Literal[3, 5, 7, 9, 11, 13, 15, 17, 19, 21] = 17
    """Side of the large kernel."""
    partial_filters: Count = 16
    """Channels that the large kernel sees."""
    attention: bool = True
    """Whether each block has a gate."""
    block_normalization: Literal["group", "layer"] = "group"
    """Normalisation of each block, over the whole picture or of each pixel."""
    dysample_groups: Annotated[int, Field(ge=0)] = 0
    """Groups of channels that DySample, in place of the pixel shuffle, samples by their own offsets; 0: a pixel shuffle."""

    @model_validator(mode="after")
    def _groups_are_equal(self):
        if self.dysample_groups and 3 * self.scale**2 % self.dysample_groups:
            raise ValueError(f"dysample_groups = {self.dysample_groups}: must divide 3 x scale² = {3 * self.scale**2}")
        return self


NETWORKS = {"srresnet": SRResNet, "rdn": RDN, "rrdb": RRDB, "compact": Compact, "span": SPAN}
NETWORKS |= {"msrresnet": MSRResNet, "edsr": EDSR, "realplksr": RealPLKSR}


def _generator(network):
    """The name that decides which keys a network section has."""
    is_tree = isinstance(network, dict)
    return network.get("generator", "srresnet") if is_tree else getattr(network, "generator", None)


AnyNetwork = Annotated[
    Annotated[SRResNet, Tag("srresnet")]
    | Annotated[RDN, Tag("rdn")]
    | Annotated[RRDB, Tag("rrdb")]
    | Annotated[Compact, Tag("compact")]
    | Annotated[SPAN, Tag("span")]
    | Annotated[MSRResNet, Tag("msrresnet")]
    | Annotated[EDSR, Tag("edsr")]
    | Annotated[RealPLKSR, Tag("realplksr")],
    Discriminator(_generator),
]

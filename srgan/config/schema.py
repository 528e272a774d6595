"""The configuration: one typed tree, read from YAML and changed by `key=value`.

Every key is documented here, once. A key that does not exist, a value of the wrong type and a value that cannot work are
refused before anything is done, in one line that names the key, the value and what is allowed.
"""

import difflib
import re
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from srgan.config.bundled import find_config
from srgan.errors import UsageError

Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]

VGG19_LAYERS = [f"block{b}_conv{c}" for b, last in enumerate((2, 2, 4, 4, 4), 1) for c in range(1, last + 1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Data(Section):
    """Which pictures, and what is made of them once."""

    pictures: str  # folder of the training pictures
    annotations: str | None = None  # COCO instances JSON that lists them; null: every picture of the folder
    count: Count | None = None  # how many of them, drawn by the seed; null: all
    categories: list[str] = []  # only pictures that show one of these COCO categories; empty: any
    minimum_side: Annotated[int, Field(ge=0)] = 0  # pixels; smaller pictures are left out
    validation_pictures: str | None = None  # null: held back from `pictures`
    validation_annotations: str | None = None
    validation_count: Annotated[int, Field(ge=0)] | None = 50  # null: all of validation_pictures
    size: Annotated[int, Field(ge=16)] = 384  # pixels a side of the prepared squares
    fit: Literal["squash", "crop", "tile"] = (
        "squash"  # to a square, ignoring the aspect; its centre; or cut into squares
    )
    maximum_noise: Annotated[float, Field(gt=0)] | None = (
        None  # levels of 255; training pictures with more noise in their flat parts, once shrunk, are left out; null: none are
    )
    shrink: Annotated[float, Field(gt=0, le=1)] = 1.0  # resize first, to get rid of JPEG artifacts; where it still fits
    clips: str | None = (
        None  # folder of films and of folders of numbered frames; with network.fusion, beside `pictures`
    )
    validation_clips: str | None = None  # null: with network.fusion, motion is made from the validation pictures, too
    store: str | None = None  # where prepared pictures are kept; null: srgan/stores in the user's cache folder


class Network(Section):
    """What all generators share, and the discriminator."""

    filters: Count = 64
    scale: Literal[2, 4] = 4
    discriminator: Literal["srgan", "patch", "unet"] = "srgan"
    discriminator_filters: Count = 64
    discriminator_normalization: Literal["batch", "instance", "spectral", "none"] | None = (
        None  # null: its own: batch for srgan, instance for patch, spectral for unet; not of dense layers and the logits
    )


class SRResNet(Network):
    """SRGAN's own generator."""

    generator: Literal["srresnet"] = "srresnet"
    blocks: Count = 16
    normalization: Literal["batch", "instance", "none"] = "batch"
    activation: Literal["prelu", "relu", "leaky_relu"] = "prelu"
    skip: Literal["none", "bilinear"] = "none"
    fusion: Literal["none", "early", "late", "slow", "3d", "recurrent"] = (
        "none"  # where successive frames meet, for films: see srgan.networks.over_time; none: it takes pictures
    )
    frames: Annotated[int, Field(ge=3)] = 5  # odd; how many meet, or for recurrent follow each other in training

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
    layers_per_block: Count = 8
    growth: Count = 64  # channels that each layer of a block adds


class RRDB(Network):
    """ESRGAN's generator."""

    generator: Literal["rrdb"]
    blocks: Count = 23
    growth: Count = 32  # channels that each layer of a dense block adds


class Compact(Network):
    """Everything at low resolution: the fast one."""

    generator: Literal["compact"]
    blocks: Count = 16
    activation: Literal["prelu", "relu", "leaky_relu"] = "prelu"


NETWORKS = {"srresnet": SRResNet, "rdn": RDN, "rrdb": RRDB, "compact": Compact}


def _generator(network):
    """The name that decides which keys a network section has."""
    if isinstance(network, dict):
        return network.get("generator", "srresnet")
    return getattr(network, "generator", None)


AnyNetwork = Annotated[
    Annotated[SRResNet, Tag("srresnet")]
    | Annotated[RDN, Tag("rdn")]
    | Annotated[RRDB, Tag("rrdb")]
    | Annotated[Compact, Tag("compact")],
    Discriminator(_generator),
]


Ends = Annotated[tuple[NotNegative, NotNegative], Field(strict=False)]  # of a range


class Photograph(Section):
    """What `batches.degradation: photograph` draws. Single numbers are probabilities unless it says otherwise; lengths are
    pixels of the low resolution, levels those of 255."""

    clean: Share = 0.1  # left as it is
    mild: Share = 0.25  # a little noise and JPEG, nothing else
    mild_noise: NotNegative = 3.0  # levels, at most
    mild_quality: Ends = (85, 97)
    blur: Share = 0.6
    blur_sigma: Ends = (0.1, 1.0)  # pixels
    motion: Share = 0.1  # of the blurs
    motion_length: Ends = (1, 3)  # pixels
    noise: Share = 0.8
    noise_level: Ends = (1, 20)  # levels of luma; each doubling is equally likely
    correlated: Share = 0.6  # luma noise that is smoothed
    luma_smoothing: Ends = (0, 1.2)  # pixels, a Gaussian's deviation
    chroma_smoothing: Ends = (0.3, 2.5)  # the same
    chroma_noise: Ends = (0.2, 1.0)  # of the luma's level
    photon: Share = 0.5  # noise that grows with the light
    sharpen: Share = 0.33  # after the noise
    sharpen_sigma: Ends = (0.6, 1.5)  # pixels
    sharpen_amount: Ends = (0.2, 1.0)
    resize: Share = 0.5  # one or two rounds, equally likely
    resize_factor: Ends = (0.7, 1.4)
    jpeg: Share = 0.95
    quality: Ends = (80, 95)
    strong_jpeg: Share = 0.15  # of the JPEGs
    strong_quality: Ends = (35, 80)
    subsampled: Share = 0.7  # of the JPEGs: 4:2:0, else 4:4:4
    webp: Share = 0.05  # in place of JPEG

    @model_validator(mode="after")
    def _ranges_rise(self):
        for key, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{key} = {list(value)}: must rise")
        for key in ("noise_level", "resize_factor"):
            if not getattr(self, key)[0]:
                raise ValueError(f"{key} = {list(getattr(self, key))}: must be above 0")
        if self.clean + self.mild > 1:
            raise ValueError(f"mild = {self.mild}: must be at most 1 with clean = {self.clean}")
        return self


class Batches(Section):
    """What a training step sees."""

    size: Count = 16  # crops a step
    crop: Annotated[int, Field(ge=8)] = 96  # pixels a side, in high resolution
    augment: bool = True  # random flips and quarter turns
    degradation: Literal["bicubic", "realistic", "photograph"] = (
        "bicubic"  # how low resolution is made; realistic: Real-ESRGAN's blur, noise and JPEG, milder; photograph: a camera's
    )
    photograph: Photograph = Photograph()
    clips: Rate = 0.5  # share of the crops that are cut from data.clips, where these are given
    steps_per_epoch: Count = 1000  # an epoch is this many steps, whatever the number of pictures
    workers: Annotated[int, Field(ge=0)] = 0  # threads that cut batches; 0: the training's own


class Optimizer(Section):
    """The optimizer and its learning rate over one stage."""

    epochs: Annotated[int, Field(ge=0)]  # 0 leaves the stage out
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: Rate = 1e-4
    schedule: Literal["constant", "step", "cosine"] = "constant"
    drops: list[Count] = []  # schedule step: after each of these epochs the rate is a tenth
    warmup_steps: Annotated[int, Field(ge=0)] = 0  # linear from 0
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    clip_norm: NotNegative = 0.0  # a longer gradient, of all weights together, is shortened to it; 0: none is
    average: Fraction = 0.0  # momentum of a moving average of the weights, used to validate and save; 0: none

    @model_validator(mode="after")
    def _drops_fit(self):
        if bool(self.drops) != (self.schedule == "step"):
            if not self.drops:
                raise ValueError("drops = []: schedule: step needs the epochs after which the rate drops")
            raise ValueError(f"drops = {self.drops}: only schedule: step has drops")
        if self.drops != sorted(set(self.drops)):
            raise ValueError(f"drops = {self.drops}: must rise")
        if self.epochs and self.drops and self.drops[-1] >= self.epochs:
            raise ValueError(f"drops = {self.drops}: must be below epochs = {self.epochs}")
        return self


# Fusions whose frames meet in layers that a generator of pictures lacks.
WITH_OWN_LAYERS = ("late", "slow", "recurrent")


class PixelStage(Optimizer):
    """The first stage: the generator alone, by the difference of pixels."""

    loss: Literal["mse", "l1", "charbonnier"] = "mse"
    freeze: Literal["none", "picture"] = "none"  # picture: what initial_weights has of a generator of pictures stays


class GanStage(Optimizer):
    """The second stage: generator against discriminator. The paper's values are the defaults."""

    pixel_loss: Literal["mse", "l1", "charbonnier"] = "mse"
    pixel_weight: NotNegative = 0.0
    content_weight: NotNegative = 1.0
    content_loss: Literal["mse", "l1"] = "mse"
    content_layers: dict[str, NotNegative] = {"block5_conv4": 1.0}  # VGG19 layers and their weights
    content_before_activation: bool = False
    content_scale: Annotated[float, Field(gt=0)] | Literal["unit"] = 1 / 12.75  # "unit": each layer by its own mean
    vgg19: str | None = None  # file of weights; null: Keras' ImageNet weights, downloaded once; "random": none
    adversarial: Literal["vanilla", "relativistic", "hinge", "least_squares"] = "vanilla"
    adversarial_weight: NotNegative = 1e-3
    artifact_weight: NotNegative = (
        0.0  # of locally discriminative learning, whose steady generator has the momentum `average`
    )
    flat_weight: NotNegative = 0.0  # of noise where the original is flat
    flat_level: NotNegative = 5.0  # levels of 255: an original whose luma deviates less, within 7 x 7 pixels, is flat
    chroma_weight: NotNegative = 0.0  # of the difference in chroma
    lattice_weight: NotNegative = 0.0  # of what repeats from one sub-pixel block to the next
    colour_weight: NotNegative = 0.0  # of the mean colours of windows of 32 pixels

    @model_validator(mode="after")
    def _average_is_there(self):
        if self.artifact_weight and not self.average:
            raise ValueError(
                f"artifact_weight = {self.artifact_weight}: needs an average of the weights, as in average: 0.999"
            )
        return self

    @model_validator(mode="after")
    def _layers_exist(self):
        for layer in self.content_layers:
            if layer not in VGG19_LAYERS:
                raise ValueError(f"content_layers = {layer}: no convolution of VGG19 ({', '.join(VGG19_LAYERS)})")
        if self.content_weight and not self.weighted_layers():
            raise ValueError("content_layers: name a layer with a weight, or set content_weight to 0")
        if self.epochs and not (self.pixel_weight or self.content_weight or self.adversarial_weight):
            raise ValueError("pixel_weight, content_weight, adversarial_weight: one must be above 0")
        return self

    def weighted_layers(self):
        """The content layers that have a weight."""
        return {name: weight for name, weight in self.content_layers.items() if weight}


class Config(Section):
    """A whole training run.

    Example:
        >>> config = Config.load("sample", ["data.count=8", "pixel.epochs=1"])
        >>> config.data.count
        8
    """

    seed: Annotated[int, Field(ge=0, lt=2**32 - 1)] = 0
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    distribute: Literal["auto", "none"] = "auto"  # auto: all GPUs share each batch, of several machines too; none: one
    samples: Annotated[int, Field(ge=0)] = 3  # training and validation pictures on the sheet of each epoch
    initial_weights: str | None = (
        None  # a generator to start the first stage from: a file, a run folder or a shipped model's name
    )
    data: Data
    network: AnyNetwork = SRResNet()
    batches: Batches = Batches()
    pixel: PixelStage
    gan: GanStage

    @model_validator(mode="after")
    def _sizes_fit(self):
        scale, size, crop = self.network.scale, self.data.size, self.batches.crop
        if size % scale:
            raise ValueError(f"data.size = {size}: must be a multiple of network.scale = {scale}")
        if crop % scale:
            raise ValueError(f"batches.crop = {crop}: must be a multiple of network.scale = {scale}")
        if crop > size:
            raise ValueError(f"batches.crop = {crop}: must be at most data.size = {size}")
        if self.fusion == "none":
            for key in ("clips", "validation_clips"):
                if (folder := getattr(self.data, key)) is not None:
                    raise ValueError(
                        f"data.{key} = {folder!r}: needs a generator over time, as in network.fusion: slow"
                    )
        else:
            if self.batches.degradation != "bicubic":
                raise ValueError(f"batches.degradation = {self.batches.degradation!r}: must be 'bicubic' with "
                                 f"network.fusion: {self.fusion}")  # fmt: skip
            if size < crop + 8 * scale:  # twice what the bicubic kernel sees beside a crop: see srgan.train.data.motion
                raise ValueError(f"data.size = {size}: must be at least {crop + 8 * scale} for batches.crop = {crop} with "
                                 f"network.fusion: {self.fusion}, which needs room for motion")  # fmt: skip
        if self.pixel.freeze == "picture":
            if self.fusion not in WITH_OWN_LAYERS:
                raise ValueError("pixel.freeze = 'picture': only counts with network.fusion: late, slow or recurrent, "
                                 "which have layers of their own")  # fmt: skip
            if self.initial_weights is None:
                raise ValueError("pixel.freeze = 'picture': needs initial_weights, which are to stay as they are")
        if self.gan.epochs and self.network.discriminator == "unet" and crop % 8:
            raise ValueError(f"batches.crop = {crop}: must be a multiple of 8 for the unet discriminator")
        if self.gan.epochs and self.gan.content_weight:
            deepest = max(int(layer[len("block")]) for layer in self.gan.weighted_layers())
            if crop < 2 ** (deepest - 1):
                raise ValueError(
                    f"batches.crop = {crop}: must be at least {2 ** (deepest - 1)} for VGG19's block {deepest}"
                )
        if not (self.pixel.epochs or self.gan.epochs):
            raise ValueError("pixel.epochs and gan.epochs: one must be above 0")
        for name in ("pixel", "gan"):
            stage = getattr(self, name)
            if stage.epochs and stage.average and getattr(self.network, "normalization", None) == "batch":
                raise ValueError(f"{name}.average = {stage.average}: must be 0 with network.normalization: batch, whose "
                                 "statistics would not be those of the averaged weights")  # fmt: skip
            steps = stage.epochs * self.batches.steps_per_epoch
            if steps and stage.warmup_steps >= steps:
                raise ValueError(f"{name}.warmup_steps = {stage.warmup_steps}: must be below the stage's {steps} steps")
        if self.data.validation_pictures is None and self.data.validation_annotations is not None:
            raise ValueError("data.validation_annotations: only counts with data.validation_pictures")
        if self.data.validation_pictures is None and self.data.validation_count is None:
            raise ValueError("data.validation_count = None: how many of data.pictures to hold back")
        return self

    @classmethod
    def load(cls, source, changes=()):
        """Read a configuration.

        Args:
            source: path of a YAML file, else the name of a bundled one, with or without `.yaml`.
            changes: `key=value` strings; the key is dotted, the value is YAML.

        Raises:
            UsageError: the file is missing or no YAML, or a key or value is refused.
        """
        path = find_config(source)
        try:
            tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
        if not isinstance(tree, dict):
            raise UsageError(f"{path}: must hold `key: value` pairs")
        for change in changes:
            _apply(tree, change)
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UsageError(f"{source}: {_explain(error.errors()[0])}") from error

    @property
    def fusion(self):
        """Where the generator's frames meet, "none" for one of pictures."""
        return getattr(self.network, "fusion", "none")

    def flat(self):
        """Every value by its dotted key."""
        return dict(_flatten(self.model_dump(mode="json")))

    def to_yaml(self):
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class _Loader(yaml.SafeLoader):
    """YAML, but for two surprises: it reads 1e-4 as a string, where people who write a learning rate mean a number, and lets
    the last of two equal keys win."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _apply(tree, change):
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {change}: must be key=value, as in data.count=100")
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UsageError(f"--set {change}: {section} is a value, not a section")
    try:
        tree[last] = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {change}: the value is not YAML") from error


def _flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _fields(location):
    """The keys that the section at `location` has."""
    section = Config
    for name in location:
        section = NETWORKS.get(name) or section.model_fields[name].annotation
    return list(section.model_fields)


def _explain(error):
    """One line for pydantic's first complaint."""
    location = [str(part) for part in error["loc"]]
    fields = _fields(location[:-1]) if error["type"] == "extra_forbidden" else []
    if location[:1] == ["network"] and location[1:2] and location[1] in NETWORKS:
        del location[1]  # the member of the union, which is no key
    if error["type"] == "value_error":
        prefix = f"{'.'.join(location)}." if location else ""
        return prefix + str(error["ctx"]["error"])
    if error["type"] == "union_tag_invalid":
        return f"network.generator = {error['input']['generator']!r}: must be one of {', '.join(NETWORKS)}"
    if error["type"] == "union_tag_not_found":
        return f"network = {error['input']!r}: must be a section, with generator, filters and so on"
    if location[-1:] in (["float"], ["literal['unit']"], ["constrained-float"]):
        location.pop()  # the member of a union that was tried: no key
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        if location[0] == "network" and any(location[-1] in kind.model_fields for kind in NETWORKS.values()):
            return f"{key} = {error['input']!r}: {error['loc'][1]} has no such key, known are {', '.join(fields)}"
        close = difflib.get_close_matches(location[-1], fields, 1)
        hint = f"did you mean {'.'.join([*location[:-1], close[0]])}?" if close else f"known are {', '.join(fields)}"
        return f"{key} = {error['input']!r}: unknown key, {hint}"
    if error["type"] == "missing":
        return f"{key}: missing"
    message = (
        error["msg"].replace("Input should be", "must be").replace("a valid dictionary or instance of", "a section,")
    )
    return f"{key} = {error['input']!r}: {message}"

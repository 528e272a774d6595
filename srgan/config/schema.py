"""The configuration: one typed tree, read from YAML and changed by `key=value`.

Every key is documented once, below its field. An unknown key, a value of the wrong type and a value that cannot work
are refused before any work, in one line that names the key, the value and what is allowed.
"""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from srgan.config.bundled import find_config
from srgan.config.data import Batches, Data
from srgan.config.networks import WITH_OWN_LAYERS, AnyNetwork, SRResNet
from srgan.config.reading import apply_change, explain, read_tree, to_yaml
from srgan.config.section import Section, Text
from srgan.config.stages import GanStage, PixelStage
from srgan.errors import UsageError


class Config(Section):
    """A whole training run.

    Example:
        >>> config = Config.load("sample", ["data.count=8", "pixel.epochs=1"])
        >>> config.data.count
        8
    """

    seed: Annotated[int, Field(ge=0, lt=2**32 - 1)] = 0
    """Decides the choice of pictures, the initial weights and all random crops."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """Precision of the computation."""
    deterministic: bool = False
    """Compute so that the same command gives the same weights, to the bit, on the same machine: with a content loss, too. On
    TensorFlow a step takes longer, and an operation without a deterministic version is refused."""
    distribute: Literal["auto", "none"] = "auto"
    """`auto`: all GPUs, of several machines too, share each batch; `none`: one device."""
    samples: Annotated[int, Field(ge=0)] = 3
    """How many training and how many validation pictures the sheet of each epoch shows."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] | None = 30.0
    """Minutes between checkpoints within an epoch; null: there is one after each epoch only."""
    keep_every: Annotated[int, Field(ge=1)] | None = None
    """Keep the generator of every so many epochs, in generators/ of the run folder; null: of none."""
    initial_weights: Text | None = None
    """The generator that the first stage starts from: a file, a run folder or the name of a shipped model."""
    data: Data
    network: AnyNetwork = SRResNet()
    batches: Batches = Batches()
    pixel: PixelStage = PixelStage()
    gan: GanStage = GanStage()

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
            if self.gan.teacher is not None:
                raise ValueError(f"gan.teacher = {self.gan.teacher!r}: must be null with network.fusion: {self.fusion}")
        for key in ("low_resolution", "validation_low_resolution"):
            if (folder := getattr(self.data, key)) is not None:
                self._pairs_stay_as_they_are(f"data.{key} = {folder!r}")
        if self.data.validation_pictures is None and self.data.validation_low_resolution is not None:
            raise ValueError("data.validation_low_resolution: only counts with data.validation_pictures")
        if self.pixel.freeze == "picture":
            if self.fusion not in WITH_OWN_LAYERS:
                raise ValueError("pixel.freeze = 'picture': only counts with network.fusion: late, slow or recurrent, "
                                 "which have layers of their own")  # fmt: skip
            if self.initial_weights is None:
                raise ValueError("pixel.freeze = 'picture': needs initial_weights, which are to stay as they are")
        if self.gan.epochs and self.gan.adversarial_weight and self.network.discriminator == "unet" and crop % 8:
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
        return self

    def _pairs_stay_as_they_are(self, given):
        needed = {
            "data.fit": (self.data.fit, "tile"),
            "data.shrink": (self.data.shrink, 1.0),
            "batches.degradation": (self.batches.degradation, "bicubic"),
            "network.fusion": (self.fusion, "none"),
        }
        for key, (value, wanted) in needed.items():
            if value != wanted:
                raise ValueError(
                    f"{key} = {value!r}: must be {wanted!r} with {given}, whose pictures are cut as they are"
                )

    @classmethod
    def load(cls, source, changes=(), network_of=None):
        """Read a configuration.

        Args:
            source: path of a YAML file, else the name of a bundled one, with or without `.yaml`.
            changes: `key=value` strings; the key is dotted, the value is YAML or, where the key takes text, taken as it
                stands.
            network_of: gives the section `network` of a model, as `srgan.train.initial.network_of` does, for a configuration
                with `initial_weights` that names no `network.generator`; its own keys count above that.

        Raises:
            UsageError: the file is missing or no YAML, or a key or value is refused.
        """
        tree = read_tree(find_config(source))
        for change in changes:
            apply_change(tree, change, cls)
        if network_of and isinstance(initial := tree.get("initial_weights"), str):
            own = tree.get("network") or {}
            if isinstance(own, dict) and "generator" not in own:
                tree["network"] = network_of(initial) | own
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UsageError(f"{source}: {explain(error.errors()[0], cls)}") from error

    @property
    def fusion(self):
        """Where the generator's frames meet, "none" for one of pictures."""
        return getattr(self.network, "fusion", "none")

    def flat(self):
        """Every value by its dotted key."""
        return dict(_flatten(self.model_dump(mode="json")))

    def to_yaml(self) -> str:
        """The configuration as YAML, which `load` reads again."""
        return to_yaml(self.model_dump(mode="json"))


def _flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

"""The sections `pixel` and `gan`: the two stages of training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srgan.config.section import Count, Fraction, NotNegative, Rate, Section, Text

VGG19_LAYERS = [f"block{b}_conv{c}" for b, last in enumerate((2, 2, 4, 4, 4), 1) for c in range(1, last + 1)]


class Stage(Section):
    """What both stages have: epochs, the optimizer and its learning rate."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """0 leaves the stage out."""
    optimizer: Literal["adam", "muon"] = "adam"
    """Muon is for kernels; other weights get Adam."""
    learning_rate: Rate = 1e-4
    """After the warm-up, before the schedule lowers it."""
    schedule: Literal["constant", "step", "cosine"] = "constant"
    """How the learning rate falls over the stage."""
    drops: list[Count] = []
    """With `schedule: step`, the epochs after which the learning rate drops to a tenth."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly from 0."""
    beta_1: Fraction = 0.9
    """Decay of Adam's mean of gradients."""
    beta_2: Fraction = 0.999
    """Decay of Adam's mean of squared gradients."""
    clip_norm: NotNegative = 0.0
    """The gradient of all weights together is scaled down to this norm; 0: it is not."""
    average: Fraction = 0.0
    """Momentum of a moving average of the weights, which is used to validate and is saved; 0: no average."""

    patience: Count | None = None
    """The stage ends after so many epochs without a better validation score, which is PSNR-Y in the pixel stage and
    LPIPS in the GAN stage; null: it has all its epochs."""

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


class PixelStage(Stage):
    """The first stage: the generator alone, by pixels."""

    epochs: Annotated[int, Field(ge=0)] = 20
    """0 leaves the stage out."""
    loss: Literal["mse", "l1", "charbonnier"] = "mse"
    """Pixel loss; mse as published."""
    freeze: Literal["none", "picture"] = "none"
    """`picture` freezes the weights that initial_weights has from a still-image generator."""


class GanStage(Stage):
    """The second stage: generator against discriminator, unless adversarial_weight is 0. The paper's values are the defaults."""

    epochs: Annotated[int, Field(ge=0)] = 10
    """0 leaves the stage out."""
    teacher: Text | None = None
    """Model whose enlargement of the low resolution stands for the original in every loss (distillation): a file, a run
    folder or the name of a shipped model; null: the original itself."""
    pixel_loss: Literal["mse", "l1", "charbonnier"] = "mse"
    """Kind of pixel loss."""
    pixel_weight: NotNegative = 0.0
    """Weight of the pixel loss."""
    content_weight: NotNegative = 1.0
    """Weight of the content loss on VGG19 features."""
    content_loss: Literal["mse", "l1"] = "mse"
    """Kind of content loss."""
    content_layers: dict[str, NotNegative] = {"block5_conv4": 1.0}
    """VGG19 layers and their weights."""
    content_before_activation: bool = False
    """Compare features before the ReLU instead of after it."""
    content_scale: Annotated[float, Field(gt=0)] | Literal["unit"] = 1 / 12.75
    """Factor of the features before they are compared; `unit` divides each feature map by its mean magnitude."""
    vgg19: Text | None = None
    """File of VGG19's weights; null: Keras' ImageNet weights, downloaded once; `random`: untrained."""
    adversarial: Literal["vanilla", "relativistic", "hinge", "least_squares"] = "vanilla"
    """Kind of adversarial loss."""
    adversarial_weight: NotNegative = 1e-3
    """Weight of the adversarial loss; 0: no discriminator is trained."""
    discriminator_rate: Annotated[float, Field(gt=0)] = 1.0
    """Learning rate of the discriminator, relative to the generator's."""
    initial_discriminator: Text | None = None
    """Run folder whose discriminator to start from, as its GAN stage left it; null: a new one."""
    artifact_weight: NotNegative = 0.0
    """Weight of locally discriminative learning, whose steady generator has the momentum `average`."""
    flat_weight: NotNegative = 0.0
    """Weight of the noise where the original is flat."""
    flat_level: NotNegative = 5.0
    """An original is flat where its luma deviates less than this, in levels of 255, within 7 x 7 pixels."""
    chroma_weight: NotNegative = 0.0
    """Weight of the difference in chroma."""
    checkerboard_weight: NotNegative = 0.0
    """Weight of the checkerboard artifacts: what repeats from one block of sub-pixels to the next."""
    colour_weight: NotNegative = 0.0
    """Weight of the difference in mean colour over windows of 32 pixels."""

    @model_validator(mode="after")
    def _losses_fit(self):
        if self.initial_discriminator and not self.adversarial_weight:
            raise ValueError(
                f"initial_discriminator = {self.initial_discriminator!r}: only counts with an adversarial_weight above 0"
            )
        if self.artifact_weight and not self.average:
            raise ValueError(
                f"artifact_weight = {self.artifact_weight}: needs an average of the weights, as in average: 0.999"
            )
        for layer in self.content_layers:
            if layer not in VGG19_LAYERS:
                raise ValueError(f"content_layers = {layer}: no convolution of VGG19 ({', '.join(VGG19_LAYERS)})")
        if self.content_weight and not self.weighted_layers():
            raise ValueError("content_layers: name a layer with a weight, or set content_weight to 0")
        if self.epochs and not (self.pixel_weight or self.content_weight or self.adversarial_weight):
            raise ValueError("pixel_weight, content_weight, adversarial_weight: one must be above 0")
        return self

    def weighted_layers(self) -> dict[str, float]:
        """The content layers that have a weight."""
        return {name: weight for name, weight in self.content_layers.items() if weight}

"""Builds the networks, the model of a stage and its batches from a configuration."""

import inspect

import keras

from srgan.config.schema import Config
from srgan.config.stages import GanStage
from srgan.networks.discriminators import DISCRIMINATORS
from srgan.networks.generators import GENERATORS
from srgan.networks.over_time import over_frames, temporal_layers, video_srresnet
from srgan.networks.vgg19 import vgg19_features
from srgan.train.checkpoint import STAGES
from srgan.train.data.batches import Batches
from srgan.train.data.prepare import Store
from srgan.train.data.windows import WindowBatches
from srgan.train.distribution import list_devices, machine
from srgan.train.objective import SRGAN
from srgan.train.optimizers import OPTIMIZERS, Schedule
from srgan.train.weights import load_teacher

# The arguments of SRGAN that are keys of the section `gan`.
_AS_CONFIGURED = (
    *("pixel_loss", "pixel_weight", "content_loss", "content_weight", "content_scale", "adversarial"),
    *("adversarial_weight", "artifact_weight", "flat_weight", "flat_level", "chroma_weight", "colour_weight"),
)


def build_generator(config: Config) -> keras.Model:
    """The generator of a configuration, in Keras' current precision."""
    build = GENERATORS[config.network.generator] if config.fusion == "none" else video_srresnet
    return build(**{key: getattr(config.network, key) for key in inspect.signature(build).parameters})


def build_discriminator(config: Config) -> keras.Model:
    """The discriminator of a configuration, in Keras' current precision."""
    network = config.network
    normalization = network.discriminator_normalization
    return DISCRIMINATORS[network.discriminator](
        filters=network.discriminator_filters,
        crop=config.batches.crop,
        **({} if normalization is None else {"normalization": normalization}),
    )


def build_features(options: GanStage) -> keras.Model | None:
    """The VGG19 features of the content loss, or None where it is not used."""
    if not (options.epochs and options.content_weight):
        return None
    return vgg19_features(
        options.weighted_layers(), weights=options.vgg19, before_activation=options.content_before_activation
    )


def build_model(stage: str, config: Config, generator: keras.Model, features: keras.Model | None = None) -> SRGAN:
    """The model of a stage, compiled. `features` are those of the content loss, from srgan.networks.vgg19."""
    options = getattr(config, stage)
    frozen = getattr(options, "freeze", "none") == "picture"
    trained = temporal_layers(generator) if frozen else ()
    for layer in generator.layers:
        layer.trainable = not frozen or layer.name in trained
    if config.fusion == "recurrent":
        generator = over_frames(generator, config.network.frames)
    if stage == "pixel":
        model = SRGAN(generator, pixel_loss=options.loss, pixel_weight=1.0, content_weight=0.0, adversarial_weight=0.0)
    else:
        model = SRGAN(
            generator,
            build_discriminator(config) if options.adversarial_weight else None,
            features,
            teacher=load_teacher(options.teacher, config.network.scale) if options.teacher else None,
            **{key: getattr(options, key) for key in _AS_CONFIGURED},
            content_layer_weights=options.weighted_layers().values(),
            lattice_weight=options.checkerboard_weight,
            average=options.average ** (1 / config.batches.accumulate),  # applied after each batch
        )
    optimizer = OPTIMIZERS[options.optimizer](
        Schedule(options, config.batches.steps_per_epoch, config.batches.accumulate),
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        global_clipnorm=options.clip_norm or None,
        use_ema=options.average > 0,
        ema_momentum=options.average,
        gradient_accumulation_steps=config.batches.accumulate if config.batches.accumulate > 1 else None,
    )
    model.compile(optimizer, jit_compile=use_xla())
    model.build(None)
    optimizer.build(model.trainable_variables)
    if model.discriminator is not None:
        optimizer.scale_rate(model.discriminator.trainable_variables, options.discriminator_rate)
    return model


def use_xla() -> bool:
    """Keras' own choice, but not on a CPU with TensorFlow, whose own kernels are faster there."""
    on_cpu = all(device.lower().startswith("cpu") for device in list_devices())
    return False if keras.backend.backend() == "tensorflow" and on_cpu else "auto"


def build_batches(stage: str, config: Config, stores: dict[str, Store]) -> keras.utils.PyDataset:
    """The batches of a stage; `stores` are named by the keys of their pictures or clips in the configuration."""
    options = {
        "size": config.batches.size,
        "crop": config.batches.crop,
        "steps": config.batches.steps_per_epoch * config.batches.accumulate,
        "seed": (config.seed, STAGES.index(stage)),  # each stage sees its own crops
        "augment": config.batches.augment,
        "share": machine(),
        "workers": config.batches.workers,
    }
    if config.fusion == "none":
        kind = {"degradation": config.batches.degradation, "photograph": config.batches.photograph}
        return Batches(stores["pictures"], **kind, **options)
    return WindowBatches(
        stores["pictures"],
        stores.get("clips"),
        frames=config.network.frames,
        share_of_clips=config.batches.clip_share,
        all_frames=config.fusion == "recurrent",
        **options,
    )

"""A training run: the stages, what happens after each epoch, and how a stopped run goes on.

A run folder holds

    config.yaml             the resolved configuration; a run is continued with the same one, but see `_refuse_other_runs`
    environment.json        versions, backend, devices, seed, epochs and digests of the pictures, at each start
    log.csv                 a line an epoch
    tensorboard/            the same for TensorBoard
    samples/                a sheet an epoch: low | bicubic | GAN | high
    checkpoint/             the whole state after the last epoch, one file
    generator-pixel.keras   the generator after the pixel stage
    generator.keras         the generator so far

A run that stops, whatever stops it, goes on at its last epoch, and ends with the weights of one that did not stop.
"""

import inspect
import json
import os
import platform
import sys
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from itertools import zip_longest
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock, Timeout
from keras import ops

from srgan.callbacks import (
    AfterEpoch,
    Checkpoint,
    Progress,
    StopAtInterrupt,
    StopAtNaN,
    bicubic_one,
    validation_psnr_y,
)
from srgan.config import Config
from srgan.data.batches import Batches
from srgan.data.coco import choose_pictures
from srgan.data.degradation import degraded
from srgan.data.prepare import default_root, prepare
from srgan.data.windows import WindowBatches, Windows
from srgan.distribution import (
    agree,
    build_scope,
    choose_devices,
    feed,
    fit_scope,
    is_first_machine,
    machine,
    one_device,
    strategy_over,
    together,
)
from srgan.engines import find_model
from srgan.errors import SRGANError, UsageError
from srgan.gan import SRGAN
from srgan.images import atomic_path
from srgan.muon import Muon
from srgan.networks.discriminator import DISCRIMINATORS
from srgan.networks.generator import GENERATORS, load_generator
from srgan.networks.layers import kind_of
from srgan.networks.vgg19 import vgg19_features
from srgan.networks.video import OWN, frames_of, is_recurrent, over_frames, start_from_picture, video_srresnet

STAGES = ("pixel", "gan")
# What may change from one start of a run to the next. That moved pictures are the same ones, their digests tell.
PLACES = (
    "pictures",
    "annotations",
    "validation_pictures",
    "validation_annotations",
    "clips",
    "validation_clips",
    "store",
)
CHANGEABLE = ("batches.workers", "distribute", "samples", *(f"data.{key}" for key in PLACES))
OPTIMIZERS = {"adam": keras.optimizers.Adam, "muon": Muon}
VALIDATION_WINDOWS = 32  # of successive frames: enough to see whether it gets better
PACKAGES = ("srgan", "keras", "tensorflow", "jax", "torch", "numpy", "pillow", "pycocotools")


def train(config: Config, output) -> Path:
    """Train by `config` in the run folder `output`, or continue what is there.

    Returns:
        Path of the finished `generator.keras`.

    Raises:
        UsageError: the folder holds a run of another configuration, whose keys are named, or one without its
            checkpoint. Or the devices cannot share a
            batch: see srgan.distribution.
        SRGANError: pictures or weights are missing, another process trains in this folder, a loss is no number, or the
            run stopped on another machine.
    """
    output = Path(output)
    keras.utils.set_random_seed(config.seed)  # before machines join, or Keras makes them agree on a seed of its own
    devices = choose_devices(config)
    try:
        with ExitStack() as stack:
            with together():
                _refuse_other_runs(config, output)
                if is_first_machine():
                    stack.enter_context(_own(output))
            return _train(config, output, devices)
    except Timeout:
        raise SRGANError(f"{output}: another srgan-train is at work in this folder") from None
    except OSError as error:
        raise SRGANError(f"{error.filename or output}: {error.strerror or error}") from error


@contextmanager
def _own(output):
    """Make the run folder and keep other processes out of it in the block; remove it if nothing is begun."""
    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output / ".lock", timeout=0):
        for part in output.rglob(".*.part*"):
            part.unlink()  # left by a process that was killed while it wrote
        try:
            yield
        except SRGANError:
            if not (output / "config.yaml").exists():
                with suppress(OSError):
                    (output / ".lock").unlink()
                    output.rmdir()
            raise


def _train(config, output, devices):
    keras.config.set_dtype_policy(config.precision)
    # Whatever may be missing is found out now, not after days of the first stage.
    if config.fusion == "recurrent":
        import srgan.flow  # noqa: F401  needs OpenCV
    for turn in (True, False):  # the first machine prepares the pictures, and the others find them prepared
        with together():
            if is_first_machine() == turn:
                stores = _stores(config)
    seen = [config.to_yaml(), _epochs_done(output), *(store.digest for store in stores.values())]
    agree(seen, f"{output}: the machines differ in configuration, pictures or checkpoint; start the same command on all, "
                "with the folder on a file system that they share")  # fmt: skip
    strategy = strategy_over(devices)
    with together():
        with build_scope(strategy):
            features = build_features(config.gan)
            generator = build_generator(config)
        if config.initial_weights and not any(_epochs_done(output)):
            _start_from(config.initial_weights, generator)
    examples = _examples(config, stores)
    with together():
        if is_first_machine():
            _refuse_other_pictures(output, stores)
            with atomic_path(output / "config.yaml") as temporary:
                temporary.write_text(config.to_yaml(), encoding="utf-8")
            _describe(config, output, devices, stores, examples)
    for stage in STAGES:
        if getattr(config, stage).epochs:
            _train_stage(stage, config, output, strategy, generator, features, stores, examples)
    return output / "generator.keras"


def build_generator(config):
    """The generator of a configuration, in Keras' current precision."""
    build = GENERATORS[config.network.generator] if config.fusion == "none" else video_srresnet
    return build(**{key: getattr(config.network, key) for key in inspect.signature(build).parameters})


def build_discriminator(config):
    """The discriminator of a configuration, in Keras' current precision."""
    network = config.network
    normalization = network.discriminator_normalization
    return DISCRIMINATORS[network.discriminator](
        filters=network.discriminator_filters,
        crop=config.batches.crop,
        **({} if normalization is None else {"normalization": normalization}),
    )


def build_features(options):
    """The VGG19 features of the content loss, or None where it is not used."""
    if not (options.epochs and options.content_weight):
        return None
    return vgg19_features(
        options.weighted_layers(), weights=options.vgg19, before_activation=options.content_before_activation
    )


def build_model(stage, config, generator, features=None) -> SRGAN:
    """The model of a stage, compiled. `features` are those of the content loss, from srgan.networks.vgg19."""
    options = getattr(config, stage)
    for layer in generator.layers:
        layer.trainable = getattr(options, "freeze", "none") == "none" or layer.name.startswith(OWN)
    if config.fusion == "recurrent":
        generator = over_frames(generator, config.network.frames)
    if stage == "pixel":
        model = SRGAN(generator, pixel_loss=options.loss, pixel_weight=1.0, content_weight=0.0, adversarial_weight=0.0)
    else:
        model = SRGAN(
            generator,
            build_discriminator(config),
            features,
            pixel_loss=options.pixel_loss,
            pixel_weight=options.pixel_weight,
            content_loss=options.content_loss,
            content_weight=options.content_weight,
            content_scale=options.content_scale,
            content_layer_weights=options.weighted_layers().values(),
            adversarial=options.adversarial,
            adversarial_weight=options.adversarial_weight,
            artifact_weight=options.artifact_weight,
            lattice_weight=options.lattice_weight,
            colour_weight=options.colour_weight,
            average=options.average,
        )
    optimizer = OPTIMIZERS[options.optimizer](
        Schedule(options, config.batches.steps_per_epoch),
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        global_clipnorm=options.clip_norm or None,
        use_ema=options.average > 0,
        ema_momentum=options.average,
    )
    model.compile(optimizer, jit_compile=_use_xla())
    model.build(None)
    optimizer.build(model.trainable_variables)
    return model


def _use_xla():
    """Keras' own choice, but not on a CPU with TensorFlow, whose own kernels are faster there."""
    on_cpu = all(device.lower().startswith("cpu") for device in keras.distribution.list_devices())
    return False if keras.backend.backend() == "tensorflow" and on_cpu else "auto"


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at each step of a stage: a linear rise over the warm-up, then constant, in steps or a cosine."""

    def __init__(self, options, steps_per_epoch):
        self.options, self.steps_per_epoch = options, steps_per_epoch

    def __call__(self, step):
        options = self.options
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(options.learning_rate, "float32")
        if options.schedule == "step":
            for epoch in options.drops:
                rate = ops.where(step >= epoch * self.steps_per_epoch, rate * 0.1, rate)
        elif options.schedule == "cosine":
            rate *= 0.5 * (1.0 + ops.cos(np.pi * ops.minimum(step / (options.epochs * self.steps_per_epoch), 1.0)))
        if options.warmup_steps:
            rate *= ops.minimum((step + 1.0) / options.warmup_steps, 1.0)
        return rate

    def get_config(self):
        return {"options": self.options, "steps_per_epoch": self.steps_per_epoch}


def _train_stage(stage, config, output, strategy, generator, features, stores, examples):
    """Train one stage, or what is left of it. A finished one only hands its generator on."""
    options, steps = getattr(config, stage), config.batches.steps_per_epoch
    checkpoint = Checkpoint(output / "checkpoint", stage)
    first_epoch = checkpoint.epoch()
    later = any(getattr(config, name).epochs and Checkpoint(output / "checkpoint", name).epoch()
                for name in STAGES[STAGES.index(stage) + 1 :])  # fmt: skip
    saved = output / ("generator-pixel.keras" if stage == "pixel" else "generator.keras")
    if later or first_epoch >= options.epochs:
        _copy_weights(load_generator(saved), generator, saved)
        return
    # A discriminator starts from the same weights whether or not the stage before it ran in this process.
    keras.utils.set_random_seed(config.seed + STAGES.index(stage))
    with together():
        with build_scope(strategy):
            model = build_model(stage, config, generator, features)
        if first_epoch:
            checkpoint.load(model)
    if is_first_machine():
        done = f"continuing after epoch {first_epoch} of {options.epochs}"
        print(f"{stage}: {done if first_epoch else f'{options.epochs} epochs of {steps} steps'}")
    batches = build_batches(stage, config, stores)
    with _precision("float32"):  # the saved generator computes in float32, whatever it was trained in
        snapshot = build_generator(config)
    snapshot.compile(jit_compile=_use_xla())
    after = AfterEpoch(stage, output, checkpoint, snapshot, *examples, steps=steps, samples=config.samples)
    after.on_epoch_end = one_device()(after.on_epoch_end)  # which upscales one picture at a time
    with fit_scope(strategy), StopAtInterrupt() as interrupt:
        model.fit(
            feed(batches, strategy),
            epochs=options.epochs,
            initial_epoch=first_epoch,
            verbose=0,
            shuffle=False,  # the batches have an order of their own, which the seed gives
            callbacks=[
                keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(batches, "epoch", epoch)),
                StopAtNaN(stage, output),
                *([Progress(stage, options.epochs, steps)] if is_first_machine() else []),
                after,
                interrupt,
            ],
        )
    _copy_weights(snapshot, generator, saved)


def build_batches(stage, config, stores):
    """What a stage is trained on; `stores` by the keys of their pictures or clips in the configuration."""
    options = {
        "size": config.batches.size,
        "crop": config.batches.crop,
        "steps": config.batches.steps_per_epoch,
        "seed": (config.seed, STAGES.index(stage)),  # each stage sees its own crops
        "augment": config.batches.augment,
        "share": machine(),
        "workers": config.batches.workers,
    }
    if config.fusion == "none":
        return Batches(stores["pictures"], degradation=config.batches.degradation, **options)
    return WindowBatches(
        stores["pictures"],
        stores.get("clips"),
        frames=config.network.frames,
        share_of_clips=config.batches.clips,
        all_frames=config.fusion == "recurrent",
        **options,
    )


@contextmanager
def _precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _start_from(name, generator):
    """Give the generator the weights of a model; one over time may get those of a generator of pictures."""
    path = find_model(name)
    source = load_generator(path)
    if _is_of_pictures(source) and not _is_of_pictures(generator):
        start_from_picture(generator, source, path)
    else:
        _copy_weights(source, generator, path)


def _is_of_pictures(generator):
    return frames_of(generator) == 1 and not is_recurrent(generator)


def _copy_weights(source, generator, path):
    """Put the weights of `source` into `generator`.

    Raises:
        SRGANError: they are of different networks; the first weight or layer that differs is named.
    """
    misfit = f"{path}: does not fit the network of the configuration"
    by_name = {variable.path: variable for variable in source.variables}
    for variable in generator.variables:
        other = by_name.pop(variable.path, None)
        if other is None or tuple(other.shape) != tuple(variable.shape):
            has = "has none" if other is None else f"has {tuple(other.shape)}"
            raise SRGANError(f"{misfit}: {variable.path} is {tuple(variable.shape)}, the file {has}")
        variable.assign(ops.cast(other, variable.dtype))
    if by_name:
        raise SRGANError(f"{misfit}: it also has {next(iter(by_name))}")
    # Without weights of their own: activations, and whether there is a skip from input to output.
    theirs, ours = ([(layer.name, kind_of(layer)) for layer in model.layers] for model in (source, generator))
    for (name, kind), (wanted, wanted_kind) in zip_longest(theirs, ours, fillvalue=("the end", "nothing")):
        if (name, kind) != (wanted, wanted_kind):
            raise SRGANError(f"{misfit}: where that has {wanted} ({wanted_kind}), the file has {name} ({kind})")


def _epochs_done(output):
    """How many epochs of each stage the checkpoint has behind it."""
    return [Checkpoint(output / "checkpoint", stage).epoch() for stage in STAGES]


def _epochs_logged(output):
    file = output / "log.csv"
    return len(file.read_text().splitlines()) - 1 if file.exists() else 0


def _refuse_other_runs(config, output):
    """See that the folder is free, or belongs to a run of this configuration, or to one that finished no epoch.

    A run whose checkpoint was deleted is refused, too: its generator would be overwritten.

    What does not matter to the weights may change, and what only matters to epochs to come: how many they are, and all
    about a GAN stage that has not begun. A cosine is stretched to the new end, which makes the learning rate jump.
    """
    file = output / "config.yaml"
    if not file.exists():
        if output.is_dir() and any(not path.name.startswith(".") for path in output.iterdir()):
            raise UsageError(f"{output}: holds files and no run; give a new folder as --output")
        return
    done = _epochs_done(output)
    if not any(done):
        if _epochs_logged(output) and not (output / "checkpoint").is_dir():  # which there is before an epoch is logged
            raise UsageError(
                f"{output}: holds a run whose checkpoint is gone, so that it cannot go on and would be overwritten; "
                f"give another --output, and --set initial_weights={output} to begin with what was learnt"
            )
        return
    try:
        before = Config.load(file).flat()
    except UsageError as error:
        raise UsageError(f"{output}: holds a run that this version cannot continue ({error})") from error
    now = config.flat()
    pixel_done, gan_done = done
    stage, least = ("gan", gan_done) if gan_done else ("pixel", pixel_done)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and key not in CHANGEABLE]
    if now[f"{stage}.epochs"] >= least:
        changed = [key for key in changed if key != f"{stage}.epochs"]
    if not gan_done:
        changed = [key for key in changed if not key.startswith(("gan.", "network.discriminator"))]
    if changed:
        listed = ", ".join(f"{key} (was {before.get(key)!r}, is {now.get(key)!r})" for key in changed)
        raise UsageError(
            f"{output}: holds a run of another configuration: {listed}. Give another --output, or the same values"
        )


def _stores(config):
    data, scale = config.data, config.network.scale
    root = Path(data.store).expanduser() if data.store else default_root()
    training, validation = choose_pictures(data, config.seed, root)
    if not validation:
        raise SRGANError("data.validation_count: no picture is left for validation")
    options = {"size": data.size, "scale": scale, "fit": data.fit, "shrink": data.shrink}
    stores = {
        "pictures": prepare(training, root, **options, label="training pictures"),
        "validation_pictures": prepare(validation, root, **options, label="validation pictures"),
    }
    if data.clips or data.validation_clips:
        from srgan.data.films import choose_clips, prepare_clips  # which needs PyAV

        for key, clips in choose_clips(data).items():
            label = "training clips" if key == "clips" else "validation clips"
            stores[key] = prepare_clips(clips, root, frames=config.network.frames, **options, label=label)
    for store in stores.values() if is_first_machine() else []:
        for problem in store.skipped:
            print(f"skipped: {problem}", file=sys.stderr)
    return stores


def _examples(config, stores):
    """What is shown of the training, and what is shown and validated: stores of pictures, or a few windows of frames."""
    kinds, shown = ("pictures", "validation_pictures"), []
    for index, kind in enumerate(kinds):
        store, seed = stores[kind], (config.seed, len(STAGES) + index)
        if config.fusion != "none":
            clips = stores.get(kind.replace("pictures", "clips"))
            count = VALIDATION_WINDOWS if kind == "validation_pictures" else max(1, config.samples)
            store = Windows.of(store, clips, count, frames=config.network.frames, crop=config.batches.crop, seed=seed)
        elif config.batches.degradation == "realistic":  # training degrades each crop anew
            store = degraded(store, seed)
        shown.append(store)
    return shown


def _starts(output):
    """What environment.json has of the earlier starts of a run that has finished an epoch."""
    file = output / "environment.json"
    return json.loads(file.read_text(encoding="utf-8")) if any(_epochs_done(output)) and file.exists() else []


def _digests(stores):
    return {key: store.digest for key, store in stores.items()}


def _refuse_other_pictures(output, stores):
    """See that the pictures are those of the epochs that are done."""
    now = _digests(stores)
    before = next(
        (start["digests"] for start in _starts(output) if "digests" in start), now
    )  # earlier versions kept none
    changed = [f"data.{key}" for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        raise SRGANError(
            f"{output}: the pictures have changed since this run began, or are decoded otherwise ({', '.join(changed)}); "
            "put them back to go on, or give another --output"
        )


def _describe(config, output, devices, stores, examples):
    """Say what is about to happen, and note it in the run folder: an entry for every start of the run."""
    starts = _starts(output)
    if starts:
        bicubic = starts[0]["bicubic_psnr_y"]
    else:
        validation = examples[1]
        bicubic = validation_psnr_y(validation, lambda lr: bicubic_one(lr, validation.size))
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    backend = keras.backend.backend()
    skipped = [problem for store in stores.values() for problem in store.skipped]
    counts = {key if key.startswith("validation") else f"training_{key}": store.count for key, store in stores.items()}
    starts.append(
        {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "backend": backend,
            "devices": devices,
            "precision": config.precision,
            "seed": config.seed,
            "versions": versions,
            "epochs": {stage: getattr(config, stage).epochs for stage in STAGES},
            "digests": _digests(stores),
            **counts,
            "skipped": skipped,
            "bicubic_psnr_y": bicubic,
        }
    )
    with atomic_path(output / "environment.json") as temporary:
        temporary.write_text(json.dumps(starts, indent=1), encoding="utf-8")
    clips = "".join(
        f", {count} windows of {key.replace('_', ' ')}" for key, count in counts.items() if key.endswith("clips")
    )
    print(
        f"{backend} {versions.get(backend, '')} on {', '.join(devices)}, {config.precision}; "
        f"{counts['training_pictures']} training and {counts['validation_pictures']} validation pictures{clips}"
        f"{f', {len(skipped)} skipped' if skipped else ''}"
    )
    print(f"run folder {output}; bicubic has a validation PSNR-Y of {bicubic:.2f} dB", flush=True)

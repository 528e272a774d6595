"""A training run: the stages, what happens after each epoch, and how a stopped run goes on.

A run folder holds

    config.yaml             the resolved configuration; a run is continued with the same one only
    environment.json        versions, backend, devices and seed
    log.csv                 a line an epoch
    tensorboard/            the same, where TensorFlow's summaries are there
    samples/                a sheet an epoch: low | bicubic | GAN | high
    checkpoint/             the whole state after the last epoch, one file
    generator-pixel.keras   the generator after the pixel stage
    generator.keras         the generator so far

A run that stops, whatever stops it, goes on at its last epoch, and ends with the weights of one that did not stop.
"""

import csv
import json
import os
import platform
import sys
import time
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock, Timeout
from keras import ops
from tqdm import tqdm

from srgan.config import Config
from srgan.data.batches import Batches
from srgan.data.coco import choose_pictures
from srgan.data.prepare import default_root, prepare
from srgan.errors import SRGANError, UsageError
from srgan.gan import SRGAN
from srgan.images import atomic_path, resize_bicubic, to_float, to_uint8
from srgan.metrics import psnr_y
from srgan.networks.discriminator import DISCRIMINATORS
from srgan.networks.generator import GENERATORS, load_generator
from srgan.networks.vgg19 import vgg19_features
from srgan.sheets import sheet

STAGES = ("pixel", "gan")
PACKAGES = ("srgan", "keras", "tensorflow", "jax", "torch", "numpy", "pillow", "pycocotools")
LOSSES = ("pixel", "content", "adversarial", "discriminator")
COLUMNS = ["stage", "epoch", "step", "seconds", "learning_rate", "loss", *(f"loss/{name}" for name in LOSSES)]
COLUMNS += ["discriminator/real", "discriminator/fake", "validation/psnr_y"]


def train(config: Config, output) -> Path:
    """Train by `config` in the run folder `output`, or continue what is there.

    Returns:
        Path of the finished `generator.keras`.

    Raises:
        UsageError: the folder holds a run of another configuration; the keys are named.
        SRGANError: pictures or weights are missing, another process trains in this folder, or a loss is no number.
    """
    output = Path(output)
    _claim(config, output)
    try:
        with FileLock(output / ".lock", timeout=0):
            return _train(config, output)
    except Timeout:
        raise SRGANError(f"{output}: another srgan-train is at work in this folder") from None


def _train(config, output):
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    stores = _stores(config)
    _describe(config, output, *stores)
    generator = build_generator(config)
    if config.initial_weights:
        _copy_weights(load_generator(config.initial_weights), generator, config.initial_weights)
    for stage in STAGES:
        if getattr(config, stage).epochs:
            _train_stage(stage, config, output, generator, *stores)
    return output / "generator.keras"


def build_generator(config):
    """The generator of a configuration, in Keras' current precision."""
    network = config.network
    keys = ("filters", "blocks", "scale", "normalization", "activation", "skip")
    return GENERATORS[network.generator](**{key: getattr(network, key) for key in keys})


def build_discriminator(config):
    """The discriminator of a configuration, in Keras' current precision."""
    network = config.network
    return DISCRIMINATORS[network.discriminator](
        filters=network.discriminator_filters,
        crop=config.batches.crop,
        normalization=network.discriminator_normalization,
    )


def build_model(stage, config, generator) -> SRGAN:
    """The model of a stage, compiled."""
    options = getattr(config, stage)
    if stage == "pixel":
        model = SRGAN(generator, pixel_loss=options.loss, pixel_weight=1.0, content_weight=0.0, adversarial_weight=0.0)
    else:
        features = None
        layers = {name: weight for name, weight in options.content_layers.items() if weight}
        if options.content_weight:
            features = vgg19_features(layers, weights=options.vgg19, before_activation=options.content_before_activation)
        model = SRGAN(
            generator,
            build_discriminator(config),
            features,
            pixel_loss=options.pixel_loss,
            pixel_weight=options.pixel_weight,
            content_loss=options.content_loss,
            content_weight=options.content_weight,
            content_scale=options.content_scale,
            content_layer_weights=layers.values(),
            adversarial=options.adversarial,
            adversarial_weight=options.adversarial_weight,
        )
    optimizer = keras.optimizers.Adam(
        Schedule(options, config.batches.steps_per_epoch),
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        use_ema=options.average > 0,
        ema_momentum=options.average,
    )
    # XLA gains nothing on a CPU with TensorFlow, whose own kernels are faster there.
    on_cpu = all(device.lower().startswith("cpu") for device in keras.distribution.list_devices())
    model.compile(optimizer, jit_compile=False if keras.backend.backend() == "tensorflow" and on_cpu else "auto")
    model.build(None)
    optimizer.build(model.trainable_variables)
    return model


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


def _train_stage(stage, config, output, generator, store, validation):
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
    model = build_model(stage, config, generator)
    if first_epoch:
        print(f"{stage}: continuing after epoch {first_epoch} of {options.epochs}")
        checkpoint.load(model)
    else:
        print(f"{stage}: {options.epochs} epochs of {steps} steps")
    batches = Batches(
        store,
        size=config.batches.size,
        crop=config.batches.crop,
        steps=steps,
        seed=(config.seed, STAGES.index(stage)),  # each stage sees its own crops
        augment=config.batches.augment,
        workers=config.batches.workers,
    )
    after = AfterEpoch(stage, config, output, checkpoint, store, validation)
    model.fit(
        batches,
        epochs=options.epochs,
        initial_epoch=first_epoch,
        verbose=0,
        shuffle=False,  # the batches have an order of their own, which the seed gives
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(batches, "epoch", epoch)),
            StopAtNaN(stage, output),
            Progress(stage, options.epochs, steps),
            after,
        ],
    )
    _copy_weights(after.snapshot, generator, saved)


@contextmanager
def averaged_weights(model):
    """Within the block the model has the moving average of its weights, where its optimizer keeps one."""
    if not model.optimizer.use_ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


class AfterEpoch(keras.callbacks.Callback):
    """What follows an epoch, in this order: validate, draw the samples, log, save the generator, and the checkpoint last.

    The checkpoint is what makes the epoch count. A kill before it repeats the epoch, and with it its line and files.
    """

    def __init__(self, stage, config, output, checkpoint, store, validation):
        super().__init__()
        self.stage, self.config, self.output, self.checkpoint = stage, config, output, checkpoint
        self.store, self.validation = store, validation
        with _precision("float32"):  # the saved generator computes in float32, whatever it was trained in
            self.snapshot = build_generator(config)
        self.snapshot.compile(jit_compile=False if keras.backend.backend() == "tensorflow" else "auto")
        self.log = Log(output, stage)

    def on_train_begin(self, logs=None):
        self.log.cut(self.checkpoint.epoch())

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model):
            self.snapshot.set_weights(self.model.generator.get_weights())
        if not all(np.isfinite(weights).all() for weights in self.snapshot.get_weights()):
            raise SRGANError(_stopped_by_nan("a weight of the generator", self.stage, epoch, self.output))
        seconds = time.perf_counter() - self.started
        sr = [upscale_batch(self.snapshot, self.validation.lr[i]) for i in range(self.validation.count)]
        score = float(np.mean([psnr_y(self.validation.hr[i], sr[i], self.validation.scale) for i in range(len(sr))]))
        self._draw_samples(epoch, sr)
        step = (epoch + 1) * self.config.batches.steps_per_epoch
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "step": step, "seconds": round(seconds, 2), "learning_rate": rate, **(logs or {})}
        self.log.write({**row, "validation/psnr_y": score})
        _save_generator(self.snapshot, self.output / "generator.keras")
        if self.stage == "pixel":
            _save_generator(self.snapshot, self.output / "generator-pixel.keras")
        self.checkpoint.save(self.model, epoch + 1)
        losses = "  ".join(f"{name} {value:.4g}" for name, value in sorted((logs or {}).items()) if "/" in name)
        print(f"{self.stage} epoch {epoch + 1}/{self.params['epochs']}  {losses}  validation PSNR-Y {score:.2f} dB"
              f"  {seconds:.0f} s", flush=True)  # fmt: skip

    def _draw_samples(self, epoch, validation_sr):
        rows = []
        for store, sr in ((self.store, None), (self.validation, validation_sr)):
            for i in range(min(self.config.samples, store.count)):
                shown = sr[i] if sr else upscale_batch(self.snapshot, store.lr[i])
                bicubic = resize_bicubic(np.asarray(store.lr[i]), store.size, store.size)
                rows.append([store.lr[i], bicubic, shown, store.hr[i]])
        if rows:
            folder = self.output / "samples"
            folder.mkdir(exist_ok=True)
            name = "GAN" if self.stage == "gan" else "SRResNet"
            with atomic_path(folder / f"{self.stage}-{epoch + 1:04d}.png") as temporary:
                sheet(rows, ["low", "bicubic", name, "high"]).save(temporary)


def upscale_batch(generator, lr):
    """One small picture through a Keras generator, untiled: uint8 (h, w, 3) to uint8 (scale h, scale w, 3)."""
    return to_uint8(np.asarray(generator.predict_on_batch(to_float(lr)[None]), np.float32)[0])


class Checkpoint:
    """The whole state of a stage after its last epoch, as one file whose name tells the epoch.

    A file is written under another name, synchronised and renamed, and its predecessor goes only then: a kill at any
    moment leaves one that is whole.
    """

    def __init__(self, folder, stage):
        self.folder, self.stage = Path(folder), stage

    def _files(self):
        return sorted(self.folder.glob(f"{self.stage}-*[0-9].weights.h5"))

    def epoch(self) -> int:
        """How many epochs are done."""
        return max((int(file.name.split(".")[0].rpartition("-")[2]) for file in self._files()), default=0)

    def save(self, model, epoch):
        self.folder.mkdir(exist_ok=True)
        for left in self.folder.glob(".*"):
            left.unlink()  # half files of a killed process
        new = self.folder / f"{self.stage}-{epoch:06d}.weights.h5"
        # Keras insists on the suffix .weights.h5, so that the temporary name is made here and not by atomic_path.
        part = self.folder / f".{new.name}"
        model.save_weights(part, overwrite=True)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, new)
        for old in self.folder.glob("*.weights.h5"):
            if old != new:
                old.unlink()

    def load(self, model):
        model.load_weights(self._files()[-1])


class Log:
    """log.csv, a line an epoch of either stage, and the same for TensorBoard where TensorFlow can write it."""

    def __init__(self, output, stage):
        self.path, self.stage = output / "log.csv", stage
        self.writer = None
        if keras.backend.backend() == "tensorflow" and find_spec("tensorboard"):
            import tensorflow as tf

            self.summary = tf.summary
            self.writer = tf.summary.create_file_writer(str(output / "tensorboard" / stage))

    def cut(self, epoch):
        """Drop what was logged of this stage after `epoch`: those epochs are about to be repeated."""
        rows = []
        if self.path.exists():
            with open(self.path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["stage"] != self.stage or int(row["epoch"]) <= epoch]
        self._replace(rows)

    def write(self, row):
        with open(self.path, newline="") as file:
            rows = list(csv.DictReader(file))
        self._replace([*rows, {"stage": self.stage, **row}])
        if self.writer:
            with self.writer.as_default(step=row["step"]):
                for name in COLUMNS[3:]:
                    if name in row:
                        self.summary.scalar(name, row[name])
            self.writer.flush()

    def _replace(self, rows):
        with atomic_path(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


class Progress(keras.callbacks.Callback):
    """A bar over the steps of the stage on a terminal: steps a second and the time left. Nothing in a pipe."""

    def __init__(self, stage, epochs, steps):
        super().__init__()
        self.stage, self.epochs, self.steps, self.bar = stage, epochs, steps, None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            done = epoch * self.steps
            total = self.epochs * self.steps
            self.bar = tqdm(total=total, initial=done, desc=self.stage, unit=" steps", disable=None, leave=False)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.clear()  # the line of the epoch is printed over it

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()


class StopAtNaN(keras.callbacks.Callback):
    """Stops the run at the first step whose loss is no number."""

    def __init__(self, stage, output):
        super().__init__()
        self.stage, self.output, self.current = stage, output, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch

    def on_train_batch_end(self, batch, logs=None):
        for name, value in (logs or {}).items():
            if not np.isfinite(value):
                raise SRGANError(_stopped_by_nan(name, self.stage, self.current, self.output, batch + 1))


def _stopped_by_nan(what, stage, epoch, output, step=None):
    place = f"step {step} of epoch {epoch + 1}" if step else f"the end of epoch {epoch + 1}"
    kept = f"the checkpoint after epoch {epoch} is kept in {output / 'checkpoint'}" if epoch else "no epoch was done yet"
    return f"{what} is no finite number at {place} of the {stage} stage; {kept}. Try a lower {stage}.learning_rate"


@contextmanager
def _precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _save_generator(generator, path):
    with atomic_path(path) as temporary:
        generator.save(temporary)


def _copy_weights(source, generator, path):
    """Put the weights of `source` into `generator`; the first misfit is named."""
    by_name = {variable.path: variable for variable in source.variables}
    for variable in generator.variables:
        other = by_name.pop(variable.path, None)
        if other is None or tuple(other.shape) != tuple(variable.shape):
            has = "has none" if other is None else f"has {tuple(other.shape)}"
            raise SRGANError(f"{path}: does not fit the network of the configuration: {variable.path} is "
                             f"{tuple(variable.shape)}, the file {has}")  # fmt: skip
        variable.assign(ops.cast(other, variable.dtype))
    if by_name:
        raise SRGANError(f"{path}: does not fit the network of the configuration: it also has {next(iter(by_name))}")


def _claim(config, output):
    """Make the run folder, or see that it belongs to a run of this very configuration."""
    file = output / "config.yaml"
    if file.exists():
        try:
            before = Config.load(file).flat()
        except UsageError as error:
            raise UsageError(f"{output}: holds a run that this version cannot continue ({error})") from error
        now = config.flat()
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if changed:
            listed = ", ".join(f"{key} (was {before.get(key)!r}, is {now.get(key)!r})" for key in changed)
            raise UsageError(
                f"{output}: holds a run of another configuration: {listed}. Give another --output, or the same values"
            )
        return
    if output.is_dir() and any(path.name != ".lock" for path in output.iterdir()):
        raise UsageError(f"{output}: holds files and no run; give a new folder as --output")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            temporary.write_text(config.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise SRGANError(f"{output}: cannot be written ({error.strerror})") from error


def _stores(config):
    data, scale = config.data, config.network.scale
    root = Path(data.store).expanduser() if data.store else default_root()
    training, validation = choose_pictures(data, config.seed, root)
    if not validation:
        raise SRGANError("data.validation_count: no picture is left for validation")
    options = {"size": data.size, "scale": scale, "fit": data.fit, "shrink": data.shrink}
    stores = []
    for label, pictures in (("training pictures", training), ("validation pictures", validation)):
        store = prepare(pictures, root, **options, label=label)
        for problem in store.skipped:
            print(f"skipped: {problem}", file=sys.stderr)
        stores.append(store)
    return stores


def _describe(config, output, store, validation):
    """Say what is about to happen, and write it into the run folder."""
    devices = keras.distribution.list_devices()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    backend = keras.backend.backend()
    content = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "backend": backend,
        "devices": devices,
        "precision": config.precision,
        "seed": config.seed,
        "versions": versions,
        "training_pictures": store.count,
        "validation_pictures": validation.count,
        "skipped": [*store.skipped, *validation.skipped],
    }
    with atomic_path(output / "environment.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    skipped = f", {len(content['skipped'])} skipped" if content["skipped"] else ""
    bicubic = np.mean([
        psnr_y(validation.hr[i], resize_bicubic(np.asarray(validation.lr[i]), validation.size, validation.size))
        for i in range(validation.count)
    ])  # fmt: skip
    print(f"{backend} {versions.get(backend, '')} on {', '.join(devices)}, {config.precision}; "
          f"{store.count} training and {validation.count} validation pictures{skipped}")  # fmt: skip
    print(f"run folder {output}; bicubic has a validation PSNR-Y of {bicubic:.2f} dB", flush=True)

"""A training run: its stages, and how a stopped run resumes.

A run folder holds

    config.yaml             the resolved configuration; a run resumes with the same one (see `refuse_other_runs`)
    environment.json        versions, backend, devices, seed, epochs and digests of the pictures, for each start
    log.csv                 a line per epoch
    tensorboard/            the same for TensorBoard
    samples/                a sheet per epoch: low | bicubic | GAN | high
    checkpoint/             the whole state after the last epoch, one file
    generator-pixel.keras   the generator after the pixel stage
    generator.keras         the generator so far

A stopped run, whatever stopped it, resumes after its last complete epoch, and ends with the weights of an uninterrupted
one.
"""

import logging
from contextlib import ExitStack, contextmanager
from pathlib import Path

import keras
from filelock import Timeout

from srgan.config.schema import Config
from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.networks.files import load_generator
from srgan.train.build import (
    STAGES,
    build_batches,
    build_discriminator,
    build_features,
    build_generator,
    build_model,
    use_xla,
)
from srgan.train.callbacks import AfterEpoch, Progress, StopAtInterrupt, StopAtNaN
from srgan.train.checkpoint import Checkpoint
from srgan.train.data.stores import choose_examples, open_stores
from srgan.train.distribution import (
    all_machines_or_none,
    as_fit_input,
    build_scope,
    choose_devices,
    fit_scope,
    is_first_machine,
    one_device,
    require_equal,
    strategy_over,
)
from srgan.train.run_folder import describe_start, epochs_done, own_folder, refuse_other_pictures, refuse_other_runs
from srgan.train.weights import copy_weights, start_discriminator_from, start_from


def train(config: Config, output) -> Path:
    """Train by `config` in the run folder `output`, or resume the run that is there.

    Returns:
        Path of the finished `generator.keras`.

    Raises:
        UsageError: the folder holds another run, whose differing keys are named, or one whose checkpoint is gone. Or
            the devices cannot share a batch.
        SRGANError: pictures or weights are missing, another process trains in this folder, a loss is not finite, or the
            run stopped on another machine.
    """
    output = Path(output)
    keras.utils.set_random_seed(config.seed)  # before machines join, or Keras makes them agree on a seed of its own
    devices = choose_devices(config)
    if not is_first_machine():
        logging.getLogger("srgan").setLevel(logging.ERROR)  # the first machine warns
    try:
        with ExitStack() as stack:
            with all_machines_or_none():
                refuse_other_runs(config, output)
                if is_first_machine():
                    stack.enter_context(own_folder(output))
            return _train(config, output, devices)
    except Timeout:
        raise SRGANError(f"{output}: another srgan-train is at work in this folder") from None
    except OSError as error:
        raise SRGANError(f"{error.filename or output}: {error.strerror or error}") from error


def _train(config, output, devices):
    keras.config.set_dtype_policy(config.precision)
    # Whatever may be missing is found out now, not after days of the first stage.
    if config.fusion == "recurrent":
        import srgan.clips.flow  # noqa: F401  needs OpenCV
    for turn in (True, False):  # the first machine prepares the pictures, and the others find them prepared
        with all_machines_or_none():
            if is_first_machine() == turn:
                stores = open_stores(config)
    seen = [config.to_yaml(), epochs_done(output), *(store.digest for store in stores.values())]
    require_equal(seen, f"{output}: the machines differ in configuration, pictures or checkpoint; start the same command on all, "
                "with the folder on a file system that they share")  # fmt: skip
    strategy = strategy_over(devices)
    with all_machines_or_none():
        with build_scope(strategy):
            features = build_features(config.gan)
            generator = build_generator(config)
        if config.gan.epochs and config.gan.initial_discriminator and not epochs_done(output)[STAGES.index("gan")]:
            start_discriminator_from(config.gan.initial_discriminator, build_discriminator(config))
        if config.initial_weights and not any(epochs_done(output)):
            start_from(config.initial_weights, generator)
    examples = choose_examples(config, stores)
    with all_machines_or_none():
        if is_first_machine():
            refuse_other_pictures(output, stores)
            with atomic_path(output / "config.yaml") as temporary:
                temporary.write_text(config.to_yaml(), encoding="utf-8")
            describe_start(config, output, devices, stores, examples)
    for stage in STAGES:
        if getattr(config, stage).epochs:
            _train_stage(stage, config, output, strategy, generator, features, stores, examples)
    return output / "generator.keras"


def _train_stage(stage, config, output, strategy, generator, features, stores, examples):
    """Train one stage, or what is left of it. Of a finished stage only the generator is loaded."""
    options, steps = getattr(config, stage), config.batches.steps_per_epoch
    checkpoint = Checkpoint(output / "checkpoint", stage)
    first_epoch = checkpoint.epoch()
    later = any(getattr(config, name).epochs and Checkpoint(output / "checkpoint", name).epoch()
                for name in STAGES[STAGES.index(stage) + 1 :])  # fmt: skip
    saved = output / ("generator-pixel.keras" if stage == "pixel" else "generator.keras")
    if later or first_epoch >= options.epochs:
        copy_weights(load_generator(saved), generator, saved)
        return
    # A discriminator starts from the same weights whether or not the stage before it ran in this process.
    keras.utils.set_random_seed(config.seed + STAGES.index(stage))
    with all_machines_or_none():
        with build_scope(strategy):
            model = build_model(stage, config, generator, features)
        if first_epoch:
            checkpoint.load(model)
        elif stage == "gan" and options.initial_discriminator:
            start_discriminator_from(options.initial_discriminator, model.discriminator)
    if is_first_machine():
        done = f"continuing after epoch {first_epoch} of {options.epochs}"
        print(f"{stage}: {done if first_epoch else f'{options.epochs} epochs of {steps} steps'}")
    batches = build_batches(stage, config, stores)
    with _precision("float32"):  # the saved generator computes in float32, whatever it was trained in
        snapshot = build_generator(config)
    snapshot.compile(jit_compile=use_xla())
    after = AfterEpoch(stage, output, checkpoint, snapshot, *examples, steps=steps, samples=config.samples)
    after.on_epoch_end = one_device()(after.on_epoch_end)  # which upscales one picture at a time
    with fit_scope(strategy), StopAtInterrupt() as interrupt:
        model.fit(
            as_fit_input(batches, strategy),
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
    copy_weights(snapshot, generator, saved)


@contextmanager
def _precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

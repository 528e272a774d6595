"""Training one stage, from wherever it was left."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError, is_out_of_memory
from srgan.networks.files import load_generator, save_generator
from srgan.train.build import build_batches, build_generator, build_model, use_xla
from srgan.train.callbacks import AfterEpoch, Progress, StopAtInterrupt, StopAtNaN, averaged_weights
from srgan.train.checkpoint import STAGES, Checkpoint
from srgan.train.data.prepare import Store
from srgan.train.distribution import (
    all_machines_or_none,
    as_fit_input,
    build_scope,
    fit_scope,
    is_first_machine,
    one_device,
    replicate_on_tensorflow,
)
from srgan.train.weights import copy_weights, start_discriminator_from


def train_stage(
    stage: str,
    config: Config,
    output: Path,
    strategy: Any,
    generator: keras.Model,
    features: keras.Model | None,
    stores: dict[str, Store],
    examples: tuple,
) -> None:
    """Train one stage, or what is left of it. Of a finished stage only the generator is loaded."""
    options, steps = getattr(config, stage), config.batches.steps_per_epoch
    checkpoint = Checkpoint(output / "checkpoint", stage)
    state = checkpoint.state()
    later = any(getattr(config, name).epochs and Checkpoint(output / "checkpoint", name).state().begun
                for name in STAGES[STAGES.index(stage) + 1 :])  # fmt: skip
    if later:  # its checkpoint has the generator, too
        return
    if replicate_on_tensorflow(strategy) and config.batches.accumulate > 1:
        raise UsageError(f"batches.accumulate = {config.batches.accumulate}: on several devices only with "
                         "KERAS_BACKEND=jax; or set distribute: none")  # fmt: skip
    # A discriminator starts from the same weights whether or not the stage before it ran in this process.
    keras.utils.set_random_seed(config.seed + STAGES.index(stage))
    saved = output / ("generator-pixel.keras" if stage == "pixel" else "generator.keras")
    over = state.epoch >= options.epochs or state.out_of_patience(options.patience)
    if over and _load(saved, generator):
        return
    with all_machines_or_none():
        with build_scope(strategy):
            model = build_model(stage, config, generator, features)
        if state.begun:
            checkpoint.load(model)
        elif stage == "gan" and options.initial_discriminator:
            start_discriminator_from(options.initial_discriminator, model.discriminator)
    with _precision("float32"):  # the saved generator computes in float32, whatever it was trained in
        snapshot = build_generator(config)
    snapshot.compile(jit_compile=use_xla())
    if over:  # but its file is gone or damaged
        with averaged_weights(model):
            snapshot.set_weights(model.generator.get_weights())
        for file in {saved, output / "generator.keras"} if is_first_machine() else ():
            save_generator(snapshot, file)
        copy_weights(snapshot, generator, saved)
        return
    if is_first_machine():
        inside = f" and {state.step} steps" if state.step else ""
        done = f"continuing after epoch {state.epoch}{inside} of {options.epochs}"
        planned = f"{options.epochs} epoch{'s' * (options.epochs != 1)} of {steps} steps"
        print(f"{stage}: {done if state.begun else planned}")
    batches = build_batches(stage, config, stores)
    after = AfterEpoch(stage, output, checkpoint, snapshot, *examples, config=config, batches=batches,
                       metrics=not replicate_on_tensorflow(strategy))  # fmt: skip
    after.on_epoch_end = one_device()(after.on_epoch_end)  # which upscales one picture at a time
    after.save_within = one_device()(after.save_within)  # the first machine saves alone
    with fit_scope(strategy), StopAtInterrupt(after) as interrupt, _told_what_to_lower(stage, config):
        shown = [Progress(stage, config, batches)] if is_first_machine() else []
        callbacks = [StopAtNaN(stage, output, batches), *shown, after, interrupt]

        def fit(first, last):
            if first < last and not after.out_of_patience:
                model.fit(
                    as_fit_input(batches, strategy),
                    epochs=last,
                    initial_epoch=first,
                    verbose=0,
                    shuffle=False,  # the batches have an order of their own, which the seed gives
                    callbacks=callbacks,
                )

        epoch = state.epoch
        if state.step:  # the rest of an epoch
            batches.start = state.step * config.batches.accumulate
            fit(epoch, epoch + 1)
            batches.start, epoch = 0, epoch + 1
        fit(epoch, options.epochs)
    copy_weights(snapshot, generator, saved)


def _load(file, generator):
    """Load the weights of a finished stage, and return whether its file could be read."""
    try:
        source = load_generator(file)
    except SRGANError:
        return False
    copy_weights(source, generator, file)
    return True


@contextmanager
def _told_what_to_lower(stage, config):
    try:
        yield
    except SRGANError:
        raise
    except Exception as error:
        if config.deterministic and "determinis" in str(error).lower():
            raise SRGANError(
                f"an operation has no deterministic version here; set deterministic: false ({error})"
            ) from error
        if not is_out_of_memory(error):
            raise
        batches = config.batches
        raise SRGANError(
            f"not enough memory for a step of the {stage} stage with batches.size = {batches.size} crops of batches.crop = "
            f"{batches.crop} pixels; lower batches.size (batches.accumulate keeps the crops of a step as many), "
            "batches.crop or network.filters"
        ) from error


@contextmanager
def _precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

"""A training run: its stages, and how a stopped run resumes.

A run folder holds

    config.yaml             the resolved configuration; a run resumes with the same one (see `refuse_other_runs`)
    environment.json        versions, backend, devices, seed, epochs and digests of the pictures, for each start
    log.csv                 a line per epoch
    curves.png              validation scores and loss over all steps
    tensorboard/            the log for TensorBoard, and losses within epochs
    samples/                a sheet per epoch: low | bicubic | GAN | high
    checkpoint/             the whole state, twice: after the last epoch or within it, and before
    generator-pixel.keras   the generator after the pixel stage
    generator.keras         the generator so far
    generator-best.keras    the generator after the epoch with the best validation score of its stage

A stopped run, whatever stopped it, resumes from its last checkpoint, and ends with the weights of an uninterrupted one.
"""

import errno
import logging
from contextlib import ExitStack
from pathlib import Path

import keras
from filelock import Timeout

from srgan.config.schema import Config
from srgan.errors import SRGANError, is_out_of_space
from srgan.files import atomic_path
from srgan.train.build import build_discriminator, build_features, build_generator
from srgan.train.checkpoint import STAGES
from srgan.train.data.stores import choose_examples, open_stores
from srgan.train.distribution import (
    all_machines_or_none,
    build_scope,
    choose_devices,
    is_first_machine,
    lost_machines,
    require_equal,
    strategy_over,
)
from srgan.train.run_folder import (
    describe_start,
    own_folder,
    progress,
    refuse_other_pictures,
    refuse_other_runs,
    what_goes_on,
)
from srgan.train.stage import train_stage
from srgan.train.weights import load_teacher, start_discriminator_from, start_from


def train(config: Config, output) -> Path:
    """Train by `config` in the run folder `output`, or resume the run that is there.

    Returns:
        Path of the finished `generator.keras`.

    Raises:
        UsageError: the folder holds another run, whose differing keys are named, or one whose checkpoint is gone. Or
            the devices cannot share a batch.
        SRGANError: pictures or weights are missing, another process trains in this folder, a loss is not finite, or the
            run stopped on another machine.
        LostMachine: another machine does not answer.
    """
    output = Path(output)
    if config.deterministic:
        _compute_deterministically()
    keras.utils.set_random_seed(config.seed)  # before machines join, or Keras makes them agree on a seed of its own
    devices = choose_devices(config)
    if not is_first_machine():
        logging.getLogger("srgan").setLevel(logging.ERROR)  # the first machine warns
    try:
        with lost_machines(), ExitStack() as stack:
            with all_machines_or_none():
                refuse_other_runs(config, output)
                if is_first_machine():
                    stack.enter_context(own_folder(output))
            return _train(config, output, devices)
    except Timeout:
        raise SRGANError(f"{output}: another srgan-train is at work in this folder") from None
    except OSError as error:
        message = f"{error.filename or output}: {error.strerror or error}".splitlines()[0]
        if is_out_of_space(error):
            message += f"; make room, and {what_goes_on(output)}"
        elif error.errno == errno.EISDIR:
            message += ", where a file belongs; move it away, and the same command goes on"
        raise SRGANError(message) from error


def _compute_deterministically():
    """Let TensorFlow compute the same, to the bit, whenever it is given the same; other backends are left alone."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    try:
        # On a CPU that is not enough: with several threads the order of additions differs from run to run.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        logging.getLogger("srgan").warning("deterministic: TensorFlow was used before in this process, so that it keeps its "
                                           "threads, and weights may differ in the last digits")  # fmt: skip


def _train(config, output, devices):
    keras.config.set_dtype_policy(config.precision)
    # Whatever may be missing is found out now, not after days of the first stage.
    if config.fusion == "recurrent":
        import srgan.clips.flow  # noqa: F401  needs OpenCV
    for turn in (True, False):  # the first machine prepares the pictures, and the others find them prepared
        with all_machines_or_none():
            if is_first_machine() == turn:
                stores = open_stores(config)
    states = progress(output)
    seen = [config.to_yaml(), states, *(store.digest for store in stores.values())]
    require_equal(seen, f"{output}: the machines differ in configuration, pictures or checkpoint; start the same command on all, "
                "with the folder on a file system that they share")  # fmt: skip
    strategy = strategy_over(devices)
    with all_machines_or_none():
        with build_scope(strategy):
            features = build_features(config.gan)
            generator = build_generator(config)
        if config.gan.epochs and config.gan.initial_discriminator and not states["gan"].begun:
            start_discriminator_from(config.gan.initial_discriminator, build_discriminator(config))
        if config.gan.epochs and config.gan.teacher:
            load_teacher(config.gan.teacher, config.network.scale)
        if config.initial_weights and not any(state.begun for state in states.values()):
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
            train_stage(stage, config, output, strategy, generator, features, stores, examples)
    return output / "generator.keras"

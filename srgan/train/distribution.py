"""One training over all GPUs of a machine, or on JAX of several machines, by what Keras offers.

Every device has a copy of the networks and takes its share of each batch, and the step is that of one device with the
whole batch: `batches.size` is the size of the whole. On JAX, keras.distribution.DataParallel lets one program compute
over all devices, in which every mean over a batch is one over the whole. On TensorFlow, tf.distribute.MirroredStrategy
runs the step once for each device, as a replica that sees its share only, so that whatever looks at a whole batch has to
ask the others: that is what `batch_mean`, `own_share` and `share_statistics` are for. Elsewhere, and with one device,
they do nothing.

Several machines each run the same command, and Keras' own variables tell them of each other:

    KERAS_DISTRIBUTION_JOB_ADDRESSES    a host and port of the first machine, as in 10.0.0.1:1234
    KERAS_DISTRIBUTION_NUM_PROCESSES    how many machines there are
    KERAS_DISTRIBUTION_PROCESS_ID       which one this is, from 0

The run folder is on a file system that they share, and only the first writes to it, validates and prints. Each cuts its
own share of every batch. A Ctrl-C on any ends the run on all after the same step, and so does an error that comes up
between two epochs or before the first. Where a machine dies otherwise or never comes, JAX ends the others, after five
minutes at most.
"""

import json
import os
import zlib
from contextlib import contextmanager, nullcontext
from functools import cache

import keras
import numpy as np
from keras import ops

from srgan.errors import SRGANError, UsageError


def choose_devices(config) -> list[str]:
    """The devices to train on, as in ["gpu:0", "gpu:1"]; one, unless `distribute: auto` finds several.

    Where the environment names several machines, this waits for the others, and the devices are those of all.
    They are of the fastest kind that there is. Several CPU devices are found only where the user has made a CPU into
    them, for instance by XLA_FLAGS=--xla_force_host_platform_device_count=2.

    Raises:
        UsageError: batches.size does not divide among them, or the environment names the machines wrongly.
    """
    auto = config.distribute == "auto"
    if auto:
        _join_machines()
    elif machine()[1] > 1:
        raise UsageError("distribute: none trains on one machine, and jax.distributed has joined several")
    devices = keras.distribution.list_devices()
    if not auto or keras.backend.backend() not in ("tensorflow", "jax"):
        return devices[:1]
    size = config.batches.size
    if size % len(devices):
        raise UsageError(f"batches.size = {size}: must be a multiple of the {len(devices)} devices that share a batch "
                         f"({', '.join(devices)}); or set distribute: none to train on one of them")  # fmt: skip
    return devices


def _join_machines():
    several = (os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES") or "1") != "1"
    if keras.backend.backend() != "jax":
        if several or _tensorflow_cluster():
            raise UsageError("the environment names several machines (KERAS_DISTRIBUTION_NUM_PROCESSES or TF_CONFIG), "
                             "and these need KERAS_BACKEND=jax; or set distribute: none")  # fmt: skip
        return
    import jax

    if several and not jax.distributed.is_initialized():
        try:
            keras.distribution.initialize()
        except (ValueError, RuntimeError) as error:
            raise UsageError(f"KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID do not name this machine "
                             f"and the others: {error}") from error  # fmt: skip
    if jax.device_count() != jax.process_count() * jax.local_device_count():
        raise UsageError(f"this machine has {jax.local_device_count()} of {jax.device_count()} devices: each of the "
                         f"{jax.process_count()} machines must have as many; hide some with CUDA_VISIBLE_DEVICES")  # fmt: skip


def _tensorflow_cluster():
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
        return sum(len(tasks) for tasks in cluster.values()) > 1
    except (ValueError, AttributeError, TypeError):
        raise UsageError("TF_CONFIG: not the JSON that TensorFlow documents; unset it") from None


def machine() -> tuple[int, int]:
    """Which of how many machines this is: (0, 1) where there is one. The devices have to be chosen first."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def is_first_machine() -> bool:
    return machine()[0] == 0


def gather(value: int) -> list[int]:
    """The `value` of each machine, below 2**32. It waits until all have asked."""
    if machine()[1] == 1:
        return [value]
    from jax.experimental.multihost_utils import process_allgather

    return process_allgather(np.uint32(value)).tolist()


@contextmanager
def together():
    """A block that all machines get through, or none: each waits for the others at its end.

    Raises:
        SRGANError: it failed on another machine.
    """
    try:
        yield
    except BaseException:
        gather(0)
        raise
    if not all(gather(1)):
        raise SRGANError("another machine of this run stopped; it says why")


def agree(value, problem):
    """See that `value` is the same on all machines.

    Raises:
        SRGANError: it is not; `problem` is what the error says, on all of them.
    """
    if len(set(gather(zlib.crc32(repr(value).encode())))) > 1:
        raise SRGANError(problem)


def strategy_over(devices):
    """What spreads a training over `devices`: a tf.distribute strategy, a keras.distribution one, or None for one device."""
    return None if len(devices) == 1 else _strategy_over(tuple(devices))


@cache  # TensorFlow numbers the messages between devices by strategy, so that those of a second one get mixed up
def _strategy_over(devices):
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)  # Batches cut shares
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([f"/{device}" for device in devices])


def build_scope(strategy):
    """In this block all that takes part in a step is made: networks, optimizer, metrics."""
    return strategy.scope() if strategy else nullcontext()


def fit_scope(strategy):
    """In this block `fit` is called, with the model that was built in the other one."""
    # On TensorFlow the model remembers where it was built, and what callbacks compute in here is not to be mirrored.
    return strategy.scope() if strategy and keras.backend.backend() == "jax" else nullcontext()


def feed(batches, strategy):
    """What `fit` is to be given for `batches`, of srgan.train.data.batches, by a model that was built over `strategy`."""
    if not strategy or keras.backend.backend() == "jax":
        return batches
    import tensorflow as tf

    # With a strategy Keras takes a batch before the first epoch, to look at it. Its threads for a PyDataset would then
    # hand out batches of that time for ever; a dataset starts anew with each epoch.
    first = batches[0]
    flat = keras.tree.flatten(first)

    def cut(step):
        arrays = tf.numpy_function(
            lambda step: keras.tree.flatten(batches[int(step)]), [step], [array.dtype for array in flat]
        )
        arrays = [tf.ensure_shape(array, like.shape) for array, like in zip(arrays, flat)]
        return keras.tree.pack_sequence_as(first, arrays)

    steps = tf.data.Dataset.range(len(batches))
    return steps.map(cut, num_parallel_calls=max(1, batches.workers)).prefetch(tf.data.AUTOTUNE)


@contextmanager
def one_device():
    """Within a `fit_scope`, a block that computes as if there were one device: a single picture is not shared."""
    if keras.backend.backend() != "jax" or keras.distribution.distribution() is None:
        yield
        return
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def replicas() -> int:
    """How many replicas run the code that asks, each with its share of a batch. On JAX always 1."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def batch_mean(x, axis=None):
    """The mean of `x`, of all or over axes that include the first, over the whole batch, for a replica too."""
    mean = ops.mean(x, axis)
    if replicas() == 1:
        return mean
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, mean)


def own_share(loss):
    """What a replica is to return as the loss, where `loss` is the mean over its pictures: Keras adds the gradients up."""
    return loss if replicas() == 1 else loss / replicas()


def share_statistics(network):
    """Let batch normalisation see the whole batch, where replicas will train `network`. Called within `build_scope`."""
    if replicas() > 1:
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
            elif isinstance(layer, keras.Model):  # a recurrent generator, in what goes through the frames
                share_statistics(layer)

"""Training on all GPUs of a machine, or with JAX of several machines, by what Keras offers.

Every device has a copy of the networks and takes its share of each batch, and a step equals that of one device with the
whole batch: `batches.size` is the size of the whole batch. On JAX, keras.distribution.DataParallel lets one program
compute over all devices, in which every mean over a batch is one over the whole. On TensorFlow,
tf.distribute.MirroredStrategy runs the step once per device, as a replica that sees only its share; `batch_mean`,
`scale_for_replica` and `share_statistics` compute over the whole batch there. Elsewhere, and with one device, they do
nothing.

With several machines, each runs the same command, with Keras' own environment variables:

    KERAS_DISTRIBUTION_JOB_ADDRESSES    a host and port of the first machine, as in 10.0.0.1:1234
    KERAS_DISTRIBUTION_NUM_PROCESSES    how many machines there are
    KERAS_DISTRIBUTION_PROCESS_ID       which one this is, from 0

The run folder is on a shared file system, and only the first machine writes to it, validates and prints. Each machine
cuts its own share of every batch. Ctrl-C or SIGTERM on any ends the run on all after the same step, and so does an error
between epochs or before the first. If a machine dies otherwise, the others end at the next step; if one never joins, within five
minutes. Without GPUs, each machine tells the others the address that its own host name stands for.
"""

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops

from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError, is_out_of_memory


class LostMachine(SRGANError):
    """Another machine does not answer. At the end of the process JAX would wait for it for minutes, and then abort."""


@contextmanager
def lost_machines() -> Iterator[None]:
    """Raise LostMachine for what JAX raises in the block where another machine is gone."""
    try:
        yield
    except Exception as error:
        # XLA's errors, of several types, begin with a status.
        status = "UNKNOWN|UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED|INTERNAL.*(Gloo|NCCL|[Cc]onnect)"
        gone = re.match(f"({status}).*: ", str(error))
        if isinstance(error, SRGANError) or machine()[1] == 1 or is_out_of_memory(error) or not gone:
            raise
        what_to_do = "start the same command on all, and it goes on from the last checkpoint, if there is one"
        if "initialization failed" in str(error):
            what_to_do = "each one's host name must stand for an address that the others reach (see `hostname -i`)"
        raise LostMachine(f"another machine does not answer ({str(error).splitlines()[0]}); {what_to_do}") from error


def choose_devices(config: Config) -> list[str]:
    """The devices to train on, such as ["gpu:0", "gpu:1"]; one, unless `distribute: auto` finds several.

    If the environment names several machines, this waits for the others and returns the devices of all. They are of the
    fastest kind available. A CPU counts as several devices only if the user asked for that, for instance by
    XLA_FLAGS=--xla_force_host_platform_device_count=2.

    Raises:
        UsageError: batches.size is not a multiple of their number, or the environment does not describe the machines.
    """
    auto = config.distribute == "auto"
    if auto:
        _join_machines()
    elif machine()[1] > 1:
        raise UsageError("distribute: none trains on one machine, and jax.distributed has joined several")
    devices = list_devices()
    if not auto or keras.backend.backend() not in ("tensorflow", "jax"):
        return devices[:1]
    size = config.batches.size
    if size % len(devices):
        raise UsageError(f"batches.size = {size}: must be a multiple of the {len(devices)} devices that share a batch "
                         f"({', '.join(devices)}); or set distribute: none to train on one of them")  # fmt: skip
    return devices


def list_devices() -> list[str]:
    """The devices of this machine, or of all that have joined, of the fastest kind there is."""
    if keras.backend.backend() != "torch":
        return keras.distribution.list_devices()
    import torch

    return ["gpu:0" if torch.cuda.is_available() else "cpu:0"]  # Keras trains on one with PyTorch


def _join_machines():
    several = (os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES") or "1") != "1"
    if keras.backend.backend() != "jax":
        if several or _tensorflow_cluster():
            raise UsageError("the environment names several machines (KERAS_DISTRIBUTION_NUM_PROCESSES or TF_CONFIG), "
                             "and these need KERAS_BACKEND=jax; or set distribute: none")  # fmt: skip
        return
    import jax

    if several and not jax.distributed.is_initialized():
        jax.config.update("jax_enable_preemption_service", False)  # which catches SIGTERM, and nothing asks it
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
    """The index of this machine and the number of machines, (0, 1) for a single one. Call `choose_devices` first."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def is_first_machine() -> bool:
    return machine()[0] == 0


def gather(value: int) -> list[int]:
    """The `value`, below 2**32, of every machine. Waits until all have called it."""
    if machine()[1] == 1:
        return [value]
    from jax.experimental.multihost_utils import process_allgather

    return process_allgather(np.uint32(value)).tolist()


@contextmanager
def all_machines_or_none() -> Iterator[None]:
    """A block that succeeds on all machines or fails on all: each waits for the others at its end.

    Raises:
        SRGANError: the block failed on another machine.
    """
    try:
        yield
    except BaseException:
        gather(0)
        raise
    if not all(gather(1)):
        raise SRGANError("another machine of this run stopped; it says why")


def require_equal(value: object, problem: str) -> None:
    """Require that `value` is the same on all machines.

    Raises:
        SRGANError: it differs; `problem` is the message, on all machines.
    """
    if len(set(gather(zlib.crc32(repr(value).encode())))) > 1:
        raise SRGANError(problem)


def strategy_over(devices: Sequence[str]) -> Any:
    """The tf.distribute strategy or keras.distribution that trains on `devices`; None for one device."""
    return None if len(devices) == 1 else _strategy_over(tuple(devices))


@cache  # TensorFlow numbers the messages between devices by strategy, so that those of a second one get mixed up
def _strategy_over(devices):
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)  # Batches cut shares
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([f"/{device}" for device in devices])


def replicate_on_tensorflow(strategy) -> bool:
    """Whether several replicas compute a step, each with variables of its own."""
    return strategy is not None and keras.backend.backend() == "tensorflow"


def build_scope(strategy: Any) -> AbstractContextManager:
    """The block in which networks, optimizer and metrics are created."""
    return strategy.scope() if strategy else nullcontext()


def fit_scope(strategy: Any) -> AbstractContextManager:
    """The block in which `fit` is called, on a model that was created in `build_scope`."""
    # On TensorFlow the model remembers where it was built, and what callbacks compute in here is not to be mirrored.
    return strategy.scope() if strategy and keras.backend.backend() == "jax" else nullcontext()


def as_fit_input(batches: keras.utils.PyDataset, strategy: Any) -> Any:
    """The input of `fit` for `batches`, of srgan.train.data.batches, and a model created under `strategy`."""
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
def one_device() -> Iterator[None]:
    """A block within `fit_scope` that computes on one device, because a single picture cannot be shared."""
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
    """How many replicas run the calling code, each with its share of a batch; always 1 on JAX."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def batch_mean(x: keras.KerasTensor, axis: int | tuple[int, ...] | None = None) -> keras.KerasTensor:
    """The mean of `x` over the whole batch, in a replica too; `axis` includes the first axis, None means all."""
    mean = ops.mean(x, axis)
    if replicas() == 1:
        return mean
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, mean)


def scale_for_replica(loss: keras.KerasTensor) -> keras.KerasTensor:
    """The loss that a replica returns, given the mean over its own pictures: Keras sums the gradients of all replicas."""
    return loss if replicas() == 1 else loss / replicas()


def share_statistics(network: keras.Model) -> None:
    """Let batch normalisation use the whole batch if replicas train `network`. Call it within `build_scope`."""
    if replicas() > 1:
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
            elif isinstance(layer, keras.Model):  # a recurrent generator, in what goes through the frames
                share_statistics(layer)

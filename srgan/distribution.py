"""One training over all GPUs of a machine, by what Keras offers.

Every device has a copy of the networks and takes its share of each batch, and the step is that of one device with the
whole batch: `batches.size` is the size of the whole. On JAX, keras.distribution.DataParallel lets one program compute
over all devices, in which every mean over a batch is one over the whole. On TensorFlow, tf.distribute.MirroredStrategy
runs the step once for each device, as a replica that sees its share only, so that whatever looks at a whole batch has to
ask the others: that is what `batch_mean`, `own_share` and `share_statistics` are for. Elsewhere, and with one device,
they do nothing.

Several machines are refused: who writes the run folder, and from where each reads its state, is not settled.
"""

import json
import os
from contextlib import contextmanager, nullcontext
from functools import cache

import keras
from keras import ops

from srgan.errors import UsageError


def choose_devices(config) -> list[str]:
    """The devices to train on, as in ["gpu:0", "gpu:1"]; one, unless `distribute: auto` finds several.

    They are of the fastest kind that there is. Several CPU devices are found only where the user has made a CPU into
    them, for instance by XLA_FLAGS=--xla_force_host_platform_device_count=2.

    Raises:
        UsageError: batches.size does not divide among them, or the environment names several machines.
    """
    auto = config.distribute == "auto"
    if auto:
        _refuse_several_machines()
    devices = keras.distribution.list_devices()
    if not auto or keras.backend.backend() not in ("tensorflow", "jax"):
        return devices[:1]
    size = config.batches.size
    if size % len(devices):
        raise UsageError(f"batches.size = {size}: must be a multiple of the {len(devices)} devices that share a batch "
                         f"({', '.join(devices)}); or set distribute: none to train on one of them")  # fmt: skip
    return devices


def _refuse_several_machines():
    if keras.backend.backend() == "tensorflow":
        try:
            cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
            several, source = sum(len(tasks) for tasks in cluster.values()) > 1, "TF_CONFIG"
        except (ValueError, AttributeError, TypeError):
            raise UsageError("TF_CONFIG: not the JSON that TensorFlow documents; unset it") from None
    elif keras.backend.backend() == "jax":
        import jax

        source = "KERAS_DISTRIBUTION_NUM_PROCESSES"
        several = os.environ.get(source, "1") != "1"
        if not several:
            several, source = jax.process_count() > 1, "jax.distributed"
    else:
        return
    if several:
        raise UsageError(f"{source}: names several machines or processes, and a run trains on the devices of one; "
                         "unset it, or set distribute: none")  # fmt: skip


def strategy_over(devices):
    """What spreads a training over `devices`: a tf.distribute strategy, a keras.distribution one, or None for one device."""
    return None if len(devices) == 1 else _strategy_over(tuple(devices))


@cache  # TensorFlow numbers the messages between devices by strategy, so that those of a second one get mixed up
def _strategy_over(devices):
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=devices)
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
    """What `fit` is to be given for `batches`, of srgan.data.batches, by a model that was built over `strategy`."""
    if not strategy or keras.backend.backend() == "jax":
        return batches
    import tensorflow as tf

    # With a strategy Keras takes a batch before the first epoch, to look at it. Its threads for a PyDataset would then
    # hand out batches of that time for ever; a dataset starts anew with each epoch.
    shapes = [array.shape for array in batches[0]]

    def cut(step):
        arrays = tf.numpy_function(lambda step: batches[int(step)], [step], [tf.uint8] * len(shapes))
        return tuple(tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes))

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


def batch_mean(x):
    """The mean of all of `x` over the whole batch, for a replica too."""
    mean = ops.mean(x)
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

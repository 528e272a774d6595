"""Two devices do what one does with the whole batch. In a process of its own, where a CPU is made into two devices."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from helpers import run_python

KINDS = ("vanilla", "relativistic", "hinge", "least_squares")
RUN = [
    "pixel.epochs=1",
    "pixel.average=0.9",
    "network.discriminator=patch",
    "network.discriminator_normalization=spectral",
    "gan.optimizer=muon",
    "gan.average=0.9",
    "gan.artifact_weight=1.0",
    "gan.adversarial=relativistic",
    "gan.adversarial_weight=0.1",
]


def on_two_devices(folder):
    """What the process does; it leaves what it found in `folder`."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import time
    for kind in ("pixel", *KINDS):
        t = time.time()
        print("steps", kind, flush=True)
        for count in (1, 2):
            np.savez(folder / f"{kind}-{count}.npz", **five_steps(kind, count))
        print(time.time() - t, time.process_time(), flush=True)
    t = time.time()
    whole_runs(folder)
    print(time.time() - t, time.process_time(), flush=True)


def five_steps(kind, count):
    """All variables before and after five steps on `count` devices, and the logs, by their names."""
    import keras

    from srgan import training
    from srgan.config import Config
    from srgan.distribution import build_scope, choose_devices, fit_scope, strategy_over
    from srgan.images import downscale, read_rgb

    stage = "pixel" if kind == "pixel" else "gan"
    changes = ["batches.size=4", f"distribute={'none' if count == 1 else 'auto'}"]
    if stage == "gan":
        changes += [f"gan.adversarial={kind}", "gan.adversarial_weight=0.1", "gan.average=0.9"]
        changes += ["gan.content_weight=0.1", "gan.vgg19=random", "gan.content_layers={block1_conv2: 1.0}"] if kind == "vanilla" else []
        changes += ["gan.content_scale=unit", "gan.artifact_weight=1.0"] if kind == "vanilla" else []
        changes += ["network.discriminator_normalization=spectral"] if kind == "hinge" else []
    config = Config.load("sample", [*TINY, *changes])
    keras.utils.set_random_seed(0)
    devices = choose_devices(config)
    assert len(devices) == count
    strategy = strategy_over(devices)
    with build_scope(strategy):
        features = training.build_features(config.gan) if stage == "gan" else None
        model = training.build_model(stage, config, training.build_generator(config), features)
        # Whose steps are as long as the gradient, so that its size counts, and whose rounding errors stay small.
        model.compile(keras.optimizers.SGD(0.02, momentum=0.9), run_eagerly=True)
    found = {f"before/{v.path}": np.array(v) for v in model.variables}
    picture = read_rgb("data/sample/val/raccoon.jpg")
    hr = np.stack([picture[20 * i : 20 * i + 32, 300:332] for i in range(20)])
    lr = np.stack([downscale(crop, 4) for crop in hr])
    with fit_scope(strategy):
        history = model.fit(lr, hr, batch_size=4, shuffle=False, verbose=0).history
    found |= {f"after/{v.path}": np.array(v) for v in model.variables if not v.path.startswith(("mean", "loss", "disc"))}
    return found | {f"logs/{name}": np.array(values) for name, values in history.items()}


def whole_runs(folder):
    from srgan.callbacks import StopAtNaN
    from srgan.config import Config
    from srgan.training import train

    def run(distribute):
        config = Config.load("sample", [*TINY, f"data.store={folder / 'stores'}", *RUN, f"distribute={distribute}"])
        train(config, folder / distribute)

    run("none")
    real, seen = StopAtNaN.on_train_batch_end, []

    def stop_at_ten(*arguments, **options):
        seen.append(real(*arguments, **options))
        if len(seen) == 10:  # in the second epoch of the GAN
            raise KeyboardInterrupt

    StopAtNaN.on_train_batch_end = stop_at_ten
    try:
        run("auto")
    except KeyboardInterrupt:
        run("auto")


if __name__ == "__main__":
    on_two_devices(Path(sys.argv[1]))

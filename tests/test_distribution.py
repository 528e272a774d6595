"""Two devices do what one does with the whole batch, and so do two machines.

Two devices are a CPU made into two, in a process of its own; two machines are two processes, each in a network of its own where
the system allows that.
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import TINY
from filelock import FileLock
from helpers import ROOT, equal, run_python, saved_weights
from hosts import two_hosts

from srgan.config.schema import Config
from srgan.errors import UsageError
from srgan.networks.files import load_generator
from srgan.networks.layers import PixelShuffle, SpectralConv2D
from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale
from srgan.train.build import use_xla
from srgan.train.callbacks import StopAtNaN
from srgan.train.distribution import build_scope, choose_devices, fit_scope, strategy_over
from srgan.train.objective import SRGAN
from srgan.train.optimizers import Muon
from srgan.train.run import train

KINDS = ("vanilla", "hinge", "least_squares")  # relativistic, which asks the whole batch, is in the long test
# The whole runs: one stage of two epochs of four steps.
SHORT = ["network={generator: compact, filters: 4, blocks: 1}", "gan.epochs=0", "pixel.average=0.9"]
# For JAX: no time is spent on making its programs fast; and a CPU is made into two devices.
QUICK = "--xla_backend_optimization_level=0"
TWO_DEVICES = "--xla_force_host_platform_device_count=2"


def on_two_devices(folder):
    """What that process does: it leaves what it found in `folder`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for distribute in ("none", "auto"):
        np.savez(folder / f"everything-{distribute}.npz", **five_steps(everything, distribute))
        np.savez(folder / f"kinds-{distribute}.npz", **five_steps(all_kinds, distribute))
    whole_runs(folder)


def everything():
    """A model with all that looks at more than one picture, or is changed by a step and not by its gradient."""
    layers = keras.layers
    body = [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(momentum=0.9),
        layers.PReLU(shared_axes=[1, 2]),
    ]
    generator = [*body, layers.Conv2D(48, 3, padding="same"), PixelShuffle(4)]
    judge = [layers.Conv2D(4, 4, strides=4), layers.BatchNormalization(momentum=0.9), layers.LeakyReLU(0.2)]
    judge += [SpectralConv2D(4, 3), layers.LeakyReLU(0.2), layers.Conv2D(1, 3)]
    return SRGAN(
        keras.Sequential([keras.Input((None, None, 3)), *generator]),
        keras.Sequential([keras.Input((None, None, 3)), *judge]),
        lambda pictures: [pictures],
        content_scale="unit",
        adversarial="relativistic",
        adversarial_weight=0.1,
        artifact_weight=1.0,
        lattice_weight=1.0,
        colour_weight=1.0,
        average=0.9,
    )


def all_kinds():
    """A small model whose adversarial loss is another one at each step."""
    layers = keras.layers
    generator = [layers.Conv2D(48, 3, padding="same"), PixelShuffle(4)]
    return SRGAN(
        keras.Sequential([keras.Input((None, None, 3)), *generator]),
        keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(8, 4, strides=4), layers.Conv2D(4, 3)]),
        content_weight=0.0,
        adversarial_weight=0.1,
    )


def five_steps(build, distribute):
    """What five steps make of all variables and of the logs."""
    devices = choose_devices(Config.load("sample", [*TINY, "batches.size=4", f"distribute={distribute}"]))
    assert devices == ["cpu:0", "cpu:1"][: 1 if distribute == "none" else 2]
    strategy = strategy_over(devices)
    keras.utils.set_random_seed(0)
    with build_scope(strategy):
        model = build()
        if build is all_kinds:
            model.compile(Muon(1e-3, use_ema=True, ema_momentum=0.9), run_eagerly=True, jit_compile=False)
        else:  # with steps as long as the gradient, so that its size counts
            model.compile(keras.optimizers.SGD(0.02, momentum=0.9), jit_compile=use_xla())
        model.build(None)
        model.optimizer.build(model.trainable_variables)
    before = [np.asarray(variable) for variable in [*model.variables, *model.optimizer.variables]]
    picture = read_rgb("data/sample/val/raccoon.jpg")
    hr = np.stack([picture[20 * i : 20 * i + 48, 300:348] for i in range(20)])
    lr = np.stack([downscale(crop, 4) for crop in hr])

    def another(step, logs):
        if build is all_kinds:
            model.kinds["adversarial"] = KINDS[step % len(KINDS)]

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_begin=another)]
    with fit_scope(strategy):
        logs = model.fit(lr, hr, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks).history
    variables = [*model.variables, *model.optimizer.variables]
    after = {f"{index:02}": np.asarray(variable) for index, variable in enumerate(variables)}
    moved = [np.abs(new - old).max() > 1e-4 for new, old in zip(after.values(), before)]
    return {**after, "moved": np.mean(moved), "logs": [logs[name][0] for name in sorted(logs)]}


def whole_runs(folder):
    """A run on one device, and one on two that is stopped in its second epoch and continued."""

    def run(distribute):
        changes = [f"distribute={distribute}", f"batches.workers={2 if distribute == 'auto' else 0}"]
        changes += [f"data.store={folder / 'stores'}"]
        train(Config.load("sample", [*TINY, *SHORT, *changes]), folder / distribute)

    run("none")
    real, seen = StopAtNaN.on_train_batch_end, []

    def stop(*arguments, **options):
        real(*arguments, **options)
        seen.append(arguments)
        if len(seen) == 6:
            raise KeyboardInterrupt

    StopAtNaN.on_train_batch_end = stop
    try:
        run("auto")
    except KeyboardInterrupt:
        run("auto")
    assert len(seen) == 6 + 4


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    run = run_python("-W", "ignore", __file__, folder, env={"XLA_FLAGS": f"{QUICK} {TWO_DEVICES}"})
    assert run.returncode == 0, run.stderr
    return folder, run


@pytest.mark.parametrize("model", ["everything", "kinds"])
def test_five_steps_on_two_devices_are_those_of_one(two_devices, model):
    one, two = (np.load(two_devices[0] / f"{model}-{distribute}.npz") for distribute in ("none", "auto"))
    assert one.files == two.files and one["moved"] > 0.5
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=2e-6, err_msg=name)


def assert_same_run(*folders):
    one, two = (load_generator(folder / "generator.keras") for folder in folders)
    for variable, other in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(variable), atol=1e-5, err_msg=variable.path)
    logs = []
    for folder in folders:
        with open(folder / "log.csv", newline="") as file:
            logs.append([[float(row[name]) for name in ("step", "loss", "loss/pixel", "validation/psnr_y")]
                         for row in csv.DictReader(file)])  # fmt: skip
    assert [row[0] for row in logs[1]] == [4, 8]
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-4)


def test_a_run_on_two_devices_is_that_on_one_even_if_it_was_stopped(two_devices):
    folder, _ = two_devices
    assert_same_run(folder / "none", folder / "auto")


def test_a_run_says_on_which_devices(two_devices):
    folder, run = two_devices
    starts = {name: json.loads((folder / name / "environment.json").read_text()) for name in ("none", "auto")}
    assert [start["devices"] for start in starts["none"]] == [["cpu:0"]]
    assert [start["devices"] for start in starts["auto"]] == [["cpu:0", "cpu:1"]] * 2
    assert run.stdout.count(" on cpu:0, float32; ") == 1 and run.stdout.count(" on cpu:0, cpu:1, float32; ") == 2
    assert run.stdout.count("continuing after epoch 1 of 2") == 1


def test_a_batch_that_the_devices_cannot_share_is_refused_at_once(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1"])
    with pytest.raises(UsageError, match="^batches.size = 3: must be a multiple of the 2 devices .*gpu:0, gpu:1"):
        train(tiny("batches.size=3"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert choose_devices(tiny("batches.size=3", "distribute=none")) == ["gpu:0"]
    assert choose_devices(tiny("batches.size=4")) == ["gpu:0", "gpu:1"]


def test_one_device_needs_no_strategy(tiny):
    devices = choose_devices(tiny())
    assert devices == keras.distribution.list_devices() and strategy_over(devices) is None


def test_several_machines_need_jax_and_their_variables(tiny, monkeypatch):
    name = "KERAS_DISTRIBUTION_NUM_PROCESSES"
    if keras.backend.backend() == "jax":
        several = {name: "two"}
        message = f"^KERAS_DISTRIBUTION_.*{name[18:]}.* do not name this machine and the others: .*'two'"
    else:
        cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {}}
        several = {name: "2", "TF_CONFIG": json.dumps(cluster)}
        message = "names several machines .* need KERAS_BACKEND=jax"
        monkeypatch.setenv("TF_CONFIG", "worker")
        with pytest.raises(UsageError, match="^TF_CONFIG: not the JSON"):
            choose_devices(tiny())
        monkeypatch.delenv("TF_CONFIG")
    for key, value in several.items():
        monkeypatch.setenv(key, value)
        with pytest.raises(UsageError, match=message):
            choose_devices(tiny())
        assert choose_devices(tiny("distribute=none"))
        monkeypatch.delenv(key)
    monkeypatch.setenv(name, "1")
    assert choose_devices(tiny())


# `srgan-train`, which gets a signal after so many steps; never after 0.
MACHINE = """
import os, sys
from srgan.cli import train
from srgan.train import callbacks

real, left, number = callbacks.StopAtNaN.on_train_batch_end, int(sys.argv[1]), int(sys.argv[2])

def step(*arguments, **options):
    global left
    real(*arguments, **options)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), number)

callbacks.StopAtNaN.on_train_batch_end = step
sys.exit(train.main(sys.argv[3:]))
"""


def on_two_machines(*arguments, after=(0, 0), number=signal.SIGINT):
    """Run srgan-train on both, of which one or none gets a signal `after` so many steps. Return status, output and errors."""
    if keras.backend.backend() != "jax":
        pytest.skip("several machines need KERAS_BACKEND=jax")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with two_hosts() as hosts, ExitStack() as stack:
        processes = []
        for index, (host, steps) in enumerate(zip(hosts, after)):
            names = {"JOB_ADDRESSES": f"{hosts[0].address}:{port}", "NUM_PROCESSES": "2", "PROCESS_ID": str(index)}
            environment = {f"KERAS_DISTRIBUTION_{name}": value for name, value in names.items()}
            environment = {**os.environ, **environment, "XLA_FLAGS": QUICK}
            command = [*host.enter, sys.executable, "-c", MACHINE, str(steps), str(int(number)), *map(str, arguments)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            processes.append(subprocess.Popen(command, env=environment, cwd=ROOT, **pipes))
            stack.callback(processes[-1].kill)
        return [(*process.communicate(timeout=600)[::-1], process.returncode)[::-1] for process in processes]


def test_a_run_on_two_machines_is_that_on_one_even_if_it_was_stopped_or_one_was_killed(tiny, tmp_path, two_devices):
    (tmp_path / "short.yaml").write_text(tiny(*SHORT, "batches.workers=2").to_yaml())
    for name, number in (("stopped", signal.SIGINT), ("killed", signal.SIGKILL)):
        output = tmp_path / name
        arguments = ["--config", tmp_path / "short.yaml", "--output", output]
        ended = on_two_machines(*arguments, after=(0, 6), number=number)  # in the second epoch
        if name == "stopped":
            assert [status for status, _, _ in ended] == [130, 130], ended
            assert all("the same command goes on" in errors for _, _, errors in ended)
        else:
            assert ended[1][0] == -signal.SIGKILL and ended[0][0] == 1, ended
            (line,) = [line for line in ended[0][2].splitlines() if line.startswith("srgan: ")]
            assert "another machine does not answer" in line and "Traceback" not in ended[0][2], ended
        first, second = on_two_machines(*arguments)
        assert first[0] == second[0] == 0, (first, second)
        assert_same_run(two_devices[0] / "none", output)

        begun = {"stopped": "epoch 1 and 2 steps of 2", "killed": "epoch 1 of 2"}[name]
        assert f"continuing after {begun}" in first[1] and first[1].splitlines()[-1].startswith("done: ")
        assert "epoch" not in second[1] and "done" not in second[1]
        assert [len(start["devices"]) for start in json.loads((output / "environment.json").read_text())] == [2, 2]
        assert len(list((output / "samples").iterdir())) == 2 and not list(output.rglob(".*.part*"))
    whole = tmp_path / "whole"
    assert [status for status, _, _ in on_two_machines(*arguments[:-1], whole)] == [0, 0]
    for name in ("stopped", "killed"):
        assert equal(saved_weights(tmp_path / name), saved_weights(whole))


def test_a_scheduler_that_ends_the_job_stops_both_machines_after_the_same_step(tiny, tmp_path):
    (tmp_path / "short.yaml").write_text(tiny(*SHORT).to_yaml())
    arguments = ["--config", tmp_path / "short.yaml", "--output", tmp_path / "run"]
    ended = on_two_machines(*arguments, after=(0, 6), number=signal.SIGTERM)
    assert [status for status, _, _ in ended] == [130, 130], ended
    assert all("the same command goes on" in errors for _, _, errors in ended)
    with open(tmp_path / "run" / "log.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["4"]


def test_what_stops_one_machine_stops_the_other(tiny, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny().to_yaml())
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        first, second = on_two_machines("--config", tmp_path / "tiny.yaml", "--output", tmp_path / "run")
    assert first[0] == second[0] == 1
    assert "another srgan-train is at work in this folder" in first[2]
    assert "another machine of this run stopped; it says why" in second[2]


if __name__ == "__main__":
    on_two_devices(Path(sys.argv[1]))

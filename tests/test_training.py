"""Whole runs: what they leave behind, and that nothing that stops them costs anything. With real processes."""

import json
import shutil
import signal
import time
from importlib.util import find_spec

import h5py
import keras
import numpy as np
import pytest
from helpers import ROOT, SAMPLE, equal, rows, run_command, run_python, saved_weights
from PIL import Image

from srgan.errors import SRGANError, UsageError
from srgan.networks.files import load_generator
from srgan.train.build import build_generator, build_model
from srgan.train.checkpoint import Checkpoint, State
from srgan.train.optimizers import Schedule
from srgan.train.run import train
from srgan.train.validation import upscale_one
from srgan.train.weights import copy_weights


def logged(folder, tag):
    """The values that TensorBoard reads under `tag`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.value for event in events.Scalars(tag)]


def sheets_logged(folder):
    """The files of the pictures that TensorBoard reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return [event.encoded_image_string for event in events.Images("samples")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run that was never stopped, and its configuration file."""
    from conftest import TINY

    from srgan.config.schema import Config

    folder = tmp_path_factory.mktemp("finished")
    config = Config.load("sample", [*TINY, f"data.store={folder / 'stores'}", "pixel.average=0.9"])
    (folder / "tiny.yaml").write_text(config.to_yaml())
    run = run_command("train", "--config", folder / "tiny.yaml", "--output", folder / "run")
    assert run.returncode == 0, run.stderr
    return folder, run


@pytest.fixture(scope="module")
def patient(finished):
    """A run whose GAN stage ends for want of patience, and its arguments."""
    folder = finished[0].parent / "patient"
    changes = ["pixel.epochs=1", "gan.epochs=9", "gan.patience=2", "gan.learning_rate=1e-12", "gan.schedule=constant"]
    arguments = ["--config", finished[0] / "tiny.yaml", "--set", *changes]
    run = run_command("train", *arguments, "--output", folder / "run")
    assert run.returncode == 0, run.stderr
    return folder, arguments


def test_a_run_leaves_what_it_promises(finished):
    folder, run = finished
    output = folder / "run"
    assert (output / "config.yaml").read_text() == (folder / "tiny.yaml").read_text()
    (environment,) = json.loads((output / "environment.json").read_text())
    assert environment["versions"]["keras"] == keras.__version__ and environment["seed"] == 0
    assert environment["backend"] == keras.backend.backend()
    assert [(row["stage"], row["epoch"], row["step"], row["total_step"]) for row in rows(output)] == [
        ("pixel", "1", "4", "4"), ("pixel", "2", "8", "8"), ("gan", "1", "4", "12"), ("gan", "2", "8", "16")]  # fmt: skip
    (bicubic,) = {row["validation/bicubic_psnr_y"] for row in rows(output)}
    assert float(bicubic) == pytest.approx(environment["bicubic_psnr_y"])
    for row in rows(output):
        kinds = ["pixel"] if row["stage"] == "pixel" else ["pixel", "adversarial", "discriminator"]
        assert all(np.isfinite(float(row[f"loss/{kind}"])) for kind in kinds)
        assert row["loss/content"] == "" and 5 < float(row["validation/psnr_y"]) < 60
    assert 0 <= float(rows(output)[-1]["discriminator/real"]) <= 1
    assert sorted(p.name for p in (output / "samples").iterdir()) == [
        "gan-0001.png", "gan-0002.png", "pixel-0001.png", "pixel-0002.png"]  # fmt: skip
    assert Image.open(output / "samples" / "gan-0002.png").width > 4 * 64
    assert Image.open(output / "curves.png").height == 3 * 240  # PSNR-Y, LPIPS and the loss
    if find_spec("tensorboard"):
        assert sheets_logged(output / "tensorboard" / "gan") == [
            (output / "samples" / f"gan-{epoch:04}.png").read_bytes() for epoch in (1, 2)
        ]
        assert logged(output / "tensorboard" / "gan", "validation/psnr_y") == pytest.approx(
            [float(row["validation/psnr_y"]) for row in rows(output)[2:]]
        )
    assert load_generator(output / "generator.keras").dtype_policy.name == "float32"


def test_a_run_says_what_it_does_and_nothing_else(finished):
    _, run = finished
    backend = keras.backend.backend()
    assert f"{backend} " in run.stdout and "cpu:0, float32; 15 training and 3 validation pictures" in run.stdout
    assert "bicubic has a validation PSNR-Y of" in run.stdout and "gan epoch 2/2" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("done: ") and run.stderr == ""


def test_the_gan_starts_from_the_pretrained_generator(finished, tmp_path):
    folder, _ = finished
    pixel, gan = saved_weights(folder / "run", "generator-pixel.keras"), saved_weights(folder / "run")
    assert not equal(pixel, gan)
    # The same run with a GAN stage that hardly moves ends where the pixel stage ended.
    run = run_command("train", "--config", folder / "tiny.yaml", "--output", tmp_path / "run",
                      "--set", "gan.learning_rate=1e-12")  # fmt: skip
    assert run.returncode == 0, run.stderr
    for before, after in zip(pixel, saved_weights(tmp_path / "run")):
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_the_same_command_on_a_finished_run_changes_nothing(finished):
    folder, _ = finished
    before = saved_weights(folder / "run"), rows(folder / "run")
    run = run_command("train", "--config", folder / "tiny.yaml", "--output", folder / "run")
    assert run.returncode == 0 and "epoch 1/" not in run.stdout
    assert equal(before[0], saved_weights(folder / "run")) and before[1] == rows(folder / "run")


KILLED = """
import os, signal, sys
import keras
from srgan.cli import train
from srgan.train import callbacks

where, count = sys.argv[1], int(sys.argv[2])

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def at(count, real):
    def call(*arguments, **options):
        call.seen += 1
        if call.seen == count:
            before(*arguments)
            kill()
        return real(*arguments, **options)
    call.seen = 0
    return call

def before(*arguments):
    if where == "checkpoint":  # half of it is on the disk
        model, part = arguments[0], str(arguments[1])
        open(part, "wb").write(b"x" * 1000)

if where == "step":
    callbacks.StopAtNaN.on_train_batch_end = at(count, callbacks.StopAtNaN.on_train_batch_end)
elif where == "checkpoint":
    keras.Model.save_weights = at(count, keras.Model.save_weights)
elif where == "after-log":
    callbacks.save_generator = at(count, callbacks.save_generator)
sys.exit(train.main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    "where, count, epochs_done",
    [("step", 6, 1), ("after-log", 3, 1), ("checkpoint", 2, 1), ("checkpoint", 4, 3)],
)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(finished, tmp_path, where, count, epochs_done):
    """kill -9 in the middle of an epoch, of a checkpoint and of what comes before it, in either stage."""
    folder, _ = finished
    arguments = ["--config", folder / "tiny.yaml", "--output", tmp_path / "run"]
    killed = run_python("-c", KILLED, where, count, *arguments)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    stage = "gan" if epochs_done > 2 else "pixel"
    assert Checkpoint(tmp_path / "run" / "checkpoint", stage).state().epoch == epochs_done - 2 * (stage == "gan")
    continued = run_command("train", *arguments)
    assert continued.returncode == 0, continued.stderr
    assert equal(saved_weights(tmp_path / "run"), saved_weights(folder / "run"))
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in rows(o)]
        for o in (tmp_path / "run", folder / "run")
    ]
    assert timeless[0] == timeless[1]
    assert not [p for p in (tmp_path / "run").rglob(".*") if p.name != ".lock"]


@pytest.mark.parametrize("where, count", [("step", 11), ("after-log", 4), ("checkpoint", 3)])
def test_patience_counts_on_in_a_gan_stage_that_was_killed(patient, tmp_path, where, count):
    folder, arguments = patient
    killed = run_python("-c", KILLED, where, count, *arguments, "--output", tmp_path / "run")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert Checkpoint(tmp_path / "run" / "checkpoint", "gan").state().epoch == 1
    continued = run_command("train", *arguments, "--output", tmp_path / "run")
    assert continued.returncode == 0, continued.stderr
    assert [row["stage"] for row in rows(tmp_path / "run")] == ["pixel", "gan", "gan", "gan"]
    for name in ("generator.keras", "generator-best.keras"):
        assert equal(saved_weights(tmp_path / "run", name), saved_weights(folder / "run", name))


def test_threads_that_cut_batches_change_nothing(finished, tmp_path):
    folder, _ = finished
    run = run_command(
        "train", "--config", folder / "tiny.yaml", "--output", tmp_path / "run", "--set", "batches.workers=2"
    )
    assert run.returncode == 0, run.stderr
    assert equal(saved_weights(tmp_path / "run"), saved_weights(folder / "run"))


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(finished, tmp_path):
    import subprocess
    import sys

    folder, _ = finished
    code = "import sys; from srgan.cli.train import main; sys.exit(main())"
    arguments = ["--config", folder / "tiny.yaml", "--output", tmp_path / "run", "--set", "pixel.epochs=1000"]
    run = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True, cwd=ROOT)  # fmt: skip
    deadline = time.monotonic() + 300
    while not any(tmp_path.glob("run/checkpoint/[!.]*.weights.h5")) and time.monotonic() < deadline:
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=300)
    assert run.returncode == 130
    assert (
        stderr.strip()
        .splitlines()[-1]
        .endswith(f"the same command goes on from the last checkpoint of {tmp_path / 'run'}")
    )
    assert "Traceback" not in stderr


def test_a_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tiny, tmp_path, monkeypatch):
    config = tiny("gan.epochs=0", "pixel.epochs=3")

    calls = []

    def poisoned(kind, hr, sr):
        calls.append(1)
        return keras.ops.mean(keras.ops.abs(hr - sr)) * (float("nan") if len(calls) > 4 + 2 else 1.0)

    monkeypatch.setattr("srgan.train.objective.pixel_loss", poisoned)
    build = build_model

    def eager(*arguments):
        model = build(*arguments)
        model.run_eagerly, model.jit_compile = True, False
        return model

    monkeypatch.setattr("srgan.train.stage.build_model", eager)
    with pytest.raises(SRGANError, match=r"loss.* is not finite at step \d of epoch 2 of the pixel stage; the checkpoint "
                                         r"after epoch 1 is kept in .*checkpoint\. Try a lower pixel\.learning_rate"):  # fmt: skip
        train(config, tmp_path / "run")
    assert Checkpoint(tmp_path / "run" / "checkpoint", "pixel").state().epoch == 1
    assert all(np.isfinite(array).all() for array in saved_weights(tmp_path / "run"))


def test_another_configuration_is_refused_by_its_keys(finished):
    folder, _ = finished
    run = run_command("train", "--config", folder / "tiny.yaml", "--output", folder / "run",
                      "--set", "batches.crop=16", "--set", "seed=5")  # fmt: skip
    assert run.returncode == 2
    assert "batches.crop (was 32, is 16)" in run.stderr and "seed (was 0, is 5)" in run.stderr
    assert len(run.stderr.splitlines()) == 1 and run.stdout == ""


def test_a_finished_run_goes_on_with_more_epochs_as_if_it_had_had_them(tiny, tmp_path):
    steady = ["gan.schedule=constant", "pixel.schedule=constant"]
    hinge = ["gan.adversarial=hinge", "network.discriminator_filters=8"]
    train(tiny(*steady, *hinge), tmp_path / "straight")
    train(tiny(*steady, "pixel.epochs=1", "gan.epochs=0"), tmp_path / "run")
    for epochs in (1, 2):  # the pixel stage is prolonged and a GAN stage added, which is prolonged then
        train(tiny(*steady, *hinge, f"gan.epochs={epochs}"), tmp_path / "run")
    # To the bit it is with `deterministic` alone: under load, TensorFlow's threads add in another order now and then.
    for one, other in zip(saved_weights(tmp_path / "run"), saved_weights(tmp_path / "straight"), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    starts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert [tuple(start["epochs"].values()) for start in starts] == [(1, 0), (2, 1), (2, 2)]
    # Fewer than are done, of a stage that is over, and another loss in the midst of a stage.
    for refused in ("gan.epochs=1", "pixel.epochs=3", "gan.adversarial=vanilla"):
        with pytest.raises(
            UsageError, match=f"another configuration: {refused.split('=')[0]} \\(was [^,]*, is [^,)]*\\). Give"
        ):
            train(tiny(*steady, *hinge, refused), tmp_path / "run")
    pixel = tmp_path / "run" / "generator-pixel.keras"
    anew = ["pixel.epochs=0", f"initial_weights={pixel}"]
    with pytest.raises(
        UsageError, match=f"the GAN stage anew without the pixel stage, .* --output and --set {' '.join(anew)}$"
    ):
        train(tiny(*steady, *hinge, "gan.adversarial_weight=0.1"), tmp_path / "run")
    train(tiny(*steady, *hinge, "gan.adversarial_weight=0.1", *anew, "gan.epochs=1"), tmp_path / "anew")
    assert [row["stage"] for row in rows(tmp_path / "anew")] == ["gan"]


def test_a_folder_with_other_things_in_it_is_refused(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.doc").write_text("precious")
    with pytest.raises(UsageError, match="holds files and no run"):
        train(tiny(), tmp_path / "run")


def test_a_run_without_its_checkpoint_is_not_overwritten(tiny, finished, tmp_path):
    folder, _ = finished
    run = shutil.copytree(folder / "run", tmp_path / "run")
    shutil.rmtree(run / "checkpoint")
    before = (run / "generator.keras").read_bytes()
    with pytest.raises(UsageError, match=f"checkpoint is gone.*--set initial_weights={run} "):
        train(tiny(), run)
    assert (run / "generator.keras").read_bytes() == before


def test_other_pictures_do_not_continue_a_run(tiny, tmp_path):
    pictures = tmp_path / "pictures"
    shutil.copytree(SAMPLE / "train", pictures)
    bare = ["data.annotations=null", "data.validation_pictures=null", "data.validation_annotations=null",
            "data.validation_count=2", "gan.epochs=0", "pixel.epochs=1", "pixel.warmup_steps=0"]  # fmt: skip
    config = tiny(*bare, f"data.pictures={pictures}")
    train(config, tmp_path / "run")
    moved = shutil.copytree(pictures, tmp_path / "elsewhere", copy_function=shutil.copyfile)  # with times of their own
    train(tiny(*bare, f"data.pictures={moved}"), tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_text()
    first, second, *_ = sorted(pictures.iterdir())
    shutil.copyfile(second, first)  # as many, of the same names
    with pytest.raises(SRGANError, match="the pictures have changed since this run began"):
        train(config, tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    # A run that an earlier version began has no digests, until it is started again.
    environment = tmp_path / "run" / "environment.json"
    starts = json.loads(environment.read_text())
    environment.write_text(json.dumps([{k: v for k, v in start.items() if k != "digests"} for start in starts]))
    train(tiny(*bare, f"data.pictures={moved}"), tmp_path / "run")
    with pytest.raises(SRGANError, match="the pictures have changed since this run began"):
        train(config, tmp_path / "run")


def test_two_processes_do_not_train_in_one_folder(tiny, tmp_path):
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(SRGANError, match="another srgan-train is at work"):
        train(tiny(), tmp_path / "run")


def test_what_the_second_stage_needs_is_missed_before_the_first(tiny, tmp_path):
    config = tiny("gan.content_weight=1.0", f"gan.vgg19={tmp_path / 'gone.weights.h5'}")
    with pytest.raises(SRGANError, match="gone.weights.h5: no such file of VGG19 weights"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "log.csv").exists()
    # A run that got nowhere does not stand in the way of one with the mistake mended.
    train(tiny("gan.epochs=0"), tmp_path / "run")
    assert (tmp_path / "run" / "generator.keras").exists()


def test_initial_weights_are_taken_over_and_misfits_named(tiny, finished, tmp_path):
    folder, _ = finished
    generator = folder / "run" / "generator.keras"
    built = build_generator(tiny())
    copy_weights(load_generator(generator), built, generator)
    assert equal(saved_weights(folder / "run"), [np.array(v) for v in built.variables])
    with pytest.raises(
        SRGANError,
        match=r"generator.keras: does not fit .*head_conv/kernel is \(9, 9, 3, 8\), the file has \(9, 9, 3, 4\)",
    ):
        copy_weights(load_generator(generator), build_generator(tiny("network.filters=8")), generator)
    for change, difference in (
        ("network.skip=none", r"where that has sr \(Rescaling\), the file has .*"),
        ("network.activation=relu", "it also has head_act/alpha"),
    ):
        with pytest.raises(SRGANError, match=f"generator.keras: does not fit .*: {difference}"):
            copy_weights(load_generator(generator), build_generator(tiny(change)), generator)
    with pytest.raises(SRGANError, match="it also has block1_conv1/kernel"):
        small = keras.Model(built.inputs, built.get_layer("head_act").output)
        copy_weights(load_generator(generator), small, generator)


def test_a_run_starts_from_initial_weights_and_needs_them_only_then(tiny, finished, tmp_path):
    start = shutil.copy(finished[0] / "run" / "generator.keras", tmp_path / "start.keras")
    config = tiny("pixel.epochs=1", "gan.epochs=0", "pixel.learning_rate=1e-12", f"initial_weights={start}")
    train(config, tmp_path / "run")
    theirs, ours = (saved_weights(folder / "run") for folder in (finished[0], tmp_path))
    assert all(np.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(theirs, ours, strict=True))
    start.unlink()
    assert train(config, tmp_path / "run").exists() and equal(ours, saved_weights(tmp_path / "run"))


def test_a_checkpoint_of_another_version_is_named(tiny, tmp_path):
    """As it was when the last convolution was Keras' own."""
    model = build_model("pixel", tiny(), build_generator(tiny()))
    checkpoint = Checkpoint(tmp_path / "run" / "checkpoint", "pixel")
    checkpoint.folder.parent.mkdir()
    checkpoint.save(model, State(1))
    next(checkpoint.folder.glob("*.json")).unlink()  # the digest, which it did not have
    with h5py.File(next(checkpoint.folder.glob("*.h5")), "r+") as file:
        names = []
        file.visit(lambda name: names.append(name) if name.endswith("block_conv2d") else None)
        for name in names:
            file.move(name, name.replace("block_conv2d", "conv2d_99"))
    with pytest.raises(SRGANError, match=r"pixel-000001\.weights\.h5: holds other layers .* initial_weights=.*run "):
        checkpoint.load(model)


def test_learning_rates_follow_their_schedule(tiny):
    def rates(*changes):
        stage = tiny("batches.steps_per_epoch=10", "pixel.learning_rate=1e-3", *changes).pixel
        schedule = Schedule(stage, 10)
        return [float(schedule(step)) for step in range(10 * stage.epochs)]

    assert rates("pixel.schedule=constant", "pixel.warmup_steps=0") == pytest.approx([1e-3] * 20)
    stepped = rates("pixel.schedule=step", "pixel.drops=[1]", "pixel.warmup_steps=4")
    assert stepped[:5] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3]) and stepped[10:] == pytest.approx(
        [1e-4] * 10
    )
    cosine = rates("pixel.schedule=cosine", "pixel.warmup_steps=0")
    assert cosine == pytest.approx([0.5e-3 * (1 + np.cos(np.pi * step / 20)) for step in range(20)], rel=1e-4)


def test_missing_pictures_end_with_one_line(tmp_path):
    run = run_command(
        "train", "--config", "coco.yaml", "--output", tmp_path / "run", env={"XDG_CACHE_HOME": str(tmp_path)}
    )
    if (ROOT / "data" / "coco" / "train2017").is_dir():
        pytest.skip("COCO is here")
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    assert "srgan-download-coco train2017 val2017 --output data/coco" in run.stderr


@pytest.mark.parametrize(
    "changes",
    [
        ["network={generator: rdn, filters: 4, blocks: 1, growth: 4, layers_per_block: 2}", "network.discriminator=unet",
         "network.discriminator_filters=4", "gan.adversarial=relativistic", "gan.artifact_weight=1.0",
         "gan.checkerboard_weight=1.0", "gan.colour_weight=1.0", "gan.average=0.9"],
        ["network={generator: rrdb, filters: 4, blocks: 1, growth: 4, discriminator: patch}",
         "network.discriminator_filters=4", "gan.adversarial=hinge",
         "batches.degradation=realistic"],
        ["network={generator: compact, filters: 4, blocks: 1, discriminator: unet}",
         "network.discriminator_normalization=instance", "network.discriminator_filters=4", "pixel.optimizer=muon", "gan.optimizer=muon", "gan.adversarial=least_squares"],
        ["network={generator: span, filters: 4, blocks: 1, discriminator: patch}", "network.discriminator_filters=4",
         "gan.discriminator_rate=0.5", "gan.flat_weight=1.0", "gan.chroma_weight=1.0", "batches.degradation=photograph"],
        ["network={generator: srresnet, filters: 4, blocks: 1, normalization: batch, discriminator: srgan}",
         "network.discriminator_filters=4", "gan.content_weight=1.0", "gan.vgg19=random",
         "gan.content_layers={block2_conv2: 1.0}"],
        ["network={generator: srresnet, filters: 4, blocks: 1, normalization: instance, activation: relu, discriminator: patch}",
         "network.discriminator_filters=4", "network.discriminator_normalization=instance"],
    ],
    ids=["rdn", "rrdb", "compact", "span", "batch", "instance"],
)  # fmt: skip
def test_each_variant_trains_and_upscales(changes, tiny, tmp_path):
    """Both stages, the checkpoint, the saved generator and the pictures that it makes through the default engine."""
    short = ["pixel.epochs=1", "gan.epochs=1", "batches.steps_per_epoch=2", "pixel.warmup_steps=1"]
    config = tiny(*short, *changes)
    before = [np.array(variable) for variable in build_generator(config).trainable_variables]
    path = train(config, tmp_path / "run")
    generator = load_generator(path)
    after = [np.array(variable) for variable in generator.trainable_variables]
    assert all(np.isfinite(array).all() for array in after) and not equal(before, after)
    columns = {name for row in rows(tmp_path / "run") for name, value in row.items() if value and "loss/" in name}
    for loss, key in (("artifact", "artifact"), ("lattice", "checkerboard"), ("colour", "colour")):
        assert (f"loss/{loss}" in columns) == (f"gan.{key}_weight=1.0" in changes)
    if not find_spec("openvino"):
        return
    from srgan import Upscaler
    from srgan.pictures import read_rgb

    picture = read_rgb(SAMPLE / "val" / "chelsea.jpg")[:40, :56]
    found = Upscaler(path, precision="float32")(picture).astype(int)
    assert np.abs(found - upscale_one(generator, picture)).max() <= 1

"""What a stage does beyond its epochs: checkpoints within an epoch, accumulated gradients, patience, the best generator."""

import keras
import numpy as np
import pytest
from helpers import equal, rows, saved_weights

from srgan.errors import UsageError
from srgan.networks.files import load_generator
from srgan.train.build import build_batches, build_generator, build_model
from srgan.train.checkpoint import Checkpoint
from srgan.train.data.stores import choose_examples, open_stores
from srgan.train.optimizers import OPTIMIZERS, orthogonal
from srgan.train.run import train
from srgan.train.validation import upscale_one, validation_scores


def timeless(output):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(output)]


def test_a_run_goes_on_within_an_epoch_as_if_it_had_not_been_stopped(tiny, tmp_path, monkeypatch):
    changes = [
        "batches.accumulate=2",
        "pixel.average=0.9",
        "gan.average=0.9",
        "gan.artifact_weight=1.0",
        "pixel.epochs=1",
    ]
    whole = train(tiny(*changes, "checkpoint_minutes=null"), tmp_path / "whole").parent
    config, real, stops = (
        tiny(*changes, "checkpoint_minutes=1e-9"),
        Checkpoint.save,
        [("pixel", 0, 3), ("gan", 0, 1), ("gan", 1, 2)],
    )

    def stopping(checkpoint, model, state):
        real(checkpoint, model, state)
        if stops and (checkpoint.stage, state.epoch, state.step) == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", stopping)
    for left in (2, 1, 0):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run")
        assert len(stops) == left
    train(config, tmp_path / "run")
    assert equal(saved_weights(tmp_path / "run"), saved_weights(whole))
    assert timeless(tmp_path / "run") == timeless(whole)
    assert (
        all(float(row["validation/lpips"]) > 0 for row in rows(whole)[1:]) and rows(whole)[0]["validation/lpips"] == ""
    )


def test_only_what_belongs_to_a_checkpoint_within_the_first_epoch_goes_on_from_it(tiny, tmp_path, monkeypatch):
    def interrupted(checkpoint, model, state, real=Checkpoint.save):
        real(checkpoint, model, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", interrupted)
        train(tiny("checkpoint_minutes=1e-9"), tmp_path / "run")
    with pytest.raises(UsageError, match="batches.crop"):
        train(tiny("batches.crop=16"), tmp_path / "run")


def test_several_batches_make_a_step(tiny, tmp_path):
    """Two batches of two are one of four: for the gradient and its norm, the schedule, the warm-up and the average."""
    changes = [
        "gan.epochs=0",
        "pixel.average=0.9",
        "pixel.schedule=cosine",
        "pixel.clip_norm=1e-3",
        "pixel.optimizer=muon",
    ]
    for name, sizes in (("one", ["batches.size=4"]), ("two", ["batches.size=2", "batches.accumulate=2"])):
        train(tiny(*changes, *sizes), tmp_path / name)
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    for key in ("epoch", "step", "learning_rate"):
        assert [row[key] for row in one] == [row[key] for row in two]
    assert float(one[0]["loss/pixel"]) == pytest.approx(float(two[0]["loss/pixel"]), rel=1e-3)
    start = [np.array(variable) for variable in build_generator(tiny()).variables]
    for begun, a, b in zip(start, saved_weights(tmp_path / "one"), saved_weights(tmp_path / "two")):
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert np.abs(a - b).mean() < 0.02 * np.abs(a - begun).mean() + 1e-7


def test_another_gan_stage_does_not_cost_the_pixel_stage_again(tiny, tmp_path):
    changes = ["pixel.epochs=1", "gan.epochs=1"]
    train(tiny(*changes), tmp_path / "run")
    with pytest.raises(UsageError, match="to begin the GAN stage anew") as refused:
        train(tiny(*changes, "gan.adversarial_weight=0.01"), tmp_path / "run")
    advice = str(refused.value).partition("give another --output and --set ")[2].split()
    train(tiny(*changes, "gan.adversarial_weight=0.01", *advice), tmp_path / "other")
    assert [row["stage"] for row in rows(tmp_path / "other")] == ["gan"]


def test_patience_ends_a_stage_and_the_best_generator_is_kept(tiny, tmp_path):
    steady = ["pixel.learning_rate=1e-12", "pixel.epochs=5", "gan.epochs=0", "keep_every=2", "pixel.schedule=constant"]
    for patience, epochs in ((1, 2), (1, 2), (3, 4)):  # the same command again changes nothing
        train(tiny(*steady, f"pixel.patience={patience}"), tmp_path / "run")
        assert len(rows(tmp_path / "run")) == epochs
    assert sorted(file.name for file in (tmp_path / "run" / "generators").iterdir()) == [
        "pixel-0002.keras",
        "pixel-0004.keras",
    ]
    assert load_generator(tmp_path / "run" / "generator-best.keras").count_params() > 0
    # The GAN stage begins its own count, by LPIPS.
    config = tiny("pixel.epochs=1", "gan.epochs=3", "gan.learning_rate=1e-2", "keep_every=1")
    output = train(config, tmp_path / "gan").parent
    best = min(rows(output)[1:], key=lambda row: float(row["validation/lpips"]))
    kept = output / "generators" / f"gan-{int(best['epoch']):04d}.keras"
    assert equal(saved_weights(output, "generator-best.keras"), saved_weights(kept.parent, kept.name))
    _, validation = choose_examples(config, open_stores(config))
    generator = load_generator(output / "generator-best.keras")
    scores = validation_scores(validation, lambda lr: upscale_one(generator, lr), perceptual=True)
    assert scores == {name: pytest.approx(float(best[f"validation/{name}"]), abs=1e-3) for name in ("psnr_y", "lpips")}


def test_the_average_is_that_of_the_weights_after_each_step(tiny, tmp_path):
    config = tiny("pixel.epochs=1", "gan.epochs=0", "pixel.average=0.9", "pixel.learning_rate=1e-2")
    saved = saved_weights(train(config, tmp_path / "run").parent)
    keras.utils.set_random_seed(config.seed)
    model = build_model("pixel", config, build_generator(config))
    batches, average = build_batches("pixel", config, open_stores(config)), None
    for step in range(4):
        model.train_on_batch(*batches[step])
        now = [np.array(variable) for variable in model.generator.variables]
        average = now if average is None else [0.9 * a + 0.1 * b for a, b in zip(average, now)]
    for a, b in zip(average, saved):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert any(np.abs(a - c).max() > 1e-3 for a, c in zip(average, now))


def test_curves_follow_the_scores_over_both_stages(tmp_path):
    from PIL import Image

    from srgan.train.curves import draw_curves

    rows = [{"stage": stage, "step": str(step), "total_step": str(total), "validation/psnr_y": str(20 + total / 100),
             "validation/bicubic_psnr_y": "21", "validation/lpips": "0.3" if stage == "gan" else "", "loss": "0.5"}
            for stage, step, total in (("pixel", 100, 100), ("pixel", 200, 200), ("gan", 100, 300))]  # fmt: skip
    draw_curves(rows, tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    assert pixels.shape == (720, 960, 3)
    blue = np.argwhere(np.abs(pixels[:240] - (0x1F, 0x5F, 0xA8)).sum(-1) == 0)
    start, end = (blue[np.abs(blue[:, 1] - x).argmin()][0] for x in (353, 939))  # rows at 100 and 300 steps
    assert start > end + 100  # it rises
    draw_curves([{"stage": "pixel", "epoch": "1", "total_step": ""}], tmp_path / "none.png")  # of an earlier version
    assert not (tmp_path / "none.png").exists()


# -- optimizers


def moves(optimizer, gradients, shape):
    """What each of successive gradients adds to a variable."""
    variable = keras.Variable(np.zeros(shape, np.float32))
    optimizer.build([variable])
    places = [np.zeros(shape, np.float32)]
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        places.append(np.array(variable))
    return np.diff(places, axis=0)


def test_muon_looks_ahead_by_nesterovs_momentum():
    """The update is along 0.1 g + 0.9 m, not along m alone, where m is the momentum with the gradient g in it."""
    first, second = np.random.default_rng(0).standard_normal((2, 6, 8)).astype(np.float32)
    muon = OPTIMIZERS["muon"](1e-2, beta_1=0.9)
    _, found = moves(muon, [first, second], (6, 8))
    momentum = 0.9 * 0.1 * first + 0.1 * second
    ahead, alone = (
        np.array(orthogonal(keras.ops.convert_to_tensor(m))) for m in (0.1 * second + 0.9 * momentum, momentum)
    )
    np.testing.assert_allclose(found, -1e-2 * 0.6 * 8**0.5 * ahead, atol=1e-6)
    assert np.abs(ahead - alone).max() > 0.05


def test_a_long_gradient_is_shortened(tiny):
    """A gradient a thousand times as long as the next, opposite one drives Adam on, unless both are shortened alike."""

    def second_move(*changes):
        config = tiny("pixel.warmup_steps=0", *changes)
        model = build_model("pixel", config, build_generator(config))
        variables, places = model.trainable_variables, []
        for length in (1.0, -1e-3):
            model.optimizer.apply([keras.ops.full(variable.shape, length) for variable in variables], variables)
            places.append(np.array(variables[0]))
        return (places[1] - places[0]).mean()

    assert second_move() < 0 < second_move("pixel.clip_norm=1e-3")

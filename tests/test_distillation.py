"""Training a generator towards another one's pictures, with a discriminator and without."""

import csv

import keras
import numpy as np
import pytest

from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError
from srgan.networks.files import load_generator, save_generator
from srgan.networks.generators import srresnet
from srgan.train.build import build_generator, build_model
from srgan.train.run import train
from srgan.train.weights import load_teacher

BY_PIXELS = ("pixel.epochs=0", "gan.content_weight=0", "gan.pixel_weight=1", "gan.pixel_loss=l1")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The file of an untrained generator."""
    keras.utils.set_random_seed(3)
    file = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    save_generator(srresnet(filters=4, blocks=1, normalization="none", skip="bilinear"), file)
    return file


def logged(run, name):
    with open(run / "log.csv", newline="", encoding="utf-8") as file:
        return [float(row[name]) if row[name] else None for row in csv.DictReader(file)]


@pytest.mark.parametrize("weight", [0, 1e-3], ids=["alone", "with a discriminator"])
def test_the_teachers_pictures_stand_for_the_originals(tiny, teacher, tmp_path, weight):
    changes = (
        *BY_PIXELS,
        "gan.epochs=1",
        "gan.learning_rate=1e-12",
        f"initial_weights={teacher}",
        f"gan.adversarial_weight={weight}",
    )
    train(tiny(*changes), tmp_path / "by originals")
    train(tiny(*changes, f"gan.teacher={teacher}"), tmp_path / "by itself")
    (far,), (near,) = (logged(tmp_path / run, "loss/pixel") for run in ("by originals", "by itself"))
    assert far > 0.02
    assert near < 1e-3  # what lies outside of [0, 1] is cut off


def test_a_run_towards_a_teacher_resumes_as_if_uninterrupted_and_comes_closer(tiny, teacher, tmp_path):
    changes = *BY_PIXELS, "gan.adversarial_weight=0", "gan.learning_rate=1e-2", f"gan.teacher={teacher}"
    train(tiny(*changes, "gan.epochs=1"), tmp_path / "stopped")
    stopped, whole = (train(tiny(*changes, "gan.epochs=4"), tmp_path / run) for run in ("stopped", "whole"))
    losses = logged(tmp_path / "stopped", "loss/pixel")
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]
    assert logged(tmp_path / "stopped", "loss/discriminator") == [None] * 4
    for ours, wanted in zip(*(load_generator(file).get_weights() for file in (stopped, whole)), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_a_teacher_is_no_part_of_the_model_and_computes_in_the_runs_precision(tiny, teacher):
    config = tiny(*BY_PIXELS, f"gan.teacher={teacher}")
    model = build_model("gan", config, build_generator(config))
    alone = build_model("gan", tiny(*BY_PIXELS), build_generator(config))
    assert len(model.variables) == len(alone.variables)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        rough = load_teacher(str(teacher), 4)
    finally:
        keras.config.set_dtype_policy("float32")
    lr = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    fine, rough = (keras.ops.convert_to_numpy(enlarge(lr)) for enlarge in (model.teacher, rough))
    assert 0 < np.abs(fine - rough).max() < 0.05


def test_a_teacher_of_another_scale_is_refused_before_anything_is_trained(tiny, tmp_path):
    file = tmp_path / "twice.keras"
    save_generator(srresnet(filters=4, blocks=1, scale=2), file)
    config = tiny(*BY_PIXELS, "pixel.epochs=1", f"gan.teacher={file}")
    with pytest.raises(SRGANError, match="gan.teacher: .*twice.keras is no generator of single RGB pictures x4"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_would_not_count_is_refused(tiny):
    with pytest.raises(UsageError, match="gan.teacher = 'srgan': must be null with network.fusion: recurrent"):
        Config.load("srgan-video", ["gan.teacher=srgan"])
    with pytest.raises(UsageError, match="initial_discriminator = 'a': only counts with an adversarial_weight above 0"):
        tiny(*BY_PIXELS, "gan.adversarial_weight=0", "gan.initial_discriminator=a")

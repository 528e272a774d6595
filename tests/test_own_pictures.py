"""srgan-train on a folder of one's own, and its configurations."""

import shutil

import pytest
from helpers import SAMPLE, rows, run_command
from PIL import Image

from srgan.config.bundled import find_config
from srgan.config.schema import Config
from srgan.train.data.own_pictures import for_folder
from srgan.train.data.selection import choose_pictures


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Fifteen photographs of at least 160 pixels a side in a folder with an awkward name."""
    folder = tmp_path_factory.mktemp("photos") / "my photos #2"
    folder.mkdir()
    for index, path in enumerate(sorted((SAMPLE / "train").iterdir())):
        Image.open(path).convert("RGB").resize((240, 165 + index)).save(folder / path.with_suffix(".png").name)
    return folder


@pytest.mark.parametrize("source", ["coco", "coco-cpu", "srgan-photo", "srgan-fast", "srgan-video", "sample"])
def test_each_bundled_configuration_becomes_one_for_a_folder(source, photos, tmp_path):
    own = for_folder(source, photos)
    config = Config.load(source, own)
    assert config.data.pictures == str(photos) and config.data.fit in ("crop", "tile")
    assert config.data.size == 160
    training, validation = choose_pictures(config.data, 0, tmp_path / "cache")
    assert (len(training), len(validation)) == (14, 1) and {path.parent for path in training + validation} == {photos}
    # What the user sets counts above that.
    config = Config.load(
        source, [*for_folder(source, photos, ["data.fit=tile"]), "data.fit=tile", "data.validation_count=3"]
    )
    assert (config.data.fit, config.data.validation_count) == ("tile", 3)


def test_phone_pictures_are_taken_and_what_is_left_out_is_said(photos, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = tmp_path / "phone"
    (folder / "2023").mkdir(parents=True)
    for index, path in enumerate(sorted(photos.iterdir())):
        with Image.open(path) as image:
            pillow_heif.from_pillow(image).save(folder / f"IMG_{index}.HEIC")
    for name in ("clip.mov", "._IMG_1.HEIC"):
        (folder / name).touch()
    small = ["network.filters=4", "network.blocks=1", "batches.size=2", "batches.crop=32", "batches.steps_per_epoch=2",
             "pixel.epochs=1", "pixel.warmup_steps=0", "gan.epochs=0", "samples=0", f"data.store={tmp_path / 'stores'}"]  # fmt: skip
    run = run_command("train", "-c", "coco-cpu", "-p", folder, "-o", tmp_path / "run", "--set", *small)
    assert run.returncode == 0, run.stderr
    assert "14 training and 1 validation pictures" in run.stdout
    assert run.stderr.splitlines() == [
        f"srgan: {folder}: 1 file of other kinds left out (1 mov)",
        f"srgan: {folder}: the folder 2023 is not looked into; move or link the pictures into one folder to train on them",
    ]


def test_at_most_fifty_are_held_back(photos, tmp_path):
    for index in range(520):
        shutil.copy(next(photos.iterdir()), tmp_path / f"{index}.png")
    data = Config.load("coco", for_folder("coco", tmp_path)).data
    with pytest.MonkeyPatch.context() as patch:  # they are copies of one picture
        patch.setattr("srgan.train.data.selection.without_copies", lambda pictures, others: pictures)
        training, validation = choose_pictures(data, 0, tmp_path / "cache")
    assert (len(training), len(validation)) == (470, 50)


def test_one_command_trains_on_a_folder_and_a_run_folder_is_a_configuration(photos, tmp_path):
    small = ["network.filters=4", "network.blocks=1", "network.discriminator_filters=4", "batches.size=2", "batches.crop=32",
             "batches.steps_per_epoch=2", "pixel.epochs=1", "pixel.warmup_steps=0", "gan.epochs=0", "samples=0",
             f"data.store={tmp_path / 'stores'}"]  # fmt: skip
    output = tmp_path / "mine"
    run = run_command("train", "--config", "coco-cpu", "--pictures", photos, "--output", output, "--set", *small)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "" and "14 training and 1 validation pictures" in run.stdout and len(rows(output)) == 1
    again = run_command("train", "--config", output, "--set", "pixel.epochs=2")
    assert again.returncode == 0, again.stderr
    assert "continuing after epoch 1 of 2" in again.stdout and len(rows(output)) == 2


def test_a_configuration_is_printed(photos):
    printed = run_command("train", "--config", "coco", "--print")
    assert printed.returncode == 0 and printed.stdout == find_config("coco").read_text() and printed.stderr == ""
    printed = run_command("train", "--config", "coco", "--pictures", photos, "--set", "seed=7", "--print").stdout
    assert "\nseed: 7\n" in f"\n{printed}" and f"pictures: '{photos}'" in printed and "size: 160" in printed


def test_a_configuration_of_nothing_but_a_folder_works_and_small_pictures_are_refused_with_what_fits(photos, tmp_path):
    small = ["network.filters=4", "network.blocks=1", "batches.size=2", "batches.crop=32", "batches.steps_per_epoch=2",
             "pixel.epochs=1", "pixel.warmup_steps=0", "gan.epochs=0", f"data.store={tmp_path / 'stores'}"]  # fmt: skip
    (tmp_path / "large").mkdir()
    for path in photos.iterdir():
        Image.open(path).resize((400, 390)).save(tmp_path / "large" / path.name)
    plain = tmp_path / "plain.yaml"
    plain.write_text(f"data: {{pictures: {tmp_path / 'large'}}}\n")
    run = run_command("train", "-c", plain, "-o", tmp_path / "run", "--set", *small)
    assert run.returncode == 0, run.stderr
    assert "14 training and 1 validation pictures" in run.stdout and len(rows(tmp_path / "run")) == 1
    plain.write_text(f"data: {{pictures: '{photos}'}}\n")
    run = run_command("train", "-c", plain, "-o", tmp_path / "other", "--set", *small)
    assert run.returncode == 1 and "14 of 14 are smaller than data.size = 384 and would be enlarged" in run.stderr
    assert "(srgan-train --pictures FOLDER takes a size that fits)" in run.stderr

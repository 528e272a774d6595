"""From files to batches: the choice of pictures, the store, the crops."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, SAMPLE, load_script
from PIL import Image
from upscaling import in_adobe_rgb, photograph

from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError
from srgan.pictures import read_rgb
from srgan.train.data.prepare import Store, prepare, squares
from srgan.train.data.selection import choose_pictures

PICTURES = sorted((SAMPLE / "train").iterdir())
ANNOTATIONS = SAMPLE / "annotations" / "instances_train.json"


def choose(tmp_path, *changes, seed=0, annotations=ANNOTATIONS):
    data = Config.load("sample", [f"data.annotations={annotations or 'null'}", *changes]).data
    return choose_pictures(data, seed, tmp_path / "cache")


def held_back(count):
    return ["data.validation_pictures=null", "data.validation_annotations=null", f"data.validation_count={count}"]


# -- which pictures


def test_the_choice_is_seeded_and_a_smaller_one_is_part_of_a_larger(tmp_path):
    large, _ = choose(tmp_path, "data.count=10")
    small, _ = choose(tmp_path, "data.count=5")
    other, _ = choose(tmp_path, "data.count=10", seed=1)
    assert large[:5] == small and len(set(large)) == 10
    assert choose(tmp_path, "data.count=10")[0] == large != other


def test_categories_and_sides_come_from_the_annotations(tmp_path):
    content = json.loads(ANNOTATIONS.read_text())
    categories = {c["id"]: c["name"] for c in content["categories"]}
    shown = {(a["image_id"], categories[a["category_id"]]) for a in content["annotations"]}
    names = {i["id"]: i["file_name"] for i in content["images"]}
    for wanted in sorted({name for _, name in shown}):
        pictures, _ = choose(tmp_path, f"data.categories=[{wanted}]", *held_back(0))
        assert {p.name for p in pictures} == {names[i] for i, name in shown if name == wanted}
    large, _ = choose(tmp_path, "data.minimum_side=400", *held_back(0))
    assert {p.name for p in large} == {i["file_name"] for i in content["images"] if min(i["width"], i["height"]) >= 400}
    assert large != []


def test_an_unknown_category_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="no category 'unicorn'; it has .*person"):
        choose(tmp_path, "data.categories=[unicorn]")


def test_a_bare_folder_works_and_knows_sides_from_headers(tmp_path):
    assert {p.name for p in choose(tmp_path, annotations=None)[0]} == {p.name for p in PICTURES}
    changes = ["data.minimum_side=400", *held_back(0)]
    assert set(choose(tmp_path, *changes, annotations=None)[0]) == set(choose(tmp_path, *changes)[0])
    with pytest.raises(UsageError, match="data.categories = .*needs data.annotations"):
        choose(tmp_path, "data.categories=[cat]", annotations=None)


def test_validation_is_held_back_from_the_same_folder(tmp_path):
    training, validation = choose(tmp_path, *held_back(4))
    assert len(validation) == 4 and len(training) == len(PICTURES) - 4
    assert not set(training) & set(validation)
    with pytest.raises(SRGANError, match="none is left for training"):
        choose(tmp_path, *held_back(len(PICTURES)))


def test_one_more_picture_leaves_the_choice_of_the_others_alone(tmp_path):
    shutil.copytree(SAMPLE / "train", tmp_path / "train")
    changes = [f"data.pictures={tmp_path / 'train'}", *held_back(4)]
    before, _ = choose(tmp_path, *changes, annotations=None)
    shutil.copy(SAMPLE / "val" / "chelsea.jpg", tmp_path / "train" / "new.jpg")
    after, _ = choose(tmp_path, *changes, annotations=None)
    assert [path for path in after if path in before] == [path for path in before if path in after]
    assert len(set(before) ^ set(after)) == 1


def test_a_copy_under_another_name_is_not_in_both_splits(tmp_path):
    shutil.copytree(SAMPLE / "train", tmp_path / "train")
    shutil.copytree(SAMPLE / "val", tmp_path / "val")
    shutil.copy(tmp_path / "val" / "chelsea.jpg", tmp_path / "train" / "renamed.jpg")
    changes = [f"data.pictures={tmp_path / 'train'}", f"data.validation_pictures={tmp_path / 'val'}"]
    training, validation = choose(tmp_path, *changes, annotations=None)
    assert "chelsea.jpg" in {p.name for p in validation}
    assert {p.name for p in training} == {p.name for p in PICTURES}


def test_too_few_pictures_is_an_error_with_the_figures(tmp_path):
    with pytest.raises(SRGANError, match=rf"data.count = 800, but only {len(PICTURES)} pictures qualify"):
        choose(tmp_path, "data.count=800")


@pytest.mark.parametrize(
    "change, message",
    [
        ("data.pictures=data/coco/train2017", "srgan-download-coco train2017 val2017 --output data/coco$"),
        (
            "data.annotations=data/coco/annotations/instances_train2017.json",
            "srgan-download-coco train2017 val2017 --output data/coco$",
        ),
    ],
)
def test_missing_data_names_the_command_that_fetches_it(change, message, tmp_path):
    with pytest.raises(SRGANError, match=message):
        choose(tmp_path, change)


def test_an_annotation_file_is_parsed_once(tmp_path, monkeypatch):
    first = choose(tmp_path)
    import pycocotools.coco

    monkeypatch.setattr(pycocotools.coco, "COCO", None)
    assert choose(tmp_path) == first
    os.utime(shutil.copy(ANNOTATIONS, tmp_path / "a.json"))
    with pytest.raises(SRGANError):  # another file: it would have to be parsed
        choose(tmp_path, annotations=tmp_path / "a.json")


def test_a_file_that_is_no_annotation_file(tmp_path):
    (tmp_path / "a.json").write_text('{"info": 1}')
    with pytest.raises(SRGANError, match="a.json: not a COCO instances file"):
        choose(tmp_path, annotations=tmp_path / "a.json")


# -- the store


def small(pictures, root, **options):
    return prepare(pictures, root, **{"size": 64, "scale": 4, **options})


def test_the_store_holds_bicubic_squares(tmp_path):
    store = small(PICTURES[:3], tmp_path)
    assert store.hr.shape == (3, 64, 64, 3) and store.lr.shape == (3, 16, 16, 3)
    assert store.names == [p.name for p in PICTURES[:3]] and store.skipped == []
    expected = Image.open(PICTURES[0]).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(store.hr[0], np.asarray(expected))
    assert np.array_equal(store.lr[0], np.asarray(expected.resize((16, 16), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("fit", ["squash", "crop", "tile"])
def test_the_store_holds_colours_as_their_profile_means_them(fit, tmp_path):
    """A photograph in Adobe RGB, as cameras save it, and its low resolution give the squares that they give in sRGB."""
    inside, wide, adobe = in_adobe_rgb(Image.fromarray(photograph(200, 200)))
    stores = []
    for name, picture, profile in (("srgb", inside, None), ("adobe", wide, adobe)):
        for folder, factor in (("high", 1), ("low", 4)):
            (tmp_path / name / folder).mkdir(parents=True)
            picture.reduce(factor).save(tmp_path / name / folder / "a.png", icc_profile=profile)
        high, low = (tmp_path / name / folder / "a.png" for folder in ("high", "low"))
        stores.append([small([high], tmp_path, fit=fit), small([high], tmp_path, fit=fit, low={high: low})])
    for srgb, adobe in zip(*stores):
        assert srgb.count == adobe.count > 0
        assert np.abs(srgb.hr.astype(int) - adobe.hr).max() <= 3 and np.abs(srgb.lr.astype(int) - adobe.lr).max() <= 3


def test_crop_keeps_the_aspect_and_tile_keeps_the_pixels():
    pixels = read_rgb(SAMPLE / "val" / "raccoon.jpg")  # 1024 x 768
    ((hr, _),) = squares(pixels, size=256, scale=4, fit="crop")
    expected = Image.fromarray(pixels).resize((341, 256), Image.Resampling.BICUBIC).crop((42, 0, 298, 256))
    assert np.array_equal(hr, np.asarray(expected))
    tiles = list(squares(pixels, size=256, scale=4, fit="tile"))
    flat = np.concatenate([np.zeros_like(pixels[:256]), pixels[:256]])
    assert len(list(squares(flat, size=256, scale=4, fit="tile"))) == pixels.shape[1] // 256  # nothing of the flat half
    assert len(tiles) == 12 and np.array_equal(tiles[5][0], pixels[256:512, 256:512])
    whole = np.asarray(Image.fromarray(pixels).resize((256, 192), Image.Resampling.BICUBIC))
    assert np.array_equal(tiles[5][1], whole[64:128, 64:128])
    assert len(list(squares(pixels, size=256, scale=4, fit="tile", shrink=0.5))) == 2
    assert len(list(squares(pixels[:100, :100], size=256, scale=4, fit="tile", shrink=0.5))) == 1


def variants(folder):
    """The same picture as files of every kind that has to become the same RGB, and the picture."""
    folder.mkdir()
    picture = Image.open(SAMPLE / "val" / "chelsea.jpg").convert("RGB").crop((90, 60, 190, 140))
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    turned.save(folder / "turned.png", exif=exif)
    picture.save(folder / "rgb.png")
    opaque = picture.copy()
    opaque.putalpha(255)
    opaque.save(folder / "alpha.png")
    picture.quantize(256).save(folder / "palette.png")
    picture.convert("CMYK").save(folder / "cmyk.tif")
    picture.convert("L").save(folder / "gray.png")
    return np.asarray(picture)


def test_orientation_alpha_palette_cmyk_and_gray_become_rgb(tmp_path):
    expected = variants(tmp_path / "in").astype(int)
    for name, tolerance in {"turned.png": 0, "rgb.png": 0, "alpha.png": 0, "palette.png": 12, "cmyk.tif": 2}.items():
        found = read_rgb(tmp_path / "in" / name).astype(int)
        assert np.abs(found - expected).mean() <= tolerance, name
    gray = read_rgb(tmp_path / "in" / "gray.png")
    assert gray.shape == expected.shape and (gray[..., 0] == gray[..., 2]).all()


def test_a_second_run_opens_the_same_store_and_a_change_makes_a_new_one(tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(SAMPLE / "train", folder)
    pictures = sorted(folder.iterdir())[:3]
    first = small(pictures, tmp_path / "stores")
    stamp = (first.folder / "hr.bin").stat().st_mtime_ns
    again = small(pictures, tmp_path / "stores")
    assert again.folder == first.folder and (again.folder / "hr.bin").stat().st_mtime_ns == stamp
    folders = {first.folder}
    for options in ({"size": 32}, {"fit": "crop"}, {"scale": 2}, {"shrink": 0.8}):
        folders.add(small(pictures, tmp_path / "stores", **options).folder)
    shutil.copy(pictures[1], pictures[0])
    folders.add(small(pictures, tmp_path / "stores").folder)
    facts = pictures[0].stat()
    os.utime(pictures[0], ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))  # what is edited may keep its length
    folders.add(small(pictures, tmp_path / "stores").folder)
    assert len(folders) == 7


def test_bad_pictures_are_skipped_and_listed(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    whole = PICTURES[0].read_bytes()
    (folder / "a.jpg").write_bytes(whole)
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c.jpg").write_bytes(b"")
    (folder / "d.jpg").write_text("no picture")
    store = small(sorted(folder.iterdir()), tmp_path / "stores")
    assert store.count == 1 and store.names == ["a.jpg"]
    assert [Path(problem.split(": ")[0]).name for problem in store.skipped] == ["b.jpg", "c.jpg", "d.jpg"]
    with pytest.raises(SRGANError, match="none of the 3 pictures can be used; the first: .*b.jpg"):
        small(sorted(folder.iterdir())[1:], tmp_path / "stores")
    assert [p for p in (tmp_path / "stores").iterdir() if p.is_dir()] == [store.folder]


def test_too_little_disk_space_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**7))
    # 15 pictures of 1024 x 1024 x 3 bytes, and a sixteenth of that in low resolution
    with pytest.raises(SRGANError, match=r"takes 0\.05 GB and 0\.01 GB are free.*data\.store"):
        small(PICTURES, tmp_path, size=1024)


def test_a_killed_preparation_leaves_nothing_that_looks_finished(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
import srgan.train.data.prepare as prepare
real = prepare.read_rgb
def read(path):
    if path == pictures[5]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
prepare.read_rgb = read
pictures = sorted(Path(sys.argv[1]).iterdir())
prepare.prepare(pictures, sys.argv[2], size=64, scale=4)
"""
    run = subprocess.run([sys.executable, "-c", code, SAMPLE / "train", tmp_path / "stores"], cwd=ROOT)
    assert run.returncode == -signal.SIGKILL
    assert any(p.name.endswith(".part") for p in (tmp_path / "stores").iterdir())
    assert not any(p.is_dir() and not p.name.startswith(".") for p in (tmp_path / "stores").iterdir())
    store = small(PICTURES, tmp_path / "stores")
    assert store.count == len(PICTURES)
    assert not any(p.name.endswith(".part") for p in (tmp_path / "stores").iterdir())


def test_118000_pictures_open_and_give_batches_in_the_memory_of_800(tmp_path):
    from srgan.train.data.batches import Batches

    peaks = {}
    for count in (800, 118_000):
        folder = load_script("benchmark").empty_store(tmp_path / str(count), count)  # files with holes
        tracemalloc.start()
        batches = Batches(Store.open(folder), size=16, crop=96, steps=100, seed=(0,))
        for step in range(20):
            lr, hr = batches[step]
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert hr.shape == (16, 96, 96, 3)
    # The one thing that grows is the order of the pictures, 8 bytes each.
    assert peaks[118_000] - peaks[800] < 3 * 8 * 118_000


# -- batches


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(PICTURES, tmp_path_factory.mktemp("stores"), size=128, scale=4)


def batches(store, **options):
    from srgan.train.data.batches import Batches

    return Batches(store, **{"size": 4, "crop": 64, "steps": 6, "seed": (0, 1), **options})


def places(patch, pictures):
    """Every (picture, top, left) where `patch` stands in `pictures`."""
    side = patch.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (side, side), axis=(1, 2))
    return np.argwhere((windows == patch.transpose(2, 0, 1)).all(axis=(3, 4, 5)))


def test_the_lr_crop_is_the_pictures_own_lr_at_the_same_place(store):
    for lr, hr in (pair for step in range(6) for pair in zip(*batches(store, augment=False)[step])):
        found = {tuple(place) for place in places(lr, store.lr)}
        assert found & {(p, top // 4, left // 4) for p, top, left in places(hr, store.hr) if top % 4 == left % 4 == 0}


def test_augmentation_turns_both_alike(store):
    seen = set()
    plain, augmented = (batches(store, augment=augment, steps=12) for augment in (False, True))
    for step in range(12):
        for (lr, hr), (turned_lr, turned_hr) in zip(zip(*plain[step]), zip(*augmented[step])):
            ways = [(k, flip) for k in range(4) for flip in (1, -1)
                    if np.array_equal(np.rot90(hr, k)[:, ::flip], turned_hr)]  # fmt: skip
            assert ways
            assert any(np.array_equal(np.rot90(lr, k)[:, ::flip], turned_lr) for k, flip in ways)
            seen.update(ways)
    assert len(seen) == 8


def test_batches_are_a_function_of_seed_epoch_and_step(store):
    first, again = batches(store), batches(store)
    first.epoch = 3
    list(again)  # whatever was drawn before makes no difference
    again.epoch = 3
    assert all(np.array_equal(a, b) for a, b in zip(first[2], again[2]))
    again.epoch = 4
    assert not np.array_equal(first[2][1], again[2][1])
    other = batches(store, seed=(1, 1))
    other.epoch = 3
    assert not np.array_equal(first[2][1], other[2][1])


def test_every_picture_is_seen_before_one_is_seen_again(store):
    cut = batches(store, size=5, steps=3, crop=128, augment=False)
    seen = [int(places(hr[::4, ::4], store.hr[:, ::4, ::4])[0][0]) for step in range(3) for hr in cut[step][1]]
    assert sorted(seen) == list(range(15)) and seen != sorted(seen)


def test_the_shares_of_a_batch_make_it_up(store):
    whole, shares = batches(store), [batches(store, share=(part, 2)) for part in range(2)]
    for cut in (whole, *shares):
        cut.epoch = 3
    for array, *parts in zip(whole[2], *(share[2] for share in shares)):
        assert np.array_equal(array, np.concatenate(parts)) and len(parts[0]) == 2

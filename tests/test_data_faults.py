"""What is odd about the pictures of a run and their lists: taken, or named with the count and the remedy."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
from helpers import SAMPLE, run_command
from PIL import Image

from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError
from srgan.train.data.prepare import prepare
from srgan.train.data.selection import choose_pictures
from srgan.train.data.stores import open_stores

LISTED = json.loads((SAMPLE / "annotations" / "instances_train.json").read_text())
COUNT = len(LISTED["images"])


@pytest.fixture
def warnings(caplog):
    """A function that returns what was logged, and forgets it."""
    caplog.set_level("WARNING", "srgan")

    def take():
        messages = list(caplog.messages)
        caplog.clear()
        return messages

    return take


def choose(tmp_path, listed, *changes, pictures=SAMPLE / "train", encoding="utf-8"):
    file = tmp_path / "listed.json"
    file.write_text(json.dumps(listed), encoding=encoding)
    held_back = ["data.validation_pictures=null", "data.validation_annotations=null", "data.validation_count=0"]
    data = Config.load("sample", [f"data.annotations={file}", f"data.pictures={pictures}", *held_back, *changes]).data
    return choose_pictures(data, 0, tmp_path / "cache")[0]


def with_images(images):
    return {**LISTED, "images": images}


# -- annotation files


@pytest.mark.parametrize("prefix", ["train/", "./", "train\\"])
@pytest.mark.parametrize("pictures", [SAMPLE, SAMPLE / "train"])
def test_file_names_with_folders_are_found(prefix, pictures, tmp_path, warnings):
    listed = with_images([{**image, "file_name": prefix + image["file_name"]} for image in LISTED["images"]])
    if prefix == "./" and pictures == SAMPLE:
        pictures = SAMPLE / "train"
    found = choose(tmp_path, listed, pictures=pictures)
    assert {path.resolve() for path in found} == set((SAMPLE / "train").iterdir()) and warnings() == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_does_not_matter(encoding, tmp_path):
    assert choose(tmp_path, LISTED, encoding=encoding) == choose(tmp_path, LISTED)


def test_sides_that_are_not_listed_are_read_from_the_pictures(tmp_path):
    bare = [{"id": image["id"], "file_name": image["file_name"]} for image in LISTED["images"]]
    bare[0] |= {"width": None, "height": None}
    for changes in ([], ["data.minimum_side=400"]):
        assert choose(tmp_path, with_images(bare), *changes) == choose(tmp_path, LISTED, *changes) != []
    with pytest.raises(SRGANError, match="no picture has data.minimum_side = 9000 pixels"):
        choose(tmp_path, with_images(bare), "data.minimum_side=9000")


def test_a_file_under_two_ids_is_one_picture(tmp_path):
    doubled = [*LISTED["images"], {**LISTED["images"][0], "id": 10**9}]
    doubled.append({**LISTED["images"][1], "id": 10**9 + 1, "file_name": "./" + LISTED["images"][1]["file_name"]})
    found = choose(tmp_path, with_images(doubled))
    assert len(found) == len({path.resolve() for path in found}) == COUNT


def test_listed_pictures_that_are_not_there_are_counted(tmp_path, warnings):
    absent = [{**LISTED["images"][0], "id": 10**9 + k, "file_name": f"x{k}.jpg"} for k in range(5000)]
    assert choose(tmp_path, with_images(LISTED["images"] + absent)) == choose(tmp_path, LISTED)
    (message,) = warnings()
    assert message == (
        f"{tmp_path / 'listed.json'}: 5000 of the {5000 + COUNT} pictures that qualify are not in {SAMPLE / 'train'}, such as "
        "x0.jpg; data.pictures must be the folder of the files, or the one that their names start from"
    )
    with pytest.raises(SRGANError, match=r"holds none of the 5000 pictures .*, such as x0.jpg; data.pictures must be"):
        choose(tmp_path, with_images(absent))
    partly = tmp_path / "coco" / "train2017"
    partly.mkdir(parents=True)
    shutil.copy(SAMPLE / "train" / LISTED["images"][0]["file_name"], partly)
    assert len(choose(tmp_path, LISTED, pictures=partly)) == 1
    assert warnings()[0].endswith(f"get it with: srgan-download-coco train2017 val2017 --output {partly.parent}")


@pytest.mark.parametrize(
    "listed",
    [[], {}, {"images": {}}, {"images": [{"id": 1}]}, {"images": [{"id": 1, "file_name": None}]},
     {"images": ["a.jpg"]}, {"images": [{"file_name": "a.jpg"}]}, {"images": [], "annotations": [{}]}],
)  # fmt: skip
def test_what_is_no_list_of_pictures_is_refused(listed, tmp_path):
    with pytest.raises(
        SRGANError, match="listed.json: not a COCO instances file.*; it must be an object with a list"
    ) as caught:
        choose(tmp_path, listed)
    assert "Error(" not in str(caught.value) and len(str(caught.value)) < 400


def test_images_without_a_name_are_counted_each_time(tmp_path, warnings):
    odd = [{"id": 10**6}, {"id": 10**6 + 1, "file_name": None}, {"file_name": "a.jpg"}, None, "a.jpg"]
    listed = with_images([*LISTED["images"], *odd])
    for _ in range(2):  # the second time from what is remembered
        assert choose(tmp_path, listed) == choose(tmp_path, LISTED)
        assert "5 of its images have no id or no file_name, and are left out" in warnings()[-1]


def test_sides_and_ids_that_are_text_are_taken(tmp_path):
    images = [
        each | {"id": str(each["id"]), "width": str(each["width"]), "height": f"{each['height']}.0"}
        for each in LISTED["images"]
    ]
    side = "data.minimum_side=400"
    assert choose(tmp_path, {"images": images}, side) == choose(tmp_path, LISTED, side) != choose(tmp_path, LISTED)


PERSONS = "data.categories=[person]"


@pytest.mark.parametrize(
    "change",
    [
        lambda each: each | {"image_id": str(each["image_id"])},
        lambda each: each | {"category_id": str(each["category_id"]), "image_id": float(each["image_id"])},
        lambda each: each | {"bbox": None, "segmentation": "none"},
    ],
)
def test_numbers_may_be_text_here_and_numbers_there(change, tmp_path):
    wanted = choose(tmp_path, LISTED, PERSONS)
    odd = [None, "x", {"id": 1}, {"id": 2, "image_id": 1}, {"id": 3, "image_id": 10**9, "category_id": 1}]
    listed = LISTED | {
        "annotations": [*odd, *map(change, LISTED["annotations"])],
        "categories": [*LISTED["categories"], {}],
    }
    assert choose(tmp_path, listed, PERSONS) == wanted != choose(tmp_path, listed) == choose(tmp_path, LISTED)


@pytest.mark.parametrize("lost", ["annotations", "categories"])
def test_a_list_that_does_not_say_what_pictures_show_has_no_categories(lost, tmp_path):
    for listed in ({key: value for key, value in LISTED.items() if key != lost}, LISTED | {lost: []}):
        with pytest.raises(
            UsageError, match=r"listed.json does not say what its pictures show; set data.categories=\[\]"
        ):
            choose(tmp_path, listed, PERSONS)
    empty = LISTED | {"categories": [*LISTED["categories"], {"id": 99, "name": "yeti"}]}
    with pytest.raises(UsageError, match=r"data.categories = \['yeti'\]: .*listed.json has no picture of these"):
        choose(tmp_path, empty, "data.categories=[yeti]")


def test_names_that_a_file_system_does_not_tell_apart_are_found(tmp_path, warnings):
    shutil.copytree(SAMPLE / "train", tmp_path / "train")
    first, second = (image["file_name"] for image in LISTED["images"][:2])
    (tmp_path / "train" / first).rename(tmp_path / "train" / unicodedata.normalize("NFD", "\u00e9t\u00e9.jpg"))
    (tmp_path / "train" / second).rename(tmp_path / "train" / "IMG_2.JPG")
    names = {first: "\u00e9t\u00e9.jpg", second: "img_2.jpg"}
    listed = with_images(
        [{**each, "file_name": names.get(each["file_name"], each["file_name"])} for each in LISTED["images"]]
    )
    assert len(choose(tmp_path, listed, pictures=tmp_path / "train")) == COUNT and warnings() == []
    (tmp_path / "train" / "img_2.jpg").write_bytes(b"")  # the very name comes first
    assert tmp_path / "train" / "img_2.jpg" in choose(tmp_path, listed, pictures=tmp_path / "train")


def test_a_list_in_an_encoding_of_windows_is_read(tmp_path):
    shutil.copytree(SAMPLE / "train", tmp_path / "train")
    name = LISTED["images"][0]["file_name"]
    (tmp_path / "train" / name).rename(tmp_path / "train" / "jos\u00e9.jpg")
    text = json.dumps(LISTED, ensure_ascii=False).replace(name, "jos\u00e9.jpg")
    (tmp_path / "windows.json").write_bytes(text.encode("cp1252"))
    found = choose(tmp_path, LISTED, f"data.annotations={tmp_path / 'windows.json'}", pictures=tmp_path / "train")
    assert len(found) == COUNT and "jos\u00e9.jpg" in {path.name for path in found}


def test_a_list_without_annotations_is_enough(tmp_path):
    assert choose(tmp_path, {"images": LISTED["images"]}) == choose(tmp_path, LISTED)
    empty = {"images": LISTED["images"], "annotations": None, "categories": None}
    assert choose(tmp_path, empty) == choose(tmp_path, LISTED)


# -- pictures


def test_validation_pictures_of_the_same_folder_are_named(tmp_path, warnings):
    folder = tmp_path / "photos"
    shutil.copytree(SAMPLE / "train", folder)
    (tmp_path / "link").symlink_to(folder)

    def split(*changes, validation):
        both = [f"data.pictures={folder}", f"data.validation_pictures={validation}"]
        none = ["data.annotations=null", "data.validation_annotations=null"]
        return choose_pictures(Config.load("sample", [*both, *none, *changes]).data, 0, tmp_path / "cache")

    for same in (folder, tmp_path / "link"):
        training, validation = split("data.validation_count=3", validation=same)
        assert len(training) == COUNT - 3 and len(validation) == 3
        assert warnings() == [
            f"data.validation_pictures is the same folder as data.pictures: 3 of the {COUNT} pictures that qualify for "
            "training are validation pictures, and are not trained on"
        ]
        with pytest.raises(SRGANError, match="the same folder as data.pictures: all of its .* none is left for training; "
                                             "set data.validation_pictures=null to hold some back"):  # fmt: skip
            split("data.validation_count=null", validation=same)
    copies = tmp_path / "copies"
    copies.mkdir()
    shutil.copy(next(folder.iterdir()), copies / "renamed.jpg")
    split("data.validation_count=1", validation=copies)
    assert warnings() == [
        f"1 of the {COUNT} pictures that qualify for training are validation pictures, and are not trained on"
    ]


def test_copies_of_what_is_held_back_are_counted_and_nothing_but_copies_is_refused(tmp_path, warnings):
    first, *others = sorted((SAMPLE / "train").iterdir())
    for index in range(12):
        shutil.copy(first, tmp_path / f"{index}.jpg")
    nothing = [f"data.{key}=null" for key in ("annotations", "validation_pictures", "validation_annotations")]

    def split(count):
        changes = [f"data.pictures={tmp_path}", f"data.validation_count={count}", *nothing]
        return choose_pictures(Config.load("sample", changes).data, 0, tmp_path / "cache")

    for count, number in ((1, 1), ("null", 1), (3, 3)):
        what = f"the {12 - number} pictures beside the {number} that are held back for validation are copies of these, and none"
        with pytest.raises(SRGANError, match=what):
            split(count)
    for path in others[:3]:
        shutil.copy(path, tmp_path)
    training, validation = split(4)  # at least one copy
    names = {path.name for path in training}
    assert names and names | {path.name for path in validation} >= {path.name for path in others[:3]}
    assert warnings() == [
        f"{11 - len(names)} of the 11 pictures that qualify for training are copies of validation pictures, and are not "
        "trained on"
    ]


def float_tiffs(folder, count):
    folder.mkdir()
    for index, path in enumerate(sorted((SAMPLE / "train").iterdir())[:count]):
        pixels = np.asarray(Image.open(path).convert("L"), np.float32)
        Image.fromarray(pixels / (255 if index % 2 else 1)).save(folder / f"{index:02}.tif")


def test_float_tiffs_are_skipped_and_named(tmp_path):
    """Whether 1 or 255 is white cannot be known."""
    float_tiffs(tmp_path / "d", 4)
    shutil.copy(SAMPLE / "train" / LISTED["images"][0]["file_name"], tmp_path / "d" / "good.jpg")
    store = prepare(sorted((tmp_path / "d").iterdir()), tmp_path / "stores", size=64, scale=4)
    assert store.names == ["good.jpg"] and len(store.skipped) == 4 and "float" in store.skipped[0]


def test_a_run_names_some_of_the_skipped_and_counts_the_rest(tiny, tmp_path):
    float_tiffs(tmp_path / "d", 12)
    shutil.copytree(SAMPLE / "train", tmp_path / "d", dirs_exist_ok=True)
    (tmp_path / "tiny.yaml").write_text(
        tiny(f"data.pictures={tmp_path / 'd'}", "data.annotations=null", "gan.epochs=0").to_yaml()
    )
    run = run_command("train", "--config", tmp_path / "tiny.yaml", "--output", tmp_path / "run")
    assert run.returncode == 0, run.stderr
    lines = run.stderr.splitlines()
    assert len(lines) == 11 and all(line.startswith("srgan: skipped: ") for line in lines)
    assert lines[0].startswith(f"srgan: skipped: {tmp_path / 'd'}/") and "skipped: 2 more, see " in lines[-1]


@pytest.mark.parametrize("fit", ["squash", "crop", "tile"])
def test_pictures_that_would_be_enlarged_are_counted_and_most_of_them_refused(fit, tiny, tmp_path, warnings):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, path in enumerate(sorted((SAMPLE / "train").iterdir())[:5]):
        Image.open(path).convert("RGB").resize((300, 120 if index < 2 else 200)).save(folder / f"{index}.png")
    changes = [f"data.pictures={folder}", "data.annotations=null", f"data.fit={fit}"]
    open_stores(tiny("data.size=64", *changes))
    assert warnings() == []
    for _ in range(2):  # a store that is there already is judged, too
        open_stores(tiny("data.size=160", *changes))
        assert warnings() == [
            "data.pictures: 2 of 5 are smaller than data.size = 160 and are enlarged by bicubic; lower it, or leave them out by "
            "data.minimum_side"
        ]
        with pytest.raises(
            SRGANError, match="data.pictures: 5 of 5 are smaller than data.size = 256 and would be enlarged"
        ):
            open_stores(tiny("data.size=256", *changes))


# -- the store


def test_a_picture_with_another_time_makes_a_new_store(tmp_path):
    """A file that was replaced by one of the same size, as a mended scan or a turned bitmap is."""
    picture = tmp_path / "a.bmp"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(picture)
    before, size = prepare([picture], tmp_path / "stores", size=64, scale=4), picture.stat().st_size
    Image.fromarray(255 - pixels).save(picture)
    assert picture.stat().st_size == size
    after = prepare([picture], tmp_path / "stores", size=64, scale=4)
    assert np.array_equal(before.hr[0], pixels) and np.array_equal(after.hr[0], 255 - pixels)


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "gone"])
@pytest.mark.parametrize("name", ["hr.bin", "lr.bin", "store.json", "candidates-*.json"])
def test_a_damaged_store_is_made_anew(name, damage, tiny, tmp_path, warnings):
    """As a full disk or a loss of power leaves it."""
    config = tiny(f"data.store={tmp_path}", "data.annotations=null", "data.minimum_side=10", "data.count=null")
    before = {key: store.hr.tobytes() for key, store in open_stores(config).items()}
    (file, *_) = files = sorted(tmp_path.rglob(name))
    content = file.read_bytes()
    if damage == "zeros" and name.endswith(".bin"):
        return  # whose pictures nobody can tell from black ones
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "zeros": bytes(len(content))}[damage])
    warnings()
    stores = open_stores(config)
    assert {key: store.hr.tobytes() for key, store in stores.items()} == before
    told = [message for message in warnings() if "a damaged store of prepared pictures; it is made anew" in message]
    assert len(told) == (name[0] != "c") and sorted(tmp_path.rglob(name)) == files and file.read_bytes() == content
    open_stores(config)
    assert not any("damaged" in message for message in warnings())

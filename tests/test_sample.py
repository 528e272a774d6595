"""The sample in data/: what it holds, whose it is, and that scripts/make_sample.py makes it."""

import itertools
import json
import re
import shutil

import pytest
from helpers import ROOT, load_script
from PIL import Image
from pycocotools.coco import COCO

make_sample = load_script("make_sample")
SAMPLE = ROOT / "data" / "sample"


@pytest.fixture(scope="module", params=["train", "val"])
def split(request):
    return request.param


@pytest.fixture(scope="module")
def coco(split):
    return COCO(SAMPLE / "annotations" / f"instances_{split}.json")


def test_every_picture_is_listed_with_its_size_and_licence(split, coco):
    images = coco.loadImgs(coco.getImgIds())
    assert sorted(image["file_name"] for image in images) == sorted(path.name for path in (SAMPLE / split).iterdir())
    licences = {licence["id"] for licence in coco.dataset["licenses"]}
    for image in images:
        with Image.open(SAMPLE / split / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
            assert picture.format == "JPEG"
            picture.load()
        assert min(image["width"], image["height"]) >= 256
        assert image["license"] in licences


def test_there_is_enough_to_train_on_and_to_validate():
    assert 12 <= len(list((SAMPLE / "train").iterdir())) <= 24
    assert len(list((SAMPLE / "val").iterdir())) >= 2


@pytest.mark.parametrize(
    ("split_name", "category", "file_names"),
    [
        ("train", "person", {"astronaut.jpg", "camera.jpg"}),
        ("train", "cup", {"coffee.jpg"}),
        ("train", "cat", set()),
        ("val", "cat", {"chelsea.jpg"}),
        ("val", "person", {"hopper.jpg"}),
    ],
)
def test_categories_choose_pictures(split_name, category, file_names):
    coco = COCO(SAMPLE / "annotations" / f"instances_{split_name}.json")
    ids = coco.getImgIds(catIds=coco.getCatIds(catNms=[category]))
    assert {image["file_name"] for image in coco.loadImgs(ids)} == file_names


def test_outlines_boxes_and_areas_agree(coco):
    annotations = coco.loadAnns(coco.getAnnIds())
    assert annotations
    for annotation in annotations:
        image = coco.imgs[annotation["image_id"]]
        mask = coco.annToMask(annotation)
        assert mask.shape == (image["height"], image["width"])
        assert mask.sum() == pytest.approx(annotation["area"], rel=0.02)
        left, top, width, height = annotation["bbox"]
        assert 0 <= left < left + width <= image["width"] and 0 <= top < top + height <= image["height"]
        assert mask[top : top + height, left : left + width].sum() >= 0.99 * mask.sum()


def test_ids_are_unique_over_both_splits():
    both = [json.loads((SAMPLE / "annotations" / f"instances_{name}.json").read_text()) for name in ("train", "val")]
    for key in ("images", "annotations"):
        ids = [entry["id"] for content in both for entry in content[key]]
        assert len(ids) == len(set(ids)) and 0 not in ids
    assert both[0]["categories"] == both[1]["categories"]


def test_no_photograph_is_in_both_splits_and_no_regions_overlap():
    hashes = [photograph.sha256 for photograph in make_sample.PHOTOGRAPHS]
    assert len(hashes) == len(set(hashes))
    for photograph in make_sample.PHOTOGRAPHS:
        for left, top, width, height in photograph.regions:
            assert left + width <= photograph.size[0] and top + height <= photograph.size[1]
        for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(photograph.regions, 2):
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_it_is_small():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 3_000_000


def test_every_file_is_credited():
    credited = {}
    for row in re.findall(r"^\| (`.+) \|$", (ROOT / "data" / "README.md").read_text(), re.MULTILINE):
        files, title, author, licence, wheel = row.split(" | ")
        assert re.fullmatch(r"\[.+\]\(https?://\S+\)", title) and author and wheel
        assert re.fullmatch(r"\[(CC0 1\.0|Public domain)\]\(https://creativecommons\.org/publicdomain/\S+\)", licence)
        credited |= dict.fromkeys(re.findall(r"`(.+?)`", files), licence)
    for name in ("train", "val"):
        listed = COCO(SAMPLE / "annotations" / f"instances_{name}.json").dataset
        licences = {each["id"]: f"[{each['name']}]({each['url']})" for each in listed["licenses"]}
        for image in listed["images"]:
            assert credited[f"{name}/{image['file_name']}"] == licences[image["license"]]
    assert set(credited) == {path.relative_to(SAMPLE).as_posix() for path in SAMPLE.rglob("*.jpg")}


def test_the_script_makes_the_committed_files():
    at_hand = [photograph for photograph in make_sample.PHOTOGRAPHS if make_sample.installed(photograph)]
    if not at_hand:
        pytest.skip("scikit-image is not installed: its photographs are needed")
    assert make_sample.check(photographs=at_hand) == []


def test_check_names_what_differs(tmp_path):
    at_hand = [photograph for photograph in make_sample.PHOTOGRAPHS if make_sample.installed(photograph)][:2]
    if len(at_hand) < 2:
        pytest.skip("scikit-image is not installed: its photographs are needed")
    shutil.copytree(ROOT / "data", tmp_path, dirs_exist_ok=True)
    (first, _), (second, _) = (make_sample.pictures(photograph)[0] for photograph in at_hand)
    with Image.open(tmp_path / "sample" / "train" / first) as picture:
        picture.point(lambda level: 255 - level).save(tmp_path / "sample" / "train" / first)
    (tmp_path / "sample" / "train" / second).unlink()
    (tmp_path / "README.md").write_text("")
    wrong = make_sample.check(tmp_path, at_hand)
    assert sorted(wrong) == ["README.md", f"sample/train/{first}", f"sample/train/{second}"]

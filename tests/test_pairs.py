"""Training on own pairs of low and high resolution."""

import numpy as np
import pytest
from helpers import SAMPLE
from PIL import Image

from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError
from srgan.pictures import read_rgb
from srgan.train.data.stores import open_stores

PAIRED = ["data.annotations=null", "data.validation_annotations=null", "data.fit=tile", "data.size=64"]


def write_pairs(folder, count=4, size=(200, 136), scale=4):
    """High resolutions, and low ones that are theirs turned to negatives, so that they cannot come from elsewhere."""
    for kind in ("hr", "lr"):
        (folder / kind).mkdir(parents=True)
    names = []
    for index, path in enumerate(sorted((SAMPLE / "train").iterdir())[:count]):
        high = Image.open(path).convert("RGB").resize(size)
        low = Image.fromarray(255 - np.asarray(high.resize((size[0] // scale, size[1] // scale))))
        high.save(folder / "hr" / f"{index}{['', 'x4', '_x4', '-X4'][index % 4]}.png")
        low.save(folder / "lr" / f"{index}{['x4', '', '-x2', '_x3'][index % 4]}.{['png', 'bmp'][index % 2]}")
        names.append(str(index))
    return folder


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs")


def configured(tiny, folder, *changes):
    return tiny(*PAIRED, f"data.pictures={folder / 'hr'}", f"data.low_resolution={folder / 'lr'}", *changes)


def test_pairs_are_cut_as_they_are(tiny, pairs, tmp_path):
    validation = write_pairs(tmp_path / "validation", count=2, size=(128, 64))
    changes = [f"data.validation_pictures={validation / 'hr'}", f"data.validation_low_resolution={validation / 'lr'}"]
    # The same photographs, but not the same files.
    stores = open_stores(configured(tiny, pairs, *changes, "data.validation_count=null"))
    assert stores["pictures"].count == 4 * 3 * 2 and stores["validation_pictures"].count == 2 * 2
    for store, folder in ((stores["pictures"], pairs), (stores["validation_pictures"], validation)):
        for name, hr, lr in zip(store.names, store.hr, store.lr):
            high = read_rgb(folder / "hr" / name)
            (low,) = (read_rgb(path) for path in (folder / "lr").iterdir() if path.name[0] == name[0])
            places = [(top, left) for top in range(0, len(high) - 63, 64) for left in range(0, high.shape[1] - 63, 64)]
            (top, left) = next(p for p in places if np.array_equal(high[p[0] : p[0] + 64, p[1] : p[1] + 64], hr))
            assert np.array_equal(lr, low[top // 4 : top // 4 + 16, left // 4 : left // 4 + 16])


def test_pairs_are_held_back_as_pairs(tiny, pairs):
    changes = ["data.validation_pictures=null", "data.validation_count=1"]
    stores = open_stores(configured(tiny, pairs, *changes))
    assert (stores["pictures"].count, stores["validation_pictures"].count) == (3 * 6, 6)
    store = stores["validation_pictures"]
    bicubic = np.asarray(Image.fromarray(store.hr[0]).resize((16, 16)))
    assert np.abs(255 - store.lr[0].astype(int) - bicubic).mean() < 20


def test_another_low_resolution_makes_another_store(tiny, pairs):
    changes = ["data.validation_pictures=null", "data.validation_count=1"]
    before = open_stores(configured(tiny, pairs, *changes))["pictures"]
    for path in (pairs / "lr").iterdir():
        Image.fromarray(255 - read_rgb(path)).save(path)
    after = open_stores(configured(tiny, pairs, *changes))["pictures"]
    assert np.array_equal(before.hr, after.hr) and np.array_equal(before.lr, 255 - after.lr)


def test_what_does_not_fit_is_named(tiny, pairs, caplog):
    changes = ["data.validation_pictures=null", "data.validation_count=1"]
    low = sorted((pairs / "lr").iterdir())
    Image.open(low[0]).resize((49, 34)).save(low[0])
    low[1].unlink()
    store = open_stores(configured(tiny, pairs, *changes, "data.validation_count=2"))
    problems = [problem for each in store.values() for problem in each.skipped]
    assert problems == [
        f"{low[0]}: has 49 x 34 pixels, and must have 50 x 34: the high resolution divided by network.scale = 4"
    ]
    assert any("1 of 2 pictures have no low resolution of their name (data.low_resolution), such as 1x4.png, and are left out"
               in message for message in caplog.messages)  # fmt: skip
    Image.open(low[2]).save(low[2].with_suffix(".png").with_stem("2"))
    with pytest.raises(SRGANError, match="2-x2.png and 2.png are of the same name"):
        open_stores(configured(tiny, pairs, *changes))
    with pytest.raises(
        SRGANError, match=r"4 of 4 pictures have no low resolution|3 of 3 pictures have no low resolution"
    ):
        open_stores(configured(tiny, pairs, *changes, f"data.low_resolution={SAMPLE / 'val'}"))
    with pytest.raises(SRGANError, match=r"gone: no such folder \(data.low_resolution\)"):
        open_stores(configured(tiny, pairs, *changes, "data.low_resolution=gone"))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            "data.fit=crop",
            "data.fit = 'crop': must be 'tile' with data.low_resolution = 'lr', whose pictures are cut as they",
        ),
        ("data.shrink=0.8", "data.shrink = 0.8: must be 1.0 with data.low_resolution"),
        (
            "batches.degradation=realistic",
            "batches.degradation = 'realistic': must be 'bicubic' with data.low_resolution",
        ),
        ("network.fusion=late", "network.fusion = 'late': must be 'none' with data.low_resolution"),
        ("data.validation_pictures=null", "data.validation_low_resolution: only counts with data.validation_pictures"),
    ],
)
def test_settings_that_would_change_pairs_are_refused(change, message):
    changes = [
        "data.low_resolution=lr",
        "data.validation_low_resolution=v",
        "data.fit=tile",
        "data.validation_annotations=null",
    ]
    with pytest.raises(UsageError) as caught:
        Config.load("coco", [*changes, change])
    assert message in str(caught.value)

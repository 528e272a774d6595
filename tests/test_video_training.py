"""Training over time: made motion, windows of real clips, and whole runs of every fusion."""

import itertools
import shutil
import sys

import keras
import numpy as np
import pytest
from helpers import SAMPLE, equal, rows, saved_weights
from PIL import Image

from srgan.clips.flow import origin
from srgan.config.schema import Config
from srgan.errors import SRGANError
from srgan.networks.files import load_generator, save_generator
from srgan.networks.generators import srresnet
from srgan.networks.over_time import FUSIONS
from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale, resize_bicubic
from srgan.train.build import build_batches, build_generator, build_model
from srgan.train.checkpoint import Checkpoint
from srgan.train.data.motion import Motion, camera_view, moving, smooth_path
from srgan.train.data.prepare import prepare
from srgan.train.data.stores import choose_examples, open_stores
from srgan.train.data.windows import WindowBatches, Windows
from srgan.train.run import train
from srgan.train.validation import middle_frame, upscale_one, validation_psnr_y
from srgan.train.weights import start_from

PICTURES = sorted((SAMPLE / "train").iterdir())
SMALL = ["network.blocks=2", "network.frames=3", "pixel.epochs=1", "gan.epochs=0", "pixel.warmup_steps=1",
         "batches.steps_per_epoch=2", "network.fusion=slow"]  # fmt: skip
PAN = {"turning": 0.0, "foreground": 0.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(PICTURES, tmp_path_factory.mktemp("stores"), size=128, scale=4, fit="crop")


def place(patch, picture):
    """The (top, left) where `patch` stands in `picture`."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, patch.shape[:2], axis=(0, 1))[..., ::7, ::7]
    ((top, left),) = np.argwhere((windows == patch.transpose(2, 0, 1)[..., ::7, ::7]).all(axis=(2, 3, 4)))
    assert np.array_equal(picture[top : top + len(patch), left : left + len(patch)], patch)
    return np.array([top, left])


# -- made motion


def windows(store, count, motion=None, **options):
    options = {"crop": 48, "frames": 5, "scale": 4, "motion": motion or Motion(), **options}
    for seed in range(count):
        yield moving(store.hr[0], store.hr[1], random=np.random.default_rng(seed), **options)


def test_a_pan_shows_the_picture_itself_and_goes_as_fast_as_drawn(store):
    motion, speeds = Motion(**PAN), []
    for seed, (_, hr) in enumerate(windows(store, 12, motion)):
        path = np.rint(4 * smooth_path(np.arange(-2, 3), np.random.default_rng(seed), motion))
        places = np.stack([place(frame, store.hr[0]) for frame in hr])
        assert np.array_equal(places - places[2], path)
        speeds.append(np.hypot(*(places[-1] - places[0]) / 4) / 4)
    assert max(speeds) > 0.5 and min(speeds) == 0 and max(speeds) < 2.5  # LR pixels a frame


def test_the_low_resolution_is_the_pictures_own_up_to_its_borders(store):
    for lr, hr in windows(store, 6, Motion(**PAN)):
        for low, high in zip(lr, hr):
            top, left = place(high, store.hr[0]) - 8
            around = np.ascontiguousarray(store.hr[0][top : top + 64, left : left + 64])
            assert np.array_equal(low, downscale(around, 4)[2:-2, 2:-2])
    for lr, hr in windows(store, 12):  # whatever moves
        for low, high in zip(lr, hr):
            assert np.array_equal(low[2:-2, 2:-2], downscale(np.ascontiguousarray(high), 4)[2:-2, 2:-2])


def test_turning_and_zooming_are_about_the_middle_of_the_middle_frame(store):
    from skimage.transform import AffineTransform, warp

    square = resize_bicubic(store.lr[0], 128, 128)  # soft, so that it matters little how it is interpolated
    pan = np.array([[3.5, -2.0], [0.0, 0.0], [-3.5, 2.0]])
    turns, zooms = np.array([-0.05, 0, 0.05]), np.array([0.04, 0, -0.04])
    before, middle, after = camera_view(square, pan, turns, zooms, 64, np.random.default_rng(0))
    top, left = place(middle, square)
    for frame, (y, x), turn, zoom in zip((before, after), pan[[0, 2]], turns[[0, 2]], zooms[[0, 2]]):
        to_middle = AffineTransform(translation=(-31.5, -31.5))  # of the pixels' centres
        turned = AffineTransform(scale=np.exp(zoom), rotation=turn, translation=(left + 31.5 + x, top + 31.5 + y))
        expected = warp(square, to_middle + turned, output_shape=(64, 64), order=3, preserve_range=True)
        assert np.abs(frame - expected).mean() < 1.5 and np.abs(frame - middle.astype(float)).mean() > 5


def test_the_middle_frame_is_never_interpolated_and_for_recurrent_ones_none(store):
    motion = Motion(turning=1, foreground=0, still=0)
    for _, hr in windows(store, 3, motion):
        place(hr[2], store.hr[0])  # it is there
    for _, hr in windows(store, 3, motion, turning=False):
        assert all(len(place(frame, store.hr[0])) for frame in hr)


def test_something_else_moves_in_front_with_a_soft_edge():
    black, white = np.zeros((128, 128, 3), np.uint8), np.full((128, 128, 3), 255, np.uint8)
    motion, speeds = Motion(turning=0, foreground=1, still=0, bend=0, foreground_side=(0.3, 0.3)), []
    for seed in range(12):
        _, hr = moving(black, white, crop=64, frames=5, scale=4, random=np.random.default_rng(seed), motion=motion)
        if not hr.any(axis=(1, 2, 3)).all():
            continue  # gone
        boxes = [[(rows.min(), rows.max() + 1) for rows in np.nonzero(frame[..., 0])] for frame in hr]
        if np.min(boxes) == 0 or np.max(boxes) == 64:
            continue  # cut off at a border
        blobs = [frame[slice(*rows), slice(*columns)] for frame, (rows, columns) in zip(hr, boxes)]
        assert all(np.array_equal(blob, blobs[2]) for blob in blobs)
        assert blobs[2].max() == 255 and ((blobs[2] > 0) & (blobs[2] < 255)).any()
        (start, before, middle, after, end) = (np.array(box)[:, 0] for box in boxes)
        assert np.array_equal(end - middle, middle - start) and np.array_equal(after - middle, middle - before)
        speeds.append(np.hypot(*(end - start) / 4) / 4)
    assert len(speeds) > 2 and max(speeds) > 0.2


def test_motion_stays_in_a_picture_that_has_little_room(store):
    square = np.ascontiguousarray(store.hr[0][:80, :80])  # the crop, and what the bicubic kernel sees around it
    for seed in range(20):
        lr, hr = moving(square, square, crop=64, frames=5, scale=4, random=np.random.default_rng(seed))
        assert lr.shape == (5, 16, 16, 3) and hr.shape == (5, 64, 64, 3)


# -- batches


def batches(store, clips=None, **options):
    return WindowBatches(store, clips, **{"frames": 3, "size": 4, "crop": 32, "steps": 3, "seed": (0, 1), **options})


def pairs(batch):
    """The windows of a batch for a recurrent generator, without their motion."""
    (lr, _), hr = batch
    return zip(lr, hr)


def test_the_motion_of_a_batch_is_nearly_what_is_found(store):
    (lr, origins), hr = batches(store, all_frames=True, size=16)[0]
    assert origins.shape == (16, 2, 32, 32, 2) and origins.dtype == np.float32
    found = np.stack([[origin(*pair, 4) for pair in itertools.pairwise(frames)] for frames in lr])
    astray = np.abs(origins - found).mean((1, 2, 3, 4))
    assert astray.min() > 0 and 0.1 < astray.mean() < 0.5 and len(set(astray)) == 16
    again = batches(store, all_frames=True, size=16)
    np.testing.assert_array_equal(again[0][0][1], origins)
    assert not np.array_equal(again[1][0][1], origins)


def test_batches_of_made_motion_are_a_function_of_seed_epoch_and_step(store):
    first, again = batches(store), batches(store)
    first.epoch = again.epoch = 3
    list(again)  # whatever was drawn before makes no difference
    assert all(np.array_equal(a, b) for a, b in zip(first[2], again[2]))
    lr, hr = first[2]
    assert lr.shape == (4, 3, 8, 8, 3) and hr.shape == (4, 32, 32, 3)
    again.epoch = 4
    other = batches(store, seed=(1, 1))
    other.epoch = 3
    assert not np.array_equal(hr, again[2][1]) and not np.array_equal(hr, other[2][1])
    shares = [batches(store, share=(part, 2)) for part in range(2)]
    for share in shares:
        share.epoch = 3
    for array, *parts in zip(first[2], *(share[2] for share in shares)):
        assert np.array_equal(array, np.concatenate(parts))
    moving, *parts = (keras.tree.flatten(batches(store, all_frames=True, **share)[2])
                      for share in ({}, {"share": (0, 2)}, {"share": (1, 2)}))  # fmt: skip
    assert [array.shape[1] for array in moving] == [3, 2, 3]  # the frames, their motion, the original ones
    assert all(np.array_equal(array, np.concatenate(halves)) for array, *halves in zip(moving, *parts))


def test_augmentation_turns_all_frames_alike_and_time_around(store):
    plain, augmented, seen = batches(store, augment=False, all_frames=True), batches(store, all_frames=True), set()
    for step in range(12):
        for (lr, hr), (turned_lr, turned_hr) in zip(pairs(plain[step]), pairs(augmented[step])):
            ways = [(k, flip, time) for k in range(4) for flip in (1, -1) for time in (1, -1)
                    if np.array_equal(np.rot90(hr, k, (1, 2))[::time, :, ::flip], turned_hr)]  # fmt: skip
            assert any(np.array_equal(np.rot90(lr, k, (1, 2))[::t, :, ::flip], turned_lr) for k, flip, t in ways)
            seen.update(ways)
    assert len(seen) == 16


# -- clips


def scene(name, count, height, width):
    """Frames of a camera that pans over a picture."""
    pixels = read_rgb(SAMPLE / "train" / name)
    return [pixels[40 + 2 * t : 40 + 2 * t + height, 60 + 3 * t : 60 + 3 * t + width] for t in range(count)]


def film(path, frames):
    """A film without loss."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with a film of two scenes, numbered frames, and what cannot be used; and the frames of the film."""
    folder = tmp_path_factory.mktemp("clips")
    names = [path.name for path in PICTURES if min(Image.open(path).size) >= 250][:3]
    frames = [*scene(names[0], 8, 70, 150), *scene(names[1], 7, 70, 150)]
    film(folder / "a.mkv", frames)
    (folder / "numbered").mkdir()
    for index, frame in enumerate(scene(names[2], 5, 80, 90)):
        Image.fromarray(frame).save(folder / "numbered" / f"{index + 8}.png")
    film(folder / "short.mkv", frames[:2])
    (folder / "text.mp4").write_text("no film")
    (folder / "notes.txt").write_text("no clip at all")
    return folder, frames


def data(clips, *changes):
    folders = [f"data.clips={clips}", *changes]
    return Config.load("sample", ["data.size=64", "batches.crop=32", *SMALL, *folders]).data


def test_windows_of_clips_hold_their_frames_and_never_cross_a_cut(clips, tmp_path, monkeypatch):
    from srgan.train.data.clips import choose_clips, prepare_clips

    folder, frames = clips
    chosen = choose_clips(data(folder))["clips"]
    assert [path.name for path in chosen] == ["a.mkv", "numbered", "short.mkv", "text.mp4"]
    store = prepare_clips(chosen, tmp_path, frames=3, size=64, scale=4, fit="tile")
    # Of the 8 + 7 frames two windows a scene, of two squares each; of the folder's 5 frames one window of one square.
    assert store.names == ["a.mkv"] * 8 + ["numbered"] and store.hr.shape == (9, 3, 64, 64, 3)
    for index, first in enumerate([0, 3, 8, 11]):
        for column in range(2):
            expected = [frame[:64, 64 * column : 64 * (column + 1)] for frame in frames[first : first + 3]]
            assert np.array_equal(store.hr[2 * index + column], expected)
            low = [downscale(np.ascontiguousarray(frame[:64, :128]), 4) for frame in frames[first : first + 3]]
            assert np.array_equal(store.lr[2 * index + column], np.stack(low)[:, :, 16 * column : 16 * (column + 1)])
    assert np.array_equal(store.hr[8], [read_rgb(folder / "numbered" / f"{n}.png")[:64, :64] for n in (8, 9, 10)])
    short, text = store.skipped
    assert (
        "short.mkv: has no 3 successive frames of one scene" in short and "text.mp4: cannot be read as a clip" in text
    )
    assert prepare_clips(chosen, tmp_path, frames=3, size=64, scale=4, fit="tile").folder == store.folder
    assert prepare_clips(chosen[:2], tmp_path, frames=5, size=64, scale=4, fit="tile").count == 5
    with pytest.raises(SRGANError, match="none of the 2 clips can be used; the first: .*short.mkv"):
        prepare_clips(chosen[2:], tmp_path, frames=3, size=64, scale=4)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**5))
    with pytest.raises(SRGANError, match=r"preparing 4 clips takes 0\.00 GB and 0\.00 GB are free"):
        prepare_clips(chosen, tmp_path, frames=3, size=64, scale=4, fit="crop")


def test_half_of_the_crops_are_of_clips_and_stay_on_their_place(clips, store, tmp_path):
    from srgan.train.data.clips import choose_clips, prepare_clips

    cut = prepare_clips(choose_clips(data(clips[0]))["clips"], tmp_path, frames=3, size=64, scale=4, fit="tile")
    found = 0
    for lr, hr in pairs(batches(store, cut, size=16, augment=False, all_frames=True)[0]):
        for window, low in zip(cut.hr, cut.lr):
            patch = np.lib.stride_tricks.sliding_window_view(window, (32, 32), axis=(1, 2))[:, ::4, ::4]
            same = (patch == hr.transpose(0, 3, 1, 2)[:, None, None]).all(axis=(0, 3, 4, 5))
            for top, left in np.argwhere(same):
                found += np.array_equal(low[:, top : top + 8, left : left + 8], lr)
    assert found == 8


def test_a_clip_is_not_in_both_splits(clips, tmp_path):
    from srgan.train.data.clips import choose_clips

    shutil.copy(clips[0] / "a.mkv", tmp_path / "renamed.mkv")
    shutil.copytree(clips[0] / "numbered", tmp_path / "elsewhere")
    chosen = choose_clips(data(clips[0], f"data.validation_clips={tmp_path}"))
    assert [path.name for path in chosen["clips"]] == ["short.mkv", "text.mp4"]
    assert [path.name for path in chosen["validation_clips"]] == ["elsewhere", "renamed.mkv"]
    with pytest.raises(SRGANError, match="all of its clips are in data.validation_clips, too"):
        choose_clips(data(tmp_path, f"data.validation_clips={clips[0]}"))
    (tmp_path / "none").mkdir()
    for folder, message in (
        (tmp_path / "none", "holds no clips"),
        (tmp_path / "gone", r"no such folder \(data.clips\)"),
    ):
        with pytest.raises(SRGANError, match=message):
            choose_clips(data(folder))


# -- whole runs


@pytest.fixture(scope="module")
def few_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("srgan.train.data.stores.VALIDATION_WINDOWS", 4)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A generator of pictures."""
    path = tmp_path_factory.mktemp("start") / "pictures.keras"
    save_generator(srresnet(filters=4, blocks=2, normalization="none", skip="bilinear"), path)
    return path


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_learns_from_a_generator_of_pictures_on(fusion, store, start, tiny):
    config = tiny(*SMALL, f"network.fusion={fusion}")
    generator = build_generator(config)
    start_from(start, generator)
    before = [np.array(variable) for variable in generator.variables]
    model = build_model("pixel", config, generator)
    model.run_eagerly, model.jit_compile = True, False  # for so few steps the quickest
    cut = build_batches("pixel", config, {"pictures": store})
    losses = [float(model.train_on_batch(*cut[step], return_dict=True)["loss/pixel"]) for step in range(2)]
    assert all(0 < loss < 1 for loss in losses)
    for variable, old in zip(generator.variables, before):
        assert np.isfinite(variable).all() and np.abs(np.array(variable) - old).max() > 0, variable.path


def test_a_stopped_run_on_clips_ends_with_the_weights_of_one_that_was_not(
    tiny, clips, start, few_windows, tmp_path, monkeypatch, capsys, caplog
):
    config = tiny(*SMALL, "pixel.epochs=2", "pixel.average=0.9", f"initial_weights={start}", f"data.clips={clips[0]}",
                  f"data.validation_clips={clips[0] / '..'}/validation", "precision=mixed_bfloat16")  # fmt: skip
    shutil.copytree(clips[0] / "numbered", clips[0].parent / "validation" / "scene", dirs_exist_ok=True)
    whole = train(config, tmp_path / "whole").parent
    assert "4 windows of training clips, 1 windows of validation clips" in capsys.readouterr().out
    assert any(message.startswith("skipped: ") for message in caplog.messages)
    real = Checkpoint.save

    def stopping(checkpoint, model, epoch):
        real(checkpoint, model, epoch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", stopping)
        train(config, tmp_path / "stopped")
    assert len(rows(tmp_path / "stopped")) == 1
    keras.utils.set_random_seed(99)
    train(config, tmp_path / "stopped")
    assert equal(saved_weights(whole), saved_weights(tmp_path / "stopped"))
    # A network of the same fusion starts as itself, and one of another is refused.
    generator = build_generator(config)
    start_from(whole, generator)
    assert equal(saved_weights(whole), [np.array(variable) for variable in generator.variables])
    with pytest.raises(SRGANError, match="does not fit the network of the configuration"):
        start_from(whole, build_generator(tiny(*SMALL, "network.fusion=late")))


def test_a_recurrent_generator_is_trained_against_a_discriminator(tiny, start, few_windows, tmp_path):
    config = tiny(*SMALL, "network.fusion=recurrent", "pixel.epochs=0", "gan.epochs=1", "gan.average=0.9", "gan.artifact_weight=1.0",
                  f"initial_weights={start}")  # fmt: skip
    output = train(config, tmp_path / "run").parent
    generator = load_generator(output / "generator.keras")
    assert len(generator.inputs) == len(generator.outputs) == 2  # one step, for clips of any length
    (row,) = rows(output)
    assert all(float(row[f"loss/{name}"]) >= 0 for name in ("pixel", "artifact", "adversarial", "discriminator"))
    _, validation = choose_examples(config, open_stores(config))
    score = validation_psnr_y(validation, lambda lr: upscale_one(generator, lr))
    assert float(row["validation/psnr_y"]) == pytest.approx(score, abs=1e-3)
    sheet = Image.open(output / "samples" / "gan-0001.png")
    assert sheet.width > 4 * 32 and sheet.height > 2 * 32


def test_what_was_of_pictures_stays_where_it_is_frozen_and_is_trained_against_a_discriminator(
    tiny, start, few_windows, tmp_path
):
    config = tiny(*SMALL, "network.fusion=recurrent", "pixel.freeze=picture", "pixel.learning_rate=1e-2", f"initial_weights={start}",
                  "gan.epochs=1", "gan.learning_rate=1e-2")  # fmt: skip
    output = train(config, tmp_path / "run").parent
    begun = {variable.path: np.array(variable) for variable in load_generator(start).variables}
    for name, frozen in (("generator-pixel", True), ("generator", False)):
        weights = {v.path: np.array(v) for v in load_generator(output / f"{name}.keras").variables}
        for path, value in begun.items():
            assert np.array_equal(weights.pop(path), value) == frozen, path
        assert weights["recall_mend/kernel"].any() and all(path.startswith("recall") for path in weights)


def test_without_opencv_a_recurrent_generator_is_not_begun(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "srgan.clips.flow", raising=False)
    with pytest.raises(SRGANError, match=r"pip install '.\[video\]'"):
        train(tiny(*SMALL, "network.fusion=recurrent"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_windows_to_validate_on_are_always_the_same(store):
    first, again = (Windows.of(store, None, 3, frames=5, crop=32, seed=(0, 2)) for _ in range(2))
    assert np.array_equal(first.lr, again.lr) and np.array_equal(first.hr, again.hr)
    assert first.lr.shape == (3, 5, 8, 8, 3) and first.hr.shape == (3, 32, 32, 3)
    assert middle_frame(first.lr[0]).shape == (8, 8, 3)

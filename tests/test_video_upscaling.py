"""Generators over time, upscaling: engines and tiles agree, windows and memories end at cuts, clips go on after a kill."""

import itertools
import logging
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from skimage import data
from upscaling import has_bfloat16, make_model, photograph
from videos import command, make_video, rgb

from srgan.cli.upscale import main
from srgan.clips.cuts import is_cut
from srgan.clips.flow import move_memory
from srgan.errors import SRGANError, UsageError
from srgan.networks.layers import PixelShuffle
from srgan.pictures import resize
from srgan.upscale.clip_job import upscale_clip
from srgan.upscale.engines.description import Description
from srgan.upscale.engines.keras_engine import KerasEngine
from srgan.upscale.engines.loading import load_engine
from srgan.upscale.engines.openvino_engine import OpenVINOEngine
from srgan.upscale.upscaler import Upscaler

KINDS = ("early", "recurrent")  # one that takes windows, and the one with a memory
FUSIONS = {"early": 2, "late": 2, "slow": 4, "3d": 2, "recurrent": 2}  # and how many blocks each needs


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A function that gives the path of a small model with a fusion, made once."""
    folder = tmp_path_factory.mktemp("models")

    def model(fusion):
        path = folder / f"{fusion}.keras"
        if not path.exists():
            make_model(path, fusion=fusion, frames=5, blocks=FUSIONS[fusion])
        return path

    return model


@pytest.fixture(scope="module")
def upscalers(models):
    return {kind: Upscaler(models(kind), engine="openvino", precision="float32") for kind in KINDS}


def pan(count, height=24, width=32, picture=None):
    """A pan over a photograph."""
    picture = data.astronaut() if picture is None else picture
    return [picture[40 + index : 40 + index + height, 160 + 2 * index :][:, :width] for index in range(count)]


def scenes():
    """Seven frames, and a cut between the fourth and the fifth."""
    return pan(4) + pan(3, picture=data.coffee())


def rounded(values):
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def largest(one, other):
    return max(np.abs(a.astype(int) - b).max() for a, b in zip(one, other, strict=True))


# Engines.


@pytest.mark.parametrize("fusion", FUSIONS)
def test_openvino_computes_what_keras_computes(fusion, models):
    engine, keras_engine = OpenVINOEngine(models(fusion), "float32"), KerasEngine(models(fusion), "float32")
    frames, memory = (1, 48) if fusion == "recurrent" else (5, 0)
    assert engine.description == keras_engine.description
    assert (engine.description.frames, engine.description.memory, engine.description.scale) == (frames, memory, 4)
    clips = np.stack([pan(5), pan(5, picture=data.coffee())]).astype(np.float32) / 255
    inputs = [clips] if frames > 1 else [clips[:, 0], np.random.default_rng(0).random((2, 24, 32, 48))]
    results = [engine(*inputs), keras_engine(*inputs)]
    results = [values if memory else (values,) for values in results]
    for given, wanted in zip(*results, strict=True):
        assert given.dtype == wanted.dtype == np.float32 and wanted.std() > 0.05
        np.testing.assert_allclose(given, wanted, atol=1e-5)
    # bfloat16 has 128 values in [0.5, 1): had the picture itself gone through it, no more could come out.
    for rough in [engine.with_precision("bfloat16")] * has_bfloat16() + [keras_engine.with_precision("bfloat16")]:
        given = rough(*inputs)
        sr, exact = (given[0], results[0][0]) if memory else (given, results[0][0])
        assert 0 < np.abs(sr - exact).max() < 0.05
        assert len(np.unique(sr[(sr >= 0.5) & (sr < 1)])) > 10_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_receptive_field_is_what_the_output_depends_on(kind, upscalers):
    engine = upscalers[kind].engine
    reach, scale = engine.description.receptive_field, engine.description.scale
    black = np.zeros((5, 65, 65, 3), np.float32)
    dot = black.copy()
    dot[1, 32, 32] = 1
    if kind == "recurrent":
        memory = np.zeros((1, 65, 65, 48), np.float32)
        difference = np.abs(engine(dot[1:2], memory)[0] - engine(black[1:2], memory)[0])
    else:
        difference = np.abs(engine(dot[None]) - engine(black[None]))
    rows = np.flatnonzero(difference.max((0, 2, 3)))
    assert (32 - reach) * scale <= rows[0] and rows[-1] < (33 + reach) * scale
    less = 14 if kind == "recurrent" else 2  # at whose end are kernels of bicubic interpolation, small at their borders
    assert rows[-1] - rows[0] > 2 * (reach - less) * scale


def test_files_from_before_there_were_frames_are_for_pictures():
    description = load_engine("srgan", engine="openvino").description
    assert description == Description(4, 40, 1024, frames=1, memory=0) and not description.over_time


def test_strength_blends_two_of_a_kind_and_no_others(models, tmp_path):
    other = make_model(tmp_path / "other.keras", seed=1, fusion="early", frames=5, blocks=2)
    clip, options = np.stack(pan(5))[None].astype(np.float32) / 255, {"engine": "openvino", "precision": "float32"}
    ends = [load_engine(models("early"), pixel_model=other, strength=s, **options)(clip) for s in (0, 0.5, 1)]
    np.testing.assert_allclose(ends[0], load_engine(other, **options)(clip), atol=1e-5)
    assert np.abs(ends[1] - ends[0]).max() > 0.05 < np.abs(ends[1] - ends[2]).max()
    picture = make_model(tmp_path / "picture.keras", blocks=2, normalization="none", skip="bilinear")
    for engine, wrong in (("openvino", picture), ("openvino", models("recurrent")), ("keras", picture)):
        with pytest.raises(SRGANError, match=r"early.keras and .*\.keras are not built alike"):
            load_engine(models("early"), pixel_model=wrong, strength=0.5, engine=engine)


# Windows, memories and cuts.


def test_a_window_ends_where_its_scene_does(upscalers):
    frames, upscaler = scenes(), upscalers["early"]
    assert is_cut(frames[3], frames[4])
    windows = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    windows += [[4, 4, 4, 5, 6], [4, 4, 5, 6, 6], [4, 5, 6, 6, 6]]
    for window, sr in zip(windows, upscaler.clip(frames), strict=True):
        lr = np.stack([frames[index] for index in window])[None].astype(np.float32) / 255
        np.testing.assert_array_equal(sr, rounded(upscaler.engine(lr)[0]))


def test_a_memory_ends_with_its_scene(upscalers):
    frames, upscaler = scenes(), upscalers["recurrent"]
    empty = memory = np.zeros((1, 24, 32, 48), np.float32)
    without = []
    for index, sr in enumerate(upscaler.clip(frames)):
        lr = frames[index][None].astype(np.float32) / 255
        if index:
            memory = move_memory(memory[0], frames[index - 1], frames[index])[None]
        expected, memory = upscaler.engine(lr, empty if index == 4 else memory)
        np.testing.assert_array_equal(sr, rounded(expected[0]))
        without.append(np.abs(upscaler(frames[index]).astype(int) - sr).max())
    assert without[0] == without[4] == 0 and min(without[1:4] + without[5:]) > 2


def test_colours_that_are_transparent_have_no_motion(upscalers):
    frames, random = pan(3), np.random.default_rng(0)
    alpha = np.where(random.random((24, 32, 1)) < 0.4, 0, 255).astype(np.uint8)
    hidden = [np.where(alpha > 0, frame, random.integers(0, 256, frame.shape)).astype(np.uint8) for frame in frames]
    given, wanted = (list(upscalers["recurrent"].clip([np.dstack([frame, alpha]) for frame in clip]))
                     for clip in (hidden, frames))  # fmt: skip
    assert (
        largest([sr[..., :3] * (sr[..., 3:] > 0) for sr in given], [sr[..., :3] * (sr[..., 3:] > 0) for sr in wanted])
        == 0
    )


def test_a_memory_of_another_kind_is_refused(tmp_path):
    """One of features, as recurrent generators once had."""
    import keras

    lr, memory = keras.Input((None, None, 3)), keras.Input((None, None, 8))
    x = keras.layers.Conv2D(48, 3, padding="same")(keras.layers.Concatenate()([lr, memory]))
    remembered = keras.layers.Conv2D(8, 3, padding="same")(x)
    keras.Model([lr, memory], [PixelShuffle(4)(x), remembered]).save(tmp_path / "old.keras")
    for engine in ("openvino", "keras"):
        with pytest.raises(SRGANError, match="old.keras: a recurrent generator of another version"):
            load_engine(tmp_path / "old.keras", engine=engine)


def test_a_folder_of_frames_becomes_one_of_larger_frames(models, upscalers, tmp_path, capsys):
    folder, frames = tmp_path / "frames", pan(3)
    folder.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{index}.png")
    options = ["--model", str(models("recurrent")), "--precision", "float32"]
    assert main([str(folder), str(tmp_path / "clip" / "%03d.png"), *options]) == 0
    assert sorted(os.listdir(tmp_path / "clip")) == ["001.png", "002.png", "003.png"]  # as FFmpeg numbers them
    results = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "clip").iterdir())]
    assert largest(results, list(upscalers["recurrent"].clip(frames))) <= 1
    assert "makes a clip of the pictures" not in capsys.readouterr().err
    assert main([str(folder), str(tmp_path / "pictures"), *options]) == 0  # each by itself, and said
    assert "makes a clip of the pictures" in capsys.readouterr().err


def test_without_opencv_no_clip_is_begun(models, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "srgan.clips.flow", raising=False)
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(pan(3)):
        Image.fromarray(frame).save(folder / f"{index}.png")
    with pytest.raises(SRGANError, match=r"pip install '.\[video\]'"):
        upscale_clip(folder, tmp_path / "out.mp4", lambda: Upscaler(models("recurrent"), engine="openvino"))
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_its_scenes_one_after_the_other(kind, upscalers):
    frames, clip = scenes(), upscalers[kind].clip
    apart = [*clip(frames[:4]), *clip(frames[4:])]
    assert largest(clip(frames), apart) == 0
    assert largest(clip(pan(6)), [*clip(pan(6)[:3]), *clip(pan(6)[3:])]) > 2  # no cut there


@pytest.mark.parametrize(("kind", "ahead"), [("early", 2), ("recurrent", 0)])
def test_a_clip_is_taken_no_further_than_the_generator_looks(kind, ahead, upscalers):
    taken = []
    results = upscalers[kind].clip(frame for frame in pan(8) if taken.append(frame) is None)
    for count in range(1, 9):
        next(results)
        assert len(taken) == min(count + ahead, 8)
    assert next(results, None) is None
    assert list(upscalers[kind].clip([])) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_stands_for_all_frames(kind, upscalers):
    picture, upscaler = photograph(24, 32), upscalers[kind]
    sr = upscaler(picture)
    np.testing.assert_array_equal(sr, next(upscaler.clip([picture])))
    np.testing.assert_array_equal(upscaler(Image.fromarray(picture)), sr)


class Counted:
    """An engine that counts its calls, and with which something may go wrong."""

    def __init__(self, engine, wrong=lambda count, inputs, results: results):
        self._engine, self._wrong, self.count = engine, wrong, 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def __call__(self, *inputs):
        self.count += 1
        return self._wrong(self.count, inputs, self._engine(*inputs))


@pytest.mark.parametrize(("kind", "calls"), [(None, 2), ("early", 6), ("recurrent", 12)])
def test_what_does_not_move_is_computed_once(kind, calls, models, model):
    upscaler = Upscaler(models(kind) if kind else model, engine="openvino", precision="float32")
    upscaler.engine = Counted(upscaler.engine)
    one, other = pan(2)
    results = list(upscaler.clip([one] * 5 + [one.copy()] + [other] * 6))
    # Windows have the one picture alone, or the other, or one to four of it; a memory goes on all the time.
    assert upscaler.engine.count == calls and len(results) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_are_the_same_for_all_frames_and_leave_no_seams(kind, upscalers, models):
    frames = pan(5, 70, 110)
    whole = list(upscalers[kind].clip(frames))
    tiled = Upscaler(models(kind), engine="openvino", precision="float32", tile=64)
    tiled.engine = Counted(tiled.engine)
    assert largest(tiled.clip(frames), whole) <= 1
    assert tiled.engine.count == 5 * 2 * 3
    tiled.overlap = 0
    assert largest(tiled.clip(frames), whole) > 8  # or this test would see nothing


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_halves_the_tile_and_goes_on(kind, upscalers, models, caplog):
    def cramped(count, inputs, results):
        if inputs[0].shape[-3] > 75:
            raise MemoryError
        return results

    frames = pan(3, 80, 140)
    upscaler = Upscaler(models(kind), engine="openvino", precision="float32", tile=140)
    upscaler.engine = Counted(upscaler.engine, cramped)
    with caplog.at_level(logging.WARNING, "srgan"):
        assert largest(upscaler.clip(frames), list(upscalers[kind].clip(frames))) <= 1
    assert "out of memory: going on with tiles of 70 pixels" in caplog.text


def test_a_memory_that_is_no_number_is_computed_again_in_float32(upscalers, models, caplog):
    def wrong(count, inputs, results):
        if count == 2:
            results[1][0, 3, 3, 0] = np.nan
        return results

    engine = "openvino" if has_bfloat16() else "keras"  # which computes in bfloat16 on every processor
    upscaler = Upscaler(models("recurrent"), engine=engine, precision="bfloat16")
    upscaler.engine = Counted(upscaler.engine, wrong)
    with caplog.at_level(logging.WARNING, "srgan"):
        assert largest(upscaler.clip(pan(4)), list(upscalers["recurrent"].clip(pan(4)))) < 12
    assert caplog.text.count("computing again in float32") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_gray_and_16_bits(kind, upscalers):
    upscaler, frames = upscalers[kind], pan(4)
    opaque = list(upscaler.clip(frames))
    alpha = [
        np.roll(np.where(np.arange(32) < 16, 255, 0).astype(np.uint8), index)[None].repeat(24, 0) for index in range(4)
    ]
    for index, sr in enumerate(upscaler.clip(map(np.dstack, zip(frames, alpha)))):
        resized = resize(alpha[index][..., None], 128, 96)
        np.testing.assert_array_equal(sr[..., 3:], np.where(resized > 127, 255, 0))  # hard edges stay hard
        inside = sr[:, 4 * index + 8 : 4 * index + 52, :3].astype(int)
        assert np.abs(inside - opaque[index][:, 4 * index + 8 : 4 * index + 52]).mean() < 6
    gray = [frame[..., :1] for frame in frames]
    for given, wanted in zip(upscaler.clip(gray), upscaler.clip([frame.repeat(3, 2) for frame in gray]), strict=True):
        assert given.shape == (96, 128, 1)
        within = (wanted.min(2) > 0) & (wanted.max(2) < 255)  # beyond that, each channel is clipped for itself
        assert within.mean() > 0.8 and np.abs(given[..., 0] - wanted.mean(2))[within].max() <= 1
    deep = upscaler.clip(frame.astype(np.uint16) * 257 for frame in frames)
    for given, wanted in zip(deep, opaque, strict=True):
        assert given.dtype == np.uint16 and np.abs(given / 257 - wanted).max() < 0.51
    with pytest.raises(UsageError, match="a frame is of uint8 or uint16"):
        list(upscaler.clip([frames[0].astype(np.float32)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begin", [2, 4, 5])  # within a scene, at a cut and just behind it
def test_steps_go_on_from_the_middle(kind, begin, upscalers):
    upscaler = upscalers[kind]
    whole = list(upscaler.steps(scenes()))
    around = 1 if kind == "recurrent" else 2
    rest = list(upscaler.steps(scenes()[begin - around :], around, whole[begin - 1][1]))
    assert len(rest) == 7 - begin and largest([sr for sr, _ in rest], [sr for sr, _ in whole[begin:]]) == 0


# Files.


@pytest.fixture
def folder(tmp_path):
    """Twenty frames with a cut behind the tenth; the seventh and the tenth are damaged."""
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(pan(10) + pan(10, picture=data.coffee()), 1):
        Image.fromarray(frame).save(tmp_path / "in" / f"{index}.png")
    for index in (7, 10):
        (tmp_path / "in" / f"{index}.png").write_bytes(b"damaged")
    return tmp_path / "in"


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_frame_is_its_predecessor_for_its_neighbours_too(kind, folder, models, upscale, tmp_path):
    arguments = ["--codec", "ffv1", "--end", 0.48]
    status, lines = upscale(folder, tmp_path / "out.mkv", *arguments, model=models(kind))
    assert (status, lines) == (0, ["srgan: 1 done, 0 skipped, 0 failed, 12 frames, 2 replaced"])
    for index in (7, 10):
        (folder / f"{index}.png").write_bytes((folder / f"{index - 1}.png").read_bytes())
    assert upscale(folder, tmp_path / "expected.mkv", *arguments, model=models(kind))[0] == 0
    assert (tmp_path / "out.mkv").read_bytes() == (tmp_path / "expected.mkv").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["out.mkv", "out/%03d.png"])
def test_stopped_anywhere_it_goes_on_to_the_same(name, kind, models, upscale, tmp_path, monkeypatch):
    monkeypatch.setattr("srgan.clips.segments.SEGMENT", 4)
    source = make_video(tmp_path / "in.mkv", pan(10) + pan(10, picture=data.coffee()))
    assert upscale(source, tmp_path / "whole" / name, model=models(kind))[0] == 0
    quick, kept, stops = OpenVINOEngine.__call__, [], (2, 7, 5, None)  # after so many frames
    for stop in stops:
        calls = itertools.count()

        def stopping(*arguments, calls=calls, stop=stop, **options):
            if next(calls) == stop:
                raise KeyboardInterrupt
            return quick(*arguments, **options)

        monkeypatch.setattr(OpenVINOEngine, "__call__", stopping)
        status, lines = upscale(source, tmp_path / name, model=models(kind))
        assert status == (130 if stop else 0), lines
        kept.append(int(next((re.findall(r"after (\d+) frames", line) for line in lines if "goes on" in line), [0])[0]))
        if kind == "recurrent" and stop == 5:
            assert 1 <= len(list(tmp_path.rglob("memory-*.npy"))) <= 3
    assert kept == sorted(kept) and kept[-1] >= 8
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    if "%" in name:
        expected = Upscaler(models(kind)).clip(rgb(source))
        for file, sr in zip(files, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / file)), sr)
    assert len(files) == (20 if "%" in name else 1)
    for file in files:
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("kind", "name"), [("early", "out/%03d.png"), ("recurrent", "out.mp4")])
def test_killed_and_started_again_it_goes_on_to_the_same_file(kind, name, models, upscale, tmp_path, monkeypatch):
    source = make_video(tmp_path / "in.mkv", pan(10) + pan(14, picture=data.coffee()), sound=True)
    load_engine(models(kind))
    arguments = [source, tmp_path / name, "--model", models(kind)]
    process = subprocess.Popen(command(*arguments, seconds=0.05), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if len([file for file in tmp_path.rglob("0*") if file.parent.name.endswith(".part")]) >= (
            5 if "%" in name else 2
        ):
            break
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (tmp_path / name).exists() and list(tmp_path.rglob("*.part"))
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.match(r"srgan: .*: goes on after \d+ frames\n", done.stderr), done.stderr
    monkeypatch.setattr("srgan.clips.segments.SEGMENT", 4)
    assert upscale(source, tmp_path / "whole" / name, model=models(kind))[0] == 0
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    assert len(files) == (24 if "%" in name else 1)
    for file in files:
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not list(tmp_path.rglob(".*"))

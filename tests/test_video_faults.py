"""Clips that are damaged, cannot be opened or are asked for in a way that makes no sense, and the rest of the command line."""

import errno
import os
import re
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from videos import make_video, probe, rgb, scene

from srgan.clips.reading import FrameFolder
from srgan.upscale.clip_planning import split_inputs
from srgan.upscale.engines.openvino_engine import OpenVINOEngine


def test_a_damaged_first_frame_is_that_after_it(upscale, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(b"no picture")
    for index, frame in enumerate(scene(2), 2):
        Image.fromarray(frame).save(tmp_path / "in" / f"{index}.png")
    status, lines = upscale(tmp_path / "in", tmp_path / "video.mkv", "--codec", "ffv1")
    assert (status, lines[-1]) == (0, "srgan: 1 done, 0 skipped, 0 failed, 3 frames, 1 replaced")
    first, second, _ = rgb(tmp_path / "video.mkv")
    np.testing.assert_array_equal(first, second)


def test_damaged_frames_are_replaced_by_their_predecessors_and_counted(upscale, soft, tmp_path):
    make_video(tmp_path / "in.mp4", scene(20), g=1, bf=0)
    with av.open(str(tmp_path / "in.mp4")) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray((tmp_path / "in.mp4").read_bytes())
    for index in (0, 7, 8, 19):
        position, size = places[index]
        content[position : position + size] = b"\xff" * size
    (tmp_path / "bad.mp4").write_bytes(content)
    assert upscale(tmp_path / "in.mp4", tmp_path / "good-out.mkv", "--codec", "ffv1", model=soft)[0] == 0
    status, lines = upscale(tmp_path / "bad.mp4", tmp_path / "out.mkv", "--codec", "ffv1", model=soft)
    assert status == 0 and lines[-1] == "srgan: 1 done, 0 skipped, 0 failed, 20 frames, 4 replaced"
    assert probe(tmp_path / "out.mkv")["times"] == probe(tmp_path / "good-out.mkv")["times"]
    good, found = rgb(tmp_path / "good-out.mkv"), rgb(tmp_path / "out.mkv")
    for index, sr in enumerate(found):
        np.testing.assert_array_equal(sr, good[{0: 1, 7: 6, 8: 6, 19: 18}.get(index, index)])


def test_damaged_files_end_in_one_line_each(upscale, tmp_path):
    make_video(tmp_path / "late.mp4", scene(12), sound=True)
    make_video(tmp_path / "early.mkv", scene(12), sound=True)
    random = np.random.default_rng(0)
    counts = {0: 0, 1: 0}
    for index in range(24):
        name = ("late.mp4", "early.mkv")[index % 2]
        content = bytearray((tmp_path / name).read_bytes())
        if index % 4 < 2:
            content = content[: random.integers(len(content))]
        else:
            for place in random.integers(0, len(content), 9):
                content[place] ^= 1 << random.integers(8)
        bad = tmp_path / f"bad{name[-4:]}"
        bad.write_bytes(content)
        (tmp_path / "out.mkv").unlink(missing_ok=True)
        status, lines = upscale(bad, tmp_path / "out.mkv")
        counts[status] += 1
        assert all(line.startswith("srgan: ") for line in lines) and len(lines) < 6, lines
        assert (tmp_path / "out.mkv").exists() == (status == 0), lines
        if status == 0:
            assert len(probe(tmp_path / "out.mkv")["frames"]) == int(re.search(r"(\d+) frames", lines[-1])[1])
    assert counts[0] >= 4 and counts[1] >= 4, counts
    (tmp_path / "empty.mp4").touch()
    status, lines = upscale(tmp_path / "empty.mp4", tmp_path / "out.mp4")
    assert status == 1 and "empty.mp4: cannot be read as a clip" in lines[0] and len(lines) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mkv", "a.mkv"], "would be written over"),
        (["a.mkv", "link.mkv"], "would be written over"),
        (["a.mkv", "b.mkv", "c.mkv"], "several inputs need a folder"),
        (["a.mkv", "b.png"], "is a clip and cannot be written to b.png"),
        (["a.mkv", "-"], "is a clip"),
        (["-", "b.mkv"], "cannot be read from standard input"),
        (["a.mkv", "b.avi"], "avi is none of gif, mkv, mov, mp4, webm"),
        (["a.mkv", "out/%05d.xyz"], "frames are written as png"),
        (["a.mkv", "out/%05d.gif"], "frames are written as png"),
        (["folder", "out-%d.mp4"], "frames are written as png"),
        (["a.mkv", "b.mp5"], "mp5 is none of gif, mkv, mov, mp4, webm; end a folder's name with /"),
        (["a.png", "b.mp4"], "is a picture"),
        (["folder", "folder/%05d.png"], "the frames are read from this folder"),
        (["a.mkv", "b.mkv", "--codec", "nothing"], "'nothing' is no video encoder"),
        (["a.mkv", "b.mkv", "--codec", "aac"], "'aac' is no video encoder"),
        (["a.mkv", "b.webm", "--codec", "libx264"], "libx264 does not go into a .webm file"),
        (["a.mkv", "b.mkv", "--codec", "ffv1", "--crf", "9"], "ffv1 has no such setting"),
        (["a.mkv", "b.mkv", "--crf", "99"], "crf: 99 is not between 0 and 63"),
        (["a.mkv", "b.gif", "--crf", "9"], "a GIF has no such setting"),
        (["a.mkv", "%d.png", "--crf", "9"], "are pictures"),
        (["a.mkv", "b.mkv", "--start", "3", "--end", "2"], "is not after the start"),
        (["a.mkv", "b.mkv", "--fps", "24"], "fps: a.mkv has times of its own"),
        (["folder", "b.mkv", "--deinterlace", "on"], "deinterlace: folder has pictures, not fields"),
        (["folder", "b.mkv", "--fps", "0"], "fps: 0 is not between 0.01 and 1000"),
        (["folder", "b.mkv", "--fps", "0.0001"], "fps: 0.0001 is not between 0.01 and 1000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_before_the_work(arguments, message, upscale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "a.mkv", scene(2))
    os.link("a.mkv", "link.mkv")
    (tmp_path / "folder").mkdir()
    Image.fromarray(scene(1)[0]).save("a.png")
    Image.fromarray(scene(1)[0]).save("folder/1.png")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr(OpenVINOEngine, "__call__", None)
    status, lines = upscale(*arguments)
    assert status == 2 and len(lines) == 1 and message in lines[0], lines
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="such names")
def test_a_name_with_a_colon(upscale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "12:30.mp4", scene(2))
    status, lines = upscale("12:30.mp4", "1:2.mp4")
    assert status == 0 and set(os.listdir()) == {"12:30.mp4", "1:2.mp4"}, lines


@pytest.mark.skipif(sys.platform == "win32", reason="such names")
@pytest.mark.parametrize("letter", ["a", "\u6f22", "\U0001f600"])
@pytest.mark.parametrize("pictures", [False, True])
def test_a_name_as_long_as_the_file_system_takes(letter, pictures, upscale, tmp_path):
    make_video(tmp_path / "in.mp4", scene(2))
    suffix = "%04d.png" if pictures else ".mp4"
    name = letter * ((255 - 8) // len(letter.encode())) + suffix
    for _ in range(2):
        assert upscale(tmp_path / "in.mp4", tmp_path / "out" / name)[0] == 0
        names = [name % 1, name % 2] if pictures else [name]
        assert sorted(os.listdir(tmp_path / "out")) == names


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((1, 2, 3, 5, 8, 9), (3, 4)),
        ((8, 9, 11), (1, 10)),
        ((1, 2, 3, 4, 40, 41), (35, 5)),
        ((1, 2, 3), None),
        ((10, 20, 30), None),
        ((98, 99, 100), None),
    ],
)
def test_a_gap_in_the_numbers_is_reported(numbers, missing, upscale, tmp_path):
    (tmp_path / "in").mkdir()
    for number in numbers:
        Image.fromarray(scene(1)[0]).save(tmp_path / "in" / f"frame{number:03}.png")
    status, lines = upscale(tmp_path / "in", tmp_path / "out.mkv")
    assert status == 0 and len(lines) == (2 if missing else 1), lines
    if missing:
        assert f"{missing[0]} numbers are missing between its frames, the first is {missing[1]}:" in lines[0]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["-10", "-2", "-1", "0", "1", "10"], "15 numbers are missing between its frames, the first is -9:"),
        (["-2", "-1", "0", "1"], None),
        (["frame_-0002", "frame_-0001", "frame_0000", "frame_0001"], None),
        (["shot2 -1.b", "shot2 0.b", "shot2 1.b"], None),
        (["frame-1", "frame-2", "frame-3"], None),  # a hyphen
        (["2021-01", "2021-02", "2021-03"], None),
        (["a -1", "a -2", "a -3"], None),  # without any that is not negative, too
        (["a1", "a2", "a-1", "a"], None),
    ],
)
def test_frames_of_negative_numbers_come_before_the_others(names, missing, tmp_path):
    for name in reversed(names):
        Image.fromarray(scene(1)[0]).save(tmp_path / f"{name}.png")
    lines = []
    clip = FrameFolder(tmp_path, 25, notice=lines.append)
    assert [file.stem for file in clip.files] == names
    assert [line.partition(": ")[2].partition(" what")[0] for line in lines] == ([missing] if missing else [])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png", "5.png", "note.png"], "2 numbers are missing between its frames, the first is 3:"),
        (["a1.png", "a2.png", "a4.png", "b1.png", "b2.png"], "1 numbers are missing between its frames, the first is 3:"),
        (["1.png", "01.png", "2.png"], "1 numbers are there more than once, the first is 1: all of these pictures are shown"),
        (["f7.png", "f7.jpg", "f8.png"], "1 numbers are there more than once, the first is 7: all of these pictures are shown"),
        (["09.15.01.png", "09.15.03.png", "09.16.30.png", "10.02.11.png", "10.40.00.png", "11.00.00.png",
          "11.30.00.png", "12.00.00.png", "13.10.00.png"], None),
    ],
)  # fmt: skip
def test_numbers_among_other_names_are_looked_at(names, message, upscale, tmp_path):
    (tmp_path / "in").mkdir()
    for name in names:
        Image.fromarray(scene(1)[0]).save(tmp_path / "in" / name)
    status, lines = upscale(tmp_path / "in", tmp_path / "out.mkv")
    assert status == 0 and lines[-1].startswith(f"srgan: 1 done, 0 skipped, 0 failed, {len(names)} frames")
    assert len(lines) == 1 + bool(message) and (message or "") in lines[0], lines


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_what_cannot_be_opened_is_a_damaged_frame_or_one_line(upscale, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(scene(1)[0]).save(folder / "1.png")
    (folder / "2.png").symlink_to("nowhere.png")
    assert upscale(folder, tmp_path / "video.mkv") == (0, ["srgan: 1 done, 0 skipped, 0 failed, 2 frames, 1 replaced"])
    iterdir = type(folder).iterdir

    def forbidden(path):
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(type(folder), "iterdir", forbidden)  # chmod stops no root
    status, lines = upscale(folder, tmp_path / "video.mkv")
    assert status == 1 and lines[0] == f"srgan: {folder}: Permission denied" and len(lines) == 2, lines


def test_an_animation_beside_its_frames_is_none_of_them(upscale, tmp_path):
    for index, frame in enumerate(scene(3)):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    for _ in range(2):
        assert upscale(tmp_path, tmp_path / "video.gif")[1] == [
            "srgan: 1 done, 0 skipped, 0 failed, 3 frames, 0 replaced"
        ]
    assert sorted(os.listdir(tmp_path)) == ["0.png", "1.png", "2.png", "video.gif"]


def test_options_that_do_not_fit_one_clip_stop_no_other(upscale, tmp_path):
    make_video(tmp_path / "a.webm", scene(2), codec="libvpx-vp9")
    make_video(tmp_path / "b.mp4", scene(2))
    several = [tmp_path / "a.webm", tmp_path / "b.mp4", tmp_path / "out"]
    status, lines = upscale(*several, "--codec", "libx264")
    assert status == 1 and "a.webm: codec: libx264 does not go into a .webm file" in lines[0], lines
    assert lines[1:] == ["srgan: 1 done, 0 skipped, 1 failed, 2 frames, 0 replaced"]
    assert os.listdir(tmp_path / "out") == ["b.mp4"]
    for option, message in (("--end=0", "is not after the start"), ("--fps=0", "fps: 0"), ("--engine=onnx", "none of")):
        status, lines = upscale(*several, "--start=0", option)
        assert status == 2 and len(lines) == 1 and message in lines[0], lines


def test_times_and_the_rest_of_the_command_line(upscale, tmp_path):
    pictures = ["a.png"]
    assert split_inputs(pictures, "50%d off.png") == ([], pictures) and split_inputs(["a.gif"], "b.png") == (
        [],
        ["a.gif"],
    )
    folder = [(tmp_path / "a.mkv", tmp_path / "v1.0" / "a.mkv")], []
    assert split_inputs([str(tmp_path / "a.mkv")], f"{tmp_path}/v1.0/") == folder
    (tmp_path / "v1.0").mkdir()
    assert split_inputs([str(tmp_path / "a.mkv")], f"{tmp_path}/v1.0") == folder
    for wrong in ("soon", "1:2:3:4", "-1", "nan"):
        assert upscale("a.mkv", "b.mkv", f"--start={wrong}")[0] == 2
    make_video(tmp_path / "slow.mkv", scene(2), times=[0, 3_700_000], base=Fraction(1, 1000))
    for index, (start, count) in enumerate({"3700": 1, "61:39.5": 2, "1:01:39.5": 2, "00:00": 2}.items()):
        assert upscale(tmp_path / "slow.mkv", tmp_path / f"part{index}.mkv", "--start", start)[0] == 0
        assert len(rgb(tmp_path / f"part{index}.mkv")) == count
    make_video(tmp_path / "a.mkv", scene(2))
    assert upscale(tmp_path / "a.mkv", tmp_path / "b.mkv", "--max-pixels", 700)[0] == 1
    assert upscale(tmp_path / "a.mkv", tmp_path / "b.mkv")[0] == 0
    assert upscale(tmp_path / "a.mkv", tmp_path / "b.mkv", "--skip-existing")[1] == [
        "srgan: 0 done, 1 skipped, 0 failed, 0 frames, 0 replaced"
    ]
    Image.fromarray(scene(1)[0]).save(tmp_path / "c.png")
    status, lines = upscale(tmp_path / "a.mkv", tmp_path / "c.png", tmp_path / "missing.mkv", tmp_path / "new")
    assert status == 1 and "missing.mkv: No such file" in lines[0]
    assert lines[-1] == "srgan: 2 done, 0 skipped, 1 failed, 2 frames, 0 replaced"
    assert sorted(os.listdir(tmp_path / "new")) == ["a.mkv", "c.png"]


def test_without_pyav_one_line_says_what_to_install(model, tmp_path):
    make_video(tmp_path / "in.mp4", scene(2))
    code = "import sys; sys.modules['av'] = None; from srgan.cli.upscale import main; sys.exit(main(sys.argv[1:]))"
    arguments = [tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "pip install av" in done.stderr.splitlines()[0] and "Traceback" not in done.stderr

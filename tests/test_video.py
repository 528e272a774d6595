"""Clips: real files made here, through the command and back, with everything that should survive."""

import os
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from upscaling import photograph
from videos import make_video, packets, probe, rgb, scene

from srgan.clips.video_file import VideoFile
from srgan.upscale.upscaler import Upscaler


def test_a_video_with_all_that_goes_with_it(upscale, soft, tmp_path):
    times = [0, 40, 80, 200, 210, 220, 333, 400, 440, 900, 940, 1000]  # milliseconds
    frames = scene(12)
    make_video(
        tmp_path / "in.mkv",
        frames,
        times,
        Fraction(1, 1000),
        sound=True,
        subtitles=True,
        crf=0,
        title="A walk",
        aspect=Fraction(4, 3),
    )
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", "--crf", 1, model=soft)
    assert (status, lines) == (0, ["srgan: 1 done, 0 skipped, 0 failed, 12 frames, 0 replaced"])
    before, after = probe(tmp_path / "in.mkv"), probe(tmp_path / "out.mkv")
    assert after["size"] == (128, 96) and after["codec"] == "h264"
    for what in ("times", "others", "colour", "aspect", "format"):
        assert after[what] == before[what], what
    assert [time * 1000 for time in after["times"]] == times
    assert after["metadata"]["title"] == "A walk"
    for kind in ("audio", "subtitle"):
        assert packets(tmp_path / "out.mkv", kind) == packets(tmp_path / "in.mkv", kind) != []
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.audio[0].language == "fra"
        assert [(stream.name, stream.data) for stream in container.streams.attachments] == [("font.ttf", b"letters")]
        (chapter,) = container.chapters()
        assert chapter["metadata"] == {"title": "Out of doors"}
        assert [time * float(chapter["time_base"]) for time in (chapter["start"], chapter["end"])] == [0.2, 0.9]
    for index, sr in enumerate(rgb(tmp_path / "out.mkv")):
        small = np.asarray(Image.fromarray(sr).resize((32, 24), Image.Resampling.BOX), float)
        assert np.argmin([np.abs(small - frame).mean() for frame in frames]) == index
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("matrix", "span", "depth"), [(1, 1, 8), (6, 1, 8), (5, 2, 8), (9, 1, 10), (2, 0, 8)], ids=str)
def test_colours_are_those_of_the_original(matrix, span, depth, upscale, soft, tmp_path):
    """Patches of known Y, Cb and Cr: as RGB they are what the standards say, and in the result what they were."""
    unit = 2 ** (depth - 8)
    patches = np.array([[110, 110, 150], [150, 100, 120], [120, 150, 110], [128, 128, 128], [60, 135, 122]]) * unit
    frames = []
    for y, cb, cr in patches:
        frame = av.VideoFrame(32, 24, "yuv420p" if depth == 8 else "yuv420p10le")
        for plane, value in zip(frame.planes, (y, cb, cr)):
            plane.update(
                np.full(plane.buffer_size // (1 if depth == 8 else 2), value, "u1" if depth == 8 else "<u2").tobytes()
            )
        frames.append(frame)
    kind = frames[0].format.name
    colour = (matrix, span, 9, 16) if matrix == 9 else (matrix, span, 2, 2)
    make_video(tmp_path / "in.mp4", frames, pix_fmt=kind, colour=colour, qp=1)
    red, blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}.get(matrix, (0.299, 0.114))  # ITU-R BT.709, 2020 and 601
    most = 2**depth - 1
    for (y, cb, cr), pixels in zip(patches, rgb(tmp_path / "in.mp4")):
        y, cb, cr = (
            (y / most, (cb - 128 * unit) / most, (cr - 128 * unit) / most)
            if span == 2
            else ((y - 16 * unit) / (219 * unit), (cb - 128 * unit) / (224 * unit), (cr - 128 * unit) / (224 * unit))
        )
        r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
        expected = np.clip([r, (y - red * r - blue * b) / (1 - red - blue), b], 0, 1)
        assert np.abs(pixels[12, 16] / np.iinfo(pixels.dtype).max - expected).max() < 1.5 / 255
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--crf", 1, model=soft)[0] == 0
    after = probe(tmp_path / "out.mp4")
    # What does not say its matrix is small enough to be BT.601; four times as large players would guess otherwise.
    assert after["colour"] == ((6, 1, 2, 2) if matrix == 2 else colour)
    assert after["format"].removeprefix("yuvj420p") in (kind, "")
    for patch, frame in zip(patches, after["frames"]):
        values = [np.frombuffer(plane, "u1" if depth == 8 else "<u2").reshape(-1)[0] for plane in frame.planes]
        assert np.abs(np.array(values, int) - patch).max() <= 1.5 * unit


def test_high_definition_that_does_not_say_its_matrix_is_bt709(tmp_path):
    make_video(tmp_path / "in.mp4", [np.zeros((720, 1280, 3), np.uint8)] * 2, colour=(2, 0, 2, 2), preset="ultrafast")
    assert VideoFile(tmp_path / "in.mp4").colour.matrix == 1


TURNS = {  # a, b, c, d of the display matrix, and what puts the picture upright
    "a quarter": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "half": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "three quarters": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_rotated_clip_becomes_upright(turn, upscale, soft, tmp_path):
    make_video(tmp_path / "in.mp4", scene(3), crf=1, aspect=Fraction(3, 2))
    flat = rgb(tmp_path / "in.mp4")
    content = (tmp_path / "in.mp4").read_bytes()
    at = content.index(b"tkhd") + 4 + 40  # the matrix in the track's header (ISO 14496-12, 8.3.2)
    (a, b, c, d), upright = TURNS[turn]
    matrix = np.array([a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30], ">i4").tobytes()
    (tmp_path / "in.mp4").write_bytes(content[:at] + matrix + content[at + 36 :])
    for turned, frame in zip(rgb(tmp_path / "in.mp4"), flat):
        np.testing.assert_array_equal(turned, upright(frame))
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--crf", 1, model=soft)[0] == 0
    after = probe(tmp_path / "out.mp4")
    assert after["size"] == ((96, 128) if "quarter" in turn else (128, 96))
    assert after["aspect"] == (Fraction(2, 3) if "quarter" in turn else Fraction(3, 2))
    assert after["frames"][0].side_data.get("DISPLAYMATRIX") is None
    small = np.asarray(
        Image.fromarray(rgb(tmp_path / "out.mp4")[0]).resize(upright(flat[0]).shape[1::-1], Image.Resampling.BOX)
    )
    assert np.abs(small.astype(float) - upright(flat[0])).mean() < 4


def test_ten_bits_stay_ten(upscale, soft, tmp_path):
    ramp = np.linspace(100, 900, 64).astype("<u2")
    frame = av.VideoFrame(64, 24, "yuv420p10le")
    for plane, row in zip(frame.planes, (ramp, np.full(32, 512, "<u2"), np.full(32, 512, "<u2"))):
        rows = np.zeros((plane.height, plane.line_size // 2), "<u2")
        rows[:, : len(row)] = row
        plane.update(rows.tobytes())
    make_video(tmp_path / "in.mkv", [frame, frame], pix_fmt="yuv420p10le", qp=1)
    assert upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", "--crf", 1, model=soft)[0] == 0
    after = probe(tmp_path / "out.mkv")
    assert after["format"] == "yuv420p10le"
    luma = np.frombuffer(after["frames"][0].planes[0], "<u2").reshape(96, -1)[48, :256]
    expected = np.interp((np.arange(256) + 0.5) / 4 - 0.5, np.arange(64), ramp)
    assert np.abs(luma - expected)[8:-8].max() <= 2  # of 1023: of 8 bits it would be 4
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.webm", model=soft)
    assert status == 0 and ("has more than 8 bits" in lines[0]) == (probe(tmp_path / "out.webm")["format"] == "yuv420p")


@pytest.mark.parametrize(
    ("size", "kind", "scale", "result"),
    [((33, 25), "yuv444p", 3, (99, 75)), ((34, 26), "yuv420p", 1.5, (52, 40)), ((33, 26), "yuv444p", 4, (132, 104))],
)
def test_odd_sizes(size, kind, scale, result, upscale, tmp_path):
    make_video(tmp_path / "in.mp4", scene(3, *size), pix_fmt=kind)
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--scale", scale)[0] == 0
    after = probe(tmp_path / "out.mp4")
    assert (after["size"], after["format"], len(after["times"])) == (result, kind, 3)


def test_other_containers_and_what_they_cannot_hold(upscale, tmp_path):
    make_video(tmp_path / "in.mkv", scene(4), sound=True, subtitles=True)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert status == 0 and len(lines) == 2
    assert re.fullmatch(
        r"srgan: .*out.mp4: subtitle stream 2 cannot be copied and is converted to mov_text \(.*\)", lines[0]
    )
    assert packets(tmp_path / "out.mp4", "audio") == packets(tmp_path / "in.mkv", "audio")
    assert probe(tmp_path / "out.mp4")["others"] == [("audio", "aac"), ("subtitle", "mov_text")]
    make_video(tmp_path / "in.webm", scene(4), codec="libvpx-vp9", sound=True)
    assert upscale(tmp_path / "in.webm", tmp_path / "out.webm")[0] == 0
    after = probe(tmp_path / "out.webm")
    assert after["others"] == [("audio", "opus")] and after["codec"] == "vp9" and len(after["times"]) == 4
    assert packets(tmp_path / "out.webm", "audio") == packets(tmp_path / "in.webm", "audio")
    assert upscale(tmp_path / "in.mkv", tmp_path / "folder/", "--codec", "libx265", "--crf", 30)[0] == 0
    assert probe(tmp_path / "folder" / "in.mkv")["codec"] == "hevc"


def test_a_part_of_a_video(upscale, tmp_path):
    make_video(tmp_path / "in.mkv", scene(48), sound=True, subtitles=True, g=12)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", "--start", "0:00:00.45", "--end", 1)
    assert status == 0 and lines[-1].endswith("13 frames, 0 replaced"), lines  # of 24 a second: 11 to 23
    times = [float(time) for time in probe(tmp_path / "out.mkv")["times"]]
    assert times == pytest.approx([index / 24 - 0.45 for index in range(11, 24)], abs=0.0015)
    sound = packets(tmp_path / "in.mkv", "audio")
    expected = [(time - 0.45, content) for time, content in sound if 0.45 <= time < 1]
    found = packets(tmp_path / "out.mkv", "audio")
    assert [content for _, content in found] == [content for _, content in expected]
    assert [time for time, _ in found] == pytest.approx([time for time, _ in expected], abs=0.0015)
    assert packets(tmp_path / "out.mkv", "subtitle") == [(pytest.approx(0.05), b"second line")]
    whole = rgb(tmp_path / "in.mkv")
    part = VideoFile(tmp_path / "in.mkv", 0.45, 1)
    for frame, expected in zip(part.frames(), whole[11:24], strict=True):
        np.testing.assert_array_equal(part.pixels(frame), expected)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", "--start", 50)
    assert status == 1 and "has no frames in that time" in lines[0]


def test_animations(upscale, soft, tmp_path):
    frames = [Image.fromarray(frame).quantize(64) for frame in scene(5)]
    durations = [100, 300, 50, 120, 700]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=durations, loop=3)
    assert upscale(tmp_path / "in.gif", tmp_path / "out.gif", model=soft)[0] == 0
    with Image.open(tmp_path / "out.gif") as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((128, 96), 5, 3)
        found = []
        for index in range(5):
            image.seek(index)
            found.append(image.info["duration"])
            small = np.asarray(image.convert("RGB").resize((32, 24), Image.Resampling.BOX), float)
            distances = [np.abs(small - np.asarray(frame.convert("RGB"), float)).mean() for frame in frames]
            assert np.argmin(distances) == index
    assert found == durations
    assert len(upscale(tmp_path / "in.gif", tmp_path / "out.mp4")[1]) == 1  # nothing of it is transparent
    assert upscale(tmp_path / "in.gif", tmp_path / "out.webm")[0] == 0
    assert probe(tmp_path / "out.webm")["format"] == "yuv420p" and not VideoFile(tmp_path / "out.webm").alpha
    assert [float(time) for time in probe(tmp_path / "out.mp4")["times"]] == [0, 0.1, 0.4, 0.45, 0.57]
    assert probe(tmp_path / "out.mp4")["colour"] == (1, 1, 1, 13)
    status, lines = upscale(tmp_path / "in.gif", tmp_path / "out.png")
    assert status == 0 and "the first of 5 frames is taken" in lines[0]


def test_a_transparent_animation_stays_transparent(upscale, soft, tmp_path):
    frames = []
    for index in range(4):
        pixels = np.dstack([photograph(24, 32, left=160 + 9 * index), np.zeros((24, 32), np.uint8)])
        pixels[8:16, 4 + 5 * index : 12 + 5 * index, 3] = 255
        frames.append(Image.fromarray(pixels))
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=100, disposal=2)
    assert upscale(tmp_path / "in.gif", tmp_path / "out.gif", model=soft)[0] == 0
    with Image.open(tmp_path / "out.gif") as image:
        for index in range(4):
            image.seek(index)
            alpha = np.asarray(image.convert("RGBA"))[..., 3] > 128
            expected = np.zeros((96, 128), bool)
            expected[32:64, 16 + 20 * index : 48 + 20 * index] = True
            assert (alpha != expected).mean() < 0.02
    assert "is laid on white" in upscale(tmp_path / "in.gif", tmp_path / "out.mp4", model=soft)[1][0]
    assert upscale(tmp_path / "in.gif", tmp_path / "out.webm", model=soft)[0] == 0
    assert ((rgb(tmp_path / "out.webm")[3][..., 3] > 128) != expected).mean() < 0.02


def test_frames_in_and_frames_out(upscale, soft, tmp_path):
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(scene(11)):
        Image.fromarray(frame).save(tmp_path / "in" / f"frame-{index + 1}.png")  # 10 and 11 come after 9
    (tmp_path / "in" / "frame-5.png").write_bytes((tmp_path / "in" / "frame-5.png").read_bytes()[:200])
    status, lines = upscale(tmp_path / "in", tmp_path / "video.mkv", "--fps", 10, "--codec", "ffv1", model=soft)
    assert (status, lines) == (0, ["srgan: 1 done, 0 skipped, 0 failed, 11 frames, 1 replaced"])
    assert [float(time) for time in probe(tmp_path / "video.mkv")["times"]] == pytest.approx(np.arange(11) / 10)
    upscaler = Upscaler(soft)
    for index, sr in enumerate(rgb(tmp_path / "video.mkv")):
        expected = upscaler(scene(11)[3 if index == 4 else index])
        assert np.abs(sr.astype(int) - expected).mean() < 4, index
    status, lines = upscale(tmp_path / "video.mkv", tmp_path / "out" / "%04d.png", "--scale", 1, model=soft)
    assert status == 0 and lines[-1].endswith("11 frames, 0 replaced")
    assert sorted(os.listdir(tmp_path / "out")) == [f"{index:04}.png" for index in range(1, 12)]
    assert sorted(os.listdir(tmp_path)) == ["in", "out", "video.mkv"]
    sr = upscaler(rgb(tmp_path / "video.mkv")[7])
    shrunk = np.asarray(Image.fromarray(sr).resize((128, 96), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "0008.png")), shrunk)
    status, lines = upscale(tmp_path / "video.mkv", tmp_path / "out" / "%04d.png", "--end", 0.7, model=soft)
    assert status == 0 and lines[0].endswith("0008.png: this and what is numbered higher are of an earlier run")
    assert len(lines) == 2 and len(os.listdir(tmp_path / "out")) == 11

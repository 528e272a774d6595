"""Clips: real files made here, through the command and back, with everything that should survive; kills; damage."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from upscaling import photograph

from srgan import cli
from srgan.clips.reading import SWSCALE_MATRIX, Film, fraction
from srgan.upscale.clip_job import ahead, split
from srgan.upscale.engines.loading import load_engine
from srgan.upscale.upscaler import Upscaler

RATE = 24


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """A model that only enlarges, bilinearly: colours are what they were."""
    from srgan.runtime import load_keras

    load_keras()
    from srgan.networks.generators import srresnet

    generator = srresnet(filters=4, blocks=1, skip="bilinear")
    for variable in generator.variables:
        variable.assign(np.zeros(variable.shape))
    path = tmp_path_factory.mktemp("soft") / "generator.keras"
    generator.save(path)
    load_engine(path)
    return path


def scene(count, width=32, height=24):
    """A pan over a photograph."""
    return [photograph(height, width, top=40 + index, left=160 + index) for index in range(count)]


def make_film(
    path, frames, times=None, base=Fraction(1, RATE), codec="libx264", pix_fmt="yuv420p", colour=(1, 1, 1, 1), **options
):
    """Write frames as a film. Options: sound and subtitles (bool), aspect (Fraction), and those of the encoder."""
    sound, subtitles = options.pop("sound", False), options.pop("subtitles", False)
    aspect, title = options.pop("aspect", None), options.pop("title", None)
    frames = [frame if isinstance(frame, av.VideoFrame) else av.VideoFrame.from_ndarray(frame) for frame in frames]
    times = list(times or range(len(frames)))
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE, options={key: str(value) for key, value in options.items()})
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
        context.time_base = stream.time_base = base
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = colour
        if aspect:
            context.sample_aspect_ratio = aspect
        if title:
            out.metadata["title"] = title
            about = {"id": 1, "time_base": Fraction(1, 1000), "metadata": {"title": "Out of doors"}}
            out.set_chapters([about | {"start": 200, "end": 900}])
            out.add_attachment("font.ttf", "font/ttf", b"letters")
        extra = []
        if sound:
            audio = out.add_stream("libopus" if str(path).endswith("webm") else "aac", rate=48000)
            audio.metadata["language"] = "fra"
            wave = np.sin(np.arange(int(48000 * times[-1] * base)) / 20).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
            tone.sample_rate, tone.pts = 48000, 0
            if audio.codec_context.name == "libopus":
                resampler = av.AudioResampler("s16", "stereo", 48000)
                tone = resampler.resample(tone)[0]
        if subtitles:
            text = out.add_mux_stream("subrip", time_base=Fraction(1, 1000))
            for index, line in enumerate([b"first line", b"second line"]):
                packet = av.Packet(line)
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = 100 + 400 * index
                packet.duration, packet.is_keyframe = 300, True
                extra.append(packet)
        for frame, pts in zip(frames, times):
            if frame.format.name != pix_fmt:
                frame = frame.reformat(
                    format=pix_fmt, dst_colorspace=SWSCALE_MATRIX.get(colour[0], 5), dst_color_range=colour[1]
                )
            frame.pts, frame.time_base = pts, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound:
            out.mux([*audio.encode(tone), *audio.encode(None)])
        out.mux(extra)
    return path


def probe(path):
    """Everything of a clip that can be compared: times in seconds, frames as arrays, streams."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        frames = list(container.decode(stream))
        context = stream.codec_context
        return {
            "times": [
                Fraction(frame.pts * stream.time_base.numerator, stream.time_base.denominator) for frame in frames
            ],
            "frames": frames,
            "size": (frames[0].width, frames[0].height),
            "format": frames[0].format.name,
            "codec": context.codec.canonical_name,
            "aspect": fraction(stream.sample_aspect_ratio),
            "colour": tuple(
                int(getattr(context, name)) for name in ("colorspace", "color_range", "color_primaries", "color_trc")
            ),
            "others": [
                (other.type, other.codec_context and other.codec_context.codec.canonical_name)
                for other in container.streams
                if other.index != stream.index
            ],
            "metadata": dict(container.metadata),
        }


def packets(path, kind):
    """The packets of a kind of stream: times in seconds and content."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux() if packet.stream.type == kind and packet.size]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in found]


def rgb(path):
    clip = Film(path)
    return [clip.pixels(frame) for frame in clip.frames()]


def test_a_film_with_all_that_goes_with_it(upscale, soft, tmp_path):
    times = [0, 40, 80, 200, 210, 220, 333, 400, 440, 900, 940, 1000]  # milliseconds
    frames = scene(12)
    make_film(
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
    make_film(tmp_path / "in.mp4", frames, pix_fmt=kind, colour=colour, qp=1)
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
    make_film(tmp_path / "in.mp4", [np.zeros((720, 1280, 3), np.uint8)] * 2, colour=(2, 0, 2, 2), preset="ultrafast")
    assert Film(tmp_path / "in.mp4").colour.matrix == 1


TURNS = {  # a, b, c, d of the display matrix, and what puts the picture upright
    "a quarter": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "half": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "three quarters": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_rotated_film_becomes_upright(turn, upscale, soft, tmp_path):
    make_film(tmp_path / "in.mp4", scene(3), crf=1, aspect=Fraction(3, 2))
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
    make_film(tmp_path / "in.mkv", [frame, frame], pix_fmt="yuv420p10le", qp=1)
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
    make_film(tmp_path / "in.mp4", scene(3, *size), pix_fmt=kind)
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--scale", scale)[0] == 0
    after = probe(tmp_path / "out.mp4")
    assert (after["size"], after["format"], len(after["times"])) == (result, kind, 3)


def test_other_containers_and_what_they_cannot_hold(upscale, tmp_path):
    make_film(tmp_path / "in.mkv", scene(4), sound=True, subtitles=True)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert status == 0 and len(lines) == 2
    assert re.fullmatch("srgan: .*out.mp4: subtitle stream 2 cannot be copied and is left out (.*)", lines[0])
    assert packets(tmp_path / "out.mp4", "audio") == packets(tmp_path / "in.mkv", "audio")
    assert probe(tmp_path / "out.mp4")["others"] == [("audio", "aac")]
    make_film(tmp_path / "in.webm", scene(4), codec="libvpx-vp9", sound=True)
    assert upscale(tmp_path / "in.webm", tmp_path / "out.webm")[0] == 0
    after = probe(tmp_path / "out.webm")
    assert after["others"] == [("audio", "opus")] and after["codec"] == "vp9" and len(after["times"]) == 4
    assert packets(tmp_path / "out.webm", "audio") == packets(tmp_path / "in.webm", "audio")
    assert upscale(tmp_path / "in.mkv", tmp_path / "folder/", "--codec", "libx265", "--crf", 30)[0] == 0
    assert probe(tmp_path / "folder" / "in.mkv")["codec"] == "hevc"


def test_a_part_of_a_film(upscale, tmp_path):
    make_film(tmp_path / "in.mkv", scene(48), sound=True, subtitles=True, g=12)
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
    part = Film(tmp_path / "in.mkv", 0.45, 1)
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
    assert upscale(tmp_path / "in.gif", tmp_path / "out.mp4")[0] == 0
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


def test_frames_in_and_frames_out(upscale, soft, tmp_path):
    (tmp_path / "in").mkdir()
    for index, frame in enumerate(scene(11)):
        Image.fromarray(frame).save(tmp_path / "in" / f"frame-{index + 1}.png")  # 10 and 11 come after 9
    (tmp_path / "in" / "frame-5.png").write_bytes((tmp_path / "in" / "frame-5.png").read_bytes()[:200])
    status, lines = upscale(tmp_path / "in", tmp_path / "film.mkv", "--fps", 10, "--codec", "ffv1", model=soft)
    assert (status, lines) == (0, ["srgan: 1 done, 0 skipped, 0 failed, 11 frames, 1 replaced"])
    assert [float(time) for time in probe(tmp_path / "film.mkv")["times"]] == pytest.approx(np.arange(11) / 10)
    upscaler = Upscaler(soft)
    for index, sr in enumerate(rgb(tmp_path / "film.mkv")):
        expected = upscaler(scene(11)[3 if index == 4 else index])
        assert np.abs(sr.astype(int) - expected).mean() < 4, index
    status, lines = upscale(tmp_path / "film.mkv", tmp_path / "out" / "%04d.png", "--scale", 1, model=soft)
    assert status == 0 and lines[-1].endswith("11 frames, 0 replaced")
    assert sorted(os.listdir(tmp_path / "out")) == [f"{index:04}.png" for index in range(1, 12)]
    assert sorted(os.listdir(tmp_path)) == ["film.mkv", "in", "out"]
    sr = upscaler(rgb(tmp_path / "film.mkv")[7])
    shrunk = np.asarray(Image.fromarray(sr).resize((128, 96), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "0008.png")), shrunk)
    status, lines = upscale(tmp_path / "film.mkv", tmp_path / "out" / "%04d.png", "--end", 0.7, model=soft)
    assert status == 0 and lines[0].endswith("0008.png: this and what is numbered higher are of an earlier run")
    assert len(lines) == 2 and len(os.listdir(tmp_path / "out")) == 11


def test_a_damaged_first_frame_is_that_after_it(upscale, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(b"no picture")
    for index, frame in enumerate(scene(2), 2):
        Image.fromarray(frame).save(tmp_path / "in" / f"{index}.png")
    status, lines = upscale(tmp_path / "in", tmp_path / "film.mkv", "--codec", "ffv1")
    assert (status, lines[-1]) == (0, "srgan: 1 done, 0 skipped, 0 failed, 3 frames, 1 replaced")
    first, second, _ = rgb(tmp_path / "film.mkv")
    np.testing.assert_array_equal(first, second)


def test_damaged_frames_are_replaced_by_their_predecessors_and_counted(upscale, soft, tmp_path):
    make_film(tmp_path / "in.mp4", scene(20), g=1, bf=0)
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
    make_film(tmp_path / "late.mp4", scene(12), sound=True)
    make_film(tmp_path / "early.mkv", scene(12), sound=True)
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
        (["a.mkv", "b.png"], "is a clip, and b.png no place for one"),
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
        (["a.mkv", "b.gif", "--crf", "9"], "a GIF has but one way"),
        (["a.mkv", "%d.png", "--crf", "9"], "are pictures"),
        (["a.mkv", "b.mkv", "--start", "3", "--end", "2"], "is not after the start"),
        (["a.mkv", "b.mkv", "--fps", "24"], "fps: a.mkv has times of its own"),
        (["folder", "b.mkv", "--fps", "0"], "fps: 0 is not between 0.01 and 1000"),
        (["folder", "b.mkv", "--fps", "0.0001"], "fps: 0.0001 is not between 0.01 and 1000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_before_the_work(arguments, message, upscale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "a.mkv", scene(2))
    os.link("a.mkv", "link.mkv")
    (tmp_path / "folder").mkdir()
    Image.fromarray(scene(1)[0]).save("a.png")
    Image.fromarray(scene(1)[0]).save("folder/1.png")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr(Upscaler, "_upscale", None)
    status, lines = upscale(*arguments)
    assert status == 2 and len(lines) == 1 and message in lines[0], lines
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="such names")
def test_a_name_with_a_colon(upscale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "12:30.mp4", scene(2))
    status, lines = upscale("12:30.mp4", "1:2.mp4")
    assert status == 0 and set(os.listdir()) == {"12:30.mp4", "1:2.mp4"}, lines


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_what_cannot_be_opened_is_a_damaged_frame_or_one_line(upscale, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(scene(1)[0]).save(folder / "1.png")
    (folder / "2.png").symlink_to("nowhere.png")
    assert upscale(folder, tmp_path / "film.mkv") == (0, ["srgan: 1 done, 0 skipped, 0 failed, 2 frames, 1 replaced"])
    iterdir = type(folder).iterdir

    def forbidden(path):
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(type(folder), "iterdir", forbidden)  # chmod stops no root
    status, lines = upscale(folder, tmp_path / "film.mkv")
    assert status == 1 and lines[0] == f"srgan: {folder}: Permission denied" and len(lines) == 2, lines


def test_an_animation_beside_its_frames_is_none_of_them(upscale, tmp_path):
    for index, frame in enumerate(scene(3)):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    for _ in range(2):
        assert upscale(tmp_path, tmp_path / "film.gif")[1] == [
            "srgan: 1 done, 0 skipped, 0 failed, 3 frames, 0 replaced"
        ]
    assert sorted(os.listdir(tmp_path)) == ["0.png", "1.png", "2.png", "film.gif"]


def test_options_that_do_not_fit_one_clip_stop_no_other(upscale, tmp_path):
    make_film(tmp_path / "a.webm", scene(2), codec="libvpx-vp9")
    make_film(tmp_path / "b.mp4", scene(2))
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
    assert split(pictures, "50%d off.png") == ([], pictures) and split(["a.gif"], "b.png") == (
        [],
        ["a.gif"],
    )
    folder = [(tmp_path / "a.mkv", tmp_path / "v1.0" / "a.mkv")], []
    assert split([str(tmp_path / "a.mkv")], f"{tmp_path}/v1.0/") == folder
    (tmp_path / "v1.0").mkdir()
    assert split([str(tmp_path / "a.mkv")], f"{tmp_path}/v1.0") == folder
    assert [cli._seconds(text) for text in ("90", "1:30.5", "1:00:00")] == [90, 90.5, 3600]
    for wrong in ("soon", "1:2:3:4", "-1", "nan"):
        assert upscale("a.mkv", "b.mkv", f"--start={wrong}")[0] == 2
    make_film(tmp_path / "a.mkv", scene(2))
    assert upscale(tmp_path / "a.mkv", tmp_path / "b.mkv", "--max-pixels", 700)[0] == 1
    assert upscale(tmp_path / "a.mkv", tmp_path / "b.mkv")[0] == 0
    assert upscale(tmp_path / "a.mkv", tmp_path / "b.mkv", "--skip-existing")[1] == [
        "srgan: 0 done, 1 skipped, 0 failed, 0 frames, 0 replaced"
    ]
    Image.fromarray(scene(1)[0]).save(tmp_path / "c.png")
    status, lines = upscale(tmp_path / "a.mkv", tmp_path / "c.png", tmp_path / "missing.mkv", tmp_path / "new")
    assert status == 1 and "missing.mkv: no such file" in lines[0]
    assert lines[-1] == "srgan: 2 done, 0 skipped, 1 failed, 2 frames, 0 replaced"
    assert sorted(os.listdir(tmp_path / "new")) == ["a.mkv", "c.png"]


# Processes of their own, in which a segment has 4 frames and a frame takes a while.

SLOW = """
import sys, time, resource
from srgan import cli
from srgan.clips import writing
from srgan.upscale import Upscaler
writing.SEGMENT = 4
quick = Upscaler._upscale
def slow(*arguments, **options):
    time.sleep({seconds})
    return quick(*arguments, **options)
Upscaler._upscale = slow
if {bytes}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, resource.RLIM_INFINITY))
sys.exit(cli.upscale(sys.argv[1:]))
"""


def command(*arguments, seconds=0.0, limit=0):
    return [sys.executable, "-c", SLOW.format(seconds=seconds, bytes=limit), *map(str, arguments)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out/%03d.png"])
def test_killed_and_started_again_it_goes_on_to_the_same_file(name, model, upscale, tmp_path, monkeypatch):
    times = np.cumsum(np.random.default_rng(1).integers(1, 9, 30)).tolist()
    make_film(tmp_path / "in.mkv", scene(30), [40 * time for time in times], Fraction(1, 1000), sound=True)
    arguments = [tmp_path / "in.mkv", tmp_path / name, "--model", model]
    kept = -1
    for _ in range(2):
        process = subprocess.Popen(command(*arguments, seconds=0.03), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            count = len([file for file in tmp_path.rglob("0*") if file.parent.name.endswith(".part")])
            if count > kept + 1:
                break
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert count > kept + 1 and not list(tmp_path.glob("[!.]*/0*")) and not (tmp_path / name).exists()
        kept = count
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.match(r"srgan: .*: goes on after \d+ frames\n", done.stderr), done.stderr
    assert done.stderr.endswith("30 frames, 0 replaced\n")
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole" / name
    monkeypatch.setattr("srgan.clips.writing.SEGMENT", 4)
    assert upscale(arguments[0], whole)[0] == 0
    files = sorted(file.relative_to(tmp_path / "whole") for file in whole.parent.iterdir())
    assert len(files) == (30 if "%" in name else 1)
    for file in files:
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not list(tmp_path.rglob(".*"))
    if "%" not in name:
        assert [float(time) for time in probe(tmp_path / name)["times"]] == pytest.approx(
            np.array(times) * 0.04, abs=1e-3
        )


@pytest.mark.skipif(sys.platform == "win32", reason="limits")
def test_a_full_disk_is_said_and_what_is_finished_is_kept(model, tmp_path):
    make_film(tmp_path / "in.mp4", scene(24), g=8)
    arguments = [tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model, "--crf", 0]
    for limit, count in ((12_000, 0), (60_000, 6)):  # too little for a segment; for all of them, but not for the whole
        done = subprocess.run(command(*arguments, limit=limit), capture_output=True, text=True, check=False)
        *_, line, _ = done.stderr.splitlines()
        assert done.returncode == 1 and "no space left" in line and "Traceback" not in done.stderr, done.stderr
        assert len(list(tmp_path.glob(".out*/0*.npz"))) == count and not (tmp_path / "out.mp4").exists()
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "goes on after" in done.stderr
    assert len(probe(tmp_path / "out.mp4")["times"]) == 24


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted_it_says_that_it_can_go_on(model, upscale, tmp_path, monkeypatch):
    make_film(tmp_path / "in.mp4", scene(40))
    arguments = [tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model]
    process = subprocess.Popen(command(*arguments, seconds=0.05), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out*/0*.npz")) and time.monotonic() < deadline:
        time.sleep(0.005)
    monkeypatch.setattr("srgan.clips.writing.SEGMENT", 4)
    status, lines = upscale(*arguments[:2])
    assert status == 1 and "another process is at work on it" in lines[0]
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert re.fullmatch(
        r"srgan: .*out.mp4: stopped; the same command goes on after \d+ frames\nsrgan: interrupted\n", said
    )


def test_a_run_that_finished_nothing_leaves_nothing(upscale, tmp_path):
    make_film(tmp_path / "in.mp4", scene(2))
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--start", 60)
    assert status == 1 and "has no frames in that time" in lines[0], lines
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_what_another_process_is_at_work_on_is_left_to_it(upscale, tmp_path):
    make_film(tmp_path / "in.mp4", scene(2))
    folder = tmp_path / f".out.mp4-{'0' * 16}.part"  # as other options would name it
    folder.mkdir()
    (folder / "000000.npz").touch()
    with FileLock(folder / "lock"):
        assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")[0] == 0
        assert sorted(os.listdir(folder)) == ["000000.npz", "lock"]
        assert sorted(os.listdir(tmp_path)) == [folder.name, "in.mp4", "out.mp4"]
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_as_output_stays_one(upscale, tmp_path, monkeypatch):
    make_film(tmp_path / "in.mp4", scene(2))
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.mp4").symlink_to(tmp_path / "disk" / "film.mp4")
    replace = os.replace

    def within_one_file_system(source, target):
        if os.path.dirname(target) == str(tmp_path):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", within_one_file_system)
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert status == 0, lines
    assert (tmp_path / "out.mp4").is_symlink() and os.listdir(tmp_path / "disk") == ["film.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_sees_frames_a_second(model, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    make_film(tmp_path / "in.mp4", scene(8))
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = command(tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model, seconds=0.1)
    with subprocess.Popen(arguments, stderr=follower, stdin=subprocess.DEVNULL) as process:
        os.close(follower)
        seen = b""
        try:
            while part := os.read(leader, 4096):
                seen += part
        except OSError:  # the terminal is gone
            pass
    os.close(leader)
    assert process.returncode == 0 and re.search(rb"\d/8 \[.*frame/s", seen), seen
    assert seen.rstrip().endswith(b"1 done, 0 skipped, 0 failed, 8 frames, 0 replaced")


def test_without_pyav_one_line_says_what_to_install(model, tmp_path):
    make_film(tmp_path / "in.mp4", scene(2))
    code = "import sys; sys.modules['av'] = None; from srgan.cli import upscale; sys.exit(upscale(sys.argv[1:]))"
    arguments = [tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "pip install av" in done.stderr.splitlines()[0] and "Traceback" not in done.stderr


def test_threads_run_ahead_but_not_far_and_stop():
    made, closed = [], []

    def numbers():
        try:
            for number in range(100):
                made.append(number)
                yield number
        finally:
            closed.append(True)

    pulled = ahead(numbers())
    assert [next(pulled) for _ in range(3)] == [0, 1, 2]
    pulled.close()
    assert closed and len(made) <= 7

    def failing():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ahead(failing()))
    assert list(ahead(number for number in range(9))) == list(range(9))

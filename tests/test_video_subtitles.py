"""Subtitles: every kind into every container, and those that a part of a clip cuts through."""

import io
import re
from fractions import Fraction

import av
import pytest
from test_video_tracks import CONTAINERS, complaints, contents, encoders, write
from videos import make_video, scene

from srgan.clips.track_conversion import conversion_of

# Header of a display set of Blu-ray's subtitles, with its composition state, and the end of the set.
EPOCH, NORMAL, CLEAR = (
    bytes.fromhex("16000b") + b"\0\x20\0\x18\x10\0" + bytes([number, state]) + b"\0\0\0" + bytes.fromhex("800000")
    for number, state in enumerate((0x80, 0x00, 0x00))
)


def with_subtitles(file, kind, names):
    """Write a clip of a second with subtitles by each of some encoders."""
    with av.open(file, "w", format=kind) as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        with av.open(io.BytesIO(ASS)) as source:
            template = source.streams.subtitles[0]
            template.codec_context.open(strict=False)
            header = template.codec_context.subtitle_header
            lines = [(packet.pts, packet.duration, template.codec_context.decode2(packet))
                     for packet in source.demux(template) if packet.size]  # fmt: skip
        tracks = [out.add_stream(name) for name in names]
        for track in tracks:
            track.codec_context.subtitle_header = header
            track.codec_context.time_base = track.time_base = Fraction(1, 100)
        for index, frame in enumerate(scene(25)):
            picture = av.VideoFrame.from_ndarray(frame)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        for pts, duration, line in lines:
            for track in tracks:
                packet = track.codec_context.encode_subtitle(line)
                packet.pts = packet.dts = pts
                packet.duration, packet.time_base, packet.stream = duration, Fraction(1, 100), track
                packet.is_keyframe = True
                out.mux_one(packet)


ASS = rb"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, Bold, Italic
Style: Default,Arial,16,0,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.20,0:00:00.50,Default,,0,0,0,,Good {\i1}evening{\i0}
Dialogue: 0,0:00:00.60,0:00:00.90,Default,,0,0,0,,two\Nlines & more
"""
TEXTS = [(0.2, 0.3, "Good evening"), (0.6, 0.3, "two\nlines & more")]


def texts(path, index):
    """What is shown of a stream: when, for how long and what, without its style."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams[index]
        for packet in container.demux(stream):
            for line in (packet.decode() if packet.size else ()) or ():
                text = re.sub(r"\{[^}]*\}", "", line.dialogue.decode()).replace("\r", "").strip()
                if text:
                    times = [float(ticks * packet.time_base) for ticks in (packet.pts, packet.duration)]
                    found.append((*times, re.sub("</?[ib]>", "", text)))
    return found


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("kind", ["matroska", "mov"])
def test_every_subtitle_is_carried_converted_or_named(kind, suffix, tmp_path):
    names = []
    for name in encoders("subtitle"):
        try:
            with_subtitles(io.BytesIO(), kind, [name])
        except (av.FFmpegError, ValueError):
            continue
        names.append(name)
    assert len(names) >= {"matroska": 4, "mov": 1}[kind], names
    source, target = tmp_path / "in", tmp_path / f"out{suffix}"
    with_subtitles(str(source), kind, names)
    fate = {}
    for line in write(source, target):
        found = re.search(r"stream (\d+) cannot be copied and is (left out|converted to [\w ]+) \(", line)
        fate[int(found[1])] = found[2]
    kept = [index for index in range(1, len(names) + 1) if fate.get(index) != "left out"]
    with av.open(str(source)) as container:
        lost = [index for index in range(1, len(names) + 1) if index not in kept]
        assert not any(texts(source, index) and conversion_of(container.streams[index], suffix) for index in lost)
    before, after = contents(source), contents(target)
    assert len(after) == len(kept) + 1
    for new, index in enumerate(kept, 1):
        if index not in fate:
            assert after[new] == before[index]
        if texts(source, index):
            found = texts(target, new)
            assert [text for *_, text in found] == [text for *_, text in TEXTS], names[index - 1]
            for times, wanted in zip(found, TEXTS):
                assert times[:2] == pytest.approx(wanted[:2]), names[index - 1]
    assert complaints(target) <= complaints(source)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_subtitles_that_a_part_cuts_through(suffix, upscale, tmp_path):
    with_subtitles(str(tmp_path / "in.mkv"), "matroska", ["subrip", "ass"])
    for start, end, expected in (
        (0.32, 0.72, [(0, 0.18, "Good evening"), (0.28, 0.12, "two\nlines & more")]),
        (0.52, 0.96, [(0.08, 0.3, "two\nlines & more")]),
        (0.72, 0.8, [(0, 0.08, "two\nlines & more")]),
    ):
        target = tmp_path / f"out{suffix}"
        status, lines = upscale(tmp_path / "in.mkv", target, "--start", start, "--end", end)
        assert status == 0, lines
        for index in (1, 2):
            found = texts(target, index)
            assert [text for *_, text in found] == [text for *_, text in expected]
            for times, wanted in zip(found, expected):
                assert times[:2] == pytest.approx(wanted[:2], abs=0.0011)
        assert complaints(target) == set()


def test_subtitles_without_an_end_show_until_the_next_one(upscale, tmp_path):
    """Those of Blu-ray: pictures that build on one another until a new epoch."""
    make_video(tmp_path / "plain.mkv", scene(24))
    times = {0: EPOCH, 100: NORMAL, 200: EPOCH, 300: NORMAL, 800: CLEAR}
    with av.open(str(tmp_path / "plain.mkv")) as source, av.open(str(tmp_path / "in.mkv"), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        track = out.add_mux_stream("pgssub", time_base=Fraction(1, 1000))
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                out.mux_one(packet)
        for time, data in times.items():
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = track, Fraction(1, 1000), time, time
            out.mux_one(packet)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", "--start", 0.5)
    assert status == 0 and len(lines) == 1, lines
    with av.open(str(tmp_path / "out.mkv")) as container:
        found = [
            (packet.pts, bytes(packet)) for packet in container.demux(container.streams.subtitles[0]) if packet.size
        ]
    assert found == [(0, EPOCH), (1, NORMAL), (300, CLEAR)]
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert status == 0 and "subtitle stream 1 cannot be copied and is left out" in lines[0], lines

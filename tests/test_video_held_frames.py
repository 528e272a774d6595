"""Frames that stand longer than the others: the last one, and the one that is shown at --start or at --end."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import probe, scene

from srgan.clips.mp4_length import shown_length
from srgan.clips.video_file import VideoFile

TIMES, END = [0, 40, 400, 440, 1000], 3000  # ms
TICK = Fraction(1, 1000)


def held(path, codec="libx264", container_options=None, **options):
    """A clip with variable frame rate, whose last frame stands for two seconds, and tags of sound that is longer."""
    with av.open(str(path), "w", container_options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.codec_context.time_base = stream.time_base = TICK
        packets = []
        for pixels, time in zip(scene(len(TIMES)), TIMES):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts, frame.time_base = time, TICK
            packets += stream.encode(frame)
        for packet in packets + stream.encode(None):
            shown = TIMES.index(packet.pts)
            packet.duration = [*TIMES, END][shown + 1] - packet.pts
            out.mux(packet)
    return path


def milliseconds(clip):
    return [
        (round(frame.pts * clip.time_base * 1000), round(frame.duration * clip.time_base * 1000))
        for frame in clip.frames()
    ]


KINDS = {
    "in.mp4": {},  # with frames that refer to later ones, of which only the index says how long the last one is shown
    "whole.mov": {"tune": "zerolatency"},
    "parts.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "tune": "zerolatency"},
    "in.mkv": {},
    "in.webm": {"codec": "libvpx-vp9"},
}


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.mov", "out.webm", "out.gif"])
@pytest.mark.parametrize("name", KINDS)
def test_the_last_frame_stands_as_long_as_the_file_says(name, target, upscale, soft, tmp_path):
    held(tmp_path / name, **KINDS[name])
    status, lines = upscale(tmp_path / name, tmp_path / target, model=soft)
    assert status == 0 and len(lines) == 1, lines  # it does not end early
    found = probe(tmp_path / target)["times"]
    np.testing.assert_allclose([float(time) * 1000 for time in found], TIMES, atol=1)
    if target in ("out.mp4", "out.mov"):
        assert shown_length(tmp_path / target, 1)[0] == pytest.approx(3, abs=0.002)
    else:
        with av.open(str(tmp_path / target)) as container:
            assert container.duration == pytest.approx(3_000_000, abs=10_000)


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (0.2, None, [(0, 200), (200, 40), (240, 560), (800, 2000)]),
        (0.2, 0.3, [(0, 100)]),
        (None, 0.3, [(0, 40), (40, 260)]),
        (1.5, None, [(0, 1500)]),
        (2.9, 2.95, [(0, 50)]),
        (0.41, 2, [(30, 560), (590, 1000)]),  # the frame before it stands no longer than usual
    ],
)
def test_a_frame_that_is_shown_at_the_start_or_at_the_end_stays(start, end, frames, name, tmp_path):
    found = milliseconds(VideoFile(held(tmp_path / name), start, end))
    times = [time for time, _ in found]
    assert times == [time for time, _ in frames]
    spans = np.diff([*times, times[-1] + found[-1][1]])  # each frame stands until the next one
    np.testing.assert_allclose(spans, [span for _, span in frames], atol=10)


def test_an_index_that_is_cut_off_or_wrong_says_nothing(tmp_path):
    source = held(tmp_path / "in.mp4", container_options={"movflags": "faststart"})
    content = source.read_bytes()
    assert shown_length(source, 1) == (3, Fraction(1, 1000)) and shown_length(source, 2) is None
    for size in (40, 600, len(content) - 1):
        (tmp_path / "cut.mp4").write_bytes(content[:size])
        assert shown_length(tmp_path / "cut.mp4", 1) is None
    place = content.index(b"tkhd") + 4 + 20
    for wrong in (3001, 2**32 - 1, 0):  # longer than the whole, not known
        (tmp_path / "wrong.mp4").write_bytes(content[:place] + struct.pack(">I", wrong) + content[place + 4 :])
        assert shown_length(tmp_path / "wrong.mp4", 1) is None
        assert sum(1 for _ in VideoFile(tmp_path / "wrong.mp4").frames()) == len(TIMES)

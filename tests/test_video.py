"""Clips: real files made here, through the command and back, with everything that should survive; kills; damage."""

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
from helpers import run_command
from PIL import Image
from upscaling import make_model, photograph

from srgan import cli, clips, segments, video
from srgan.engines import load_engine
from srgan.upscale import Upscaler

RATE = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model, that is in the cache already, and whose result looks like its input."""
    path = make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear")
    load_engine(path)
    return path


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """A model that only enlarges, bilinearly: colours are what they were."""
    from srgan.runtime import load_keras

    load_keras()
    from srgan.networks.generator import srresnet

    generator = srresnet(filters=4, blocks=1, skip="bilinear")
    for variable in generator.variables:
        variable.assign(np.zeros(variable.shape))
    path = tmp_path_factory.mktemp("soft") / "generator.keras"
    generator.save(path)
    load_engine(path)
    return path


@pytest.fixture
def upscale(model, capsys):
    """A function that runs the command in this process and returns its exit status and the lines it said."""

    def run(*arguments, model=model):
        try:
            status = cli.upscale([*map(str, arguments), "--model", str(model)])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert said.out == ""
        return status, said.err.splitlines()

    handlers = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handlers)


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
                    format=pix_fmt, dst_colorspace=segments.SWSCALE_MATRIX.get(colour[0], 5), dst_color_range=colour[1]
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
            "times": [Fraction(frame.pts * stream.time_base.numerator, stream.time_base.denominator) for frame in frames],
            "frames": frames,
            "size": (frames[0].width, frames[0].height),
            "format": frames[0].format.name,
            "codec": context.name,
            "aspect": clips.fraction(stream.sample_aspect_ratio),
            "colour": tuple(int(getattr(context, name)) for name in ("colorspace", "color_range", "color_primaries", "color_trc")),
            "others": [(other.type, other.codec_context.name) for other in container.streams if other.index != stream.index],
            "metadata": dict(container.metadata),
        }


def packets(path, kind):
    """The packets of a kind of stream: times in seconds and content."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux() if packet.stream.type == kind and packet.size]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in found]


def rgb(path):
    clip = clips.Film(path)
    return [clip.pixels(frame) for frame in clip.frames()]


def test_a_film_with_all_that_goes_with_it(upscale, soft, tmp_path):
    times = [0, 40, 80, 200, 210, 220, 333, 400, 440, 900, 940, 1000]  # milliseconds
    frames = scene(12)
    make_film(
        tmp_path / "in.mkv", frames, times, Fraction(1, 1000), sound=True, subtitles=True, crf=0, title="A walk",
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
    for frame, sr in zip(frames, rgb(tmp_path / "out.mkv")):
        small = np.asarray(Image.fromarray(sr).resize((32, 24), Image.Resampling.BOX), float)
        assert np.abs(small - frame).mean() < 3  # the pan moves by more
    assert not list(tmp_path.glob(".*"))

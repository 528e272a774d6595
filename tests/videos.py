"""What the tests of clips share: small video files made here, what can be compared of them, and slow runs to be stopped."""

import sys
from fractions import Fraction

import av
import numpy as np
from upscaling import photograph

from srgan.clips.colour import SWSCALE_MATRIX
from srgan.clips.ffmpeg import fraction, usual_priority
from srgan.clips.video_file import VideoFile

RATE = 24


def scene(count, width=32, height=24):
    """A pan over a photograph."""
    return [photograph(height, width, top=40 + index, left=160 + index) for index in range(count)]


def make_video(
    path, frames, times=None, base=Fraction(1, RATE), codec="libx264", pix_fmt="yuv420p", colour=(1, 1, 1, 1), **options
):
    """Write frames as a video file. Options: sound and subtitles (bool), aspect (Fraction), and those of the encoder."""
    sound, subtitles = options.pop("sound", False), options.pop("subtitles", False)
    aspect, title = options.pop("aspect", None), options.pop("title", None)
    frames = [frame if isinstance(frame, av.VideoFrame) else av.VideoFrame.from_ndarray(frame) for frame in frames]
    times = list(times or range(len(frames)))
    with usual_priority(), av.open(str(path), "w") as out:
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
    clip = VideoFile(path)
    return [clip.pixels(frame) for frame in clip.frames()]


# Processes of their own, in which a segment has 4 frames and a frame takes a while.

SLOW = """
import sys, time, resource
from srgan.cli import upscale
from srgan.clips import segments
from srgan.upscale.engines.openvino_engine import OpenVINOEngine
segments.SEGMENT = 4
quick = OpenVINOEngine.__call__
def slow(*arguments, **options):
    time.sleep({seconds})
    return quick(*arguments, **options)
OpenVINOEngine.__call__ = slow
if {bytes}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, resource.RLIM_INFINITY))
upscale.main()
"""


def command(*arguments, seconds=0.0, limit=0):
    return [sys.executable, "-c", SLOW.format(seconds=seconds, bytes=limit), *map(str, arguments)]

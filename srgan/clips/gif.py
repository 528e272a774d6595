"""Animated GIFs, joined from segments: one palette for all frames, made of all of them, so that colours do not flicker."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from srgan.clips.ffmpeg import av, filtered
from srgan.clips.segments import Segments

_BASE = Fraction(1, 100)  # seconds a tick of a GIF
_SHORTEST = 2  # ticks; players take less for 10


def join_animation(path: Path, segments: Segments, source: Path) -> None:
    """Write an animated GIF that repeats as often as `source` does, where that is one, else for ever.

    Args:
        path: the file to write.
        segments: the frames.
        source: the clip that they are from.
    """
    encoding = segments.encoding
    end = round(segments.end * encoding.time_base / _BASE)
    _graph, frames, sink = _painter(_palette(segments), encoding)
    options = {"fflags": "+bitexact", "loop": str(_loops(source))}
    with av.open(str(path), "w", format="gif", container_options=options) as out:
        stream = out.add_stream("gif", rate=encoding.rate)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = encoding.width, encoding.height, "pal8"
        context.time_base = stream.time_base = _BASE
        painted = (each for frame in chain(_frames(segments), [None]) for each in filtered(frames, frame, sink))
        packets: Any = (packet for frame in painted for packet in stream.encode(frame))
        for packet, following in pairwise(chain(packets, [None])):
            packet.duration = following.pts - packet.pts if following else max(end - packet.pts, _SHORTEST)
            out.mux_one(packet)


def _frames(segments: Segments) -> Iterator[av.VideoFrame]:
    """Yield the frames with their times in a GIF, without those that it would show for too short a time."""
    last = None
    for frame in segments.decoded("bgra"):
        time = round(int(frame.pts or 0) * segments.encoding.time_base / _BASE)
        if last is None or time - last >= _SHORTEST:
            frame.pts, frame.time_base, last = time, _BASE, time
            yield frame


def _palette(segments):
    """The palette of all frames, as a picture of 16 x 16 pixels."""
    graph = av.filter.Graph()
    source = _add_frames(graph, segments.encoding, segments.encoding.time_base)
    make, sink = graph.add("palettegen"), graph.add("buffersink")
    graph.link_nodes(source, make, sink).configure()
    for frame in segments.decoded("bgra"):
        source.push(frame)
    source.push(None)
    return sink.pull()


def _painter(palette, encoding):
    """A filter graph that paints frames with a palette; where they go in, and where they come out."""
    graph = av.filter.Graph()
    use, sink = graph.add("paletteuse", "diff_mode=rectangle"), graph.add("buffersink")
    frames = _add_frames(graph, encoding, _BASE)
    colours = graph.add_buffer(format=palette.format, name="colours", width=16, height=16, time_base=_BASE)
    frames.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    palette.pts, palette.time_base = 0, _BASE
    colours.push(palette)
    colours.push(None)
    return graph, frames, sink


def _add_frames(graph, encoding, base):
    size = {"width": encoding.width, "height": encoding.height, "time_base": base}
    return graph.add_buffer(format=av.VideoFormat("bgra"), name="frames", **size)


def _loops(path):
    """How often an animation plays, as FFmpeg's GIF writer wants it: 0 for ever, -1 once."""
    if path.suffix.lower() != ".gif":
        return 0
    with contextlib.suppress(OSError, ValueError), Image.open(path) as image:
        return image.info.get("loop", -1)
    return 0

"""Converting sound and subtitles that a container does not hold: to AAC or Opus, to mov_text, WebVTT or SubRip."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from srgan.clips.ffmpeg import FFmpegError, av, filtered, fraction

_SOUND = {".webm": "libopus"}  # the others: AAC
_TEXT = {".webm": "webvtt", ".mkv": "subrip"}  # the others: mov_text
_NAMES = {"libopus": "Opus", "aac": "AAC", "webvtt": "WebVTT", "subrip": "SubRip"}
_BIT_RATE = {"aac": 96_000, "libopus": 80_000}  # a channel: hardly anyone hears a difference
_RATES = {"libopus": (48000,), "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)}
# By the number of channels.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "7.1", 8: "7.1"}
_OPUS_LAYOUTS = _LAYOUTS | {4: "quad", 7: "6.1"}
_GLOBAL_HEADER = 1 << 22


def conversion_of(stream: Any, suffix: str) -> tuple[str, str] | None:
    """The encoder by which a stream goes into a container with little loss, and what a message says of it; None: there is
    none.
    """
    context = stream.codec_context
    if context is None:
        return None
    if stream.type == "audio" and context.layout.nb_channels in _LAYOUTS:
        codec = _SOUND.get(suffix, "aac")
    elif stream.type == "subtitle" and context.codec.text_sub:
        codec = _TEXT.get(suffix, "mov_text")
    else:
        return None
    lost = " without its fonts and places" if context.name in ("ass", "ssa") else ""
    return codec, f"is converted to {_NAMES.get(codec, codec)}{lost}"


def set_up(context: Any, stream: Any) -> None:
    """Set up an encoder, not yet open, for what a stream holds."""
    source = stream.codec_context
    context.flags |= _GLOBAL_HEADER
    if stream.type == "subtitle":
        source.open(strict=False)
        context.subtitle_header = source.subtitle_header
        context.time_base = stream.time_base
        return
    layouts = _OPUS_LAYOUTS if context.name == "libopus" else _LAYOUTS
    rates = _RATES[context.name]
    context.sample_rate = min((rate for rate in rates if rate >= source.sample_rate), default=rates[-1])
    context.time_base = Fraction(1, context.sample_rate)
    context.layout = layouts[source.layout.nb_channels]
    context.format = "fltp" if context.name == "aac" else "flt"
    context.bit_rate = context.layout.nb_channels * _BIT_RATE[context.name]


class Converter:
    """Decodes the packets of a stream and encodes them anew.

    Args:
        stream: the source's.
        codec: the encoder.
        context: it, set up; None: a new one.
    """

    def __init__(self, stream: Any, codec: str, context: Any = None):
        self._stream = stream
        if context is None:
            context = av.CodecContext.create(codec, "w")
            set_up(context, stream)
        self._context = context
        self._graph: Any = None
        self._kind: tuple = ()
        self._end = 0  # of what is decoded, in ticks of the stream

    def convert(self, packet: av.Packet) -> Iterator[av.Packet]:
        """Yield what comes of a packet; nothing where it is damaged."""
        with contextlib.suppress(FFmpegError, ValueError):
            if self._stream.type == "subtitle":
                yield from self._convert_text(packet)
            else:
                for frame in packet.decode():
                    yield from self._encode(frame)

    def flush(self) -> Iterator[av.Packet]:
        """Yield what is left at the end."""
        if self._stream.type == "audio" and self._graph:
            with contextlib.suppress(FFmpegError):
                for frame in self._stream.codec_context.decode(None):
                    yield from self._encode(frame)
            yield from self._filtered(None)
            yield from self._context.encode(None)

    def _convert_text(self, packet):
        subtitle = self._stream.codec_context.decode2(packet)
        if subtitle and len(subtitle):
            result = self._context.encode_subtitle(subtitle)
            result.time_base, result.pts, result.dts = packet.time_base, packet.pts, packet.dts
            result.duration, result.is_keyframe = packet.duration, True
            yield result

    def _encode(self, frame):
        base = fraction(self._stream.time_base)
        frame.time_base, frame.pts = base, self._end if frame.pts is None else frame.pts  # the last ones come without
        self._end = frame.pts + round(frame.samples / base / frame.sample_rate)
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self._kind:  # in broadcasts it may change
            yield from self._filtered(None)
            self._kind, self._graph = kind, av.filter.Graph()
            properties = {"sample_rate": frame.sample_rate, "format": frame.format, "layout": frame.layout}
            source = self._graph.add_abuffer(**properties, time_base=base)
            # What is missing is filled with silence, so that the rest stays in step.
            fill = self._graph.add("aresample", f"{self._context.sample_rate}:async=1:min_hard_comp=0.03")
            sink = self._graph.add("abuffersink")
            self._graph.link_nodes(source, fill, sink).configure()
        yield from self._filtered(frame)

    def _filtered(self, frame):
        for each in filtered(self._graph, frame, self._graph) if self._graph else ():
            yield from self._context.encode(each)

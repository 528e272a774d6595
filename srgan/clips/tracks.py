"""The other tracks of a video file, such as sound, subtitles and fonts: their packets, tags and chapters."""

import contextlib
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from srgan.clips.ffmpeg import FFmpegError, av, fraction, packets_until_error
from srgan.clips.track_conversion import Converter, set_up
from srgan.clips.video_file import VideoFile

# What described the old file or its coding.
STALE_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "rotate"}
STALE_TAGS |= {"alpha_mode", "vendor_id"}
_COVERS = {  # as Matroska names them
    "mjpeg": ("cover.jpg", "image/jpeg"),
    "png": ("cover.png", "image/png"),
    "gif": ("cover.gif", "image/gif"),
    "tiff": ("cover.tif", "image/tiff"),
}
_STATISTICS = ("BPS", "NUMBER_OF_", "_STAT", "DURATION")  # begins of tags that mkvmerge writes
# Languages that Apple's list, of which .mov takes its codes, has by the other one of their two codes of ISO 639-2.
_APPLE_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "hye": "arm", "kat": "geo"},
    **{"fre": "fra", "rum": "ron", "cze": "ces", "slo": "slk", "mkd": "mac", "msa": "may", "mya": "bur", "bod": "tib"},
    **{"cym": "wel", "eus": "baq"},
}
_GAP = b"\0\0"  # a sample of mov_text between two subtitles: FFmpeg makes them anew
_TS_NONSTRICT = 0x20000  # FFmpeg's AVFMT_TS_NONSTRICT
_BEFORE = Fraction(1, 10)  # seconds of sound before the first frame that a decoder may need to begin
_UNKNOWN = 2**32 - 1  # FFmpeg's time of a subtitle that stands until the next one


class Track(NamedTuple):
    """One of the source's other tracks that goes into the new container."""

    source_index: int  # of the source's stream
    codec: str = ""  # the encoder that it is converted by; empty: its packets are copied


def name_of(stream: Any) -> str:
    """What a message calls a stream."""
    handler = stream.metadata.get("handler_name", "").strip() if stream.type == "data" else ""
    return f"{stream.type} stream {stream.index}" + (f" ({handler})" if handler else "")


def add_track(container: Any, clip: VideoFile, source: Any, track: Track) -> Any:
    """A stream of `container` that takes the packets of a track, or an attachment, which takes none."""
    stream = source.streams[track.source_index]
    name = stream.codec_context.name if stream.codec_context else ""
    if (
        stream.disposition & av.stream.Disposition.attached_pic
        and container.format.name == "matroska"
        and name in _COVERS
    ):
        with clip.open() as other:
            picture = next(bytes(packet) for packet in other.demux(other.streams[track.source_index]) if packet.size)
        file_name, kind = _COVERS[name]
        return container.add_attachment(stream.metadata.get("filename", file_name), kind, picture)
    if track.codec:
        new = container.add_stream(track.codec)
        set_up(new.codec_context, stream)
        new.time_base = new.codec_context.time_base
    else:
        new = container.add_stream_from_template(stream, opaque=True)
    carry_over(stream, new, is_copy=not track.codec)
    return new


def carry_over(stream: Any, new: Any, is_copy: bool = False) -> None:
    """Give a new stream the language, title and disposition (default, forced and so on) of `stream`."""
    about = {key: value for key, value in stream.metadata.items() if key.lower() not in STALE_TAGS}
    if not is_copy:
        about = {key: value for key, value in about.items() if not key.startswith(_STATISTICS)}
    if new.container.format.name == "mov" and "language" in about:
        about["language"] = _APPLE_LANGUAGES.get(about["language"], about["language"])
    new.metadata.update(about)
    new.disposition = int(stream.disposition)


def chapters(clip: VideoFile, source: Any) -> list:
    """The chapters of the source, moved and cut as the frames are."""
    kept = []
    for chapter in source.chapters():
        base = fraction(chapter["time_base"])
        begin, end = (round(time / base) for time in (clip.begin, clip.end or clip.begin))
        start = max(chapter["start"], begin)
        stop = chapter["end"] if clip.end is None else min(chapter["end"], end)
        if start < stop:
            kept.append(chapter | {"start": start - begin, "end": stop - begin, "time_base": base})
    return kept


def track_packets(clip: VideoFile, source: Any, copies: dict) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of the tracks that are taken, each with its time in seconds, moved as the frames are.

    Args:
        copies: new streams, or None, by their `Track`.
    """
    if not copies:
        return
    streams = {track.source_index: source.streams[track.source_index] for track in copies}
    new = {track.source_index: stream for track, stream in copies.items()}
    converters = {
        track.source_index: Converter(streams[track.source_index], track.codec, stream and stream.codec_context)
        for track, stream in copies.items()
        if track.codec
    }
    due: dict[int, Fraction] = {}  # when the next packet may be decoded

    def placed(index, packets):
        """The packets as those of the new stream, at ascending times by its clock, too; Matroska takes equal ones of sound."""
        for packet in packets:
            stream, base = new[index], fraction(packet.time_base)
            tick = base if stream is None else fraction(stream.time_base)
            if packet.dts * base < due.get(index, packet.dts * base):
                if tick < base:  # or short packets, with times in milliseconds, would be moved further and further
                    packet.pts, packet.duration = round(packet.pts * base / tick), round(packet.duration * base / tick)
                    packet.time_base = base = tick
                packet.dts = math.ceil(due[index] / base)
            packet.pts = max(packet.pts, packet.dts)
            loose = stream is not None and stream.container.format.flags & _TS_NONSTRICT
            strict = streams[index].type != "audio" or not loose
            due[index] = packet.dts * base + tick * strict
            packet.stream = stream or streams[index]
            yield packet.dts * base, packet

    for packet in _taken(clip, source, list(streams.values())):
        index = packet.stream.index
        yield from placed(index, converters[index].convert(packet) if index in converters else [packet])
    for index, converter in converters.items():
        yield from placed(index, converter.flush())


def _taken(clip, source, streams):
    """Yield the packets of streams that lie in the clip's part of the source, with times from the part's begin."""
    move, showing = clip.timeline.mover(), {}  # showing: by stream, subtitles from before the begin that it finds there
    for packet in _with_durations(packets_until_error(source, streams)):
        move(packet)
        base, is_subtitle = fraction(packet.time_base), packet.stream.type == "subtitle"
        begin, end = round(clip.begin / base), None if clip.end is None else round(clip.end / base)
        if packet.stream.disposition & av.stream.Disposition.attached_pic or packet.pts is None and packet.dts is None:
            packet.pts = packet.dts = 0  # a cover is there all the time
            yield packet
            continue
        pts = packet.dts if packet.pts is None else packet.pts
        dts = packet.pts if packet.dts is None else packet.dts
        if end is not None and pts * base >= clip.end:
            continue
        if is_subtitle and end is not None and packet.duration:
            packet.duration = min(packet.duration, end - pts)
        if clip.starts_later and pts * base < clip.begin:
            if is_subtitle:
                _remember(packet, pts, begin, showing.setdefault(packet.stream.index, []))
            continue
        if packet.stream.type == "audio" and pts * base < clip.begin - _BEFORE:
            continue  # MP4 hides it by an edit list, the new container may not
        yield from itertools.chain.from_iterable(showing.values())
        showing.clear()
        packet.pts, packet.dts = pts - begin, dts - begin
        yield packet
    yield from itertools.chain.from_iterable(showing.values())


def _remember(packet, pts, begin, showing):
    """Add a subtitle from before the begin to those of its stream that show there, as if it began there."""
    length = packet.duration or _own_duration(packet)
    if length is None:  # it stands until the next one; Blu-ray's may build on those before it
        if packet.stream.codec_context.name != "pgssub" or bytes(packet)[10:11] not in (b"", b"\0"):
            showing.clear()
    elif pts + length <= begin:
        return
    else:
        packet.duration = pts + length - begin
    packet.pts = packet.dts = 0
    showing.append(packet)


def _own_duration(packet):
    """How long a subtitle is shown by what is in it, in ticks; None: until the next one."""
    context = packet.stream.codec_context
    if context is None or not context.codec.bitmap_sub or context.name == "pgssub":
        return None
    with contextlib.suppress(FFmpegError, ValueError):
        subtitle = context.decode2(packet)
        if subtitle and subtitle.end_display_time < _UNKNOWN:
            return round(subtitle.end_display_time / 1000 / fraction(packet.time_base))
    return None


def _with_durations(packets):
    """Yield packets, those of sound with their duration: without it, MP4 loses the last one.

    Where the file does not say it, it is the time to the next packet, and for the last one that of the one before.
    """
    waiting, durations = {}, {}
    for packet in packets:
        if not packet.size or packet.stream.type == "subtitle" and bytes(packet) == _GAP:
            continue
        index = packet.stream.index
        if packet.stream.type != "audio" or packet.duration and index not in waiting:
            yield packet
            continue
        if before := waiting.pop(index, None):
            if before.pts is not None and packet.pts is not None and packet.pts > before.pts:
                durations[index] = packet.pts - before.pts
                before.duration = durations[index]
            yield before
        if packet.duration:
            yield packet
        else:
            waiting[index] = packet
    for index, packet in waiting.items():
        packet.duration = durations.get(index, 0)
        yield packet

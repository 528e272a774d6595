"""The other tracks of a video file, such as sound, subtitles and fonts: their packets, tags and chapters."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from srgan.clips.ffmpeg import av, fraction, packets_until_error
from srgan.clips.video_file import VideoFile

# What described the old file or its coding.
STALE_TAGS = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "duration",
    "rotate",
    "alpha_mode",
    "vendor_id",
}


class Track(NamedTuple):
    """One of the source's other tracks that goes into the new container.

    Attributes:
        index: of the source's stream.
    """

    index: int


def name_of(stream) -> str:
    """What a message calls a stream."""
    handler = stream.metadata.get("handler_name", "").strip() if stream.type == "data" else ""
    return f"{stream.type} stream {stream.index}" + (f" ({handler})" if handler else "")


def add_track(container, source, track: Track):
    """A stream of `container` that takes the packets of a track as they are."""
    stream = source.streams[track.index]
    copy = container.add_stream_from_template(stream, opaque=True)
    carry_over(stream, copy)
    return copy


def carry_over(stream, new) -> None:
    """Give a new stream the language, title and disposition (default, forced and so on) of `stream`."""
    about = {key: value for key, value in stream.metadata.items() if key.lower() not in STALE_TAGS}
    if stream.type == "video":  # the statistics that mkvmerge writes
        about = {
            key: value for key, value in about.items() if not key.startswith(("BPS", "NUMBER_OF_", "_STAT", "DURATION"))
        }
    new.metadata.update(about)
    new.disposition = int(stream.disposition)


def chapters(clip: VideoFile, source) -> list[dict]:
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


def track_packets(clip: VideoFile, source, copies: dict) -> Iterator[tuple[Fraction, av.Packet]]:
    """Yield the packets of the streams that are copied, each with its time in seconds, moved as the frames are.

    Args:
        copies: new streams by their `Track`.
    """
    new, last, move = {track.index: stream for track, stream in copies.items()}, {}, clip.timeline.mover()
    if not new:
        return
    for packet in _with_durations(packets_until_error(source, [source.streams[index] for index in new])):
        index, base = packet.stream.index, fraction(packet.time_base)
        move(packet)
        shift = round(clip.begin / base)
        if packet.pts is None and packet.dts is None:
            packet.pts = packet.dts = shift  # a cover
        pts = packet.dts if packet.pts is None else packet.pts
        dts = packet.pts if packet.dts is None else packet.dts
        if clip.starts_later and pts * base < clip.begin or clip.end is not None and pts * base >= clip.end:
            continue
        packet.pts, packet.dts = pts - shift, max(dts - shift, last.get(index, dts - shift - 1) + 1)
        packet.pts = max(packet.pts, packet.dts)
        last[index] = packet.dts
        if new[index] is not None:
            packet.stream = new[index]
        yield packet.dts * base, packet


def _with_durations(packets):
    """Yield packets, those of sound with their duration: without it, MP4 loses the last one.

    Where the file does not say it, it is the time to the next packet, and for the last one that of the one before.
    """
    waiting, durations = {}, {}
    for packet in packets:
        if not packet.size:
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

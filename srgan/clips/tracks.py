"""The other tracks of a video file, such as sound, subtitles and fonts: which go into the new container, and their packets."""

import contextlib
import io
from collections.abc import Callable, Iterator
from fractions import Fraction

from srgan.clips.encoding import Encoding, add_video, muxer
from srgan.clips.ffmpeg import FFmpegError, av, fraction, one_line
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


def choose_tracks(clip: VideoFile, source, suffix: str, encoding: Encoding, notice: Callable[[str], None]) -> list[int]:
    """The indices of the other streams that a container can hold; `notice` gets a line on each that it cannot.

    Args:
        source: the clip's open container.
        suffix: of the file to write.
        encoding: of its video.
    """
    chosen, original = [], clip.video_stream(source)
    for stream in source.streams:
        if stream.index == original.index:
            continue
        try:
            if suffix == ".gif":
                raise ValueError("a GIF holds pictures only")
            with av.open(io.BytesIO(), "w", format=muxer(suffix)) as trial:
                add_video(trial, encoding)
                add_copy(trial, stream)
                trial.start_encoding()
            chosen.append(stream.index)
        except (FFmpegError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            notice(f"{stream.type} stream {stream.index} cannot be copied and is left out ({one_line(error)})")
    return chosen


def add_copy(container, stream):
    """A stream of `container` that takes the packets of `stream` as they are."""
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
        copies: new streams by the indices of those of `source`.
    """
    last = {}
    with contextlib.suppress(FFmpegError):  # of a file that is cut off: what there was is copied
        for packet in source.demux([source.streams[index] for index in copies] or ()) if copies else ():
            index, base = packet.stream.index, fraction(packet.time_base)
            if not packet.size:
                continue
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
            packet.stream = copies[index]
            yield packet.dts * base, packet

"""Muxing: the new video stream together with the other tracks, the chapters and the tags of the source."""

import contextlib
import heapq
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from srgan.clips.encoding import Encoding, add_video, muxer
from srgan.clips.ffmpeg import av, usual_priority
from srgan.clips.reading import FrameFolder, VideoFile
from srgan.clips.segments import ALPHA, Packet
from srgan.clips.tracks import STALE_TAGS, Track, add_track, carry_over, chapters, track_packets


def write_container(
    file: Any,
    suffix: str,
    encoding: Encoding,
    video: Iterable[Packet],
    clip: VideoFile | FrameFolder | None = None,
    tracks: Iterable[Track] = (),
    *,
    keep_timecode: bool = True,
    packets_of: Callable = track_packets,
    fast_start: bool = False,
) -> None:
    """Write a file with a video stream, and where the clip is a file, with its tags, its chapters and its other tracks.

    Args:
        file: a path, or an object to write to and seek in.
        suffix: says the container.
        encoding, video: of the new video stream.
        clip: the source.
        tracks: those of its other tracks that are taken.
        keep_timecode: whether the timecode of the first frame is taken; .mov and .mp4 make a track of it.
        packets_of: see `track_packets`.
        fast_start: put an index at the begin, so that a browser can begin to play before it has the whole.
    """
    options = {"fflags": "+bitexact"}  # no random numbers
    if suffix in (".mp4", ".mov"):
        # In whole milliseconds, as by default, a first frame that is shown a little after the begin would get lost.
        options["movie_timescale"] = str(encoding.time_base.denominator)
        if fast_start:
            options["movflags"] = "+faststart"
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(av.open(file, "w", format=muxer(suffix), container_options=options))
        stream, others = add_video(out, encoding), ()
        if encoding.alpha and encoding.codec.startswith("libvpx"):
            stream.metadata["alpha_mode"] = "1"
        if isinstance(clip, VideoFile):
            source = stack.enter_context(clip.open())
            carry_over(clip.video_stream(source), stream)
            out.metadata.update({key: value for key, value in source.metadata.items() if key.lower() not in STALE_TAGS})
            for tags in (out.metadata, stream.metadata):
                _move_timecode(tags, clip, keep_timecode)
            out.set_chapters(chapters(clip, source))
            copies = {track: add_track(out, clip, source, track) for track in tracks}
            takes_packets = {track: new for track, new in copies.items() if new.type != "attachment"}
            others = packets_of(clip, source, takes_packets)
        with usual_priority():
            out.start_encoding()
        for _, packet in heapq.merge(_video_packets(video, stream, encoding), others, key=lambda pair: pair[0]):
            out.mux_one(packet)


def _video_packets(packets, stream, encoding):
    """Yield the packets for PyAV, each with the time in seconds at which it is decoded."""
    for data, dts, pts, duration, is_key, alpha in packets:
        packet = av.Packet(data)
        if alpha:
            beside = av.packet.PacketSideData(av.packet.packet_sidedata_type_from_literal(ALPHA), len(alpha))
            beside.update(alpha)
            packet.set_sidedata(beside)
        packet.stream, packet.time_base = stream, encoding.time_base
        packet.dts, packet.pts, packet.duration, packet.is_keyframe = dts, pts, duration, is_key
        yield dts * encoding.time_base, packet


def _move_timecode(tags, clip, keep):
    """Bring the timecode to the first frame that is taken, or remove it."""
    for key in [key for key in tags if key.lower() == "timecode"]:
        if not keep:
            del tags[key]
        elif clip.starts_later:
            tags[key] = moved_timecode(tags[key], clip.begin - clip.origin, clip.rate)


def moved_timecode(timecode: str, seconds: Fraction, rate: Fraction) -> str:
    """The timecode (SMPTE 12M, hh:mm:ss:ff, with a semicolon that of drop frames) `seconds` later."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+)([:;.])(\d+)", timecode)
    if not match:
        return timecode
    hours, minutes, whole, frames = (int(match[group]) for group in (1, 2, 3, 5))
    base = max(1, round(rate))
    drop = round(base / 15) if match[4] != ":" else 0  # numbers left out at each minute but for every tenth
    total = 60 * hours + minutes
    number = base * (60 * total + whole) + frames - drop * (total - total // 10) + round(seconds * rate)
    if drop:
        tens, rest = divmod(number, 600 * base - 9 * drop)
        number += 9 * drop * tens + drop * max(0, (rest - drop) // (60 * base - drop))
    whole, frames = divmod(number, base)
    return f"{whole // 3600 % 24:02}:{whole // 60 % 60:02}:{whole % 60:02}{match[4]}{frames:02}"

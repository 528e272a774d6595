"""Trying a container before the work: a run that cannot be written fails at once, and what does not go in is named.

FFmpeg's muxers take more than players read: some write a malformed file without a word, some fail at the end only. So a
small file is written of one picture and the first packets of each track, and read again.
"""

import contextlib
import io
import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from srgan.clips.colour import frame_colour, is_rgb
from srgan.clips.encoding import LAID_ON_WHITE, Encoding, coded_frame, has_alpha, open_encoder
from srgan.clips.ffmpeg import (
    FFmpegError,
    VideoReformatter,
    av,
    decoded_frames,
    describe,
    fraction,
    one_line,
    wrap_write_errors,
)
from srgan.clips.frame import Notice, unheard
from srgan.clips.muxing import write_container
from srgan.clips.reading import VideoFile
from srgan.clips.segments import Packet, alpha_of
from srgan.clips.track_conversion import conversion_of
from srgan.clips.tracks import Track, name_of, track_packets
from srgan.errors import SRGANError, UsageError

_SAMPLE = 40  # packets of a track that are tried
_HARMLESS = {  # of what is read all the same, in any MP4:
    "UDTA parsing failed retrying raw",  # the title of a track
    "stream #, timescale not set",  # a cover
}
_LATE_PCM = ("pcm_f", "pcm_s24", "pcm_s32")
_PROBLEMS = (FFmpegError, ValueError, TypeError, AttributeError, NotImplementedError, OverflowError)


def fit_container(encoding: Encoding, suffix: str, notice: Notice, has_range: bool = True) -> Encoding:
    """The encoding, with square pixels, without transparency or in the other range where the file would not show that.

    Args:
        has_range: look whether the file says the range of the values.

    Raises:
        UsageError: the container does not hold what the encoder makes.
    """
    square = encoding.with_square_pixels() if encoding.aspect != 1 else encoding
    stretched = f"cannot say in a {suffix} file that pixels are not square: the result is stretched instead"
    if suffix == ".gif":
        if square is not encoding:
            notice(f"a GIF {stretched}")
        return square
    file = io.BytesIO()
    problem = _problem(suffix, encoding, _picture(encoding), file=file)
    if problem:
        raise UsageError(f"codec: {encoding.codec} does not go into a {suffix} file ({problem})")
    file.seek(0)
    with av.open(file) as container:
        stream = container.streams.video[0]
        aspect = fraction(stream.sample_aspect_ratio) or 1
        frame = next(decoded_frames(container, stream), None)
    if frame and encoding.alpha and not _shows_transparency(frame):
        notice(LAID_ON_WHITE.format(encoding.codec))
        return fit_container(encoding.without_alpha(), suffix, notice)
    if (
        frame
        and has_range
        and not is_rgb(frame.format)
        and (found := frame_colour(frame, suffix).range) != encoding.colour.range
    ):
        # ProRes in .mov cannot say that its values have the full range: players take them for limited ones.
        return fit_container(encoding._replace(colour=encoding.colour._replace(range=found)), suffix, notice, False)
    if abs(aspect / encoding.aspect - 1) < 0.01:
        return encoding
    notice(f"{encoding.codec} {stretched}")
    return fit_container(square, suffix, notice)


def _shows_transparency(frame):
    if not has_alpha(frame.format.name):
        return False
    alpha = frame.to_ndarray(format="rgba")[..., 3]
    return alpha.min() < 9 and alpha.max() > 246


def choose_tracks(
    clip: VideoFile, target: Path, encoding: Encoding, notice: Notice = unheard
) -> tuple[list[Track], bool]:
    """Which of the other tracks the container can hold, and whether it can hold the timecode.

    Args:
        clip: the source.
        target: its suffix says the container.
        encoding: of its video.
        notice: gets a line on each track that is left out.

    Raises:
        SRGANError: not even the rest can be written.
    """
    suffix = target.suffix.lower()
    chosen: list[Track] = []
    with clip.open() as source:
        original = clip.video_stream(source).index
        streams = [stream for stream in source.streams if stream.index != original]
        has_timecode = any(key.lower() == "timecode" for key in [*source.metadata, *source.streams[original].metadata])
        names = {stream.index: name_of(stream) for stream in streams}
        refused = {
            stream.index: "players from before 2023 do not know its codec in MP4, or take it for 16 bits: noise"
            for stream in streams
            if suffix == ".mp4" and stream.codec_context and stream.codec_context.name.startswith(_LATE_PCM)
        }
        candidates = [stream.index for stream in streams if stream.type != "data"]
        conversions = {stream.index: conversion_of(stream, suffix) for stream in streams}
        # The titles of the chapters, which are carried, are a track of text in MP4; other text would be subtitles.
        texts = re.findall(r"Stream #0:(\d+)[^\n]*: Data: bin_data \((?:text|tx3g) /", describe(source))
        titles = {int(index) for index in texts if source.chapters()}
        timecodes = {stream.index for stream in streams if stream.type == "data" and "timecode" in stream.metadata}

    def left_out(index, problem, becomes="is left out"):
        notice(f"{target}: {names[index]} cannot be copied and {becomes} ({problem})")

    if suffix == ".gif":
        for index in names:
            left_out(index, "a GIF holds pictures only")
        return chosen, False
    picture, samples = _picture(encoding), _samples(clip, [Track(index) for index in candidates])
    has_timecode &= not _problem(suffix, encoding, picture, clip, (), {}, keep_timecode=True)
    for index in names:
        if index in titles or index in timecodes and has_timecode:
            continue  # the container makes a track of the chapters, and of the tag
        elif index not in candidates:
            left_out(index, f"{suffix[1:]} holds no such data")
        else:
            tried = {"keep_timecode": has_timecode}
            track = Track(index)
            problem = refused.get(index) or _problem(suffix, encoding, picture, clip, (track,), samples, **tried)
            if problem and (conversion := conversions[index]):
                codec, description = conversion
                track = Track(index, codec)
                with contextlib.suppress(*_PROBLEMS):
                    samples |= _samples(clip, [track])
                    if samples[track] and not _problem(suffix, encoding, picture, clip, (track,), samples, **tried):
                        left_out(index, problem, description)
                        problem = None
            if problem:
                left_out(index, problem)
                continue
            chosen.append(track)
            if lost := _lost_marks(suffix, encoding, picture, clip, track, samples):
                notice(f"{target}: {names[index]} loses what a {suffix} file has no place for: {lost}")
    with wrap_write_errors(target):
        write_container(os.devnull, suffix, encoding, picture, clip, chosen, keep_timecode=has_timecode)
    return chosen, has_timecode


def _picture(encoding):
    """Two black frames, encoded; their upper half is transparent where the encoder takes that.

    Raises:
        SRGANError: the encoder fails.
    """
    encoder, reformatter = open_encoder(encoding), VideoReformatter()
    step = max(1, round(1 / encoding.rate / encoding.time_base))
    pixels, packets = np.zeros((encoding.height, encoding.width, 4 if encoding.alpha else 3), np.uint8), []
    pixels[encoding.height // 2 :, :, 3:] = 255
    try:
        for index in range(2):
            frame = coded_frame(pixels, encoding, reformatter)
            frame.pts, frame.time_base = index * step, encoding.time_base
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
    except (FFmpegError, ValueError) as error:
        raise SRGANError(f"codec: {encoding.codec} cannot encode this clip ({one_line(error)})") from error
    return [
        Packet(bytes(packet), index * step, index * step, step, packet.is_keyframe, alpha_of(packet))
        for index, packet in enumerate(packets)
    ]


def _samples(clip, tracks):
    """The first packets of each track, by it, as `track_packets` gives them."""
    samples, waiting = defaultdict(list), {track.source_index: track for track in tracks}
    with clip.open() as source:
        for time, packet in track_packets(clip, source, dict.fromkeys(tracks)):
            if track := waiting.get(packet.stream.index):
                samples[track].append((time, packet))
                if len(samples[track]) == _SAMPLE:
                    del waiting[track.source_index]
            if not waiting:
                break
    return samples


def _problem(suffix, encoding, picture, clip=None, tracks=(), samples=None, keep_timecode=True, file=None):
    """Why a small file with these tracks cannot be written or not be read again without complaint, in one line; or None."""

    def packets_of(clip, source, copies):
        for track, stream in copies.items():
            for time, packet in samples[track]:
                yield time, _copy(packet, stream)

    file = file or io.BytesIO()
    attachments = set()
    if clip is not None and tracks:
        with clip.open() as source:
            attachments = {track for track in tracks if source.streams[track.source_index].type == "attachment"}
    try:
        write_container(
            file, suffix, encoding, picture, clip, tracks, keep_timecode=keep_timecode, packets_of=packets_of
        )
        file.seek(0)
        complaints, whole = _read(file)
    except _PROBLEMS as error:
        return one_line(error)
    if not whole and any(samples[track] or track in attachments for track in tracks):
        return "nothing of it can be read again"
    if complaints and clip is not None:
        complaints -= _read(str(clip.path.absolute()))[0]
    return min(complaints, default=None)


def _lost_marks(suffix, encoding, picture, clip, track, samples):
    """What a file would not say of a track: its language, and that it is forced, a comment and the like."""
    with clip.open() as source:
        wanted = _marks(source.streams[track.source_index])
    file = io.BytesIO()
    if not wanted or _problem(suffix, encoding, picture, clip, (track,), samples, file=file):
        return ""
    file.seek(0)
    with av.open(file, metadata_errors="replace") as container:
        # Chapters and a time code may be data tracks of their own before it.
        kept = _marks([stream for stream in container.streams if stream.type != "data"][1])
    return ", ".join(text for mark, text in wanted.items() if mark not in kept)


def _marks(stream):
    language = stream.metadata.get("language", "und")
    marks = {} if language == "und" else {"language": f"its language ({language})"}
    flags = stream.disposition & ~av.stream.Disposition.default  # which some containers give to each first track
    return marks | {flag.name: f"that it is marked {flag.name}" for flag in av.stream.Disposition if flag & flags}


def _read(file):
    """What FFmpeg complains of when it reads the begin of a file, and whether more than the frames and data is in it."""
    counts = defaultdict(int)
    level, skip_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # of two files that are read one after the other, too
    try:
        with av.logging.Capture() as logs, av.open(file, metadata_errors="replace") as container:
            kinds = {stream.index: stream.type for stream in container.streams}
            for packet in container.demux():
                if packet.size:
                    counts[packet.stream.index] += 1
                if counts[packet.stream.index] > _SAMPLE:
                    break
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skip_repeated)
    complaints = {" ".join(re.sub(r"0x[0-9a-f]+|\d+", "#", message).split()) for _, _, message in logs}
    others = {
        index for index, kind in kinds.items() if index and (kind == "attachment" or kind != "data" and counts[index])
    }
    return complaints - _HARMLESS, bool(others)


def _copy(packet, stream):
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    for data in packet.iter_sidedata():
        copy.set_sidedata(data)
    copy.stream = stream
    return copy

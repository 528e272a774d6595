"""A file with a video stream as a clip: decoded frames with their times, damage included."""

import contextlib
import heapq
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from srgan.clips.colour import FULL, SWSCALE_FLAGS, SWSCALE_MATRIX, frame_colour, is_rgb
from srgan.clips.deinterlacing import deinterlace
from srgan.clips.ffmpeg import (
    FFmpegError,
    VideoReformatter,
    av,
    decoded_frames,
    decoder_of,
    describe,
    fraction,
    one_line,
    packets_until_error,
)
from srgan.clips.frame import Frame, Notice, repeat_for_damaged, unheard
from srgan.clips.hdr import needed_dolby_vision, read_hdr
from srgan.clips.mp4_length import shown_length
from srgan.clips.timeline import find_timeline, may_jump
from srgan.errors import SRGANError

# Old files have tags in other alphabets than UTF-8. From version 19 on PyAV takes them as they are.
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_MOST_WITHOUT_TIME = 16  # frames, which are kept in memory, at the beginning of a file
_BEFORE_A_START = 10  # seconds that are decoded before --start: where a seek lands, reference frames may be missing
# The field that is shown first, by FFmpeg's number for what a container says of interlaced video. With interleaved lines
# (4 and 5) it is that of the first line, whatever FFmpeg's names for these say (Apple's TN2162, Matroska's FieldOrder).
_PARITY = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}
_MARKS_FRAMES = {"mpeg1video", "mpeg2video"}  # codecs whose whole frames in interlaced video, films, are marked as such
_LOST = {  # by PyAV's name of a frame's side data
    "DOVI_METADATA": "Dolby Vision metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "A53_CC": "text of closed captions",
    "STEREO3D": "description of 3-D",
    "SPHERICAL": "description of a sphere (360°)",
}


class VideoFile:
    """A clip in a file that FFmpeg reads. The arguments are those of `srgan.clips.reading.open_clip`.

    Raises:
        SRGANError: it cannot be read, has no frames, or its colours are coded in a way that nothing here converts.
    """

    def __init__(
        self,
        path: str | Path,
        start: float | None = None,
        end: float | None = None,
        notice: Notice = unheard,
        deinterlace: str = "auto",
    ):
        self.path = Path(path)
        self._notice = notice
        self._reformatter = VideoReformatter()
        with self.open() as container:
            stream = self.video_stream(container)
            self.time_base = fraction(stream.time_base)
            self.rate = fraction(stream.average_rate) or fraction(stream.guessed_rate) or Fraction(25)
            self._duration = max(1, round(1 / self.rate / self.time_base))
            # Where frames stand for different times, what most of them do.
            self._usual = round(1 / max(self.rate, min(fraction(stream.guessed_rate), Fraction(60))) / self.time_base)
            # Some formats begin anywhere, broadcasts hours after zero, or before it, where 33 bits of a clock run over.
            # In the others, what begins before zero is cut by the container (the padding that audio encoders need).
            self.origin = Fraction(container.start_time or 0, 1_000_000)
            if not may_jump(container) and self.origin < 0 and self._first_time() >= 0:
                self.origin = Fraction(0)
            # AVI says when frames are decoded, not when they are shown, and begins at zero.
            self._delay = self._decoding_delay() if container.format.name == "avi" else None
            if self._delay is not None:
                self.origin = Fraction(0)
            self.begin = self.origin + Fraction(str(start or 0))  # as decimals: 1.6 is a little more as a float
            self.end = None if end is None else self.origin + Fraction(str(end))
            self.starts_later = bool(start)
            self.timeline = find_timeline(container, stream, self._duration * self.time_base)
            self._length = float(self.timeline.length) if self.timeline.jumps else _length(stream, self.origin)
            self._stated_end = self._read_stated_end(container, stream)
            self.count = self._count(container, stream, start, end)
            self.aspect = fraction(stream.sample_aspect_ratio) or Fraction(1)
        if self.timeline.jumps:
            notice(
                f"{path}: its time stamps jump {_times(self.timeline.jumps)}: what comes after is shown without a gap, and "
                "whether something is missing there cannot be known"
            )
        if self.timeline.sound_jumps:
            notice(
                f"{path}: the time stamps of its sound jump {_times(self.timeline.sound_jumps)} where those of its frames do "
                "not: what comes after is heard without a gap, and may be early or late"
            )
        with self.open() as container:  # again: all of it may have been read
            stream = self.video_stream(container)
            first = next(decoded_frames(container, stream), None)
            if first is None:
                raise SRGANError(f"{path}: no frame of it can be decoded")
            description = describe(container)
            self._fields = deinterlace, "auto"
            parity = _PARITY.get(getattr(stream.codec_context, "field_order", 0))  # from PyAV 18 on
            if parity and not first.interlaced_frame and stream.codec_context.name not in _MARKS_FRAMES:
                self._fields = "on" if deinterlace == "auto" else deinterlace, parity
                self._report_interlaced()
        self._coded = first.width, first.height
        crop = re.search(r"Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)", description)  # beside the frames, by Matroska
        self._crop = left, right, top, bottom = tuple(map(int, crop.groups())) if crop else (0, 0, 0, 0)
        self.width, self.height = first.width - left - right, first.height - top - bottom
        self.hdr = read_hdr(first)
        kinds = {data.type.name for data in first.side_data}
        if "STEREO3D" in kinds and not any(bytes(first.side_data["STEREO3D"])[:4]):  # FFmpeg's number of 2-D
            kinds.remove("STEREO3D")
        if "DOVI configuration" in description:
            kinds.add("DOVI_METADATA")
        if profile := needed_dolby_vision(first, description):
            notice(f"{path}: is Dolby Vision of profile {profile}, whose colours are wrong without its metadata")
        for what in dict.fromkeys(name for kind, name in _LOST.items() if kind in kinds):
            notice(f"{path}: its {what} is left out")
        self._swapped, self._flips = _orientation(first)
        if self._swapped:
            self.width, self.height, self.aspect = self.height, self.width, 1 / self.aspect
        self.colour = frame_colour(first, path)
        components = first.format.components
        self.has_transparency = any(component.is_alpha for component in components)
        self.alpha = self.has_transparency or first.format.has_palette
        if self.path.suffix.lower() == ".gif":  # which has one colour for it, used or not
            self.has_transparency = self._is_transparent()
        self.deep = max(component.bits for component in components) > 8
        name = re.search("4[1240][0124]", first.format.name)
        self.subsampling = "420" if is_rgb(first.format) or not name else name[0]

    def open(self):
        """PyAV's container of the file, to be closed."""
        try:
            return av.open(os.path.abspath(self.path), **_LENIENT)  # "12:30.mp4" alone would be a protocol's address
        except (FFmpegError, ValueError) as error:
            raise SRGANError(f"{self.path}: cannot be read as a clip ({one_line(error)})") from error

    def video_stream(self, container):
        """The stream of `container` that the frames are from."""
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise SRGANError(f"{self.path}: has no video stream that can be decoded")
        return stream

    def _first_time(self):
        """When the first frame is shown, in seconds as the file says them."""
        with self.open() as container, contextlib.suppress(FFmpegError):
            times = ((frame.pts, None) for frame in container.decode(self.video_stream(container)))
            first = next(self._with_first_times(times), (None, None))[0]
            return (first or 0) * self.time_base
        return Fraction(0)

    def _decoding_delay(self):
        """How long after its first packet the first frame leaves the decoder, in ticks of the stream."""
        with self.open() as container:
            stream, begin = self.video_stream(container), None
            decoder = decoder_of(stream)
            for packet in packets_until_error(container, stream):
                begin = packet.dts if begin is None else begin
                with contextlib.suppress(FFmpegError):
                    for frame in decoder.decode(packet):
                        return 0 if frame.dts is None or begin is None else frame.dts - begin
        return 0

    def _read_stated_end(self, container, stream):
        """When the last frame ends by the index of an MP4 file, and how exact that is, in ticks from the begin; or None."""
        found = shown_length(self.path, stream.id) if "mp4" in container.format.name else None
        return found and ((found[0] - self.begin) / self.time_base, found[1] / self.time_base)

    def _is_transparent(self):
        with self.open() as container, contextlib.suppress(FFmpegError):
            frames = container.decode(self.video_stream(container))
            return any(frame.to_ndarray(format="rgba")[..., 3].min() < 255 for frame in frames)
        return False

    def _count(self, container, stream, start, end):
        seconds = self._length if self.timeline.jumps else (container.duration or 0) / 1_000_000
        if start is None and end is None and stream.frames:
            return stream.frames
        seconds = (min(seconds, end or seconds) if seconds else end or 0) - (start or 0)
        return max(1, round(seconds * self.rate)) if seconds > 0 else None

    def frames(self) -> Iterator[Frame]:
        """Yield every `Frame` in the order of time, always the same ones: each call starts anew."""
        filled = repeat_for_damaged(deinterlace(self._bounded(), *self._fields, self._report_interlaced))
        return self._from_start(filled) if self.starts_later else filled

    def _from_start(self, frames):
        """The frames from --start on, and the one before it where that is shown there for longer than a usual frame."""
        before = None
        for frame in frames:
            if frame.pts < 0:
                before = frame
                continue
            if before and frame.pts > 1.5 * self._usual:
                yield before._replace(pts=0, duration=frame.pts)
            before = None
            yield frame
        if before and (left := before.pts + before.duration) > 0:
            yield before._replace(pts=0, duration=left)

    def _report_interlaced(self):
        if self._fields[0] == "off":
            self._notice(f"{self.path}: is interlaced, which upscaling makes worse; leave out --deinterlace off")
        else:
            self._notice(f"{self.path}: is interlaced, and gets deinterlaced; --deinterlace off leaves it as it is")

    def _bounded(self):
        """Yield the frames before the end, with times from the clip's begin; negative ones are before --start."""
        begin = round(self.begin / self.time_base)
        end = None if self.end is None else self.end / self.time_base
        waiting = None  # the last frame so far
        for pts, frame in self._with_first_times(self._decoded()):
            if pts is None:
                pts = waiting.pts + begin + self._duration if waiting else begin
            if end is not None and pts >= end:
                if waiting:  # which stands until then, but no usual frame is cut
                    until = max(round(end), begin + waiting.pts + self._usual)
                    waiting = waiting._replace(duration=min(pts, until) - begin - waiting.pts)
                break
            if waiting:
                yield waiting
            pts = max(pts - begin, waiting.pts + 1) if waiting else pts - begin
            waiting = Frame(pts, frame.duration or self._duration if frame is not None else self._duration, frame)
        else:
            waiting = waiting and self._with_stated_end(waiting)
        if not waiting:
            return
        ends = float((waiting.pts + waiting.duration) * self.time_base)
        if self.end is None and not self.starts_later and self._length and ends < self._length - 0.5:
            self._notice(f"{self.path}: ends early, after {ends:.1f} of {self._length:.1f} seconds; is it cut off?")
        yield waiting

    def _with_stated_end(self, frame):
        if self._stated_end:
            end, exactness = self._stated_end
            if end > frame.pts and abs(end - frame.pts - frame.duration) > 2 * exactness:
                frame = frame._replace(duration=round(end - frame.pts))
        if self.end is not None:
            until = max(round((self.end - self.begin) / self.time_base), frame.pts + self._usual)
            frame = frame._replace(duration=min(frame.duration, until - frame.pts))
        return frame

    def _with_first_times(self, decoded):
        """The same with times for frames before the first one that has one."""
        waiting = []
        for pts, frame in decoded:
            waiting.append(frame)
            if pts is not None or len(waiting) == _MOST_WITHOUT_TIME:
                for before, first in zip(range(len(waiting) - 1, -1, -1), waiting):
                    yield None if pts is None else pts - before * self._duration, first
                break
        else:
            yield from ((None, frame) for frame in waiting)
        yield from decoded

    def _decoded(self):
        """Yield the time, in ticks of the stream, and the frame, None where it is damaged, in the order of time."""
        lost = []  # when what could not be decoded would have been shown
        move = self.timeline.mover()
        with self.open() as container:
            stream = self.video_stream(container)
            decoder = decoder_of(stream)
            if self.starts_later and not self.timeline.jumps:
                before = max(self.begin - _BEFORE_A_START, min(self.origin, Fraction(0)))
                with contextlib.suppress(FFmpegError):
                    container.seek(int(before / self.time_base), stream=stream)
            for packet in packets_until_error(container, stream):
                move(packet)
                if self._delay is not None:
                    packet.pts = packet.dts
                try:
                    decoded = decoder.decode(packet)
                except FFmpegError:
                    if packet.pts is not None and not packet.is_discard:
                        heapq.heappush(lost, packet.pts)
                    continue
                for frame in decoded:
                    if self._delay is not None:
                        frame.pts = None if frame.dts is None else frame.dts - self._delay
                    while lost and frame.pts is not None and lost[0] <= frame.pts:
                        if (time := heapq.heappop(lost)) != frame.pts:
                            yield time, None
                    yield frame.pts, None if frame.is_corrupt else frame
            while lost:
                yield heapq.heappop(lost), None

    def pixels(self, frame):
        """A frame's picture as an upright array (height, width, 3 or 4) of uint8 or uint16."""
        picture = self._reformatter.reformat(
            frame.picture,
            *self._coded,  # that of the first frame: in broadcasts it may change
            format=("rgba64le" if self.deep else "rgba") if self.alpha else "rgb48le" if self.deep else "rgb24",
            src_colorspace=None if is_rgb(frame.picture.format) else SWSCALE_MATRIX[self.colour.matrix],
            src_color_range=FULL if is_rgb(frame.picture.format) else self.colour.range,
            dst_color_range=FULL,
            interpolation=SWSCALE_FLAGS,
            threads=1,
        ).to_ndarray()
        left, right, top, bottom = self._crop
        picture = picture[top : picture.shape[0] - bottom, left : picture.shape[1] - right]
        if self._swapped:
            picture = picture.swapaxes(0, 1)
        return np.ascontiguousarray(np.flip(picture, self._flips))


def _times(count):
    return "once" if count == 1 else f"{count} times"


def _length(stream, origin):
    """Seconds that the video stream should last by what its file says; None: that does not say.

    Args:
        origin: when the file begins; what a tag says may count from zero.
    """
    if stream.duration and stream.time_base:
        return float(stream.duration * fraction(stream.time_base))
    tag = next((value for key, value in stream.metadata.items() if key.upper() == "DURATION"), "")  # Matroska's
    if match := re.fullmatch(r"(\d+):(\d+):([\d.]+)", tag):
        hours, minutes, seconds = map(float, match.groups())
        return 3600 * hours + 60 * minutes + seconds - float(max(origin, 0))
    return None


def _orientation(frame):
    """How to turn a frame's picture upright: whether rows become columns, and then which axes to flip.

    A display matrix (a b, c d) puts the point (x, y) at (a x + c y, b x + d y), y downwards.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, ()
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5]
    swapped = max(abs(b), abs(c)) > max(abs(a), abs(d))
    if swapped:
        a, d = c, b
    return swapped, tuple(axis for axis, sign in ((0, d), (1, a)) if sign < 0)

"""Reading clips: frames with their times, and all else that should survive. PyAV, which is FFmpeg, decodes.

A clip is a `Film`, a file with a video stream, or a `FrameFolder`, numbered pictures. Both have the same attributes:

    path                where it is
    width, height       of a frame, upright
    time_base, rate     seconds a tick, and frames a second on average, as fractions
    count               about how many frames there are, or None
    aspect              of a pixel: its width by its height
    colour              a `Colour`
    deep, alpha         whether `pixels` gives 16 bits, and a fourth channel
    subsampling         of the colour, as FFmpeg's formats have it in their names: "420", "422", "444"

and two methods: `frames()`, which yields every `Frame` from the first on, and `pixels(frame)`, which gives the picture.
"""

import contextlib
import heapq
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan import pictures
from srgan.errors import SRGANError

try:
    import av
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter
except ImportError as error:
    raise SRGANError(f"clips need PyAV, which cannot be imported ({error}): pip install av") from error

# The colour's numbers are those of ITU-T H.273, which FFmpeg uses, too.
UNSPECIFIED = 2
BT709, BT601, SRGB_TRANSFER = 1, 6, 13
LIMITED, FULL = 1, 2

# What libswscale calls the matrices that it knows.
SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# Bicubic chroma, full chroma resolution in and out, accurate rounding, the same on every machine.
SWSCALE_FLAGS = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000

# Old files have tags in other alphabets than UTF-8. From version 19 on PyAV takes them as they are.
_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
_OUTPUT_CORRUPT = 1 << 3  # a decoder's flag: give damaged frames, too, and say that they are
_BEFORE_A_START = 10  # seconds that are decoded before --start: where a seek lands, reference frames may be missing


class Colour(NamedTuple):
    """What the numbers of a frame mean: the matrix to RGB, the range, the primaries and the transfer curve."""

    matrix: int
    range: int
    primaries: int
    transfer: int


class Frame(NamedTuple):
    """A frame of a clip.

    Attributes:
        pts: when it is shown, in ticks of the clip's time base from the clip's begin.
        duration: in ticks; 0: not known.
        picture: what the clip's `pixels` makes an array of. A frame that stands for a damaged one has its predecessor's.
        damaged: whether it was.
    """

    pts: int
    duration: int
    picture: Any
    damaged: bool


def fraction(value):
    """FFmpeg's rational number, which PyAV's versions give in different classes, as a Fraction; None for 0 and none."""
    return Fraction(value.numerator, value.denominator) if value else None


def said(error):
    """What an error says, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())


class Film:
    """A clip in a file that FFmpeg reads.

    Args:
        path: the file.
        start, end: seconds from the clip's begin that bound the frames: from start on, and before end; None: all.
        notice: called with a line on anything that a user should know.

    Raises:
        SRGANError: it cannot be read, has no frames, or its colours are coded in a way that nothing here converts.
    """

    def __init__(self, path, start=None, end=None, notice: Callable[[str], None] = lambda line: None):
        self.path = Path(path)
        self._notice = notice
        self._reformatter = VideoReformatter()
        with self.open() as container:
            stream = self.video_stream(container)
            self.time_base = fraction(stream.time_base)
            # Some formats begin anywhere, broadcasts hours after zero. What begins before zero is cut by the container
            # (the padding that audio encoders need), and stays where it is.
            origin = max(Fraction(container.start_time or 0, 1_000_000), Fraction(0))
            self.begin = origin + Fraction(start or 0)
            self.end = None if end is None else origin + Fraction(end)
            self.starts_later = bool(start)
            self.rate = fraction(stream.average_rate) or fraction(stream.guessed_rate) or Fraction(25)
            self.count = self._count(container, stream, start, end)
            self._duration = max(1, round(1 / self.rate / self.time_base))
            self._length = _length(stream)
            self.aspect = fraction(stream.sample_aspect_ratio) or Fraction(1)
            first = self._first_frame(container, stream)
            if stream.metadata.get("alpha_mode") == "1":
                notice(f"{path}: its transparency is left out")
        if first.interlaced_frame:
            notice(f"{path}: is interlaced, which upscaling makes worse; deinterlace it first")
        self.width, self.height = self._coded = first.width, first.height
        self._swapped, self._flips = _orientation(first)
        if self._swapped:
            self.width, self.height, self.aspect = self.height, self.width, 1 / self.aspect
        self.colour = self._colour(first)
        components = first.format.components
        self.alpha = any(component.is_alpha for component in components) or first.format.has_palette
        self.deep = max(component.bits for component in components) > 8
        name = re.search("4[1240][0124]", first.format.name)
        self.subsampling = "420" if _is_rgb(first.format) or not name else name[0]

    def open(self):
        """PyAV's container of the file, to be closed."""
        try:
            return av.open(os.path.abspath(self.path), **_LENIENT)  # "12:30.mp4" alone would be a protocol's address
        except (FFmpegError, ValueError) as error:
            raise SRGANError(f"{self.path}: cannot be read as a clip ({said(error)})") from error

    def video_stream(self, container):
        """The stream of `container` that the frames are from."""
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise SRGANError(f"{self.path}: has no video stream that can be decoded")
        # Slices, not frames, side by side: what comes of damaged data must be the same every time.
        stream.thread_type = "SLICE"
        stream.codec_context.flags |= _OUTPUT_CORRUPT
        return stream

    def _first_frame(self, container, stream):
        with contextlib.suppress(FFmpegError):  # of the container; a packet's own are below
            for packet in container.demux(stream):
                with contextlib.suppress(FFmpegError):
                    for frame in packet.decode():
                        return frame
        raise SRGANError(f"{self.path}: no frame of it can be decoded")

    def _count(self, container, stream, start, end):
        seconds = (container.duration or 0) / 1_000_000
        if start is None and end is None and stream.frames:
            return stream.frames
        seconds = (min(seconds, end or seconds) if seconds else end or 0) - (start or 0)
        return max(1, round(seconds * self.rate)) if seconds > 0 else None

    def _colour(self, frame):
        matrix, span = int(frame.colorspace), int(frame.color_range)
        primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
        if _is_rgb(frame.format):  # becomes YUV as a disc has it; a picture's own curve is sRGB's
            return Colour(
                BT709,
                LIMITED,
                BT709 if primaries in (0, UNSPECIFIED) else primaries,
                SRGB_TRANSFER if transfer in (0, UNSPECIFIED) else transfer,
            )
        if matrix in (0, UNSPECIFIED, 3):
            # Where a file does not say, players take BT.709 for high definition and BT.601 below it; mpv's bounds. The
            # result must say which it was, because at four times the size they would take the other one.
            matrix = BT709 if frame.width >= 1280 or frame.height > 576 else BT601
        if matrix not in SWSCALE_MATRIX:
            raise SRGANError(
                f"{self.path}: its colours are coded by the matrix number {matrix} of ITU-T H.273, which cannot be "
                "converted; convert it to BT.709 or BT.2020 first"
            )
        if span not in (LIMITED, FULL):
            span = FULL if frame.format.name.startswith("yuvj") else LIMITED
        return Colour(matrix, span, primaries, transfer)

    def frames(self):
        """Yield every `Frame` in the order of time, always the same ones: each starts anew."""
        begin = round(self.begin / self.time_base)
        end = None if self.end is None else self.end / self.time_base
        last = good = None
        early = []  # damaged before there is a good one
        for pts, frame in self._decoded():
            if pts is None:
                pts = last + begin + self._duration if last is not None else begin
            if self.starts_later and pts < begin:
                good = frame or good
                continue
            if end is not None and pts >= end:
                break
            pts = pts - begin if last is None else max(pts - begin, last + 1)
            last = pts
            if frame is None and good is None:
                early.append(pts)
                continue
            for time in early:
                yield Frame(time, 0, frame, True)
            early.clear()
            duration = frame.duration if frame is not None else 0
            yield Frame(pts, duration or self._duration, frame or good, frame is None)
            good = frame or good
        else:
            ends = float((last + self._duration) * self.time_base) if last is not None else 0
            if not self.starts_later and self._length and ends < self._length - 0.5:
                self._notice(f"{self.path}: ends early, after {ends:.1f} of {self._length:.1f} seconds; is it cut off?")

    def _decoded(self):
        """Yield the time, in ticks of the stream, and the frame, None where it is damaged, in the order of time."""
        lost = []  # when what could not be decoded would have been shown
        with self.open() as container:
            stream = self.video_stream(container)
            if self.starts_later:
                before = max(self.begin - _BEFORE_A_START, Fraction(0))
                with contextlib.suppress(FFmpegError):
                    container.seek(int(before / self.time_base), stream=stream)
            for packet in self._packets(container, stream):
                try:
                    decoded = packet.decode()
                except FFmpegError:
                    if packet.pts is not None and not packet.is_discard:
                        heapq.heappush(lost, packet.pts)
                    continue
                for frame in decoded:
                    while lost and frame.pts is not None and lost[0] <= frame.pts:
                        if (time := heapq.heappop(lost)) != frame.pts:
                            yield time, None
                    yield frame.pts, None if frame.is_corrupt else frame
            while lost:
                yield heapq.heappop(lost), None

    def _packets(self, container, stream):
        with contextlib.suppress(FFmpegError):  # of what is cut off: `frames` says so
            yield from container.demux(stream)

    def pixels(self, frame):
        """A frame's picture as an upright array (height, width, 3 or 4) of uint8 or uint16."""
        picture = self._reformatter.reformat(
            frame.picture,
            *self._coded,  # that of the first frame: in broadcasts it may change
            format=("rgba64le" if self.deep else "rgba") if self.alpha else "rgb48le" if self.deep else "rgb24",
            src_colorspace=None if _is_rgb(frame.picture.format) else SWSCALE_MATRIX[self.colour.matrix],
            src_color_range=FULL if _is_rgb(frame.picture.format) else self.colour.range,
            dst_color_range=FULL,
            interpolation=SWSCALE_FLAGS,
            threads=1,
        ).to_ndarray()
        if self._swapped:
            picture = picture.swapaxes(0, 1)
        return np.ascontiguousarray(np.flip(picture, self._flips))


def _length(stream):
    """Seconds that the video stream should last by what its file says; None: that does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * fraction(stream.time_base))
    tag = next((value for key, value in stream.metadata.items() if key.upper() == "DURATION"), "")  # Matroska's
    if match := re.fullmatch(r"(\d+):(\d+):([\d.]+)", tag):
        hours, minutes, seconds = map(float, match.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None


def _is_rgb(format_):
    return format_.is_rgb or format_.has_palette


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


class FrameFolder:
    """A clip whose frames are the pictures of a folder, in the order of their names, numbers by their value.

    Args:
        path: the folder.
        rate: frames a second.
        start, end: seconds that bound the frames, or None.

    Raises:
        SRGANError: the first picture cannot be read.
    """

    begin = Fraction(0)
    aspect = Fraction(1)
    colour = Colour(BT709, LIMITED, BT709, SRGB_TRANSFER)
    subsampling = "420"

    def __init__(self, path, rate, start=None, end=None, notice: Callable[[str], None] = lambda line: None):
        self.path = Path(path)
        self.rate = Fraction(rate).limit_denominator(1001)
        self.time_base = 1 / self.rate
        files = frame_files(self.path)
        first, last = round((start or 0) * self.rate), None if end is None else round(end * self.rate)
        self.files = files[first:last]
        if not self.files:
            raise SRGANError(f"{path}: no frames there" + (" in that time" if files else ""))
        self.count = len(self.files)
        picture = next((pixels for pixels in map(self._read, self.files) if pixels is not None), None)
        if picture is None:
            raise SRGANError(f"{path}: none of its pictures can be read")
        self.height, self.width, channels = picture.shape
        self.deep, self.alpha = picture.dtype == np.uint16, channels == 4

    def frames(self):
        """Yield every `Frame`."""
        good, early = None, []
        for pts, file in enumerate(self.files):
            picture = self._read(file)
            if picture is not None and picture.shape[:2] != (self.height, self.width):
                raise SRGANError(
                    f"{file}: is {picture.shape[1]} x {picture.shape[0]}, and the first frame {self.width} x {self.height}"
                )
            if picture is None and good is None:
                early.append(pts)
                continue
            for time in early:
                yield Frame(time, 1, picture, True)
            early.clear()
            yield Frame(pts, 1, good if picture is None else picture, picture is None)
            good = good if picture is None else picture

    def pixels(self, frame):
        """A frame's picture as an upright array (height, width, 3 or 4) of uint8 or uint16."""
        picture = frame.picture
        if picture.shape[2] == 4 and not self.alpha:
            picture = pictures.on_white(picture)
        if picture.dtype == np.uint8 and self.deep:
            picture = picture.astype(np.uint16) * 257
        elif picture.dtype == np.uint16 and not self.deep:
            picture = pictures.to_8_bits(picture)
        if self.alpha and picture.shape[2] == 3:
            opaque = np.full((*picture.shape[:2], 1), np.iinfo(picture.dtype).max, picture.dtype)
            picture = np.concatenate([picture, opaque], axis=2)
        return picture

    def _read(self, file):
        try:
            pixels = pictures.read_picture(file).pixels
        except SRGANError:
            return None
        return pixels if pixels.shape[2] > 2 else np.repeat(pixels, [3] + [1] * (pixels.shape[2] - 1), axis=2)


def open_clip(path, rate, start=None, end=None, notice=lambda line: None):
    """A `Film`, or of a folder a `FrameFolder` of `rate` frames a second: the rest is theirs."""
    if path.is_dir():
        return FrameFolder(path, rate, start, end)
    return Film(path, start, end, notice)


def frame_files(folder):
    """The pictures in a folder that are frames. A GIF is none, but what an earlier run may have made of the others."""
    names = (name for name in folder.iterdir() if name.suffix.lower() in pictures.READABLE - {".gif"})
    return sorted((name for name in names if not name.name.startswith(".")), key=_by_number)


def _by_number(path):
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]

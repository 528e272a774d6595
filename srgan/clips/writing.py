"""Writing clips: in segments that survive a kill, joined into the whole at the end. PyAV, which is FFmpeg, encodes.

Every segment is encoded by an encoder of its own and begins with a key frame, so that the packets of all can stand one
after the other in one file, and the file is the same however often the work was stopped between two of them.
"""

import contextlib
import errno
import heapq
import io
import itertools
import os
import zipfile
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from PIL import Image

from srgan import pictures
from srgan.clips.reading import BT709, FULL, SRGB_TRANSFER, SWSCALE_FLAGS, SWSCALE_MATRIX, Colour, Film, said
from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path
from srgan.pictures import Picture

SEGMENT = 48  # frames: what a kill costs at most, and how far a player has to look for a key frame
# The crf where none is asked for: what the network added is to be seen.
QUALITY = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libsvtav1": 24}


def _x264_settings():
    """The same frames are to give the same file, or a clip that was stopped would not be what it is from one go.

    With AVX-512 x264 made one of two files of 24 frames of an enlarged pan, by process (5 and 3 of 8) and in one thread;
    with AVX2 alone, always one, in 8 processes with one thread and in 10 with three.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    return {"x264-params": "asm=avx2"} if "avx512" in flags else {}


SETTINGS = {
    "libx264": _x264_settings(),
    "libvpx-vp9": {"cpu-used": "4", "row-mt": "1"},  # its own default is several times slower than the network
    "libx265": {"x265-params": "log-level=none"},
}
ALIASES = {"h264": "libx264", "x264": "libx264", "hevc": "libx265", "h265": "libx265", "x265": "libx265"}
ALIASES |= {"vp9": "libvpx-vp9", "av1": "libsvtav1"}
DEFAULT_CODEC = {".webm": "libvpx-vp9", ".gif": "png"}  # png: the segments of a GIF, whose palette is known at the end
_GLOBAL_HEADER = 1 << 22

os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 would greet at every segment; errors are still said

# What described the old file or its coding.
_STALE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "rotate", "alpha_mode"}
_STALE |= {"vendor_id"}


class Encoding(NamedTuple):
    """All that an encoder is told."""

    codec: str
    format: str
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colour: Colour
    options: tuple  # of pairs
    tag: str = ""


def choose_encoding(clip, width, height, suffix, codec=None, crf=None, notice=lambda line: None):
    """How a clip's result of that size is encoded in a file with that suffix.

    Raises:
        UsageError: there is no such encoder, it does not take a crf, or the container does not take what it makes.
        SRGANError: the encoder cannot be opened for such frames.
    """
    if crf is not None and not 0 <= crf <= 63:
        raise UsageError(f"crf: {crf:g} is not between 0 and 63")
    if suffix == ".gif" and (codec or crf is not None):
        raise UsageError(f"{'codec' if codec else 'crf'}: a GIF has but one way to be written; leave it out")
    name = codec or DEFAULT_CODEC.get(suffix, "libx264")
    name = ALIASES.get(name, name)
    try:
        encoder = av.codec.Codec(name, "w")
    except ValueError:
        encoder = None
    if encoder is None or encoder.type != "video":
        raise UsageError(
            f"codec: {name!r} is no video encoder of this FFmpeg; libx264, libx265, libvpx-vp9 and libsvtav1 are usual"
        )
    taken = [format_.name for format_ in encoder.video_formats or ()]
    if suffix == ".gif":
        format_ = "rgba" if clip.alpha else "rgb24"
    else:
        format_ = _pixel_format(clip, taken)
    if suffix != ".gif" and clip.deep and max(component.bits for component in av.VideoFormat(format_).components) == 8:
        notice(f"{clip.path}: has more than 8 bits, and {name} takes 8 here")
    is_rgb = av.VideoFormat(format_).is_rgb
    options = dict(SETTINGS.get(name, {}))
    if suffix != ".gif" and (crf is not None or name in QUALITY):
        options["crf"] = f"{QUALITY[name] if crf is None else crf:g}"
    encoding = Encoding(
        codec=name,
        format=format_,
        # Colour at half the resolution needs even sides: an odd one gets its last row or column twice.
        width=width + (width % 2 if "420" in format_ or "422" in format_ else 0),
        height=height + (height % 2 if "420" in format_ else 0),
        time_base=clip.time_base,
        rate=clip.rate,
        aspect=clip.aspect,
        colour=Colour(0, FULL, BT709, SRGB_TRANSFER) if is_rgb else clip.colour,
        options=tuple(options.items()),
        tag="hvc1" if name == "libx265" and suffix in (".mp4", ".mov") else "",  # else Apple's players refuse it
    )
    left = open_encoder(encoding).options
    if "crf" in left and crf is not None:
        raise UsageError(f"crf: {name} has no such setting")
    if suffix != ".gif":
        try:
            with av.open(io.BytesIO(), "w", format=_muxer(suffix)) as container:
                _add_video(container, encoding)
                container.start_encoding()
        except (FFmpegError, ValueError) as error:
            raise UsageError(f"codec: {name} does not go into a {suffix} file ({said(error)})") from error
    return encoding


def _muxer(suffix):
    return {".mkv": "matroska"}.get(suffix, suffix[1:])


def _pixel_format(clip, taken):
    wanted = f"yuv{clip.subsampling}p" + ("10le" if clip.deep else "")
    for format_ in (wanted, "yuv420p10le" if clip.deep else "yuv420p", wanted.removesuffix("10le"), "yuv420p"):
        if format_ in taken or not taken:
            return format_
    return av.codec.codec.find_best_pix_fmt_of_list(taken, wanted)[0].name


def open_encoder(encoding):
    """A new encoder.

    Raises:
        SRGANError: it cannot be opened.
    """
    context = av.CodecContext.create(encoding.codec, "w")
    _configure(context, encoding)
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        raise SRGANError(
            f"codec: {encoding.codec} cannot be opened for {encoding.width} x {encoding.height} {encoding.format} "
            f"({said(error)}); pass another --codec"
        ) from error
    return context


def _configure(context, encoding):
    context.width, context.height = encoding.width, encoding.height
    context.pix_fmt = encoding.format
    context.time_base, context.framerate = encoding.time_base, encoding.rate
    context.sample_aspect_ratio = encoding.aspect
    context.colorspace, context.color_range = encoding.colour.matrix, encoding.colour.range
    context.color_primaries, context.color_trc = encoding.colour.primaries, encoding.colour.transfer
    context.bit_rate = 0  # the crf alone decides
    context.thread_type = "AUTO"
    context.flags |= _GLOBAL_HEADER
    context.options = dict(encoding.options)
    if encoding.tag:
        context.codec_tag = encoding.tag


def _add_video(container, encoding):
    stream = container.add_stream(encoding.codec, rate=encoding.rate)
    _configure(stream.codec_context, encoding)
    stream.time_base = encoding.time_base
    return stream


@contextlib.contextmanager
def saying_what_failed(target):
    """Turn what the disk and FFmpeg raise into one line about `target`."""
    try:
        yield
    except (OSError, FFmpegError) as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SRGANError(
                f"{target}: no space left for it; what is finished is kept, and the same command goes on from there"
            ) from error
        raise SRGANError(f"{target}: cannot be written ({said(error)})") from error


class FilmWriter:
    """Writes results into the segments of a film in `folder`, and joins them to the file `target`."""

    def __init__(self, clip, target, folder, encoding, notice=lambda line: None):
        self.clip, self.target, self.folder, self.encoding = clip, Path(target), folder, encoding
        self._notice = notice
        self._reformatter = VideoReformatter()
        self._copied = []  # indices of streams
        if isinstance(clip, Film):
            with clip.open() as source:
                self._choose_copied(source)
        self._files, self.kept = [], 0  # finished segments, and how many frames are in them
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):  # not there, or not whole
            for index in itertools.count():
                self.kept += _load(self._file(index), "frames").item()
                self._files.append(self._file(index))

    def _file(self, index):
        return self.folder / f"{index:06}.npz"

    def write(self, results, on_frame=lambda: None):
        """Encode what follows the frames that are kept: pairs of a `srgan.clips.reading.Frame` and its result."""
        results = iter(results)
        while True:
            encoder, packets, count, end = None, [], 0, 0
            for frame, pixels in itertools.islice(results, SEGMENT):
                encoder = encoder or open_encoder(self.encoding)
                with saying_what_failed(self.target):
                    packets += encoder.encode(self._coded(pixels, frame.pts))
                count, end = count + 1, frame.pts + frame.duration
                on_frame()
            if not count:
                return
            with saying_what_failed(self.target):
                packets += encoder.encode(None)
                self._save(packets, count, end)

    def _coded(self, pixels, pts):
        """The result as a frame of the encoder's format."""
        height, width = pixels.shape[:2]
        missing = self.encoding.height - height, self.encoding.width - width
        if any(missing):
            pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
        name = ("rgb24", "rgba", "rgb48le", "rgba64le")[pixels.shape[2] - 3 + 2 * (pixels.dtype == np.uint16)]
        is_rgb = self.encoding.colour.matrix == 0
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(pixels, name),
            format=self.encoding.format,
            src_color_range=FULL,
            dst_colorspace=None if is_rgb else SWSCALE_MATRIX[self.encoding.colour.matrix],
            dst_color_range=self.encoding.colour.range,
            interpolation=SWSCALE_FLAGS,
            threads=1,
        )
        if not is_rgb:
            frame.colorspace = self.encoding.colour.matrix
        frame.color_primaries, frame.color_trc = self.encoding.colour.primaries, self.encoding.colour.transfer
        frame.pts, frame.time_base = pts, self.encoding.time_base
        return frame

    def _save(self, packets, count, end):
        file = self._file(len(self._files))
        with atomic_path(file) as temporary:
            np.savez(
                temporary,
                data=np.frombuffer(b"".join(map(bytes, packets)), np.uint8),
                sizes=np.array([packet.size for packet in packets]),
                pts=np.array([packet.pts for packet in packets]),
                key=np.array([packet.is_keyframe for packet in packets]),
                frames=np.array(count),
                end=np.array(end),
            )
        self._files.append(file)
        self.kept += count

    # The whole.

    def join(self):
        """Make the whole of the segments, and put it in its place."""
        whole = self.folder / f"whole{self.target.suffix.lower()}"
        with saying_what_failed(self.target):
            if whole.suffix == ".gif":
                self._join_animation(whole)
            else:
                self._join_film(whole)
            with open(whole, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(whole, self.target.resolve())  # a link may lead to another file system; `folder` is there

    def _join_film(self, path):
        # bitexact: no random numbers. faststart: a browser can begin to play before it has the whole.
        options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if path.suffix in (".mp4", ".mov") else {})
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(av.open(str(path), "w", format=_muxer(path.suffix), container_options=options))
            video = _add_video(out, self.encoding)
            others = ()
            if isinstance(self.clip, Film):
                source = stack.enter_context(self.clip.open())
                original = self.clip.video_stream(source)
                _carry_over(original, video)
                out.metadata.update({key: value for key, value in source.metadata.items() if key.lower() not in _STALE})
                out.set_chapters(self._chapters(source))
                copies = {index: _add_copy(out, source.streams[index]) for index in self._copied}
                others = self._other_packets(source, copies)
            for _, packet in heapq.merge(self._video_packets(video), others, key=lambda pair: pair[0]):
                out.mux_one(packet)

    def _choose_copied(self, source):
        """Which of the other streams the new container can hold; a line says which it cannot."""
        original = self.clip.video_stream(source)
        for stream in source.streams:
            if stream.index == original.index:
                continue
            try:
                if self.target.suffix.lower() == ".gif":
                    raise ValueError("a GIF holds pictures only")
                with av.open(io.BytesIO(), "w", format=_muxer(self.target.suffix.lower())) as trial:
                    _add_video(trial, self.encoding)
                    _add_copy(trial, stream)
                    trial.start_encoding()
                self._copied.append(stream.index)
            except (FFmpegError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
                kind = f"{stream.type} stream {stream.index}"
                self._notice(f"{self.target}: {kind} cannot be copied and is left out ({said(error)})")

    def _chapters(self, source):
        kept = []
        for chapter in source.chapters():
            base = chapter["time_base"]
            base = Fraction(base.numerator, base.denominator)
            begin, end = (round(time / base) for time in (self.clip.begin, self.clip.end or self.clip.begin))
            start = max(chapter["start"], begin)
            stop = chapter["end"] if self.clip.end is None else min(chapter["end"], end)
            if start < stop:
                kept.append(chapter | {"start": start - begin, "end": stop - begin, "time_base": base})
        return kept

    def _other_packets(self, source, copies):
        """Yield the packets of the streams that are copied, each with its time in seconds, moved as the frames are."""
        last = {}
        begin, end = self.clip.begin, self.clip.end
        with contextlib.suppress(FFmpegError):  # of a file that is cut off: what there was is copied
            for packet in source.demux([source.streams[index] for index in copies] or ()) if copies else ():
                index, base = packet.stream.index, Fraction(packet.time_base.numerator, packet.time_base.denominator)
                if not packet.size:
                    continue
                shift = round(begin / base)
                if packet.pts is None and packet.dts is None:
                    packet.pts = packet.dts = shift  # a cover
                pts = packet.dts if packet.pts is None else packet.pts
                dts = packet.pts if packet.dts is None else packet.dts
                if self.clip.starts_later and pts * base < begin or end is not None and pts * base >= end:
                    continue
                packet.pts, packet.dts = pts - shift, max(dts - shift, last.get(index, dts - shift - 1) + 1)
                packet.pts = max(packet.pts, packet.dts)
                last[index] = packet.dts
                packet.stream = copies[index]
                yield packet.dts * base, packet

    def _video_packets(self, stream):
        """Yield the packets of all segments, each with its time in seconds.

        The decoding times are made anew, because every encoder began its own anew: the packets are decoded in the order
        in which they are, at the times at which frames are shown, `delay` frames earlier.
        """
        shown = [np.sort(_load(file, "pts")) for file in self._files]
        delay = max(
            int((np.arange(len(times)) - np.searchsorted(times, _load(file, "pts"))).max())
            for file, times in zip(self._files, shown)
        )
        starts = [times[0] for times in shown[1:]] + [_load(self._files[-1], "end").item()]
        first = shown[0][0].item()
        step = max(1, round(1 / self.encoding.rate / self.encoding.time_base))
        before = deque(first - step * count for count in range(delay, 0, -1))
        for file, times, following in zip(self._files, shown, starts):
            with np.load(file) as segment:
                data, sizes, pts, key = (segment[name] for name in ("data", "sizes", "pts", "key"))
            duration = dict(zip(times.tolist(), np.diff(times, append=following).tolist()))
            ends = np.cumsum(sizes)
            for index, time in enumerate(pts.tolist()):
                before.append(times[index].item())
                packet = av.Packet(data[ends[index] - sizes[index] : ends[index]].tobytes())
                packet.stream, packet.time_base = stream, self.encoding.time_base
                packet.pts, packet.dts, packet.duration = time, before.popleft(), max(duration[time], 1)
                packet.is_keyframe = bool(key[index])
                yield packet.dts * self.encoding.time_base, packet

    # Animated GIFs: one palette for all frames, so that colours do not flicker, made of all frames in a first pass.

    def _join_animation(self, path):
        base = Fraction(1, 100)
        end = round(_load(self._files[-1], "end").item() * self.encoding.time_base / base)
        palette = self._palette()
        graph = av.filter.Graph()
        use, sink = graph.add("paletteuse", "diff_mode=rectangle"), graph.add("buffersink")
        size = {"width": self.encoding.width, "height": self.encoding.height, "time_base": base}
        source = graph.add_buffer(format=av.VideoFormat("bgra"), name="frames", **size)
        colours = graph.add_buffer(format=palette.format, name="colours", width=16, height=16, time_base=base)
        source.link_to(use, 0, 0)
        colours.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        palette.pts, palette.time_base = 0, base
        colours.push(palette)
        colours.push(None)
        options = {"fflags": "+bitexact", "loop": str(_loops(self.clip.path))}
        with av.open(str(path), "w", format="gif", container_options=options) as out:
            stream = out.add_stream("gif", rate=self.encoding.rate)
            context = stream.codec_context
            context.width, context.height, context.pix_fmt = self.encoding.width, self.encoding.height, "pal8"
            context.time_base = stream.time_base = base
            last, waiting = None, None
            for frame in self._kept_frames():
                time = round(frame.pts * self.encoding.time_base / base)
                if last is not None and time - last < 2:
                    continue  # players take less than 2 hundredths of a second for 10
                frame.pts, frame.time_base, last = time, base, time
                source.push(frame)
                waiting = self._mux_animation(out, stream, sink, waiting)
            source.push(None)
            waiting = self._mux_animation(out, stream, sink, waiting)
            if waiting is not None:
                waiting.duration = max(end - waiting.pts, 2)
                out.mux_one(waiting)

    def _mux_animation(self, out, stream, sink, waiting):
        """Write what is coded, but for the last: its duration is known with the next."""
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                for packet in stream.encode(sink.pull()):
                    if waiting is not None:
                        waiting.duration = packet.pts - waiting.pts
                        out.mux_one(waiting)
                    waiting = packet
        return waiting

    def _palette(self):
        graph = av.filter.Graph()
        size = {"width": self.encoding.width, "height": self.encoding.height, "time_base": self.encoding.time_base}
        source = graph.add_buffer(format=av.VideoFormat("bgra"), **size)
        make, sink = graph.add("palettegen"), graph.add("buffersink")
        graph.link_nodes(source, make, sink).configure()
        for frame in self._kept_frames():
            source.push(frame)
        source.push(None)
        return sink.pull()

    def _kept_frames(self):
        """Yield the frames of all segments, decoded."""
        decoder = av.CodecContext.create(self.encoding.codec, "r")
        decoder.thread_type = "SLICE"
        for file in self._files:
            with np.load(file) as segment:
                data, sizes, pts = (segment[name] for name in ("data", "sizes", "pts"))
            ends = np.cumsum(sizes)
            for index, time in enumerate(pts.tolist()):
                packet = av.Packet(data[ends[index] - sizes[index] : ends[index]].tobytes())
                packet.is_keyframe = True  # else the decoder takes it for a difference to the last
                for frame in decoder.decode(packet):
                    frame = self._reformatter.reformat(frame, format="bgra", threads=1)
                    frame.pts, frame.time_base = time, self.encoding.time_base
                    yield frame


def _load(file, name):
    with np.load(file) as segment:
        return segment[name]


def _add_copy(container, stream):
    """A stream of `container` that takes the packets of `stream` as they are."""
    copy = container.add_stream_from_template(stream, opaque=True)
    _carry_over(stream, copy)
    return copy


def _carry_over(stream, new):
    """What is said of a stream: language, title, whether it is the default or forced."""
    about = {key: value for key, value in stream.metadata.items() if key.lower() not in _STALE}
    if stream.type == "video":  # the statistics that mkvmerge writes
        about = {
            key: value for key, value in about.items() if not key.startswith(("BPS", "NUMBER_OF_", "_STAT", "DURATION"))
        }
    new.metadata.update(about)
    new.disposition = int(stream.disposition)


def _loops(path):
    """How often an animation plays, as FFmpeg's GIF writer wants it: 0 for ever, -1 once."""
    if path.suffix.lower() != ".gif":
        return 0
    with contextlib.suppress(OSError, ValueError), Image.open(path) as image:
        return image.info.get("loop", -1)
    return 0


class PictureWriter:
    """Writes results as numbered pictures into `folder`, and moves them to where `pattern` says, such as out/%05d.png."""

    def __init__(self, pattern, folder, notice=lambda line: None, **options):
        self.pattern, self.folder, self.options = Path(pattern), folder, options
        self._notice = notice
        self.kept = sum(1 for _ in itertools.takewhile(Path.is_file, map(self._file, itertools.count(1))))

    def _file(self, number):
        return self.folder / (self.pattern.name % number)

    def write(self, results, on_frame=lambda: None):
        """Write the pictures that follow the ones that are kept."""
        for _, pixels in results:
            pictures.write_picture(Picture(pixels), self._file(self.kept + 1), **self.options)
            self.kept += 1
            on_frame()

    def join(self):
        """Put the pictures in their place."""
        with saying_what_failed(self.pattern):
            self.pattern.parent.mkdir(parents=True, exist_ok=True)
            for number in range(self.kept, 0, -1):  # backwards: stopped here, the first ones are still kept
                os.replace(self._file(number), self._place(number))
        if self._place(self.kept + 1).exists():
            self._notice(f"{self._place(self.kept + 1)}: this and what is numbered higher are of an earlier run")

    def _place(self, number):
        return self.pattern.with_name(self.pattern.name % number)

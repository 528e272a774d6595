"""Choosing the encoder of a clip's result, its pixel format and its settings; turning pixels into its frames."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan.clips.colour import FULL, PICTURE_COLOUR, SWSCALE_FLAGS, SWSCALE_MATRIX, Colour
from srgan.clips.ffmpeg import FFmpegError, VideoReformatter, av, one_line, usual_priority
from srgan.clips.frame import Notice, unheard
from srgan.clips.hdr import hdr_settings
from srgan.errors import SRGANError, UsageError
from srgan.pictures.arrays import resize

# The default crf: low enough that the detail which the network adds survives.
QUALITY = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libsvtav1": 24}


def _x264_settings():
    """Options that make x264 deterministic, so that a resumed clip is byte-identical to an uninterrupted one.

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
ALIASES |= {"vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
DEFAULT_CODEC = {".webm": "libvpx-vp9", ".gif": "png"}  # png: the segments of a GIF, whose palette is known at the end
LAID_ON_WHITE = "{} holds no transparency here, it is laid on white; --codec libvpx-vp9 keeps it in .webm and .mkv, prores_ks in .mov"
_VPX_ALPHA = {"auto-alt-ref": "0"}  # libvpx takes transparency only without frames that are for reference alone
_GLOBAL_HEADER = 1 << 22

os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 would greet at every segment; errors are still said


class Encoding(NamedTuple):
    """The settings of an encoder."""

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
    shown: tuple[int, int] | None = None  # width and height that frames are resized to; None: they have the right size
    on_white: bool = False  # whether frames come without transparency, though the format has a place for it

    @property
    def alpha(self) -> bool:
        """Whether it takes frames with transparency."""
        return has_alpha(self.format) and not self.on_white

    def without_alpha(self) -> "Encoding":
        """The same for frames that are laid on white."""
        taken = [format_.name for format_ in av.codec.Codec(self.codec, "w").video_formats or ()]
        opaque = [name for name in taken if not has_alpha(name)]
        best = av.codec.codec.find_best_pix_fmt_of_list(opaque, self.format)[0] if opaque else None
        return self._replace(format=best.name if best else self.format, on_white=True)

    def with_square_pixels(self) -> "Encoding":
        """The same for frames that are stretched to square pixels."""
        width, height = self.width, self.height
        if self.aspect > 1:
            width = round(width * self.aspect)
        else:
            height = round(height / self.aspect)
        even = width + width % 2, height + height % 2
        return self._replace(width=even[0], height=even[1], aspect=Fraction(1), shown=even)


def choose_encoding(
    clip: Any,
    width: int,
    height: int,
    suffix: str,
    codec: str | None = None,
    crf: float | None = None,
    notice: Notice = unheard,
) -> "Encoding":
    """How a clip's result of that size is encoded in a file with that suffix.

    Raises:
        UsageError: there is no such encoder, or it does not take a crf.
        SRGANError: the encoder cannot be opened for such frames.
    """
    if crf is not None and not 0 <= crf <= 63:
        raise UsageError(f"crf: {crf:g} is not between 0 and 63")
    if suffix == ".gif" and (codec or crf is not None):
        raise UsageError(f"{'codec' if codec else 'crf'}: a GIF has no such setting; leave it out")
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
    options = dict(SETTINGS.get(name, {}))
    hdr = hdr_settings(clip.hdr, name)
    if hdr is None:
        notice(f"{clip.path}: {name} drops what it says of HDR10's mastering display and light; libx265 keeps it")
    for key, value in (hdr or {}).items():
        options[key] = f"{options[key]}:{value}" if key in options else value
    if suffix != ".gif" and (crf is not None or name in QUALITY):
        options["crf"] = f"{QUALITY[name] if crf is None else crf:g}"
    tag = "hvc1" if name == "libx265" and suffix in (".mp4", ".mov") else ""  # else Apple's players refuse it
    taken = [format_.name for format_ in encoder.video_formats or ()]
    formats = ["rgba" if clip.alpha else "rgb24"] if suffix == ".gif" else _pixel_formats(clip, taken)
    failures = []
    for format_ in formats:
        encoding = Encoding(
            codec=name,
            format=format_,
            # Colour at half the resolution needs even sides: an odd one gets its last row or column twice.
            width=width + (width % 2 if "420" in format_ or "422" in format_ else 0),
            height=height + (height % 2 if "420" in format_ else 0),
            time_base=clip.time_base,
            rate=clip.rate,
            aspect=clip.aspect,
            colour=PICTURE_COLOUR._replace(matrix=0, range=FULL) if av.VideoFormat(format_).is_rgb else clip.colour,
            options=tuple((options | (_VPX_ALPHA if has_alpha(format_) and "libvpx" in name else {})).items()),
            tag=tag,
        )
        try:
            left = open_encoder(encoding).options
            break
        except SRGANError as error:
            failures.append(error)
    else:
        raise failures[0]
    if "crf" in left and crf is not None:
        raise UsageError(f"crf: {name} has no such setting")
    if suffix == ".gif":
        if clip.has_transparency and clip.path.suffix.lower() != ".gif":
            notice(
                f"{clip.path}: in a GIF a pixel is transparent or not: what is half transparent becomes one of these"
            )
    else:
        if clip.has_transparency and not has_alpha(format_):
            notice(f"{clip.path}: {LAID_ON_WHITE.format(name)}")
        if clip.deep and max(component.bits for component in av.VideoFormat(format_).components) == 8:
            notice(f"{clip.path}: has more than 8 bits, and {name} takes 8 here")
    return encoding


def muxer(suffix: str) -> str:
    """FFmpeg's name of the container that a suffix stands for."""
    return {".mkv": "matroska"}.get(suffix, suffix[1:])


def has_alpha(pixel_format: str) -> bool:
    """Whether frames of a pixel format have transparency."""
    return any(component.is_alpha for component in av.VideoFormat(pixel_format).components)


def _pixel_formats(clip, taken):
    """Yield the formats of an encoder that are near a clip's, the nearest first."""
    best, depth = av.codec.codec.find_best_pix_fmt_of_list, "10le" if clip.deep else ""
    with_alpha = [name for name in taken if has_alpha(name)]
    if clip.has_transparency and with_alpha:
        yield best(with_alpha, f"yuva{clip.subsampling}p{depth}")[0].name
        yield from (name for name in with_alpha if name == "yuva420p")  # that of libvpx, which lists others
    wanted = f"yuv{clip.subsampling}p{depth}"
    for format_ in (wanted, f"yuv420p{depth}", wanted.removesuffix("10le"), "yuv420p"):
        if format_ in taken or not taken:
            yield format_
            return
    yield best(taken, wanted)[0].name


def open_encoder(encoding: Encoding) -> Any:
    """A new encoder.

    Raises:
        SRGANError: it cannot be opened.
    """
    context = av.CodecContext.create(encoding.codec, "w")
    _configure(context, encoding)
    try:
        with usual_priority():
            context.open()
    except (FFmpegError, ValueError) as error:
        raise SRGANError(
            f"codec: {encoding.codec} cannot be opened for {encoding.width} x {encoding.height} {encoding.format} "
            f"({one_line(error)}); pass another --codec"
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


def add_video(container: Any, encoding: Encoding) -> Any:
    """A new stream of `container` for the frames."""
    stream = container.add_stream(encoding.codec, rate=encoding.rate)
    _configure(stream.codec_context, encoding)
    stream.time_base = encoding.time_base
    return stream


def coded_frame(pixels: np.ndarray, encoding: Encoding, reformatter: VideoReformatter) -> av.VideoFrame:
    """Pixels, uint8 or uint16 (height, width, 3 or 4), as a frame of the encoder's format."""
    if encoding.shown:
        pixels = resize(pixels, *encoding.shown)
    height, width = pixels.shape[:2]
    missing = encoding.height - height, encoding.width - width
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    name = ("rgb24", "rgba", "rgb48le", "rgba64le")[pixels.shape[2] - 3 + 2 * (pixels.dtype == np.uint16)]
    is_rgb = encoding.colour.matrix == 0
    frame = reformatter.reformat(
        av.VideoFrame.from_ndarray(pixels, name),
        format=encoding.format,
        src_color_range=FULL,
        dst_colorspace=None if is_rgb else SWSCALE_MATRIX[encoding.colour.matrix],
        dst_color_range=encoding.colour.range,
        interpolation=SWSCALE_FLAGS,
        threads=1,
    )
    if not is_rgb:
        frame.colorspace = encoding.colour.matrix
    frame.color_primaries, frame.color_trc = encoding.colour.primaries, encoding.colour.transfer
    return frame

"""What every module that uses PyAV (FFmpeg's libraries) shares: the import, its numbers and its errors as one line."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from srgan.errors import SRGANError, is_out_of_space

try:  # the other modules take PyAV from here, so that its absence is always reported in one line
    import av
    from av.error import FFmpegError
    from av.sidedata.sidedata import Type as SideDataType
    from av.video.reformatter import VideoReformatter as VideoReformatter
except ImportError as error:
    raise SRGANError(f"clips need PyAV, which cannot be imported ({error}): pip install av") from error

_OUTPUT_CORRUPT = 1 << 3  # a decoder's flag: give damaged frames, too, and say that they are
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these drop the transparency


def _unnamed(value):
    member = object.__new__(SideDataType)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


# PyAV has no name for some side data of frames, such as the view in a 3-D video, and ends in a ValueError there.
SideDataType._missing_ = staticmethod(_unnamed)  # type: ignore[method-assign, assignment]


def fraction(value: Any) -> Fraction:
    """FFmpeg's rational number, which PyAV's versions give in different classes, as a Fraction; 0 for none."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(0)


@contextlib.contextmanager
def usual_priority() -> Iterator[None]:
    """A block in which an encoder is opened, and after which all threads have the priority of before.

    Opened by root, SVT-AV1 gives its threads and the calling one the highest real-time priority, so that nothing else on
    the machine gets to run.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in map(int, os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ["0"]):
            with contextlib.suppress(OSError):  # it has ended since
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameter)


def decoder_of(stream: Any) -> Any:
    """The decoder of a video stream, with its transparency; what comes of damaged data is the same every time."""
    context = stream.codec_context
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if context.name in _WITH_ALPHA and tags.get("alpha_mode") == "1":
        context = av.CodecContext.create(_WITH_ALPHA[context.name], "r")
        context.thread_count = 1
    else:
        context.thread_type = "SLICE"  # not frames side by side
    context.flags |= _OUTPUT_CORRUPT
    return context


def describe(container: Any) -> str:
    """What FFmpeg prints about a file: PyAV gives some of it nowhere else."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        return container.dumps_format()
    finally:
        av.logging.set_level(level)


def one_line(error: BaseException) -> str:
    """The message of an error in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())


def decoded_frames(container: Any, stream: Any) -> Iterator:
    """Yield the frames of a video stream of an open file, without what cannot be decoded."""
    decoder = decoder_of(stream)
    for packet in packets_until_error(container, stream):
        with contextlib.suppress(FFmpegError):
            yield from decoder.decode(packet)


def packets_until_error(container: Any, *streams: Any) -> Iterator:
    """Yield the packets of some streams of an open file, up to where it is cut off."""
    with contextlib.suppress(FFmpegError):
        yield from container.demux(*streams)


def filtered(source: Any, frame: Any, sink: Any) -> Iterator:
    """Give the source of a filter graph a frame, None at the end, and yield the frames that the sink has ready."""
    source.push(frame)
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield sink.pull()


@contextlib.contextmanager
def wrap_write_errors(target: str | Path) -> Iterator[None]:
    """Raise the errors of the disk and of FFmpeg in the block as an SRGANError about `target`."""
    try:
        yield
    except (OSError, FFmpegError) as error:
        if is_out_of_space(error):
            raise SRGANError(
                f"{target}: no space left for it; what is finished is kept, and the same command goes on from there"
            ) from error
        raise SRGANError(f"{target}: cannot be written ({one_line(error)})") from error

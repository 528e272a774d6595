"""Deinterlacing by FFmpeg's bwdif: one whole frame for each frame of two fields."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from srgan.clips.ffmpeg import av, filtered
from srgan.clips.frame import Frame


def deinterlace(
    frames: Iterable[Frame], mode: str = "auto", parity: str = "auto", on_interlaced: Callable[[], None] = lambda: None
) -> Iterator[Frame]:
    """Yield each frame with its picture deinterlaced; times, and which frames are damaged, stay as they are.

    Args:
        frames: a damaged one has no picture.
        mode: "auto" changes the frames that are marked as interlaced, "on" all, "off" none.
        parity: the field that comes first, "tff" (top) or "bff" (bottom); "auto": as each frame says, else top.
        on_interlaced: called at the first frame that is marked as interlaced.
    """
    waiting: deque[Frame] = deque()  # the filter looks one frame ahead
    graph = size = None
    for frame in frames:
        picture = frame.picture
        if picture is not None and picture.interlaced_frame:
            on_interlaced()
            on_interlaced = lambda: None  # noqa: E731
        if mode == "off" or graph is None and (picture is None or mode == "auto" and not picture.interlaced_frame):
            yield frame
            continue
        if picture is not None and size != (size := (picture.width, picture.height, picture.format.name)):
            yield from _filtered(graph, waiting, None)
            graph = _bwdif(picture, mode, parity)
        waiting.append(frame)
        if picture is not None:
            yield from _filtered(graph, waiting, picture)
    yield from _filtered(graph, waiting, None)


def _bwdif(picture, mode, parity):
    graph = av.filter.Graph()
    size = {"width": picture.width, "height": picture.height, "time_base": Fraction(picture.time_base)}
    source = graph.add_buffer(format=picture.format, **size)
    bwdif = graph.add("bwdif", f"mode=send_frame:parity={parity}:deint={'all' if mode == 'on' else 'interlaced'}")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _filtered(graph, waiting, picture):
    """Give the filter a picture, None at the end, and yield the frames whose pictures it has ready."""
    for result in filtered(graph, picture, graph) if graph is not None else ():
        while waiting[0].picture is None:
            yield waiting.popleft()
        yield waiting.popleft()._replace(picture=result)
    if picture is None:
        while waiting:
            yield waiting.popleft()

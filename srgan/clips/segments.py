"""Finished segments of a video on disk: encoded frames that survive a kill.

Every segment is encoded by an encoder of its own and begins with a key frame, so that the packets of all can stand one
after the other in one file, and the file is the same however often the work was stopped between two of them.
"""

import contextlib
import itertools
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from srgan.clips.encoding import Encoding, coded_frame, open_encoder
from srgan.clips.ffmpeg import VideoReformatter, av, wrap_write_errors
from srgan.clips.frame import Frame
from srgan.files import atomic_path

SEGMENT = 48  # frames: what a kill costs at most, and how far a player has to look for a key frame

ALPHA: Literal["matroska_block_additional"] = "matroska_block_additional"  # PyAV's name of it


class Packet(NamedTuple):
    """An encoded frame; times are in ticks."""

    data: bytes
    dts: int  # when it is decoded
    pts: int  # when it is shown
    duration: int  # how long
    is_key: bool  # whether it is a key frame
    alpha: bytes = b""  # its transparency, where the codec keeps that beside it (as Matroska's BlockAdditional)


def alpha_of(packet: av.Packet) -> bytes:
    """The transparency that an encoder gives beside a packet."""
    return bytes(packet.get_sidedata(ALPHA)) if packet.has_sidedata(ALPHA) else b""


class Segments:
    """The segments in a folder: those of an earlier run, and those that `write` adds.

    Args:
        target: the file that they are for, named in errors.
        folder: where they are.
        encoding: of all of them.
    """

    def __init__(self, target: Path, folder: Path, encoding: Encoding):
        self.target, self.folder, self.encoding = target, folder, encoding
        self._reformatter = VideoReformatter()
        self._files, self.kept = [], 0  # finished segments, and how many frames are in them
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):  # not there, or not whole
            for index in itertools.count():
                self.kept += _load(self._file(index), "frames").item()
                self._files.append(self._file(index))

    @property
    def end(self) -> int:
        """When the last frame ends, in ticks."""
        return _load(self._files[-1], "end").item()

    def write(self, results: Iterable[tuple[Frame, np.ndarray]], on_frame: Callable[[], None] = lambda: None) -> None:
        """Encode the frames that follow the ones that are kept.

        Args:
            results: pairs of a frame and its result, uint8 or uint16 (height, width, 3 or 4).
            on_frame: called after each.

        Raises:
            SRGANError: the disk is full, or the encoder fails.
        """
        results = iter(results)
        while True:
            encoder: Any = None
            packets: list[av.Packet] = []
            count = end = 0
            for frame, pixels in itertools.islice(results, SEGMENT):
                encoder = encoder or open_encoder(self.encoding)
                with wrap_write_errors(self.target):
                    coded = coded_frame(pixels, self.encoding, self._reformatter)
                    coded.pts, coded.time_base = frame.pts, self.encoding.time_base
                    packets += encoder.encode(coded)
                count, end = count + 1, frame.pts + frame.duration
                on_frame()
            if not count:
                return
            with wrap_write_errors(self.target):
                packets += encoder.encode(None)
                self._save(packets, count, end)

    def packets(self) -> Iterator[Packet]:
        """Yield the packets of all segments.

        The decoding times are made anew, because every encoder began its own anew: the packets are decoded in the order
        in which they are, at the times at which frames are shown, `delay` frames earlier.
        """
        shown = [np.sort(_load(file, "pts")) for file in self._files]
        delay = max(
            int((np.arange(len(times)) - np.searchsorted(times, _load(file, "pts"))).max())
            for file, times in zip(self._files, shown)
        )
        starts = [times[0] for times in shown[1:]] + [self.end]
        first = shown[0][0].item()
        step = max(1, round(1 / self.encoding.rate / self.encoding.time_base))
        before = deque(first - step * count for count in range(delay, 0, -1))
        for file, times, following in zip(self._files, shown, starts):
            duration = dict(zip(times.tolist(), np.diff(times, append=following).tolist()))
            for index, (data, pts, is_key, alpha) in enumerate(_segment_packets(file)):
                before.append(times[index].item())
                yield Packet(data, before.popleft(), pts, max(duration[pts], 1), is_key, alpha)

    def decoded(self, pixel_format: str) -> Iterator[av.VideoFrame]:
        """Yield the frames of all segments, decoded again."""
        decoder: Any = av.CodecContext.create(self.encoding.codec, "r")
        decoder.thread_type = "SLICE"
        for data, pts, *_ in itertools.chain.from_iterable(map(_segment_packets, self._files)):
            packet = av.Packet(data)
            packet.is_keyframe = True  # else the decoder takes it for a difference to the last
            for frame in decoder.decode(packet):
                frame = self._reformatter.reformat(frame, format=pixel_format, threads=1)
                frame.pts, frame.time_base = pts, self.encoding.time_base
                yield frame

    def _file(self, index):
        return self.folder / f"{index:06}.npz"

    def _save(self, packets, count, end):
        file, alphas = self._file(len(self._files)), list(map(alpha_of, packets))
        with atomic_path(file) as temporary:
            np.savez(
                temporary,
                data=np.frombuffer(b"".join(map(bytes, packets)), np.uint8),
                sizes=np.array([packet.size for packet in packets]),
                pts=np.array([packet.pts for packet in packets]),
                key=np.array([packet.is_keyframe for packet in packets]),
                alpha=np.frombuffer(b"".join(alphas), np.uint8),
                alpha_sizes=np.array(list(map(len, alphas))),
                frames=np.array(count),
                end=np.array(end),
            )
        self._files.append(file)
        self.kept += count


def _segment_packets(file):
    """The data, pts, whether it is a key frame and alpha of each packet of a segment, in the order of decoding."""
    with np.load(file) as segment:
        parts = [
            np.split(segment[name], np.cumsum(segment[sizes])[:-1])
            for name, sizes in (("data", "sizes"), ("alpha", "alpha_sizes"))
        ]
        times, keys = segment["pts"].tolist(), segment["key"].tolist()
    for data, alpha, time, is_key in zip(*parts, times, keys):
        yield data.tobytes(), time, is_key, alpha.tobytes()


def _load(file, name):
    with np.load(file) as segment:
        return segment[name]

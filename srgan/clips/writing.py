"""Writing a clip as a file: segments that survive a kill, joined with the other tracks into the whole at the end."""

import contextlib
import heapq
import os
from collections.abc import Callable
from pathlib import Path

from srgan.clips.encoding import Encoding, add_video, muxer
from srgan.clips.ffmpeg import av, wrap_write_errors
from srgan.clips.gif import join_animation
from srgan.clips.reading import FrameFolder, VideoFile
from srgan.clips.segments import Segments
from srgan.clips.tracks import STALE_TAGS, add_copy, carry_over, chapters, choose_tracks, track_packets


class VideoWriter(Segments):
    """Writes results into segments in a work folder, and joins them to the file `target`.

    Args:
        clip: whose other tracks, chapters and tags the file gets.
        target: the file; its suffix says the container.
        folder: the work folder.
        encoding: of the frames.
        notice: called with a line on anything that a user should know.
    """

    def __init__(
        self,
        clip: VideoFile | FrameFolder,
        target: Path,
        folder: Path,
        encoding: Encoding,
        notice: Callable[[str], None] = lambda line: None,
    ):
        super().__init__(Path(target), folder, encoding)
        self.clip, self._suffix = clip, self.target.suffix.lower()
        self._tracks = []
        if isinstance(clip, VideoFile):
            with clip.open() as source:
                self._tracks = choose_tracks(
                    clip, source, self._suffix, encoding, lambda line: notice(f"{target}: {line}")
                )

    def join(self) -> None:
        """Make the whole of the segments, and move it into its place.

        Raises:
            SRGANError: it cannot be written.
        """
        whole = self.folder / f"whole{self._suffix}"
        with wrap_write_errors(self.target):
            if self._suffix == ".gif":
                join_animation(whole, self, self.clip.path)
            else:
                self._mux(whole)
            with open(whole, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(whole, self.target.resolve())  # a link may lead to another file system; `folder` is there

    def _mux(self, path):
        # bitexact: no random numbers. faststart: a browser can begin to play before it has the whole.
        options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if self._suffix in (".mp4", ".mov") else {})
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(av.open(str(path), "w", format=muxer(self._suffix), container_options=options))
            video = add_video(out, self.encoding)
            others = ()
            if isinstance(self.clip, VideoFile):
                source = stack.enter_context(self.clip.open())
                carry_over(self.clip.video_stream(source), video)
                out.metadata.update(
                    {key: value for key, value in source.metadata.items() if key.lower() not in STALE_TAGS}
                )
                out.set_chapters(chapters(self.clip, source))
                copies = {index: add_copy(out, source.streams[index]) for index in self._tracks}
                others = track_packets(self.clip, source, copies)
            for _, packet in heapq.merge(self._video_packets(video), others, key=lambda pair: pair[0]):
                out.mux_one(packet)

    def _video_packets(self, stream):
        for data, dts, pts, duration, is_key in self.packets():
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, self.encoding.time_base
            packet.dts, packet.pts, packet.duration, packet.is_keyframe = dts, pts, duration, is_key
            yield dts * self.encoding.time_base, packet

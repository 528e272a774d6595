"""Writing a clip as a file: segments that survive a kill, joined at the end with the other tracks."""

import os
from pathlib import Path

from srgan.clips.encoding import Encoding
from srgan.clips.ffmpeg import wrap_write_errors
from srgan.clips.frame import Notice, unheard
from srgan.clips.gif import join_animation
from srgan.clips.muxing import write_container
from srgan.clips.reading import FrameFolder, VideoFile
from srgan.clips.rehearsal import choose_tracks
from srgan.clips.segments import Segments
from srgan.clips.tracks import Track


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
        self, clip: VideoFile | FrameFolder, target: Path, folder: Path, encoding: Encoding, notice: Notice = unheard
    ):
        super().__init__(Path(target), folder, encoding)
        self.clip, self._suffix = clip, self.target.suffix.lower()
        self._tracks: list[Track] = []
        self._has_timecode = False
        if isinstance(clip, VideoFile):
            self._tracks, self._has_timecode = choose_tracks(clip, self.target, encoding, notice)

    def join(self) -> None:
        """Join the segments into the file, and move it into place.

        Raises:
            SRGANError: it cannot be written.
        """
        whole = self.folder / f"whole{self._suffix}"
        with wrap_write_errors(self.target):
            if self._suffix == ".gif":
                join_animation(whole, self, self.clip.path)
            else:
                write_container(
                    str(whole),
                    self._suffix,
                    self.encoding,
                    self.packets(),
                    self.clip,
                    self._tracks,
                    keep_timecode=self._has_timecode,
                    fast_start=True,
                )
            with open(whole, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(whole, self.target.resolve())  # a link may lead to another file system; `folder` is there

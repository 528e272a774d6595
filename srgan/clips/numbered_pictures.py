"""Writing a clip as a folder of numbered pictures."""

import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from srgan import pictures
from srgan.clips.ffmpeg import wrap_write_errors
from srgan.clips.frame import Frame, Notice, unheard
from srgan.pictures import Picture


class PictureWriter:
    """Writes results as numbered pictures into a work folder, and moves them into place when all are there.

    Args:
        pattern: the names of the pictures, such as out/%05d.png.
        folder: the work folder.
        notice: called with a line on anything that a user should know.
        palettes: whether a frame whose picture has a palette becomes one of the same colours.
        options: for `srgan.pictures.write_picture`.
    """

    def __init__(
        self, pattern: Path, folder: Path, notice: Notice = unheard, palettes: bool = False, **options
    ) -> None:
        self.pattern, self.folder, self.options, self._palettes = Path(pattern), folder, options, palettes
        self._notice = notice
        self.kept = sum(1 for _ in itertools.takewhile(Path.is_file, map(self._file, itertools.count(1))))

    def write(self, results: Iterable[tuple[Frame, np.ndarray]], on_frame: Callable[[], None] = lambda: None) -> None:
        """Write the pictures that follow the ones that are kept."""
        for frame, pixels in results:
            picture = _with_meaning(frame.picture, pixels, self._palettes)
            pictures.write_picture(picture, self._file(self.kept + 1), **self.options)
            self.kept += 1
            on_frame()

    def join(self) -> None:
        """Move the pictures into their place."""
        with wrap_write_errors(self.pattern):
            self.pattern.parent.mkdir(parents=True, exist_ok=True)
            for number in range(self.kept, 0, -1):  # backwards: stopped here, the first ones are still kept
                os.replace(self._file(number), self._place(number))
        if self._place(self.kept + 1).exists():
            self._notice(f"{self._place(self.kept + 1)}: this and what is numbered higher are of an earlier run")

    def _file(self, number):
        return self.folder / (self.pattern.name % number)

    def _place(self, number):
        return self.pattern.with_name(self.pattern.name % number)


def _with_meaning(source, pixels, keep_palette):
    """The result for a frame: where that is a picture, gray if it was, in its colours and on request with its palette."""
    if not isinstance(source, Picture):
        return Picture(pixels)
    if source.pixels.shape[2] < 3:
        gray = np.rint(pixels[..., :3].mean(axis=2, keepdims=True)).astype(pixels.dtype)
        pixels = np.concatenate([gray, pixels[..., 3:]], axis=2)
    palette = source.palette if keep_palette else None
    if palette is not None:
        pixels = pictures.nearest_in_palette(pixels, palette)
    return Picture(pixels, icc=source.icc, colour=source.colour, palette=palette)

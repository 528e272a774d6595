"""Scenes: a picture, or a frame of a clip, in all its versions.

Versions are made one after the other, while threads score those that are done.
"""

import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.compare.damage import Damage
from srgan.compare.predictions import read_prediction
from srgan.compare.scores import WITH_ORIGINAL, scores_with_original, scores_without_original
from srgan.errors import SRGANError, is_out_of_memory
from srgan.interrupts import cleaned_up
from srgan.pictures import crop_to_multiple, downscale, on_white, read_rgb, resize_bicubic, to_8_bits
from srgan.pictures.arrays import is_flat
from srgan.progress import Bar

UNDAMAGED = Damage()
LOW, BICUBIC, ORIGINAL = "low", "bicubic", "original"


@dataclass(frozen=True)
class Scene:
    """One picture in all its versions, uint8 (height, width, 3): `low`, and the others `scale` times as large."""

    path: Path
    scale: int
    low: np.ndarray
    enlarged: dict[str, np.ndarray]
    original: np.ndarray | None = None

    def scores(self, keys=tuple(WITH_ORIGINAL)) -> dict[str, dict[str, float]]:
        """The scores of each method, by its label: `keys` of WITH_ORIGINAL if there is an original, else WITHOUT_ORIGINAL."""

        def scores_of(pixels):
            if self.original is None:
                return scores_without_original(self.low, pixels, self.scale)
            return scores_with_original(self.original, pixels, self.scale, keys)

        return {label: scores_of(pixels) for label, pixels in self.enlarged.items()}

    def versions(self) -> dict[str, np.ndarray]:
        """Every version by its label, from low to original."""
        return {LOW: self.low, **self.enlarged, **({} if self.original is None else {ORIGINAL: self.original})}


def read_scene(path, scale, methods=(), predictions=(), *, low=False, damage=UNDAMAGED) -> Scene:
    """Read the picture at `path` and enlarge it by bicubic and `methods`: itself if `low`, else its low resolution.

    The low resolution is made by bicubic, then `damage` is done to it. `predictions` (of `srgan.compare.predictions`) are versions that another program made of it.

    Raises:
        SRGANError: a file cannot be read, there is no prediction, or the picture is too small to be scored.
    """
    given = read_rgb(path)
    height, width = given.shape[:2]
    if min(height, width) < 3 * (1 if low else scale):
        raise SRGANError(f"{path}: {width}x{height} pixels are too few, nothing is left inside the border")
    original = None if low else crop_to_multiple(given, scale)
    small = given if original is None else damage(downscale(original, scale))
    height, width = small.shape[:2]
    enlarged = {BICUBIC: resize_bicubic(small, width * scale, height * scale)}
    size = height * scale, width * scale
    made = {each.label: read_prediction(each.path, Path(path), size, scale) for each in predictions}
    enlarged |= {method.label: method.upscale(small) for method in methods} | made
    return Scene(Path(path), scale, small, enlarged, original)


def read_clip(path, scale, methods=(), *, start=None, count=None, reduce=1, damage=UNDAMAGED, notice=lambda line: None):
    """Yield the frames of a clip as scenes, in order; only as many are held as the methods look ahead.

    Args:
        path: a video file, or a folder of numbered frames, which are taken as 25 a second.
        scale, methods: as of `read_scene`; a method that enlarges clips sees the frames in their order.
        start: the second to begin at; None: the first frame.
        count: at most so many frames; None: all.
        reduce: the originals are the frames reduced by so much, bicubic: for films that are softer, or more damaged by
            their compression, than their number of pixels says.
        damage: a `srgan.compare.damage.Damage` of each low resolution.
        notice: called with a line on anything that a user should know.

    Raises:
        SRGANError: it cannot be read, PyAV is missing, or the frames are too small to be scored.
    """
    from srgan.clips import reading
    from srgan.clips.formats import RATE

    clip = reading.open_clip(Path(path), RATE, start, None, notice)
    width, height = (side // (reduce * scale) * scale for side in (clip.width, clip.height))
    if min(width, height) < 3 * scale:
        raise SRGANError(f"{path}: {width}x{height} pixels are too few, nothing is left inside the border")

    def originals():
        for frame in itertools.islice(clip.frames(), count):
            pixels = to_8_bits(clip.pixels(frame))
            pixels = crop_to_multiple(pixels if pixels.shape[2] == 3 else on_white(pixels), reduce)
            yield crop_to_multiple(downscale(pixels, reduce) if reduce > 1 else pixels, scale)

    # One pass over the clip feeds all: `tee` holds what the one that looks furthest ahead has taken already.
    original, source = itertools.tee(originals())
    small, *lows = itertools.tee((damage(downscale(pixels, scale)) for pixels in source), len(methods) + 1)
    results = [method.upscale.clip(low) for method, low in zip(methods, lows, strict=True)]
    for pixels, low, *enlarged in zip(original, small, *results, strict=True):
        bicubic = {BICUBIC: resize_bicubic(low, width, height)}
        labels = [method.label for method in methods]
        yield Scene(Path(path), scale, low, bicubic | dict(zip(labels, enlarged, strict=True)), pixels)


def score_frames(scenes, keys) -> Iterator[dict[str, dict[str, float]]]:
    """Yield the scores of each frame of a clip, of every method by its label: `keys` of WITH_ORIGINAL, and its flicker.

    Flicker is NaN at the first frame of every scene, and PSNR at frames of a single colour.

    Raises:
        SRGANError: OpenCV is missing.
    """
    from srgan.metrics.flicker import flicker, follow

    before = None
    for scene in scenes:
        scores = scene.scores(keys)
        if is_flat(scene.original):  # such as a black one, which has an infinite PSNR where it is right
            scores = {label: {**figures, "psnr_y": math.nan} for label, figures in scores.items()}
        motion = follow(before.original, scene.original, scene.scale) if before else None
        for label, pixels in scene.enlarged.items():
            scores[label]["flicker"] = flicker(motion, before.enlarged[label], pixels) if motion else math.nan
        yield scores
        before = scene


def pipelined(paths: Iterable, make: Callable, finish: Callable) -> Iterator[tuple]:
    """Yield (path, finish(make(path))) in order, with a progress bar; `make` runs in this thread, `finish` in others.

    If either raises SRGANError or runs out of memory, the error is yielded instead of the outcome, so that the other pictures are still done.
    Only a few pictures are held in memory at a time.
    """
    paths = list(paths)
    workers = max(2, min(4, os.cpu_count() or 1))
    with (
        Bar(total=len(paths), unit="picture", leave=True) as bar,
        cleaned_up(bar.close),
        ThreadPoolExecutor(workers) as pool,
    ):
        waiting: deque[tuple[Path, Future | SRGANError]] = deque()

        def outcome_of_first():
            path, future = waiting.popleft()
            try:
                outcome = future if isinstance(future, SRGANError) else future.result()
            except Exception as error:
                outcome = _failed(path, error)
            bar.update()
            return path, outcome

        for path in paths:
            try:
                waiting.append((path, pool.submit(finish, make(path))))
            except Exception as error:
                waiting.append((path, _failed(path, error)))
            if len(waiting) > 2 * workers:
                yield outcome_of_first()
        while waiting:
            yield outcome_of_first()


def _failed(path, error):
    """The SRGANError for what went wrong with a picture; other than for want of memory, a mistake of this program's."""
    if isinstance(error, SRGANError):
        return error
    if not is_out_of_memory(error):
        raise error
    return SRGANError(f"{path}: not enough memory for this picture")

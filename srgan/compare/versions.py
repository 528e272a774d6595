"""Scenes: a picture, or a frame of a clip, in all its versions.

Versions are made one after the other, while threads score those that are done.
"""

import hashlib
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srgan.compare.damage import Damage
from srgan.compare.scores import WITH_ORIGINAL, scores_with_original, scores_without_original
from srgan.errors import SRGANError, UsageError
from srgan.interrupts import cleaned_up
from srgan.pictures import (
    READABLE,
    crop_to_multiple,
    downscale,
    on_white,
    read_rgb,
    resize_bicubic,
    to_8_bits,
)
from srgan.pictures.arrays import is_flat

UNDAMAGED = Damage()
LOW, BICUBIC, ORIGINAL = "low", "bicubic", "original"


@dataclass(frozen=True)
class Method:
    """A model: its label, its file and the file's SHA-256, its engine in words, and its `srgan.Upscaler`."""

    label: str
    path: Path
    sha256: str
    engine: str
    upscale: Callable


def load_methods(models=None, **options) -> tuple[list[Method], int]:
    """Load `models` (names of shipped ones, or paths; None for all shipped) and return them with their scale.

    Args:
        models: any number.
        options: passed on to the Upscaler.

    Raises:
        SRGANError: a model is missing or cannot be loaded.
        UsageError: the models enlarge by different factors, or none is shipped.
    """
    from srgan.models import find_model, shipped_models
    from srgan.upscale.upscaler import Upscaler

    methods, scales, labels = [], {}, {LOW, BICUBIC, ORIGINAL}
    for model in models or shipped_models() or [None]:
        path = find_model(model)
        upscaler = Upscaler(model=path, **options)
        label = unique(_label(path), labels)
        sha256, engine = hashlib.sha256(path.read_bytes()).hexdigest(), upscaler.engine
        methods.append(Method(label, path, sha256, f"{engine.name}, {engine.device}, {engine.precision}", upscaler))
        scales[label] = upscaler.scale
    if len(set(scales.values())) > 1:
        different = ", ".join(f"{label} x{scale}" for label, scale in scales.items())
        raise UsageError(f"the models enlarge by different factors ({different}): compare those of one factor")
    return methods, next(iter(scales.values()))


def _label(path):
    """`runs/NAME/generator.keras` is called NAME; a file of another name by that name."""
    return path.resolve().parent.name if path.stem == "generator" else path.stem


def unique(name, taken):
    """`name`, with a number appended if it is in the set `taken`, to which it is then added.

    Names that differ only in case count as equal, as they do on the file systems of macOS and Windows.
    """
    candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    chosen = next(candidate for candidate in candidates if candidate.casefold() not in taken)
    taken.add(chosen.casefold())
    return chosen


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
        if self.original is None:
            return {
                label: scores_without_original(self.low, pixels, self.scale) for label, pixels in self.enlarged.items()
            }
        return {
            label: scores_with_original(self.original, pixels, self.scale, keys)
            for label, pixels in self.enlarged.items()
        }

    def versions(self) -> dict[str, np.ndarray]:
        """Every version by its label, from low to original."""
        return {LOW: self.low, **self.enlarged, **({} if self.original is None else {ORIGINAL: self.original})}


def low_resolution(original, scale, damage=UNDAMAGED):
    """The low resolution of `original`, sides multiples of `scale`: by bicubic, then with `damage` done to it."""
    return damage(downscale(original, scale))


def read_scene(path, scale, methods=(), *, low=False, damage=UNDAMAGED) -> Scene:
    """Read the picture at `path` and enlarge it by bicubic and `methods`: itself if `low`, else its `low_resolution`.

    Raises:
        SRGANError: the file cannot be read, or the picture is too small to be scored.
    """
    given = read_rgb(path)
    height, width = given.shape[:2]
    if min(height, width) < 3 * (1 if low else scale):
        raise SRGANError(f"{path}: {width}x{height} pixels are too few, nothing is left inside the border")
    original = None if low else crop_to_multiple(given, scale)
    small = given if low else low_resolution(original, scale, damage)
    height, width = small.shape[:2]
    enlarged = {BICUBIC: resize_bicubic(small, width * scale, height * scale)}
    enlarged |= {method.label: method.upscale(small) for method in methods}
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
    small, *lows = itertools.tee((low_resolution(pixels, scale, damage) for pixels in source), len(methods) + 1)
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


def in_step(paths: Iterable, make: Callable, finish: Callable) -> Iterator[tuple]:
    """Yield (path, finish(make(path))) in order, with a progress bar; `make` runs in this thread, `finish` in others.

    If either raises SRGANError, the error is yielded instead of the outcome, so that the other pictures are still done.
    Only a few pictures are held in memory at a time.
    """
    paths = list(paths)
    workers = max(2, min(4, os.cpu_count() or 1))
    with (
        tqdm(total=len(paths), unit="picture", disable=None) as bar,
        cleaned_up(bar.close),
        ThreadPoolExecutor(workers) as pool,
    ):
        waiting: deque[tuple[Path, Future | SRGANError]] = deque()

        def outcome_of_first():
            path, future = waiting.popleft()
            try:
                outcome = future if isinstance(future, SRGANError) else future.result()
            except SRGANError as error:
                outcome = error
            bar.update()
            return path, outcome

        for path in paths:
            try:
                waiting.append((path, pool.submit(finish, make(path))))
            except SRGANError as error:
                waiting.append((path, error))
            if len(waiting) > 2 * workers:
                yield outcome_of_first()
        while waiting:
            yield outcome_of_first()


def find_pictures(paths) -> list[Path]:
    """The files of `paths`, in order and without duplicates; of a folder the pictures in it, by their suffixes, sorted.

    Raises:
        UsageError: a path does not exist, or no picture is found.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            named = (
                file for file in path.iterdir() if file.suffix.lower() in READABLE and not file.name.startswith(".")
            )
            found += sorted(file for file in named if file.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path}: no such picture or folder")
    if not found:
        raise UsageError(f"{', '.join(map(str, paths))}: no pictures there")
    return list(dict.fromkeys(found))


def named_path(text) -> tuple[str, str]:
    """NAME=PATH as a pair; a PATH alone is named by its last part."""
    name, separator, path = text.partition("=")
    return (name, path) if separator else (Path(text).resolve().name, text)


def find_set(text) -> tuple[str, list[Path]]:
    """The name and the pictures of a test set, given as NAME=FOLDER or FOLDER. Its folder HR is used if it has one.

    Raises:
        UsageError: there is no such folder, or no picture in it.
    """
    name, path = named_path(text)
    folder = Path(path)
    return name, find_pictures([folder / "HR" if (folder / "HR").is_dir() else folder])

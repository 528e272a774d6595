"""Evaluating models on test sets and clips: mean scores, to stand beside published figures."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from srgan.clips.formats import RATE
from srgan.compare.damage import Damage
from srgan.compare.inputs import find_set, named_path
from srgan.compare.methods import Method, load_methods
from srgan.compare.predictions import Prediction, find_predictions, refuse_taken
from srgan.compare.scenes import BICUBIC, UNDAMAGED, pipelined, read_clip, read_scene, score_frames
from srgan.compare.scores import FLAT_NOISE, OVER_TIME, WITH_ORIGINAL, flat_scores, mean_scores
from srgan.compare.strip import Strip, draw_strip
from srgan.errors import SRGANError, UsageError
from srgan.progress import Bar

SHOWN = ("psnr_y", "ssim_y", "lpips", "lattice")
SCORES = {key: WITH_ORIGINAL[key] for key in SHOWN} | OVER_TIME  # those that clips have
PICTURE_SCORES = (*SHOWN, *FLAT_NOISE)


@dataclass(frozen=True)
class Evaluation:
    """What was measured: mean scores by set or clip, then by method, then by score; and how.

    `failed` is how many pictures and clips could not be measured.
    """

    sets: dict[str, dict[str, dict[str, float]]]
    clips: dict[str, dict[str, dict[str, float]]]
    methods: list[Method]
    scale: int
    damage: Damage
    failed: int


def evaluate(
    models: Sequence[str] = (),
    data: Iterable[str] = (),
    clips: Iterable[str] = (),
    predictions: Iterable[str] = (),
    *,
    scale: int | None = None,
    damage: Damage = UNDAMAGED,
    recursive: bool = False,
    frames: int | None = None,
    reduce: int = 1,
    strip: Path | None = None,
    crop: tuple[int, int, int, int] | None = None,
    **options,
) -> Evaluation:
    """Measure models and other programs' predictions on test sets, and models on clips.

    Args:
        models: each [NAME=]MODEL[@STRENGTH], a shipped model's name or a path.
        data: test sets, each [NAME=]FOLDER; the pictures are in the folder or in HR below it.
        clips: each [NAME=]PATH[@SECONDS]: a video file or a folder of frames, and where to begin.
        predictions: folders of pictures made of `data` by another program, each [NAME=]FOLDER, or one such picture.
        scale: how much smaller the low resolutions are; None: as the models tell it, without any 4.
        damage: done to the low resolutions.
        recursive: take the folders in the folder of a test set, too.
        frames: of each clip, at most; None: all.
        reduce: the original of a clip is each frame reduced by so much.
        strip: draw the clips' last frames and a line over time to this file.
        crop: what the strip shows: left, top, width, height in pixels of the original.
        options: of the Upscaler.

    Raises:
        SRGANError: nothing could be measured, or a model cannot be loaded.
        UsageError: the arguments do not go together.
    """
    sets = _by_name("--data", (find_set(text, recursive) for text in data))
    clips = _by_name("--clips", map(find_clip, clips))
    made = find_predictions(predictions, sum(map(len, sets.values())), damage)
    if not sets and not clips:
        raise UsageError("nothing to evaluate on: pass --data or --clips")
    if strip and not clips:
        raise UsageError("--strip: shows clips; pass --clips")
    if clips:
        import srgan.metrics.flicker  # noqa: F401  (that their packages are missing is said before any work)

    methods: list[Method] = []
    if models:
        methods, scale = load_methods(models, scale=scale, **options)
    elif clips or not made:
        raise UsageError("nothing to evaluate: pass --model" + ("" if clips else " or --prediction-dir"))
    scale = scale or 4
    refuse_taken(made, [BICUBIC, *(method.label for method in methods)])

    of_sets, failed = measure_sets(sets, made, methods, scale, damage)
    if sets and not of_sets:
        raise SRGANError("none of the pictures could be measured")
    of_clips, bad = measure_clips(
        clips, methods, scale, frames=frames, reduce=reduce, damage=damage, strip=strip, crop=crop
    )
    if clips and not of_clips:
        raise SRGANError("none of the clips could be measured")
    return Evaluation(of_sets, of_clips, methods, scale, damage, failed + bad)


def _by_name(option, pairs):
    pairs = list(pairs)
    if len(dict(pairs)) < len(pairs):
        what = {"--data": "sets", "--clips": "clips"}[option]
        raise UsageError(f"{option}: two {what} have one name; name them NAME=PATH")
    return dict(pairs)


def find_clip(text: str) -> tuple[str, tuple[Path, float | None]]:
    """A clip given as [NAME=]PATH[@SECONDS]: its name, and its path with the second to begin at, or None.

    Raises:
        UsageError: there is no such clip.
    """
    name, where = named_path(text)
    found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", where)
    path, start = (Path(found[1]), float(found[2])) if found and not Path(where).exists() else (Path(where), None)
    if not path.exists():
        raise UsageError(f"{path}: no such clip")
    return (name if "=" in text else path.name if path.is_dir() else path.stem), (path, start)


def measure_sets(sets, predictions, methods, scale, damage=UNDAMAGED) -> tuple[dict, int]:
    """Each set's mean scores by method, and how many pictures could not be measured."""
    means, failed = {}, 0
    for name, paths in sets.items():
        folders = [each.path / name if (each.path / name).is_dir() else each.path for each in predictions]
        made = [Prediction(each.label, folder) for each, folder in zip(predictions, folders)]
        scene_of = partial(read_scene, scale=scale, methods=methods, predictions=made, damage=damage)
        pictures = []
        for _, outcome in pipelined(paths, scene_of, score_picture):
            if isinstance(outcome, SRGANError):
                failed += 1
                _notice(f"skipped {outcome}")
            else:
                pictures.append({"scores": outcome})
        if pictures:
            means[name] = mean_scores(pictures, list(pictures[0]["scores"]), PICTURE_SCORES)
    return means, failed


def score_picture(scene) -> dict[str, dict[str, float]]:
    """The scores of a picture's enlargements, by method."""
    return {
        label: scores | flat_scores(scene.low, scene.enlarged[label]) for label, scores in scene.scores(SHOWN).items()
    }


def measure_clips(
    clips, methods, scale, *, frames=None, reduce=1, damage=UNDAMAGED, strip=None, crop=None
) -> tuple[dict, int]:
    """Each clip's mean scores by method, and the mean of these; and how many clips could not be measured.

    Args:
        clips: by name, each a path and the second to begin at, or None.
        methods, scale: of `load_methods`.
        frames, reduce, damage, strip, crop: see `evaluate`.
    """
    from srgan.clips.reading import open_clip

    means, rows, failed = {}, [], 0
    for name, (path, start) in clips.items():
        drawn = Strip(scale, crop) if strip else None
        try:
            total = min(filter(None, (open_clip(path, RATE, start).count, frames)), default=None)
            scenes = read_clip(
                path, scale, methods, start=start, count=frames, reduce=reduce, damage=damage, notice=_notice
            )
            if drawn:
                scenes = map(drawn.seen, scenes)
            with Bar(score_frames(scenes, SHOWN), desc=name, total=total, unit="frame", leave=True) as bar:
                scored = [{"scores": scores} for scores in bar]
            if not scored:
                raise SRGANError(f"{path}: no frames in that time")
            means[name] = mean_scores(scored, list(scored[0]["scores"]), SCORES)
            if drawn:
                rows += drawn.rows()
        except SRGANError as error:
            failed += 1
            _notice(f"skipped {error}")
    if rows:
        draw_strip(rows, strip)
    if len(means) > 1:
        labels = list(next(iter(means.values())))
        means["mean"] = mean_scores([{"scores": mean} for mean in means.values()], labels, SCORES)
    return means, failed


def _notice(line):
    tqdm.write(f"srgan: {line}", file=sys.stderr)

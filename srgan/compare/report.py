"""The comparison report: pictures enlarged by models, beside bicubic and the original, as a page, sheets and scores."""

import csv
import io
import json
import math
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from srgan import __version__
from srgan.compare import page
from srgan.compare.damage import Damage
from srgan.compare.inputs import find_pictures
from srgan.compare.methods import load_methods, unique
from srgan.compare.predictions import find_predictions, refuse_taken
from srgan.compare.scenes import BICUBIC, LOW, pipelined, read_scene
from srgan.compare.scores import WITH_ORIGINAL, WITHOUT_ORIGINAL, mean_scores, protocol
from srgan.errors import SRGANError, UsageError, printable
from srgan.files import atomic_path, wrap_os_errors, write_text
from srgan.metrics import pixels as metrics
from srgan.pictures.sheets import panel_at, sheet


def compare(
    paths: Iterable[str | Path],
    output: str | Path,
    models: Iterable[str | Path] | None = None,
    *,
    predictions: Iterable[str] = (),
    recursive: bool = False,
    scale: int | None = None,
    low: bool = False,
    blur: float = 0.0,
    noise: float = 0.0,
    jpeg: int | None = None,
    **options: Any,
) -> dict:
    """Compare `models` with bicubic on pictures, and write what comes out into the folder `output`.

    Args:
        paths: picture files, and folders of them.
        output: gets `index.html`, `scores.json`, `scores.csv` and a sheet of panels for each picture in `sheets/`.
        models: each [NAME=]MODEL[@STRENGTH], a shipped model's name or a path; None: without predictions all that are
            shipped.
        predictions: folders of pictures that another program made of `paths`, each [NAME=]FOLDER, or one such picture.
        recursive: take the folders in a folder, too.
        scale: how much smaller the low resolutions are; None: as the models tell it, without any 4.
        low: the pictures are low resolution already; there are no originals, and only no-reference scores.
        blur, noise, jpeg: done to each low resolution, in this order: see `srgan.compare.damage.Damage`.
        options: passed on to the Upscaler.

    Returns:
        dict: the content of `scores.json`. Pictures that cannot be read are listed in "skipped".

    Raises:
        SRGANError: a model cannot be loaded, or the folder cannot be written.
        UsageError: there is no picture, `blur`, `noise` or `jpeg` is out of range or comes with `low`, or the models have
            different scales.
    """
    damage = Damage(blur, noise, jpeg)
    if low and damage:
        name = next(name for name, value in (("blur", blur), ("noise", noise), ("jpeg", jpeg)) if value)
        raise UsageError(f"{name}: with low, the pictures are taken as they are")
    paths = find_pictures(paths, recursive)
    made = find_predictions(predictions, len(paths), damage)
    methods, scale = ([], scale or 4) if made and not models else load_methods(models, scale=scale, **options)
    labels = [BICUBIC, *(method.label for method in methods)]
    refuse_taken(made, labels)
    output = Path(output)
    with wrap_os_errors(output):
        (output / "sheets").mkdir(parents=True, exist_ok=True)
    names = dict(zip(paths, _names(paths), strict=True))
    pixels = page.pixels_each(len(paths), len(methods) + len(made) + (1 if low else 2))

    def finish(scene):
        scores, detail = scene.scores(), detail_box(scene)
        target = output / "sheets" / f"{names[scene.path]}.png"
        with wrap_os_errors(target), atomic_path(target) as temporary:
            draw_sheet(scene, scores, detail).save(temporary, compress_level=3)
        height, width = scene.versions()[BICUBIC].shape[:2]
        facts = {"name": names[scene.path], "path": str(scene.path), "width": width, "height": height, "scores": scores}
        return facts, page.picture(scene, detail, pixels)

    pictures, skipped, embedded = [], [], []
    scene_of = partial(read_scene, scale=scale, methods=methods, predictions=made, low=low, damage=damage)
    for path, outcome in pipelined(paths, scene_of, finish):
        if isinstance(outcome, SRGANError):
            skipped.append({"path": str(path), "reason": str(outcome)})
            tqdm.write(f"srgan: skipped {printable(str(outcome))}", file=sys.stderr)
        else:
            pictures.append(outcome[0])
            embedded.append(outcome[1])
    if not pictures:
        raise SRGANError("none of the pictures could be compared")

    kinds = WITHOUT_ORIGINAL if low else WITH_ORIGINAL
    report = {
        **asdict(damage),
        "protocol": protocol(scale, low, damage),
        "versions": installed_versions(),
        "models": [{"name": m.label, "path": str(m.path), "sha256": m.sha256, "engine": m.engine} for m in methods],
        "predictions": [{"name": each.label, "path": str(each.path)} for each in made],
        "means": mean_scores(pictures, [*labels, *(each.label for each in made)], kinds),
        "pictures": pictures,
        "skipped": skipped,
    }
    write_text(
        output / "scores.json", json.dumps(_finite(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )
    write_text(output / "scores.csv", _as_csv(report, kinds))
    write_text(output / "index.html", page.page(_finite(report), embedded, kinds))
    return report


def _names(paths):
    taken = set()
    return [unique(path.stem, taken) for path in paths]


def detail_box(scene, size=120):
    """(top, left, height, width) of the window where the models differ most from bicubic, on the low grid's lines."""
    scale, bicubic = scene.scale, metrics.luma(scene.enlarged[BICUBIC])
    others = [pixels for label, pixels in scene.enlarged.items() if label != BICUBIC]
    difference = sum(np.abs(metrics.luma(pixels) - bicubic) for pixels in others)
    rows, columns = scene.low.shape[:2]
    blocks = np.reshape(difference, (rows, scale, columns, scale)).sum((1, 3))
    high, wide = (min(size // scale, side) for side in (rows, columns))
    sums = np.pad(blocks, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    return int(top) * scale, int(left) * scale, high * scale, wide * scale


def draw_sheet(scene, scores, detail) -> Image.Image:
    """The sheet of a scene: the whole picture in every version, and below it the `detail` four times as large.

    `scores` are the scene's, and `detail` is (top, left, height, width).
    """
    versions, scale = scene.versions(), scene.scale
    top, left, height, width = detail

    def cut(label, pixels):
        step = scale if label == LOW else 1
        return pixels[top // step : (top + height) // step, left // step : (left + width) // step]

    def text(label):
        if label not in scores:
            shape = versions[label].shape
            return f"{shape[1]} x {shape[0]}"
        kinds = WITHOUT_ORIGINAL if scene.original is None else WITH_ORIGINAL
        figures = [f"{kinds[key].title} {kinds[key].text(value)}" for key, value in scores[label].items()]
        return "   ".join(figures[:3])

    drawn_width = 4 * width
    rows = [[_framed(pixels, scene, detail, drawn_width) for pixels in versions.values()]]
    if len(rows[0][0]) > 4 * drawn_width:
        rows = []  # a picture so tall would make a sheet that no program opens
    rows.append([cut(label, pixels) for label, pixels in versions.items()])
    texts = [text(label) for label in versions]
    return sheet(rows, list(versions), [texts, None][: len(rows)], panel_width=drawn_width)


def _framed(pixels, scene, detail, drawn_width):
    """`pixels` at the width it is drawn, with a frame around the detail."""
    high, wide = scene.enlarged[BICUBIC].shape[:2]
    panel = panel_at(pixels, drawn_width, round(high * drawn_width / wide))
    top, left, height, width = (round(value * drawn_width / wide) for value in detail)
    draw = ImageDraw.Draw(panel)
    draw.rectangle((left - 1, top - 1, left + width, top + height), outline="black")
    draw.rectangle((left, top, left + width - 1, top + height - 1), outline="white")
    return np.asarray(panel)


def installed_versions() -> dict[str, str]:
    """The versions of what makes the figures, as far as installed."""
    found = {"srgan": __version__, "python": platform.python_version()}
    for package in ("numpy", "pillow", "keras", "tensorflow", "jax", "openvino"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _finite(value):
    """`value` with None for every number that JSON has no word for: infinite (equal pictures) or not defined."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_csv(report, kinds):
    models = {model["name"]: [model["sha256"], model["engine"]] for model in report["models"]}
    rows = [(picture["name"], picture["path"], picture["scores"]) for picture in report["pictures"]]
    conditions = {
        **{f"{name} version": value for name, value in report["versions"].items()},
        "protocol": "; ".join(f"{key}: {value}" for key, value in report["protocol"].items()),
    }
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["picture", "path", "method", *kinds, "sha256", "engine", *conditions])
    for name, source, scores in [*rows, ("mean", "", report["means"])]:
        for label, figures in scores.items():
            writer.writerow(
                [name, source, label, *figures.values(), *models.get(label, ["", ""]), *conditions.values()]
            )
    return text.getvalue()

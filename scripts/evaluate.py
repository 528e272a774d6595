"""Measure models on the literature's test sets and print the table as Markdown, beside bicubic and published figures.

    python scripts/evaluate.py --model srresnet --data Set5=benchmarks/Set5 --data Set14=benchmarks/Set14
    python scripts/evaluate.py --model srresnet --model srgan --clips video.mp4@5.5 other.mp4 --frames 40

A data set is a folder of high-resolution pictures, or has them in a folder HR. Pictures made by any other program are
measured with the same ruler through --prediction-dir; they are called as the high-resolution ones, with or without
something behind: baby.png, baby_x4.png, baby-esrgan.png.

A clip is a video file, or a folder of numbered frames, from its beginning or from @SECONDS on. Its scores are the means over its frames, and its flicker is how
much they change by themselves (srgan/metrics/flicker.py). --strip also draws its last frames, and a line of all frames over time.
"""

import argparse
import re
import sys
from collections import deque
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srgan.clips.formats import RATE
from srgan.compare.damage import Damage
from srgan.compare.scores import FLAT_NOISE, OVER_TIME, WITH_ORIGINAL, flat_scores, mean_scores, protocol
from srgan.compare.versions import (
    BICUBIC,
    UNDAMAGED,
    find_pictures,
    find_set,
    in_step,
    load_methods,
    named_path,
    read_clip,
    read_scene,
    score_frames,
)
from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path
from srgan.pictures import read_rgb
from srgan.pictures.sheets import sheet

SHOWN = ("psnr_y", "ssim_y", "lpips", "lattice")
SCORES = {key: WITH_ORIGINAL[key] for key in SHOWN} | OVER_TIME  # those that clips have
PICTURE_SCORES = (*SHOWN, *FLAT_NOISE)

# Ledig et al., CVPR 2017, arXiv 1609.04802, table 2; LPIPS, and ESRGAN's PSNR: Ma et al., CVPR 2020, arXiv 2003.13081,
# table 1. The latter measured its SSIM by other settings (its bicubic has 0.8245 on Set5), so it is left out here.
PUBLISHED = {
    "SRResNet": {
        "Set5": {"psnr_y": 32.05, "ssim_y": 0.9019},
        "Set14": {"psnr_y": 28.49, "ssim_y": 0.8184},
        "BSD100": {"psnr_y": 27.58, "ssim_y": 0.7620},
    },
    "SRGAN": {
        "Set5": {"psnr_y": 29.40, "ssim_y": 0.8472, "lpips": 0.0882},
        "Set14": {"psnr_y": 26.02, "ssim_y": 0.7397, "lpips": 0.1663},
        "BSD100": {"psnr_y": 25.16, "ssim_y": 0.6688, "lpips": 0.1980},
    },
    "ESRGAN": {
        "Set5": {"psnr_y": 30.454, "lpips": 0.0748},
        "Set14": {"psnr_y": 26.276, "lpips": 0.1329},
        "BSD100": {"psnr_y": 25.317, "lpips": 0.1614},
    },
}
SOURCES = """\
Published: PSNR and SSIM of SRResNet and SRGAN from Ledig et al. (arXiv 1609.04802, table 2), who measured SSIM with
another program (their bicubic has 0.8211 on Set5); LPIPS, and PSNR of ESRGAN, from Ma et al. (arXiv 2003.13081, table 1),
whose SRGAN is a retrained one."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", default=[], help="a shipped model's name or a .keras file; repeatable"
    )
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="a test set; repeatable")
    parser.add_argument(
        "--clips", nargs="+", action="extend", default=[], metavar="[NAME=]PATH[@SECONDS]",
        help="video files, folders of frames, and where to begin in them",
    )  # fmt: skip
    parser.add_argument("--frames", type=positive, metavar="N", help="of each clip, at most")
    parser.add_argument(
        "--reduce", type=positive, default=1, metavar="N",
        help="take each frame reduced N times as the original: for clips that are soft or heavily compressed",
    )  # fmt: skip
    parser.add_argument(
        "--strip",
        type=Path,
        metavar="FILE",
        help="also draw the clips' last frames, and a line of each frame over time",
    )
    parser.add_argument(
        "--crop", type=int, nargs=4, metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"),
        help="what the strip shows, in pixels of the original (160x160 in the middle)",
    )  # fmt: skip
    parser.add_argument(
        "--prediction-dir", action="append", default=[], metavar="[NAME=]PATH",
        help="pictures made by another program for --data, in the folder itself or in one of each set's name; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--jpeg", type=int, metavar="QUALITY", help="make the low resolutions JPEGs, 1 to 100, as people have them"
    )
    parser.add_argument(
        "--blur",
        type=float,
        default=0,
        metavar="SIGMA",
        help="blur the low resolutions first, by so many of their pixels",
    )
    parser.add_argument(
        "--noise", type=float, default=0, metavar="LEVELS", help="then add Gaussian noise of so many levels of 255"
    )
    parser.add_argument("--scale", type=int, default=4, help="of the predictions, where no model tells it (4)")
    parser.add_argument("--engine", default="auto", help="auto, openvino or keras")
    parser.add_argument(
        "--precision", default="float32", help="of the computation: float32 (for figures), bfloat16, auto"
    )
    arguments = parser.parse_args(argv)
    try:
        return evaluate(arguments)
    except SRGANError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def positive(text):
    if (number := int(text)) < 1:
        raise ValueError
    return number


def evaluate(arguments):
    sets = dict(map(find_set, arguments.data))
    clips = dict(map(find_clip, arguments.clips))
    predictions = {name: Path(path) for name, path in map(named_path, arguments.prediction_dir)}
    if len(predictions) < len(arguments.prediction_dir):
        raise UsageError("--prediction-dir: two folders have one name; name them NAME=PATH")
    if len(sets) < len(arguments.data):
        raise UsageError("--data: two sets have one name; name them NAME=PATH")
    if len(clips) < len(arguments.clips):
        raise UsageError("--clips: two clips have one name; name them NAME=PATH")
    damage = Damage(arguments.blur, arguments.noise, arguments.jpeg)
    if predictions and damage:
        option = next(name for name in ("blur", "noise", "jpeg") if getattr(arguments, name))
        raise UsageError(
            f"--{option}: --prediction-dir holds what was made of other low resolutions; leave one of them out"
        )
    if missing := [str(folder) for folder in predictions.values() if not folder.is_dir()]:
        raise UsageError(f"{missing[0]}: no such folder of predictions")
    if not sets and not clips:
        raise UsageError("nothing to evaluate on: pass --data or --clips")
    if arguments.strip and not clips:
        raise UsageError("--strip: shows clips; pass --clips")
    if clips:
        import srgan.metrics.flicker  # noqa: F401  (that their packages are missing is said before any work)

    methods, scale = [], arguments.scale
    if arguments.model:
        methods, scale = load_methods(arguments.model, engine=arguments.engine, precision=arguments.precision)
    elif clips or not predictions:
        raise UsageError("nothing to evaluate: pass --model" + ("" if clips else " or --prediction-dir"))
    labels = [BICUBIC, *(method.label for method in methods)]
    if twice := [label for label in [*labels, *predictions] if [*labels, *predictions].count(label) > 1]:
        raise UsageError(f"--prediction-dir: {twice[0]} is taken; name the folder NAME=PATH")

    failed = 0
    if sets:
        means, failed = measure_sets(sets, predictions, methods, scale, damage)
        if not means:
            raise SRGANError("none of the pictures could be measured")
        comparable = not damage  # what is published is of clean low resolutions
        print(f"{markdown(means, [*labels, *predictions], comparable=comparable)}\n")
        if comparable:
            print(f"{SOURCES}\n")
    if clips:
        means, bad = measure_clips(clips, methods, scale, arguments, damage)
        failed += bad
        if not means:
            raise SRGANError("none of the clips could be measured")
        print(f"{markdown(means, labels, 'Clip')}\n")
        print(f"{OVER_TIME['flicker'].title}: {OVER_TIME['flicker'].about}.")
    print(f"Low resolution: {protocol(scale, damage=damage)['low']}.")
    for metric in [*(WITH_ORIGINAL[key] for key in SHOWN), *(FLAT_NOISE.values() if sets else ())]:
        print(f"{metric.title}: {metric.about}.")
    for method in methods:
        print(f"{method.label}: SHA-256 {method.sha256}; {method.engine}.")
    return 1 if failed else 0


def measure_sets(sets, predictions, methods, scale, damage=UNDAMAGED):
    """Each set's mean scores by method, and how many pictures could not be measured."""
    means, failed = {}, 0
    for name, paths in sets.items():
        folders = {
            label: folder / name if (folder / name).is_dir() else folder for label, folder in predictions.items()
        }

        def scene_of(path, folders=folders):
            scene = read_scene(path, scale, methods, damage=damage)
            for label, folder in folders.items():
                scene.enlarged[label] = read_prediction(folder, path, scene.original, scale)
            return scene

        pictures = []
        for _, outcome in in_step(paths, scene_of, score_picture):
            if isinstance(outcome, SRGANError):
                failed += 1
                tqdm.write(f"evaluate: skipped {outcome}", file=sys.stderr)
            else:
                pictures.append({"scores": outcome})
        if pictures:
            means[name] = mean_scores(pictures, list(pictures[0]["scores"]), PICTURE_SCORES)
    return means, failed


def score_picture(scene):
    """The scores of a picture's enlargements, by method."""
    return {
        label: scores | flat_scores(scene.low, scene.enlarged[label]) for label, scores in scene.scores(SHOWN).items()
    }


def measure_clips(clips, methods, scale, arguments, damage=UNDAMAGED):
    """Each clip's mean scores by method, and the mean of these; and how many clips could not be measured."""
    from srgan.clips.reading import open_clip

    def notice(line):
        tqdm.write(f"evaluate: {line}", file=sys.stderr)

    means, rows, failed = {}, [], 0
    for name, (path, start) in clips.items():
        strip = Strip(scale, arguments.crop) if arguments.strip else None
        try:
            total = min(filter(None, (open_clip(path, RATE, start).count, arguments.frames)), default=None)
            scenes = read_clip(
                path, scale, methods, start=start, count=arguments.frames, reduce=arguments.reduce, damage=damage,
                notice=notice,
            )  # fmt: skip
            if strip:
                scenes = map(strip.seen, scenes)
            with tqdm(score_frames(scenes, SHOWN), desc=name, total=total, unit="frame", disable=None) as bar:
                frames = [{"scores": scores} for scores in bar]
            if not frames:
                raise SRGANError(f"{path}: no frames in that time")
            means[name] = mean_scores(frames, list(frames[0]["scores"]), SCORES)
            if strip:
                rows += strip.rows()
        except SRGANError as error:
            failed += 1
            notice(f"skipped {error}")
    if rows:
        draw_strip(rows, arguments.strip)
    if len(means) > 1:
        labels = list(next(iter(means.values())))
        means["mean"] = mean_scores([{"scores": mean} for mean in means.values()], labels, SCORES)
    return means, failed


def find_clip(text):
    """A clip given as [NAME=]PATH[@SECONDS]: its name, and its path with the second to begin at, or None."""
    name, path = named_path(text)
    found = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", path)
    path, start = (Path(found[1]), float(found[2])) if found and not Path(path).exists() else (Path(path), None)
    if not path.exists():
        raise UsageError(f"{path}: no such clip")
    return (name if "=" in text else path.name if path.is_dir() else path.stem), (path, start)


def markdown(means, labels, kind="Set", comparable=True) -> str:
    """The table: a row a score of a set or clip, a column a method, the best of those measured here in bold; behind them,
    where they are `comparable`, what is published of those sets."""
    published = [label for label, figures in PUBLISHED.items() if comparable and figures.keys() & means.keys()]
    lines = [[kind, "Score", *labels, *(f"{label} (published)" for label in published)]]
    lines.append(["---", "---", *["---:"] * (len(labels) + len(published))])
    for name, rows in means.items():
        for key in rows[labels[0]]:
            metric, values = (SCORES | FLAT_NOISE)[key], [rows[label][key] for label in labels]
            cells = [f"**{metric.text(v)}**" if metric.is_best(v, values) else metric.text(v) for v in values]
            cells += [metric.text(PUBLISHED[label].get(name, {}).get(key)) for label in published]
            lines.append([name, f"{metric.title} {'↑' if metric.higher_is_better else '↓'}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Strip:
    """A part of a clip's last frames, and its middle line in every frame, in all versions.

    Args:
        scale: of the versions.
        crop: left, top, width and height of the part in pixels of the original; None: 160x160 in the middle.
    """

    def __init__(self, scale, crop=None, frames=4):
        self.scale, self.crop = scale, crop
        self.frames, self.lines = deque(maxlen=frames), {}

    def seen(self, scene):
        """Take what is shown of a frame, and return it."""
        height, width = scene.original.shape[:2]
        left, top, across, down = self.crop or (max(0, width - 160) // 2, max(0, height - 160) // 2, 160, 160)
        box = [side // self.scale for side in (left, top, min(left + across, width), min(top + down, height))]
        if not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
            raise UsageError(f"--crop: nothing of the {width}x{height} pixels of {scene.path} is in it")
        parts = {}
        for label, pixels in scene.versions().items():
            factor = pixels.shape[1] * self.scale // width
            x0, y0, x1, y1 = (side * factor for side in box)
            part = parts[label] = pixels[y0:y1, x0:x1].copy()
            self.lines.setdefault(label, []).append(part[len(part) // 2].repeat(self.scale // factor, axis=0))
        self.frames.append(parts)
        return scene

    def rows(self):
        """Rows for a sheet, a frame each, and one with the lines from the first frame to the last, downwards."""
        return [*self.frames, {label: np.stack(lines) for label, lines in self.lines.items()}]


def draw_strip(rows, path):
    labels = list(rows[0])
    drawn = sheet([[row[label] for label in labels] for row in rows], labels)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            drawn.save(temporary, quality=92)
    except (OSError, ValueError) as error:
        raise SRGANError(f"{path}: cannot be written ({error})") from error


def read_prediction(folder, path, original, scale):
    """The picture in `folder` that was made for `path`, cut to the size of `original`.

    Raises:
        SRGANError: there is none, or more than one, or it has another size.
    """
    found = [file for file in find_pictures([folder]) if file.stem == path.stem]
    if not found:
        longer = [file for file in find_pictures([folder]) if file.stem.startswith(path.stem)]
        found = [file for file in longer if not file.stem[len(path.stem)].isdigit()]
    if len(found) != 1:
        what = f"{len(found)} pictures begin so" if found else "no such picture"
        raise SRGANError(f"{folder / path.stem}: {what}, exactly one prediction is needed")
    pixels, (height, width) = read_rgb(found[0]), original.shape[:2]
    if not (0 <= pixels.shape[0] - height < scale and 0 <= pixels.shape[1] - width < scale):
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise SRGANError(f"{found[0]}: has {size} pixels, the original {width}x{height}")
    return pixels[:height, :width]


if __name__ == "__main__":
    sys.exit(main())

"""Measure models on the literature's test sets and print the table as Markdown, beside bicubic and published figures.

    python scripts/evaluate.py --model srresnet --data Set5=benchmarks/Set5 --data Set14=benchmarks/Set14

A data set is a folder of high-resolution pictures, or has them in a folder HR. Pictures made by any other program are
measured with the same ruler through --prediction-dir; they are called as the high-resolution ones, with or without
something behind: baby.png, baby_x4.png, baby-esrgan.png.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from srgan.errors import SRGANError, UsageError
from srgan.images import read_rgb
from srgan.runtime import load_keras
from srgan.scenes import BICUBIC, find_pictures, find_set, in_step, load_methods, named_path, read_scene
from srgan.scores import WITH_ORIGINAL, mean_scores, protocol

SHOWN = ("psnr_y", "ssim_y", "lpips")

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
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH", help="a test set; repeatable")
    parser.add_argument(
        "--prediction-dir", action="append", default=[], metavar="[NAME=]PATH",
        help="pictures made by another program, in the folder itself or in one of each set's name; repeatable",
    )  # fmt: skip
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


def evaluate(arguments):
    sets = dict(map(find_set, arguments.data))
    predictions = {name: Path(path) for name, path in map(named_path, arguments.prediction_dir)}
    if len(predictions) < len(arguments.prediction_dir):
        raise UsageError("--prediction-dir: two folders have one name; name them NAME=PATH")
    if len(sets) < len(arguments.data):
        raise UsageError("--data: two sets have one name; name them NAME=PATH")
    if missing := [str(folder) for folder in predictions.values() if not folder.is_dir()]:
        raise UsageError(f"{missing[0]}: no such folder of predictions")
    methods, scale = [], arguments.scale
    if arguments.model:
        methods, scale = load_methods(arguments.model, engine=arguments.engine, precision=arguments.precision)
    elif not predictions:
        raise UsageError("nothing to evaluate: pass --model or --prediction-dir")
    labels = [BICUBIC, *(method.label for method in methods), *predictions]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UsageError(f"--prediction-dir: {twice[0]} is taken; name the folder NAME=PATH")
    load_keras()  # for LPIPS, before there is a bar whose stderr it would hold back

    means, failed = {}, 0
    for name, paths in sets.items():
        folders = {
            label: folder / name if (folder / name).is_dir() else folder for label, folder in predictions.items()
        }

        def scene_of(path, folders=folders):
            scene = read_scene(path, scale, methods)
            for label, folder in folders.items():
                scene.enlarged[label] = read_prediction(folder, path, scene.original, scale)
            return scene

        pictures = []
        for _, outcome in in_step(paths, scene_of, lambda scene: scene.scores()):
            if isinstance(outcome, SRGANError):
                failed += 1
                tqdm.write(f"evaluate: skipped {outcome}", file=sys.stderr)
            else:
                pictures.append({"scores": outcome})
        if pictures:
            means[name] = mean_scores(pictures, labels, WITH_ORIGINAL)
    if not means:
        raise SRGANError("none of the pictures could be measured")
    print(markdown(means, labels))
    print(f"\n{SOURCES}\n")
    for key, text in protocol(scale).items():
        if key in ("low", *SHOWN):
            print(f"{WITH_ORIGINAL[key].title if key in SHOWN else 'Low resolution'}: {text}.")
    for method in methods:
        print(f"{method.label}: SHA-256 {method.sha256}; {method.engine}.")
    return 1 if failed else 0


def markdown(means, labels) -> str:
    """The table: a row a score of a set, a column a method, the best of those measured here in bold."""
    published = [label for label, figures in PUBLISHED.items() if figures.keys() & means.keys()]
    lines = [["Set", "Score", *labels, *(f"{label} (published)" for label in published)]]
    lines.append(["---", "---", *["---:"] * (len(labels) + len(published))])
    for name, rows in means.items():
        for key in SHOWN:
            metric, values = WITH_ORIGINAL[key], [rows[label][key] for label in labels]
            cells = [f"**{metric.text(v)}**" if metric.is_best(v, values) else metric.text(v) for v in values]
            cells += [metric.text(PUBLISHED[label].get(name, {}).get(key)) for label in published]
            lines.append([name, f"{metric.title} {'↑' if metric.higher_is_better else '↓'}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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

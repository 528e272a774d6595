"""Train every fusion over time for the same short time and write what comes of it as a table.

    python scripts/fusions.py --clips bikes.mp4 carphone_pristine.mp4 --set data.pictures=data/photos

Each is a run of configs/srgan-video.yaml in OUTPUT/NAME, from the shipped srresnet on; it goes on where it was stopped, and
a finished one is only measured again. "frame by frame" is the same for a generator of pictures.
"""

import argparse
import shlex
import sys
from pathlib import Path

from evaluate import SCORES, find_clip, measure_clips, positive
from variants import markdown, publish, run, seconds_a_megapixel

from srgan.compare.versions import BICUBIC, load_methods
from srgan.config.networks import WITH_OWN_LAYERS
from srgan.errors import SRGANError, UsageError
from srgan.networks.over_time import FUSIONS
from srgan.runtime import load_keras

FRAME_BY_FRAME = "frame by frame"
SHIPPED = ("srresnet", "srgan")
NO_CLIPS = ("data.clips=null", "data.validation_clips=null")  # a generator of pictures takes none


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", required=True, metavar="[NAME=]PATH[@SECONDS]", help="what is measured")
    parser.add_argument("--frames", type=positive, default=20, metavar="N", help="of each clip, at most (20)")
    parser.add_argument("--reduce", type=positive, default=1, metavar="N", help="take the frames reduced N times")
    parser.add_argument("--output", type=Path, default=Path("runs/fusions"), help="folder of the runs")
    parser.add_argument("--table", type=Path, default=Path("docs/video.md"))
    parser.add_argument("--steps", type=positive, default=200, metavar="N", help="of each (200)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for every run, as of srgan-train")
    parser.set_defaults(strip=None)
    arguments = parser.parse_args(argv)
    command = shlex.join(["python", "scripts/fusions.py", *(sys.argv[1:] if argv is None else argv)])
    budget = [f"batches.steps_per_epoch={arguments.steps}", "pixel.epochs=1", f"pixel.warmup_steps={arguments.steps // 10}",
              "pixel.average=0.98"]  # fmt: skip

    def text():
        clips = dict(map(find_clip, arguments.clips))
        if len(clips) < len(arguments.clips):
            raise UsageError("--clips: two clips have one name; name them NAME=PATH")
        runs = {
            name: run(
                arguments.output / name,
                [
                    *budget,
                    *arguments.set,
                    f"network.fusion={fusion}",
                    *(["pixel.freeze=none"] if fusion not in WITH_OWN_LAYERS else []),
                    *(NO_CLIPS if fusion == "none" else []),
                ],
                "srgan-video.yaml",
            )
            for name, fusion in {"pictures": "none", **dict(zip(FUSIONS, FUSIONS))}.items()
        }
        return TEXT.format(
            command=command, steps=arguments.steps, clips=", ".join(clips), **tables(runs, clips, arguments)
        )

    return publish("fusions", text, arguments.table)


def tables(runs, clips, arguments):
    """The table of the mean over the clips, and that of each clip's PSNR-Y, as Markdown."""
    load_keras()
    from srgan.networks.files import load_generator

    models = [*SHIPPED, *map(str, runs.values())]
    methods, scale = load_methods(models, precision="float32")
    means, failed = measure_clips(clips, methods, scale, arguments)
    if failed:
        raise SRGANError("a clip could not be measured")
    mean, seconds = means.get("mean") or next(iter(means.values())), seconds_a_megapixel(load_methods(models)[0])
    titles = [f"{FRAME_BY_FRAME}, {name} as shipped" for name in SHIPPED]
    titles += [FRAME_BY_FRAME if name == "pictures" else name for name in runs]
    heads = [f"{score.title} {'↑' if score.higher_is_better else '↓'}" for score in SCORES.values()]
    lines = [["Fusion", "Parameters", "Seconds an LR megapixel", *heads], ["---", *["---:"] * (2 + len(heads))]]
    lines += [["bicubic", "", "", *(score.text(mean[BICUBIC][key]) for key, score in SCORES.items())]]
    each = [["PSNR-Y, dB", *clips], ["---", *["---:"] * len(clips)]]
    each += [["bicubic", *(SCORES["psnr_y"].text(means[clip][BICUBIC]["psnr_y"]) for clip in clips)]]
    for title, method in zip(titles, methods, strict=True):
        parameters = f"{load_generator(method.path).count_params() / 1e6:.2f} M"
        scores = [score.text(mean[method.label][key]) for key, score in SCORES.items()]
        lines.append([title, parameters, f"{seconds[method.label]:.1f}", *scores])
        each.append([title, *(SCORES["psnr_y"].text(means[clip][method.label]["psnr_y"]) for clip in clips)])
    return {"table": markdown(lines), "each": markdown(each)}


TEXT = """# Every fusion over time at one short budget

Where the frames of a clip meet in the network (`network.fusion`, srgan/networks/over_time.py), and what a few minutes of training
make of it: {steps} steps of configs/srgan-video.yaml with the changes in the command. All start from the shipped srresnet,
which sees single frames; "frame by frame" is srresnet itself, trained for the same number of steps on the photographs.
For late, slow and recurrent, only the layers that srresnet lacks are trained; early and 3d have no such layers.

The stacked fusions (all but recurrent) have to learn motion, which takes far longer than this: their order says little.
The recurrent one is given the motion (srgan/clips/flow.py), and leads at once.

    {command}

The mean over {clips}, none of which was trained on; flicker is in levels of 255 (srgan/metrics/flicker.py). Seconds are of one
machine, with the default engine: only their ratios matter.

{table}

{each}
"""


if __name__ == "__main__":
    sys.exit(main())

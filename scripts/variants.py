"""Train every generator, discriminator and loss for the same short time and write what comes of it as a table.

    python scripts/variants.py --data Set5=benchmarks/Set5 --set data.pictures=coco/train2017 data.annotations=null \
        data.count=null data.validation_pictures=null data.validation_annotations=null
    python scripts/variants.py --clips bikes.mp4 carphone_pristine.mp4 --set data.pictures=data/photos

With --clips it is every fusion over time. Each variant is a run in OUTPUT/NAME, which goes on where it was stopped; a finished
one is only measured again. All but what the table names is configs/coco-cpu.yaml's, with smaller batches and shorter averages
as fits so few steps; of fusions configs/srgan-video.yaml's, from the shipped srresnet on.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from common.measuring import TRAIN
from common.one_line import errors_in_one_line

from srgan.compare.evaluate import SCORES, find_clip, measure_clips
from srgan.compare.inputs import find_set
from srgan.compare.methods import load_methods
from srgan.compare.scenes import BICUBIC, read_scene
from srgan.compare.scores import WITH_ORIGINAL, mean_scores
from srgan.config.networks import WITH_OWN_LAYERS
from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path
from srgan.pictures.arrays import downscale
from srgan.runtime import load_keras

SHOWN = ("psnr_y", "ssim_y", "lpips")
FRAME_BY_FRAME = "frame by frame"
SHIPPED_FRAMES = ("srresnet", "srgan")  # shipped models of pictures
GAN_START = "plain"  # the pixel stage that every GAN variant goes on from

SRRESNET = "network={{generator: srresnet, normalization: {}, activation: {}, skip: {}}}"
PIXEL = {
    "paper": (
        "SRResNet as published: batch normalisation, PReLU",
        [SRRESNET.format("batch", "prelu", "none"), "pixel.average=0"],
    ),
    "instance-relu": ("instance normalisation, ReLU", [SRRESNET.format("instance", "relu", "none")]),
    "instance-prelu": ("instance normalisation, PReLU", [SRRESNET.format("instance", "prelu", "none")]),
    "plain": ("no normalisation, bilinear skip", [SRRESNET.format("none", "prelu", "bilinear")]),
    "muon": (
        "the same, by Muon",
        [SRRESNET.format("none", "prelu", "bilinear"), "pixel.optimizer=muon", "pixel.learning_rate=6e-4"],
    ),
    "compact": ("compact", ["network={generator: compact}"]),
    "rdn": ("RDN", ["network={generator: rdn}", "pixel.learning_rate=1e-4"]),
    "rrdb": ("RRDB, ESRGAN's", ["network={generator: rrdb}", "pixel.learning_rate=2e-4"]),
}
PAPERS_LOSS = ["gan.content_layers={block5_conv4: 1.0}", "gan.content_before_activation=false", "gan.pixel_weight=0",
               "gan.content_loss=mse", "gan.content_scale=0.0784", "gan.content_weight=1.0", "gan.adversarial_weight=1e-3",
               "gan.adversarial=vanilla"]  # fmt: skip
GAN = {
    "srgan": (
        "SRGAN's discriminator and losses",
        ["network.discriminator=srgan", "network.discriminator_normalization=batch", *PAPERS_LOSS],
    ),
    "patch": (
        "pix2pix's patches, instance normalisation, SRGAN's losses",
        ["network.discriminator=patch", "network.discriminator_normalization=instance", *PAPERS_LOSS],
    ),
    "relativistic": ("patches, spectral normalisation, five VGG19 layers, L1, relativistic", []),
    "hinge": ("the same, hinge", ["gan.adversarial=hinge"]),
    "least-squares": ("the same, least squares", ["gan.adversarial=least_squares"]),
    "unet": ("the same, relativistic, U-Net", ["network.discriminator=unet"]),
    "artifacts": ("patches, relativistic, locally discriminative learning", ["gan.artifact_weight=1.0"]),
}


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measured = parser.add_mutually_exclusive_group(required=True)
    measured.add_argument("--data", metavar="NAME=PATH", help="a test set to measure on")
    measured.add_argument("--clips", nargs="+", metavar="[NAME=]PATH[@SECONDS]", help="clips to measure fusions on")
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="of each clip, at most (20)")
    parser.add_argument("--reduce", type=int, default=1, metavar="N", help="take the frames of clips reduced N times")
    parser.add_argument("--output", type=Path, help="folder of the runs (runs/variants, runs/fusions)")
    parser.add_argument("--table", type=Path, help="docs/variants.md, docs/video.md")
    parser.add_argument(
        "--steps", type=int, nargs="+", metavar="N", help="of pixels, and of GAN (300 150; fusions: 200)"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for every run, as of srgan-train")
    arguments = parser.parse_args(argv)
    arguments.command = shlex.join(["python", "scripts/variants.py", *(sys.argv[1:] if argv is None else argv)])
    make, table = (fusions, "docs/video.md") if arguments.clips else (networks, "docs/variants.md")
    page = make(arguments)
    with atomic_path(arguments.table or table) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(page)


def networks(arguments):
    """The page on generators, discriminators and losses."""
    output, (pixel_steps, gan_steps) = arguments.output or Path("runs/variants"), arguments.steps or (300, 150)
    warmup = pixel_steps // 10
    shared = ["batches.size=8", "batches.crop=64", "pixel.average=0.9", "gan.average=0.9", *arguments.set]
    test_set, pictures = find_set(arguments.data)
    runs = {}
    for name, (title, changes) in PIXEL.items():
        budget = [f"batches.steps_per_epoch={pixel_steps}", "pixel.epochs=1", "gan.epochs=0",
                  f"pixel.warmup_steps={warmup}"]  # fmt: skip
        runs[title] = run(output / name, [*shared, *budget, *changes])
    start = output / GAN_START / "generator.keras"
    for name, (title, changes) in GAN.items():
        budget = [f"batches.steps_per_epoch={gan_steps}", "pixel.epochs=0", "gan.epochs=1", f"initial_weights={start}"]
        runs[title] = run(output / name, [*shared, *budget, *changes])
    return TEXT.format(
        command=arguments.command,
        pixel_steps=pixel_steps,
        warmup=warmup,
        gan_steps=gan_steps,
        start=PIXEL[GAN_START][0],
        set=test_set,
        **tables(runs, pictures),
    )


def fusions(arguments):
    """The page on fusions over time."""
    load_keras()
    from srgan.networks.over_time import FUSIONS

    output, (steps, *_) = arguments.output or Path("runs/fusions"), arguments.steps or (200,)
    clips = dict(map(find_clip, arguments.clips))
    if len(clips) < len(arguments.clips):
        raise UsageError("--clips: two clips have one name; name them NAME=PATH")
    budget = [f"batches.steps_per_epoch={steps}", "pixel.epochs=1", f"pixel.warmup_steps={steps // 10}",
              "pixel.average=0.98"]  # fmt: skip
    runs = {}
    for name, fusion in {"pictures": "none", **dict(zip(FUSIONS, FUSIONS))}.items():
        own = [] if fusion in WITH_OWN_LAYERS else ["pixel.freeze=none"]
        no_clips = ["data.clips=null", "data.validation_clips=null"] if fusion == "none" else []
        changes = [*budget, *arguments.set, f"network.fusion={fusion}", *own, *no_clips]
        runs[name] = run(output / name, changes, "srgan-video.yaml")
    return FUSION_TEXT.format(
        command=arguments.command, steps=steps, clips=", ".join(clips), **fusion_tables(runs, clips, arguments)
    )


def run(output, changes, config="coco-cpu.yaml"):
    """Train in `output`, or see that this is done, and return the generator's path."""
    command = [sys.executable, "-c", TRAIN, "--config", config, "--output", str(output), "--set", *changes]
    print(output.name, flush=True)
    if subprocess.run(command, check=False).returncode:
        raise SRGANError(f"{output}: the run failed")
    return output / "generator.keras"


def tables(runs, pictures):
    """The two tables as Markdown, of the generators in `runs` by title, measured on `pictures`."""
    methods, scale = load_methods([str(path) for path in runs.values()], precision="auto")
    measured = [{"scores": read_scene(path, scale, methods).scores()} for path in pictures]
    means = mean_scores(measured, [BICUBIC, *(method.label for method in methods)], WITH_ORIGINAL)
    seconds = seconds_a_megapixel(methods)
    load_keras()
    from srgan.networks.files import load_generator

    def scores(label):
        return [WITH_ORIGINAL[key].text(means[label][key]) for key in SHOWN]

    by_title = dict(zip(runs, methods, strict=True))
    plain = by_title[PIXEL[GAN_START][0]]
    titles = [WITH_ORIGINAL[key].heading for key in SHOWN]
    generators = [["Generator", "Parameters", "Multiply-adds an LR pixel", "Seconds an LR megapixel", *titles]]
    generators += [["bicubic", "", "", "", *scores(BICUBIC)]]
    for title, _ in PIXEL.values():
        method = by_title[title]
        generator = load_generator(method.path)
        size = f"{generator.count_params() / 1e6:.2f} M", f"{multiply_adds(generator) / 1e6:.2f} M"
        generators.append([title, *size, f"{seconds[method.label]:.1f}", *scores(method.label)])
    objectives = [["Discriminator and losses", *titles], ["pixel stage alone", *scores(plain.label)]]
    objectives += [[title, *scores(by_title[title].label)] for title, _ in GAN.values()]
    return {"generators": markdown(generators), "objectives": markdown(objectives)}


TEXT = """# Every variant at one short budget

What a few minutes of identical training make of every generator, discriminator and loss that a configuration can name. This is
not a ranking: large networks and GANs need far longer. It shows that all of them learn, what each costs, and how fast it starts.

    {command}

{pixel_steps} steps of 8 crops of 64 x 64 pixels; other settings are those of configs/coco-cpu.yaml: L1, Adam at 4e-4 (RDN at 1e-4 and RRDB at
2e-4, which need less; Muon at 6e-4) after {warmup} steps of warm-up, then a cosine. All but the batch-normalised one are moving
averages of the weights over about 10 steps. Scores are on {set}, by the protocol of srgan-evaluate. Seconds are of one machine, with the
default engine on pictures of 224 x 224 pixels: only their ratios matter.

{generators}

{gan_steps} GAN steps, starting from "{start}", with the same batch:

{objectives}
"""


def fusion_tables(runs, clips, arguments):
    """The table of the mean over the clips, and that of each clip's PSNR-Y, as Markdown."""
    load_keras()
    from srgan.networks.files import load_generator

    models = [*SHIPPED_FRAMES, *map(str, runs.values())]
    methods, scale = load_methods(models, precision="float32")
    means, failed = measure_clips(clips, methods, scale, frames=arguments.frames, reduce=arguments.reduce)
    if failed:
        raise SRGANError("a clip could not be measured")
    mean = means.get("mean") or next(iter(means.values()))
    seconds = seconds_a_megapixel(load_methods(models, precision="auto")[0])
    titles = [f"{FRAME_BY_FRAME}, {name} as shipped" for name in SHIPPED_FRAMES]
    titles += [FRAME_BY_FRAME if name == "pictures" else name for name in runs]
    lines = [["Fusion", "Parameters", "Seconds an LR megapixel", *(score.heading for score in SCORES.values())]]
    each = [["PSNR-Y, dB", *clips]]

    def add(title, label, parameters, seconds):
        lines.append([title, parameters, seconds, *(score.text(mean[label][key]) for key, score in SCORES.items())])
        each.append([title, *(SCORES["psnr_y"].text(means[clip][label]["psnr_y"]) for clip in clips)])

    add("bicubic", BICUBIC, "", "")
    for title, method in zip(titles, methods, strict=True):
        parameters = f"{load_generator(method.path).count_params() / 1e6:.2f} M"
        add(title, method.label, parameters, f"{seconds[method.label]:.1f}")
    return {"table": markdown(lines), "each": markdown(each)}


FUSION_TEXT = """# Every fusion over time at one short budget

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


def multiply_adds(generator, side=64):
    """Multiplications of all convolutions for one input pixel."""
    from keras import layers

    total = 0
    shapes = {"lr": (1, side, side, 3)}
    for layer in generator.layers[1:]:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        given = [shapes[tensor.name] for tensor in inputs]
        shape = layer.compute_output_shape(given if len(given) > 1 else given[0])
        shapes[layer.output.name] = shape
        if isinstance(layer, layers.Conv2D):
            total += int(np.prod(layer.kernel.shape)) * shape[1] * shape[2]
    return total / side**2


def seconds_a_megapixel(methods, side=224, rounds=3):
    """The best of some rounds in turns, by label."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    pixels = np.asarray(downscale(np.ascontiguousarray(pixels.repeat(4, 0).repeat(4, 1)), 4))
    best = {}
    for _ in range(rounds + 1):
        for method in methods:
            start = time.perf_counter()
            method.upscale(pixels)
            taken = (time.perf_counter() - start) / side**2 * 1e6
            best[method.label] = min(taken, best.get(method.label, taken))
    return best


def markdown(lines):
    """A table of Markdown; the first line is its head."""
    head, *rest = lines
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

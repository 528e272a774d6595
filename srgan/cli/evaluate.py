"""srgan-evaluate"""

from pathlib import Path

from srgan.cli import _parser, _run
from srgan.interrupts import end_on_signals


def main(argv=None):
    """srgan-evaluate"""
    if argv is None:
        end_on_signals()
    parser = _parser(
        "srgan-evaluate",
        "Measure models on test sets and print the table as Markdown, beside bicubic and published figures.\n"
        "A test set is a folder of high-resolution pictures, or has them in a folder HR. Pictures made by any other\n"
        "program are measured alike with --prediction-dir; they are called as the high-resolution ones, with or without\n"
        "something behind: baby.png, baby_x4.png. A clip's scores are the means over its frames.",
        "examples:\n"
        "  srgan-evaluate --model srresnet --data Set5=benchmarks/Set5 --data Set14=benchmarks/Set14\n"
        "  srgan-evaluate --model srresnet --model srgan --clips video.mp4@5.5 other.mp4 --frames 40",
    )
    add = parser.add_argument
    add("--model", action="append", default=[], help="a shipped model's name or a .keras file; repeatable")
    add("--data", action="append", default=[], metavar="NAME=PATH", help="a test set; repeatable")
    add(
        "--prediction-dir", action="append", default=[], metavar="[NAME=]PATH",
        help="pictures made by another program for --data, in the folder itself or in one of each set's name; repeatable",
    )  # fmt: skip
    add("--jpeg", type=int, metavar="QUALITY", help="make the low resolutions JPEGs, 1 to 100, as people have them")
    add("--blur", type=float, default=0, metavar="SIGMA", help="blur them first, by so many of their pixels")
    add("--noise", type=float, default=0, metavar="LEVELS", help="then add Gaussian noise of so many levels of 255")
    add("--scale", type=int, default=4, metavar="N", help="of the predictions, where no model tells it (default: 4)")
    add("--engine", default="auto", help="auto, openvino or keras (default: auto)")
    add("--precision", default="float32", help="float32 (for figures), bfloat16 or auto (default: float32)")
    add = parser.add_argument_group("clips").add_argument
    add(
        "--clips", nargs="+", action="extend", default=[], metavar="[NAME=]PATH[@SECONDS]",
        help="video files, folders of numbered frames, and where to begin in them",
    )  # fmt: skip
    add("--frames", type=_positive, metavar="N", help="of each clip, at most")
    add(
        "--reduce", type=_positive, default=1, metavar="N",
        help="take each frame reduced N times as the original: for clips that are soft or heavily compressed",
    )  # fmt: skip
    add("--strip", type=Path, metavar="FILE", help="draw the clips' last frames, and a line of each frame over time")
    add(
        "--crop", type=int, nargs=4, metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"),
        help="what the strip shows, in pixels of the original (default: 160x160 in the middle)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)

    def work():
        from srgan.compare.damage import Damage
        from srgan.compare.evaluate import evaluate
        from srgan.compare.tables import report

        evaluation = evaluate(
            arguments.model,
            arguments.data,
            arguments.clips,
            arguments.prediction_dir,
            scale=arguments.scale,
            damage=Damage(arguments.blur, arguments.noise, arguments.jpeg),
            frames=arguments.frames,
            reduce=arguments.reduce,
            strip=arguments.strip,
            crop=arguments.crop,
            engine=arguments.engine,
            precision=arguments.precision,
        )
        print(report(evaluation))
        return 1 if evaluation.failed else 0

    return _run(work)


def _positive(text):
    if (number := int(text)) < 1:
        raise ValueError
    return number


_positive.__name__ = "whole number above 0"  # what argparse calls it

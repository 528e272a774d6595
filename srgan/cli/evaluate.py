"""srgan-evaluate"""

import logging
from pathlib import Path

from srgan.cli import _log_to_stderr, _parser, _run
from srgan.cli.measuring import add_measuring, add_models, put_tables, upscaler_options
from srgan.interrupts import end_on_signals


def main(argv: list[str] | None = None) -> int:
    """srgan-evaluate"""
    if argv is None:
        end_on_signals()
    parser = _parser(
        "srgan-evaluate",
        "Measure models on test sets and clips, and print mean scores beside bicubic and published figures.\n"
        "A test set is a folder of high-resolution pictures, or has them in a folder HR. A clip's scores are the means\n"
        "over its frames.",
        "examples:\n"
        "  srgan-evaluate --model srresnet mine=runs/mine --data benchmarks/Set5 benchmarks/Set14 --latex table.tex\n"
        "  srgan-evaluate --model srresnet srgan --clips video.mp4@5.5 other.mp4 --frames 40",
    )
    add = parser.add_argument
    add("--data", nargs="+", action="extend", default=[], metavar="[NAME=]PATH", help="test sets")
    add_models(add)
    add_measuring(add)
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
    arguments, others = parser.parse_known_args(argv)
    if others:
        hint = None if others[0].startswith("-") else f"--data {others[0]}"
        parser.error(f"unrecognized arguments: {' '.join(others)}", hint)

    def work():
        _log_to_stderr(logging.WARNING)
        from srgan.compare.damage import Damage
        from srgan.compare.evaluate import evaluate
        from srgan.compare.tables import notes_of, tables_of

        names = "scale", "recursive", "frames", "reduce", "strip", "crop"
        options = {name: getattr(arguments, name) for name in names} | upscaler_options(arguments)
        damage = Damage(arguments.blur, arguments.noise, arguments.jpeg)
        evaluation = evaluate(
            arguments.model or [],
            arguments.data,
            arguments.clips,
            arguments.prediction_dir,
            damage=damage,
            **options,
        )
        put_tables(arguments, tables_of(evaluation), notes_of(evaluation))
        return 1 if evaluation.failed else 0

    return _run(work)


def _positive(text):
    if (number := int(text)) < 1:
        raise ValueError
    return number


_positive.__name__ = "whole number above 0"  # what argparse calls it

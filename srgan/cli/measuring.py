"""What srgan-compare and srgan-evaluate have in common: their options, and where their tables go."""

import argparse
from collections.abc import Callable

from srgan.cli import _auto_or_number


def add_models(add: Callable, what: str = "") -> None:
    """The options that say what is measured."""
    add(
        "-m", "--model", nargs="+", action="extend", metavar="[NAME=]MODEL[@STRENGTH]",
        help="shipped models' names, run folders, or .keras, .pth or .safetensors files" + what,
    )  # fmt: skip
    add(
        "--strength", type=float, metavar="0..1",
        help="of all models that have none of their own: below 1, the weights are blended with the pixel model's",
    )  # fmt: skip
    add("--pixel-model", metavar="MODEL", help="what that blends with (default: the model's pixel-trained sister)")
    add(
        "--denoise", type=_auto_or_number, metavar="auto|0..1",
        help="how much noise goes, with the models that have weights for it: auto (the default) goes by the noise of each picture and is "
        "0.5 for clips; 0.5 is the model as trained",
    )  # fmt: skip
    add(
        "--prediction-dir", nargs="+", action="extend", default=[], metavar="[NAME=]PATH",
        help="pictures that another program made, named as the originals, with or without something behind: baby.png, "
        "baby_x4.png; a folder, or one file for one picture",
    )  # fmt: skip
    add(
        "-s", "--scale", type=int, metavar="N",
        help="how much smaller the low resolutions are (default: as the models, 4)",
    )  # fmt: skip
    add("-r", "--recursive", action="store_true", help="take the folders in a folder, too")


def add_measuring(add: Callable) -> None:
    """The options that say what the low resolutions suffer, how models are computed, and where tables go."""
    add("--jpeg", type=int, metavar="QUALITY", help="make the low resolutions JPEGs, 1 to 100, as most pictures are")
    add("--blur", type=float, default=0, metavar="SIGMA", help="blur them first, by so many of their pixels")
    add("--noise", type=float, default=0, metavar="LEVELS", help="then add Gaussian noise of so many levels of 255")
    add("--engine", default="auto", help="auto, openvino or keras (default: auto)")
    add("--precision", default="float32", help="float32 (for figures), bfloat16 or auto (default: float32)")
    for name, what in (("csv", "CSV, with every digit"), ("markdown", "Markdown"), ("latex", "LaTeX, with booktabs")):
        add(f"--{name}", metavar="FILE", help=f"write the table as {what}; - is standard output, in place of the other")


def upscaler_options(arguments: argparse.Namespace) -> dict:
    """Of the Upscaler, as the options say."""
    options = {key: getattr(arguments, key) for key in ("engine", "precision", "pixel_model", "denoise", "strength")}
    return {key: value for key, value in options.items() if value is not None}


def put_tables(arguments: argparse.Namespace, tables: list, notes: str = "") -> None:
    """Write the tables where the options say, and print them for a terminal where no other goes to standard output.

    Raises:
        SRGANError: a file cannot be written.
    """
    from srgan.compare.tables import as_csv, as_latex, as_markdown, as_text
    from srgan.files import write_text

    def notes_behind(text):
        return f"{text}\n\n{notes}" if notes else text

    forms = {
        "csv": lambda: as_csv(tables),
        "markdown": lambda: notes_behind("\n\n".join(map(as_markdown, tables))),
        "latex": lambda: "\n\n".join(map(as_latex, tables)),
    }
    wanted = {name: getattr(arguments, name) for name in forms if getattr(arguments, name)}
    for name, place in wanted.items():
        if place == "-":
            print(forms[name]())
        else:
            write_text(place, forms[name]() + "\n")
    if "-" not in wanted.values():
        print(notes_behind("\n\n".join(map(as_text, tables))))

"""Draw crops of photographs, enlarged as they are, by several models or values of --strength or --denoise, beside bicubic.

python scripts/draw_options.py docs/strength.jpg strength 0 0.5 0.8 1 --crops photo.jpg@186,140,78,56 other.jpg@65,225,78,56
python scripts/draw_options.py docs/photo.jpg model srresnet srgan-fast srgan-photo --crops photo.jpg@186,140,78,56
"""

import argparse
import sys
from pathlib import Path

from common.one_line import errors_in_one_line

from srgan.errors import SRGANError
from srgan.pictures.arrays import resize_bicubic
from srgan.pictures.reading import read_rgb
from srgan.pictures.sheets import sheet
from srgan.upscale import Upscaler


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("option", choices=["model", "strength", "denoise"])
    parser.add_argument("values", nargs="+", metavar="VALUE")
    parser.add_argument(
        "--model", default="srgan-photo", help="the model for strength and denoise (default: srgan-photo)"
    )
    parser.add_argument("--crops", nargs="+", required=True, metavar="FILE@LEFT,TOP,WIDTH,HEIGHT")
    arguments = parser.parse_args(argv)
    if arguments.option == "model":
        upscalers, labels = list(map(Upscaler, arguments.values)), arguments.values
    else:
        upscalers = [Upscaler(arguments.model, **{arguments.option: _number(value)}) for value in arguments.values]
        labels = [f"--{arguments.option} {value}" for value in arguments.values]
    rows = [_row(crop, upscalers) for crop in arguments.crops]
    sheet(rows, ["bicubic", *labels]).save(arguments.output, quality=88)


def _number(value):
    try:
        return float(value)
    except ValueError:
        raise SRGANError(f"{value}: no number, as strength and denoise take") from None


def _row(crop, upscalers):
    path, _, box = crop.rpartition("@")
    left, top, width, height = map(int, box.split(","))
    low = read_rgb(path)[top : top + height, left : left + width].copy()
    large = [upscaler(low) for upscaler in upscalers]
    return [resize_bicubic(low, *large[0].shape[1::-1]), *large]


if __name__ == "__main__":
    sys.exit(main())

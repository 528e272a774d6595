"""Draw crops of photographs, enlarged by several models or values of --strength or --denoise, beside bicubic.

python scripts/draw_options.py docs/strength.jpg strength 0 0.5 0.8 1 --crops photo.jpg@186,140,78,56 other.jpg@65,225,78,56
python scripts/draw_options.py docs/photo.jpg model srresnet srgan-fast srgan-photo --crops photo.jpg@186,140,78,56
python scripts/draw_options.py docs/sheet.jpg model srresnet srgan --reduced --crops original.jpg@280,180,240,240
"""

import argparse
import re
import sys
from pathlib import Path

from common.one_line import errors_in_one_line
from PIL import Image

from srgan.errors import UsageError
from srgan.pictures.arrays import crop_to_multiple, downscale, resize_bicubic
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
    parser.add_argument(
        "--reduced",
        action="store_true",
        help="reduce the photographs first, as the first model enlarges, and draw the low resolution and the original, too",
    )
    arguments = parser.parse_args(argv)
    if arguments.output.suffix.lower() not in Image.registered_extensions():
        raise UsageError(f"{arguments.output}: has to end as a picture, such as .jpg")
    crops = list(map(_parse, arguments.crops))
    if arguments.option == "model":
        upscalers, labels = list(map(Upscaler, arguments.values)), arguments.values
    else:
        numbers = list(map(_number, arguments.values))
        upscalers = [Upscaler(arguments.model, **{arguments.option: number}) for number in numbers]
        labels = [f"--{arguments.option} {value}" for value in arguments.values]
    rows = [(_reduced if arguments.reduced else _as_it_is)(*crop, upscalers) for crop in crops]
    labels = ["low", "bicubic", *labels, "high"] if arguments.reduced else ["bicubic", *labels]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    sheet(rows, labels).save(arguments.output, quality=88)


def _number(value):
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{value}: no number, as strength and denoise take") from None


def _parse(crop):
    found = re.fullmatch(r"(.+)@(\d+),(\d+),(\d+),(\d+)", crop)
    if not found:
        raise UsageError(f"{crop}: not FILE@LEFT,TOP,WIDTH,HEIGHT")
    pixels, box = read_rgb(found[1]), [int(number) for number in found.groups()[1:]]
    left, top, width, height = box
    if not (0 < width <= pixels.shape[1] - left and 0 < height <= pixels.shape[0] - top):
        raise UsageError(f"{crop}: the picture has {pixels.shape[1]} x {pixels.shape[0]} pixels")
    return pixels, box


def _as_it_is(pixels, box, upscalers):
    low = _cut(pixels, *box)
    large = [upscaler(low) for upscaler in upscalers]
    return [resize_bicubic(low, *large[0].shape[1::-1]), *large]


def _reduced(pixels, box, upscalers):
    """The whole photograph is reduced and enlarged, so that the crop's surroundings are those of the original."""
    scale = upscalers[0].scale
    if any(length % scale for length in box):
        raise UsageError(f"{','.join(map(str, box))}: with --reduced, multiples of {scale}")
    high = crop_to_multiple(pixels, scale)
    low = downscale(high, scale)
    larger = [resize_bicubic(low, *high.shape[1::-1]), *(upscaler(low) for upscaler in upscalers)]
    return [_cut(low, *(length // scale for length in box)), *(_cut(each, *box) for each in [*larger, high])]


def _cut(pixels, left, top, width, height):
    return pixels[top : top + height, left : left + width].copy()


if __name__ == "__main__":
    sys.exit(main())

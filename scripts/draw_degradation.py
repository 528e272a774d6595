"""Draw what `batches.degradation: photograph` makes of low resolutions: 32 crops, and below them real photographs as they are.

    python scripts/draw_degradation.py docs/degradation.jpg --real data/coco/train2017/000000000086.jpg ...

The crops come from data/sample/train, reduced to a quarter by bicubic, with the keys of `batches.photograph` at their defaults.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from common.one_line import errors_in_one_line
from PIL import Image

from srgan.compare.inputs import find_pictures
from srgan.config.data import Photograph
from srgan.pictures.arrays import downscale
from srgan.pictures.reading import read_rgb
from srgan.train.data.degradation_photograph import degrade_photograph

SIDE, ENLARGED, COLUMNS, COUNT = 64, 2, 8, 32
TRAIN = Path(__file__).parents[1] / "data" / "sample" / "train"


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--real", type=Path, nargs="+", default=[], help="photographs as their cameras and sites left them"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    arguments = parser.parse_args(argv)
    random = np.random.default_rng(arguments.seed)
    lows = [downscale(read_rgb(path), 4) for path in find_pictures([TRAIN])]
    crops = [degrade_photograph(_crop(lows[i % len(lows)], random), random, Photograph()) for i in range(COUNT)]
    real = [read_rgb(path) for path in arguments.real]
    crops += [_crop(real[i % len(real)], random) for i in range(COLUMNS if real else 0)]
    tiles = [np.pad(np.kron(crop, np.ones((ENLARGED, ENLARGED, 1), np.uint8)), ((2, 2), (2, 2), (0, 0)), constant_values=255)
             for crop in crops]  # fmt: skip
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(arguments.output, quality=85)


def _crop(pixels, random):
    top, left = (random.integers(length - SIDE + 1) for length in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


if __name__ == "__main__":
    sys.exit(main())

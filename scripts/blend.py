"""Write a generator on the line from one's weights to another's: their mean, or what lies beyond the second.

    python scripts/blend.py runs/a runs/b mean.keras
    python scripts/blend.py srgan-photo runs/less-noise end.keras --way 1.3 --smooth-chroma 1

The second line makes an end for `--denoise` from a short training towards less noise. Smoothing the chroma of the last convolution
takes colour noise that is finer than a low-resolution pixel: no training removes that, because the network makes it itself.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from common.merging import merge_branches
from common.one_line import errors_in_one_line
from scipy import ndimage

from srgan.errors import UsageError
from srgan.models import find_model
from srgan.pictures.arrays import LUMA
from srgan.runtime import load_keras
from srgan.upscale.engines.blending import UNLIKE, built_as


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="a shipped model's name, a .keras file or a run folder")
    parser.add_argument("second", help="another that is built alike")
    parser.add_argument("output", type=Path, help="the .keras file to write")
    parser.add_argument("--way", type=float, default=0.5, help="0 is the first, 1 the second (default: 0.5)")
    parser.add_argument(
        "--smooth-chroma", type=float, default=0.0, metavar="SIGMA", help="in pixels of the output (default: 0, not)"
    )
    arguments = parser.parse_args(argv)
    if not math.isfinite(arguments.way):
        raise UsageError(f"--way: {arguments.way} is not a finite number")
    if not 0 <= arguments.smooth_chroma < math.inf:
        raise UsageError(f"--smooth-chroma: {arguments.smooth_chroma} is not a number of pixels")
    if arguments.output.suffix != ".keras":
        raise UsageError(f"{arguments.output}: has to end in .keras")
    load_keras()
    from srgan.networks.files import load_generator, save_generator

    first, second = (load_generator(find_model(name)) for name in (arguments.first, arguments.second))
    if built_as(first) != built_as(second):
        raise UsageError(f"{arguments.first} and {arguments.second} {UNLIKE}")
    tail = _tail(first)
    if arguments.smooth_chroma and tail is None:
        raise UsageError(f"--smooth-chroma: {arguments.first} does not end in a convolution to RGB")
    for generator in (first, second):
        merge_branches(generator)
    for weight, other in zip(first.weights, second.weights, strict=True):
        # A variance beyond both might be negative.
        way = min(max(arguments.way, 0), 1) if weight.name == "moving_variance" else arguments.way
        weight.assign((1 - way) * weight + way * other)
    if arguments.smooth_chroma:
        _smooth_chroma(tail, arguments.smooth_chroma)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_generator(first, arguments.output)


def _tail(generator):
    """The last convolution, if it makes RGB."""
    from keras.layers import Conv2D

    last = [layer for layer in generator.layers if isinstance(layer, Conv2D)][-1]
    return last if last.filters == 3 else None


def _smooth_chroma(tail, sigma):
    """Blur what a kernel, (height, width, filters, 3), adds to R, G and B apart from luma; each filter's sum stays."""
    kernel, *others = tail.get_weights()
    chroma = kernel - (kernel @ np.float32(LUMA))[..., None]
    smooth = ndimage.gaussian_filter(chroma, (sigma, sigma, 0, 0), mode="constant")
    smooth += (chroma - smooth).mean((0, 1))  # what went over the edge
    tail.set_weights([kernel - chroma + smooth, *others])


if __name__ == "__main__":
    sys.exit(main())

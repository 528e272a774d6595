"""Judge generators on photographs that were held back: which of a run's is the best, and is it better than what is shipped?

    python scripts/judge.py data/coco/val2017 srgan-photo srresnet runs/mine/generator.keras

A line for each model: the flat noise of real noise (the crops of 160 x 160 pixels with the most, as they are, enlarged; the
median, luma and chroma), then PSNR-Y and LPIPS of the middle of others, reduced: clean, as JPEGs of quality 75, and mixed (blur of
0.8, noise of 3 levels, JPEG 60). Set5 and Set14 are for the card, not for choosing.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from common.one_line import errors_in_one_line

from srgan import Upscaler
from srgan.compare.damage import Damage
from srgan.compare.inputs import find_pictures
from srgan.metrics.flat_noise import flat_noise
from srgan.metrics.lpips import lpips
from srgan.metrics.noise import noise_level
from srgan.metrics.pixels import psnr_y
from srgan.pictures.arrays import downscale
from srgan.pictures.reading import read_rgb

DAMAGES = {"clean": Damage(), "JPEG 75": Damage(jpeg=75), "mixed": Damage(blur=0.8, noise=3, jpeg=60)}


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="a folder that nothing was trained on")
    parser.add_argument("models", nargs="+", help="shipped models' names, run folders or files")
    parser.add_argument("--noisy", type=int, default=14, help="crops with the most noise (default: 14)")
    parser.add_argument("--reduced", type=int, default=16, help="the last so many are reduced (default: 16)")
    parser.add_argument("--denoise", type=float, help="of models that have ends (default: by each picture's noise)")
    arguments = parser.parse_args(argv)
    photographs = [read_rgb(path) for path in find_pictures([arguments.photographs])]
    noisy = noisiest(photographs, arguments.noisy)
    reduced = [_middle(each, 320) for each in photographs[-arguments.reduced :]]
    print("model".ljust(32), "flat noise ", *(f"{name:>14}" for name in DAMAGES))
    for name in arguments.models:
        print(
            name[-32:].ljust(32),
            *_judge(Upscaler(name, precision="float32", denoise=arguments.denoise), noisy, reduced),
            flush=True,
        )


def noisiest(photographs, count):
    """The middles, 160 x 160 pixels, of the photographs with the most noise."""
    return sorted((_middle(each, 160) for each in photographs), key=noise_level)[-count:]


def _judge(upscaler, noisy, reduced):
    luma, chroma = np.median([flat_noise(low, upscaler(low)) for low in noisy], axis=0)
    yield f"{luma:.2f}, {chroma:.2f} "
    for damage in DAMAGES.values():
        pairs = [(whole, upscaler(damage(downscale(whole, 4)))) for whole in reduced]
        yield f"{statistics.mean(psnr_y(*pair) for pair in pairs):5.2f} dB {statistics.mean(lpips(*pair) for pair in pairs):.4f}"


def _middle(pixels, side):
    height, width = (min(side, length // 4 * 4) for length in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


if __name__ == "__main__":
    sys.exit(main())

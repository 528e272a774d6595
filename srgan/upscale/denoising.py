"""How much noise of a picture goes: `--denoise auto`, for models with ends of less noise and more."""

from typing import Protocol

import numpy as np

from srgan.metrics.noise import BLOCK, VISIBLE, block_statistics
from srgan.pictures.arrays import LUMA
from srgan.upscale.engines.blending import DENOISE
from srgan.upscale.pixel_values import levels_of

# Chosen by the photographs of scripts/judge.py, for the weights of srgan-photo, and kept for srgan-fast, which learnt from it; other weights may ask for others.
# Few, so that few blends are ever compiled; the first for pictures without noise, the last for those with much.
VALUES = 0.25, 0.4, 0.55, 0.7, 0.85
_SCORES = 0.4, 1.2  # to which these two belong
_LEAST = 8  # visible blocks; where fewer are, all are measured
_FLATTEST = 0.03  # share of the blocks, those whose luma varies least, that are measured
_TEXTURE = 8, 12  # levels of deviation: between them ever less counts as noise, as nothing is flat
# Of it that is residual: between them ever more counts as noise all the same; grass has 0.4, noise up to 1.
_NOISE = 0.45, 0.6

_BAND = 8 * BLOCK  # rows of pixels that are measured at once, while they are in the processor's caches
_BANDS = 64  # of a picture; of one that has more rows so many, evenly spaced


class Slices(Protocol):
    """Pixels of which parts are read at a time, as `pixels[top:bottom, left:right]`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray: ...


def choose_denoise(pixels: np.ndarray | Slices, transparency: bool = True) -> float:
    """The value between the ends that the noise of a picture asks for.

    Noise is all that the flattest blocks have, so that their residual deviates like luma itself; of texture the residual
    has far less.

    Args:
        pixels: (h, w, 1 to 4) of uint8, uint16, or floats in [0, 1]; of a picture taller than 4096 pixels some rows are taken.
        transparency: leave out what alpha hides.

    Returns:
        One of `VALUES`, the more noise the larger; 0.5, the model itself, for pictures too small for a block.
    """
    height, width = pixels.shape[:2]
    if min(width, height) < BLOCK + 2:
        return DENOISE
    tops = np.arange(0, height - BLOCK - 1, _BAND)
    tops = tops[np.linspace(0, len(tops) - 1, min(len(tops), _BANDS)).astype(int)]
    bands = (pixels[top : min(top + _BAND + 2, height), 0:width] for top in tops.tolist())
    statistics = [block_statistics(_luma(band, transparency)) for band in bands]
    score = _score(*np.concatenate(statistics, axis=1))
    return min(VALUES, key=lambda value: abs(value - np.interp(score, _SCORES, (VALUES[0], VALUES[-1]))))


def _luma(pixels, transparency):
    """Luma in levels of 255, float32 (h, w); black, which is not measured, where alpha hides it."""
    weights = LUMA if pixels.shape[2] > 2 else (1,)
    luma = pixels[..., : len(weights)].astype(np.float32) @ np.float32(
        np.multiply(weights, 255 / levels_of(pixels.dtype))
    )
    return luma * (pixels[..., -1] > 0) if transparency and pixels.shape[2] in (2, 4) else luma


def _score(brightness, variation, noise):
    visible = (brightness > VISIBLE[0]) & (brightness < VISIBLE[1])
    if visible.sum() >= _LEAST:
        variation, noise = variation[visible], noise[visible]
    flattest = variation <= np.quantile(variation, _FLATTEST)
    deviation, noise = np.sqrt(np.mean(variation[flattest] ** 2)), noise[flattest].mean()
    if not deviation:
        return 0.0
    flat = np.interp(deviation, _TEXTURE, (1, 0))
    return noise**2 / deviation * max(flat, np.interp(noise / deviation, _NOISE, (0, 1)))

"""Noise of a photograph, measured without an original: what the flat parts of luma have beside a slow change."""

import numpy as np

from srgan.pictures.arrays import LUMA

VISIBLE = 20, 235  # levels of luma: darker and brighter blocks are clipped and have no noise
BLOCK = 8  # pixels a side of the blocks among which the flat ones are


def noise_level(pixels: np.ndarray) -> float:
    """How much noise the flat parts of a picture have: a standard deviation in levels of 255, luma.

    It is the mean deviation of the residual in the tenth of the 8 x 8 blocks whose luma varies least.

    Args:
        pixels: uint8 (h, w, 3), at least 16 pixels a side.
    """
    _, variation, noise = block_statistics(pixels.astype(np.float32) @ np.asarray(LUMA, np.float32))
    return float(noise[variation <= np.quantile(variation, 0.1)].mean())


def block_statistics(luma: np.ndarray) -> np.ndarray:
    """Of each 8 x 8 block the mean of luma, its standard deviation, and that of its residual: (3, blocks), row by row.

    The residual is the response to the kernel of Immerkaer ("Fast noise variance estimation", 1996), to which white noise of a
    deviation of 1 level answers with 1 and a slope with 0. It looks one pixel far, so that the first block begins one pixel inside.

    Args:
        luma: float32 (h, w), at least 10 pixels a side.
    """
    second = luma[:, 2:] - 2 * luma[:, 1:-1] + luma[:, :-2]
    residual = (second[2:] - 2 * second[1:-1] + second[:-2]) / 6
    inner = blocks(luma[1:-1, 1:-1], BLOCK)
    return np.stack([inner.mean(0), inner.std(0), blocks(residual, BLOCK).std(0)]).reshape(3, -1)


def blocks(plane: np.ndarray, side: int) -> np.ndarray:
    """The whole blocks of a plane, (side * side, rows, columns): the pixels of each lie along the first axis."""
    rows, columns = (length // side for length in plane.shape)
    parts = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return parts.transpose(1, 3, 0, 2).reshape(side * side, rows, columns)

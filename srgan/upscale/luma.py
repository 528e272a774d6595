"""Luma and colour differences, for networks that enlarge luma alone."""

import numpy as np

from srgan.pictures.arrays import LUMA


def to_luma(rgb: np.ndarray) -> list[np.ndarray]:
    """RGB, float32 (h, w, 3) in [0, 1], as luma in [0, 1] and two colour differences in [-1, 1], (h, w, 1) each."""
    red, green, blue = (rgb[..., [channel]] for channel in range(3))
    y = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return [y.astype(np.float32), blue - y, red - y]


def from_luma(y: np.ndarray, blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    """The way back, to (h, w, 3)."""
    red, blue = red + y, blue + y
    green = (y - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return np.concatenate([red, green, blue], axis=-1)

"""How much noise an enlargement shows in the flat parts of a photograph, where it disturbs most. It needs no original."""

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from srgan.metrics.noise import BLOCK, VISIBLE, blocks
from srgan.pictures.arrays import resize_bicubic

_SMOOTHING = 1.5  # low-resolution pixels: the noise must not decide which blocks are flat
_LEAST = 0.05  # levels: bicubic's noise counts as at least so much, or a drawing's would be divided by nothing


def flat_noise(low: np.ndarray, picture: np.ndarray) -> tuple[float, float]:
    """The noise of luma and that of chroma (Cb) in flat parts, relative to that of the bicubic enlargement.

    1 is noise enlarged as bicubic enlarges it; below it noise was taken out, above it was amplified. It is the standard
    deviation, after a 5 x 5 mean was subtracted, in the tenth of the 8 x 8 blocks of low resolution that vary least.

    Args:
        low: uint8 (h, w, 3), the picture that was enlarged.
        picture: uint8 (s * h, s * w, 3), its enlargement.

    Returns:
        Two ratios; NaN where no block of 8 x 8 pixels is there, or all are nearly black or white.

    Raises:
        ValueError: the size of `picture` is no multiple of that of `low`.
    """
    height, width = low.shape[:2]
    scale = picture.shape[0] // height
    if picture.shape != (scale * height, scale * width, 3):
        raise ValueError(f"{picture.shape} is no enlargement of {low.shape}")
    smooth = blocks(_ycc(Image.fromarray(low).filter(ImageFilter.GaussianBlur(_SMOOTHING)))[..., 0], BLOCK)
    brightness, variation = smooth.mean(0), smooth.std(0)
    visible = (brightness > VISIBLE[0]) & (brightness < VISIBLE[1])
    if not visible.any():
        return float("nan"), float("nan")
    flattest = visible & (variation <= np.quantile(variation[visible], 0.1))
    bicubic = resize_bicubic(low, scale * width, scale * height)
    noise, reference = (_noise(pixels, scale * BLOCK, flattest) for pixels in (picture, bicubic))
    luma, chroma = np.divide(noise, np.maximum(reference, _LEAST))
    return float(luma), float(chroma)


def _noise(pixels, side, chosen):
    """The mean deviation of what is left of luma and of Cb without their local mean, over the `chosen` blocks."""
    planes = np.moveaxis(_ycc(Image.fromarray(pixels)), -1, 0)[:2]
    details = (plane - ndimage.uniform_filter(plane, 5, mode="mirror") for plane in planes)
    return [blocks(detail, side).std(0)[chosen].mean() for detail in details]


def _ycc(image):
    return np.asarray(image.convert("YCbCr"), np.float64)

"""Low resolutions as cameras, phones and the web leave photographs, made of the bicubic ones.

A camera blurs, adds noise, smooths and sharpens it with the picture, and whoever passes the picture on resizes and
compresses it. All of that happens at the picture's own resolution, so that this works on low-resolution pixels alone:
lengths are in pixels of the low resolution and noise is in levels of 255. In contrast to
`srgan.train.data.degradation`, which follows Real-ESRGAN (arXiv 2107.10833), the noise is that of a processed
photograph: correlated from pixel to pixel, and in chroma wider than in luma (Brooks et al., "Unprocessing Images for
Learned Raw Denoising", arXiv 1811.11127, section 3).
"""

import io

import numpy as np
from PIL import Image

from srgan.config.data import Photograph
from srgan.pictures.arrays import LUMA, through_jpeg, to_float, to_uint8

# From luma and the differences of blue and red (BT.601, as in JPEG) to RGB, one row a channel.
_FROM_YCC = np.float32([[1, 0, 1.402], [1, -0.344, -0.714], [1, 1.772, 0]])
_RESAMPLINGS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def degrade_photograph(lr: np.ndarray, random: np.random.Generator, ranges: Photograph) -> np.ndarray:
    """The low resolution `lr` as a photograph of that size could be.

    Args:
        lr: uint8 (h, w, 3), made by bicubic.
        random: the only source of randomness.
        ranges: `srgan.config.data.Photograph`: what is drawn, how strong and how often.

    Returns:
        uint8 (h, w, 3), at the same place.
    """
    kind = random.random()
    if kind < ranges.clean:
        return lr
    if kind < ranges.clean + ranges.mild:
        planes = to_float(lr)
        planes = planes + camera_noise(planes, random.uniform(0, ranges.mild_noise), ranges, random)
        return _compressed(planes, random.uniform(*ranges.mild_quality), ranges, random)
    planes = to_float(lr)
    if random.random() < ranges.blur:
        planes = _blurred(planes, ranges, random)
    rounds = random.choice(3, p=(1 - ranges.resize, ranges.resize / 2, ranges.resize / 2))
    if rounds == 2:
        planes = _there_and_back(planes, ranges, random)
    if random.random() < ranges.noise:
        low, high = ranges.noise_level
        level = float(low * (high / low) ** random.random() ** 2)  # mostly little
        planes = planes + camera_noise(planes, level, ranges, random)
    if random.random() < ranges.sharpen:
        soft = gaussian_blur(planes, random.uniform(*ranges.sharpen_sigma))
        planes = planes + np.float32(random.uniform(*ranges.sharpen_amount)) * (planes - soft)
    if rounds:
        planes = _there_and_back(planes, ranges, random)
    if random.random() >= ranges.jpeg:
        return to_uint8(planes)
    strong = random.random() < ranges.strong_jpeg
    return _compressed(planes, random.uniform(*(ranges.strong_quality if strong else ranges.quality)), ranges, random)


def camera_noise(planes: np.ndarray, level: float, ranges: Photograph, random: np.random.Generator) -> np.ndarray:
    """Noise of the shape of `planes`, (h, w, 3) float32 in [0, 1]; its luma has a deviation of about `level` levels.

    Luma and chroma have noise of their own, each smoothed by what denoising, demosaicing and resizing leave of white
    noise. With the probability `ranges.photon` it grows with the square root of the light (Poisson), else it is even.
    """
    height, width = planes.shape[:2]
    smoothed = random.random() < ranges.correlated
    luma = _field(height, width, random.uniform(*ranges.luma_smoothing) if smoothed else 0.0, random)
    chroma_smoothing = random.uniform(*ranges.chroma_smoothing)
    chroma = random.uniform(*ranges.chroma_noise)
    blue, red = (chroma * _field(height, width, chroma_smoothing, random) for _ in range(2))
    noise = np.stack([luma, blue, red], axis=-1) @ _FROM_YCC.T
    if random.random() < ranges.photon:
        light = planes @ np.float32(LUMA)
        noise = noise * np.sqrt(np.clip(light, 0.02, 1))[..., None] * np.float32(1.5)
    return (noise * np.float32(level / 255)).astype(np.float32)


def gaussian_blur(planes: np.ndarray, sigma: float) -> np.ndarray:
    """(h, w, c) blurred by a Gaussian of the deviation `sigma` in pixels, edges reflected."""
    kernel = _gaussian(sigma)
    return _along(_along(planes, kernel, 0), kernel, 1)


def _gaussian(sigma):
    radius = max(1, int(np.ceil(3 * sigma)))
    values = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    return (values / values.sum()).astype(np.float32)


def _along(planes, kernel, axis):
    radius, length = len(kernel) // 2, planes.shape[axis]
    margins = [(0, 0)] * planes.ndim
    margins[axis] = (radius, radius)
    padded = np.pad(planes, margins, "symmetric")
    taken = (padded.take(range(start, start + length), axis) for start in range(len(kernel)))
    return sum(weight * part for weight, part in zip(kernel, taken, strict=True))


def _field(height, width, sigma, random):
    """White noise (h, w) of the deviation 1, smoothed by a Gaussian and brought back to that deviation."""
    field = random.standard_normal((height, width), dtype=np.float32)
    if sigma < 0.25:
        return field
    return gaussian_blur(field, sigma) / np.float32((_gaussian(sigma) ** 2).sum())


def _blurred(planes, ranges, random):
    """Out of focus, or with the probability `ranges.motion` moved along a line."""
    if random.random() >= ranges.motion:
        return gaussian_blur(planes, random.uniform(*ranges.blur_sigma))
    length, angle = random.uniform(*ranges.motion_length), random.uniform(0, np.pi)
    steps = np.linspace(-0.5, 0.5, 9) * length
    radius = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    for x, y in zip(radius + steps * np.cos(angle), radius + steps * np.sin(angle), strict=True):
        column, row = int(x), int(y)
        right, down = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer((1 - down, down), (1 - right, right))
    kernel /= kernel.sum()
    height, width = planes.shape[:2]
    padded = np.pad(planes, ((radius, radius), (radius, radius), (0, 0)), "symmetric")
    result = np.zeros_like(planes)
    for row, column in zip(*np.nonzero(kernel), strict=True):
        result += kernel[row, column] * padded[row : row + height, column : column + width]
    return result


def _there_and_back(planes, ranges, random):
    """Resized by a drawn factor and back, each with a drawn kernel: what sharing a picture does to its finest detail."""
    height, width = planes.shape[:2]
    factor = float(np.exp(random.uniform(*np.log(ranges.resize_factor))))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    first, second = (_RESAMPLINGS[index] for index in random.integers(len(_RESAMPLINGS), size=2))
    channels = [Image.fromarray(np.ascontiguousarray(planes[..., channel])) for channel in range(3)]
    return np.stack([np.asarray(c.resize(size, first).resize((width, height), second)) for c in channels], axis=-1)


def _compressed(planes, quality, ranges, random):
    pixels, quality = to_uint8(planes), round(quality)
    if random.random() < ranges.webp:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=2)
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"))
    return through_jpeg(pixels, quality, random.random() < ranges.subsampled)

"""Degradation: low resolutions as people have them, made on the fly from the high ones.

Wang et al., "Real-ESRGAN", arXiv 2107.10833, sections 3.1 to 3.3: blur, resize, noise and JPEG, all drawn at random,
the same a second time, then a sinc filter for ringing and overshoot and the resize to the final size, before or after
the last JPEG. Kernels, noise and their order are the paper's; the ranges are not. The paper restores heavily damaged
pictures. This trains a small network for typical ones: JPEGs from phones and the web of quality 60 to 95, with slight blur
and slight noise. Training on heavy damage as well would cost detail on these. So, with the paper's figures for a factor of
4 in brackets:

- A tenth of the pictures stays clean (none), a second round comes to half of them (all), and any step may be left out:
  a blur comes to 60 % in the first round and 40 % in the second (100 and 80), noise to 35 and 25 % (all).
- Blurs have at most 0.5 LR pixels of standard deviation (0.75 in the first round; 1.5 pixels of the size then
  reached in the second), and their exponents start at 0.8 for the generalised Gaussian and 1.5 for the plateau (0.5 and
  1): below, the tails are so long that a haze lies over the picture, whatever the standard deviation.
- Sizes in between go down to 0.8 of the LR's (0.6 and 0.3), so that little is lost for good, and up to 1.25 of what was
  there (1.5 and 1.2).
- Noise has at most 8 levels of standard deviation in the first round and 4 in the second (30 and 25, and at white up to
  48 from photons).
- JPEG qualities are 60 to 95 and, for the last, which shows most, 50 to 95 (both 30 to 95). Not all pictures have one.
- The last sinc filter cuts at 0.75 of the highest frequency or above (a third), in a quarter of the pictures (80 %).

Blurs are measured in pixels of the low resolution, so that they mean the same for each scale and after each resize.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image

from srgan.pictures.arrays import downscale, through_jpeg, to_float, to_uint8
from srgan.train.data.degradation_photograph import degrade_photograph
from srgan.train.data.prepare import Store

Range = tuple[float, float]  # the ends, between which all values are equally likely


@dataclass(frozen=True)
class Round:
    """One round. Single numbers are probabilities."""

    blur: float
    sigma: Range  # standard deviation of a blur along each of its axes, LR pixels
    shrink: float  # else:
    enlarge: float  # else the size is kept
    noise: float
    noise_level: Range  # standard deviation in levels of 255; of photon noise, at white
    jpeg: float
    quality: Range  # of libjpeg


@dataclass(frozen=True)
class Degradation:
    """Everything that `degrade` draws from. Single numbers are probabilities, except `smallest` and `largest`,
    which are factors of size."""

    clean: float = 0.1  # nothing but the bicubic resize
    first: Round = Round(
        blur=0.6, sigma=(0.05, 0.5), shrink=0.6, enlarge=0.1, noise=0.35, noise_level=(1, 8), jpeg=0.5, quality=(60, 95)
    )
    two_rounds: float = 0.5
    second: Round = Round(  # its JPEG is the very last step, even with a single round
        blur=0.4,
        sigma=(0.05, 0.5),
        shrink=0.3,
        enlarge=0.3,
        noise=0.25,
        noise_level=(1, 4),
        jpeg=0.85,
        quality=(50, 95),
    )
    last_sinc: float = 0.25
    last_jpeg_before_resize: float = 0.25  # else after it

    # Of both rounds.
    kernel_sides: Range = (7, 21)  # pixels, odd
    sinc: float = 0.1  # of the blurs; of the others:
    generalised: float = 0.15
    plateau: float = 0.15  # else Gaussian
    isotropic: float = 0.7
    generalised_beta: Range = (0.8, 4.0)  # exponent; half below 1, which is peaked, half above, which is flat
    plateau_beta: Range = (1.5, 3.0)
    cutoff: Range = (0.75, 1.0)  # of a sinc filter; 1 is the highest frequency that the LR can hold
    smallest: float = 0.8  # side that a shrunk picture has at least, relative to the LR's
    largest: float = 1.25  # side that an enlarged picture has at most, relative to what it had
    photon_noise: float = 0.5  # of the noise; else Gaussian
    gray_noise: float = 0.4  # the same in all channels; else each channel has its own
    subsampled: float = 0.7  # of the JPEGs: chroma at half the resolution (4:2:0); else at full (4:4:4)


REALISTIC = Degradation()


def degrade(hr: np.ndarray, scale: int, random: np.random.Generator, ranges: Degradation = REALISTIC) -> np.ndarray:
    """A realistic low resolution of a picture. It lies exactly where the bicubic one does.

    Args:
        hr: uint8 (h, w, 3), h and w multiples of `scale`.
        random: the only source of randomness.
        ranges: what is drawn, how strong and how often.

    Returns:
        uint8 (h / scale, w / scale, 3).

    Raises:
        ValueError: h or w is no multiple of `scale`.
    """
    height, width = (side // scale for side in hr.shape[:2])
    if hr.shape != (height * scale, width * scale, 3):
        raise ValueError(f"a picture of the shape {hr.shape}: must be (h, w, 3), h and w multiples of {scale}")
    if random.random() < ranges.clean:
        return downscale(hr, scale)
    planes = to_float(np.ascontiguousarray(hr.transpose(2, 0, 1)))
    planes = _blur_resize_noise(planes, width, ranges.first, ranges, random)
    planes = _maybe_jpeg(planes, ranges.first, ranges, random)
    if random.random() < ranges.two_rounds:
        planes = _blur_resize_noise(planes, width, ranges.second, ranges, random)
    jpeg_before_resize = random.random() < ranges.last_jpeg_before_resize
    if jpeg_before_resize:
        planes = _maybe_jpeg(planes, ranges.second, ranges, random)
    planes = _resize(planes, height, width, random)
    if random.random() < ranges.last_sinc:
        planes = _filter(planes, sinc_kernel(_kernel_side(ranges, random), np.pi * random.uniform(*ranges.cutoff)))
    if not jpeg_before_resize:
        planes = _maybe_jpeg(planes, ranges.second, ranges, random)
    return np.ascontiguousarray(to_uint8(planes).transpose(1, 2, 0))


def degraded(store: Store, seed: Sequence[int], photograph=None) -> Store:
    """The same store with degraded low resolutions, each a function of (seed, its place in the store).

    With the ranges of `photograph` by `srgan.train.data.degradation_photograph`, else by `degrade`.

    They are made when they are first asked for, one by one, and kept: for the pictures of a validation or a sheet.
    """
    return _DegradedStore(*astuple(store), seed=tuple(seed), photograph=photograph)


@dataclass(frozen=True)
class _DegradedStore(Store):
    seed: tuple[int, ...]
    photograph: object = None

    @cached_property
    def lr(self):
        clean = super().lr

        def make(index):
            random = np.random.default_rng([*self.seed, index])
            if self.photograph is not None:
                return degrade_photograph(clean[index], random, self.photograph)
            return degrade(self.hr[index], self.scale, random)

        return _Pictures(self.count, make)


class _Pictures(Sequence):
    """A sequence of pictures that are made one by one when they are asked for. A slice is a list."""

    def __init__(self, count, make):
        self._indices, self._make = range(count), cache(make)

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, index):
        chosen = self._indices[index]
        return [self._make(i) for i in chosen] if isinstance(index, slice) else self._make(chosen)


# -- the steps: float32 planes (3, h, w) in [0, 1], that filters may leave a little, to the same


def _blur_resize_noise(planes, lr_width, strength, ranges, random):
    if random.random() < strength.blur:
        planes = _filter(planes, _draw_kernel(planes.shape[2] / lr_width, strength.sigma, ranges, random))
    height, width = planes.shape[1:]
    resize = random.random()
    if resize < strength.shrink:
        # Each halving is equally likely: sizes near the LR's are those whose traces remain.
        least = min(1.0, ranges.smallest * lr_width / width)
        factor = least ** random.random()
    else:
        factor = random.uniform(1, ranges.largest) if resize < strength.shrink + strength.enlarge else 1
    planes = _resize(planes, max(1, round(height * factor)), max(1, round(width * factor)), random)
    if random.random() < strength.noise:
        level = random.uniform(*strength.noise_level) / 255
        noise = photon_noise if random.random() < ranges.photon_noise else gaussian_noise
        if random.random() < ranges.gray_noise:
            luma = np.tensordot(np.float32([[0.299, 0.587, 0.114]]), planes, 1)
            return planes + noise(luma, level, random)
        return planes + noise(planes, level, random)
    return planes


def _maybe_jpeg(planes, strength, ranges, random):
    if random.random() >= strength.jpeg:
        return planes
    quality, subsampled = random.integers(*strength.quality, endpoint=True), random.random() < ranges.subsampled
    return jpeg(planes, int(quality), subsampled)


def jpeg(planes: np.ndarray, quality: int, subsampled: bool) -> np.ndarray:
    """Write as JPEG and read again; `subsampled` is 4:2:0, else 4:4:4."""
    pixels = through_jpeg(to_uint8(planes.transpose(1, 2, 0)), quality, subsampled)
    return to_float(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def gaussian_noise(planes: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Noise of the shape of `planes` with the standard deviation `level` everywhere."""
    return np.float32(level) * random.standard_normal(planes.shape, dtype=np.float32)


def photon_noise(planes: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Poisson noise: of so many photons that its standard deviation is `level` at white, and `level` * sqrt(value)."""
    photons = level**-2
    planes = np.clip(planes, 0, 1)
    return (random.poisson(planes * photons) / photons - planes).astype(np.float32)


def _resize(planes, height, width, random):
    """Resize by area, bilinear or bicubic interpolation, antialiased, as drawn. Edges stay on edges: nothing shifts."""
    if planes.shape[1:] == (height, width):
        return planes
    method = random.choice(["area", "bilinear", "bicubic"])
    if method == "area":
        return resize_area(planes, height, width)
    method = Image.Resampling[method.upper()]
    return np.stack([np.asarray(Image.fromarray(plane).resize((width, height), method)) for plane in planes])


def resize_area(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each new pixel is the average of what it covers.

    Pillow's BOX counts pixels as covered or not, which moves details by up to half a pixel from where they were.
    """
    return _coverage(planes.shape[1], height) @ planes @ _coverage(planes.shape[2], width).T


def _coverage(before, after):
    """(after, before): the share that each of the pixels before has in each of those after."""
    edges = np.arange(after + 1) * (before / after)
    starts, ends, pixels = edges[:-1, None], edges[1:, None], np.arange(before)
    covered = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)
    return (covered * (after / before)).astype(np.float32)


# -- the filters


def _draw_kernel(pixel, sigma, ranges, random):
    """A blur kernel for a picture of which `pixel` pixels are one of the LR."""
    side = _kernel_side(ranges, random)
    if random.random() < ranges.sinc:
        return sinc_kernel(side, min(np.pi, np.pi * random.uniform(*ranges.cutoff) / pixel))
    shape = random.random()
    along, across = random.uniform(*sigma, 2) * pixel
    angle = random.uniform(0, np.pi)
    if random.random() < ranges.isotropic:
        across = along
    if shape < ranges.generalised:
        low, high = ranges.generalised_beta
        beta = random.uniform(*((low, 1) if random.random() < 0.5 else (1, high)))
        return blur_kernel(side, along, across, angle, beta)
    if shape < ranges.generalised + ranges.plateau:
        return blur_kernel(side, along, across, angle, random.uniform(*ranges.plateau_beta), plateau=True)
    return blur_kernel(side, along, across, angle)


def _kernel_side(ranges, random):
    least, most = ranges.kernel_sides
    return 2 * random.integers(least // 2, most // 2, endpoint=True) + 1


def blur_kernel(
    side: int, along: float, across: float, angle: float = 0.0, beta: float = 1.0, *, plateau: bool = False
) -> np.ndarray:
    """A kernel (side, side) of sum 1: exp(-q^beta / 2), or as a plateau 1 / (1 + q^beta), with q the squared distance.

    Distances are measured in standard deviations: of `along` pixels in the direction of `angle` (radians, from the x
    axis to the y axis) and of `across` at right angles to it. With beta = 1 the first is the Gaussian.
    """
    radius = side // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    q = ((u / along) ** 2 + (v / across) ** 2) ** beta
    kernel = 1 / (1 + q) if plateau else np.exp(-q / 2)
    return (kernel / kernel.sum()).astype(np.float32)


def sinc_kernel(side: int, cutoff: float) -> np.ndarray:
    """A kernel (side, side) of sum 1 that lets frequencies up to `cutoff` pass, radians a pixel, in all directions.

    The two-dimensional sinc: cutoff J1(cutoff r) / (2 pi r) at the distance r (the paper's section 3.3).
    """
    radius = side // 2
    distance = np.hypot(*np.mgrid[: radius + 1, : radius + 1])
    distance[0, 0] = 1  # set below: the limit for r = 0
    # The trapezoid rule of Bessel's integral is exact here to 9 digits, because its integrand is periodic.
    steps = np.linspace(0, np.pi, 41)
    bessel = np.cos(steps - cutoff * distance[..., None] * np.sin(steps))
    bessel = (bessel[..., 1:-1].sum(-1) + bessel[..., [0, -1]].mean(-1)) / 40
    quarter = cutoff * bessel / (2 * np.pi * distance)
    quarter[0, 0] = cutoff**2 / (4 * np.pi)
    kernel = np.pad(quarter, ((radius, 0), (radius, 0)), "reflect")
    return (kernel / kernel.sum()).astype(np.float32)


def _filter(planes, kernel):
    """Filter with reflected borders. The kernel is the same seen from both sides, so that nothing shifts."""
    radius, (height, width) = kernel.shape[0] // 2, planes.shape[1:]
    padded = np.pad(planes, ((0, 0), (radius, radius), (radius, radius)), "reflect")
    # Multiples of 16 are quick to transform. What wraps around falls on the first 2 * radius rows and columns.
    shape = [-(-side // 16) * 16 for side in padded.shape[1:]]
    spectrum = np.fft.rfft2(padded, shape) * np.fft.rfft2(kernel, shape)
    filtered = np.fft.irfft2(spectrum, shape)[:, 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]
    return filtered.astype(np.float32, copy=False)  # NumPy 1 transforms in float64

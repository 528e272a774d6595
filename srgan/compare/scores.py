"""The scores: what each is called, how it is printed and read, their means and tables."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from srgan.metrics import pixels as metrics
from srgan.metrics.flat_noise import flat_noise
from srgan.metrics.lpips import lpips
from srgan.pictures.arrays import downscale


@dataclass(frozen=True)
class Metric:
    """The name, unit and format of a score, and which values are better."""

    title: str
    unit: str
    digits: int
    higher_is_better: bool
    about: str

    @property
    def heading(self) -> str:
        """The title, with an arrow to where it is better."""
        return f"{self.title} {'↑' if self.higher_is_better else '↓'}"

    def text(self, value) -> str:
        """`value` to the digits that papers print; an en dash where it is not defined."""
        if value is None or math.isnan(value):
            return "–"
        return "∞" if math.isinf(value) else f"{value:.{self.digits}f}"

    def best(self, values) -> float | None:
        """The best of `values`, rounded as printed, so that equal figures are equally good. None if none is defined."""
        defined = [round(value, self.digits) for value in values if value is not None and not math.isnan(value)]
        return (max if self.higher_is_better else min)(defined) if defined else None

    def is_best(self, value, values) -> bool:
        return value is not None and not math.isnan(value) and round(value, self.digits) == self.best(values)


_GAUSSIAN = "11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, where the window lies inside"
WITH_ORIGINAL = {
    "psnr_y": Metric("PSNR-Y", "dB", 2, True, "BT.601 studio luma in float, the scale's pixels of border left out"),
    "ssim_y": Metric("SSIM-Y", "", 4, True, f"the same luma and border, {_GAUSSIAN}"),
    "lpips": Metric("LPIPS", "", 3, False, "AlexNet, version 0.1, whole picture: how different it looks"),
    "lattice": Metric(
        "Checker", "dB", 1, False,
        "checkerboard artifacts: level of the frequencies of the upscaling grid over their neighbours, luma, windows of "
        "64 pixels, beyond the original's: visible from about 3",
    ),
    "psnr_rgb": Metric("PSNR-RGB", "dB", 2, True, "all three channels, the scale's pixels of border left out"),
    "ssim_rgb": Metric("SSIM-RGB", "", 4, True, f"the mean of the three channels, the same border, {_GAUSSIAN}"),
}  # fmt: skip
_FLAT = (
    "noise in the flattest tenth of the blocks of 8 x 8 input pixels, relative to bicubic's; the median over pictures"
)
FLAT_NOISE = {
    "flat_luma": Metric("Flat noise, luma", "", 2, False, _FLAT),
    "flat_chroma": Metric("Flat noise, chroma", "", 2, False, f"the same of Cb: {_FLAT}"),
}
WITHOUT_ORIGINAL = {
    "lr_psnr_y": Metric("LR-PSNR-Y", "dB", 2, True, "reduced again by bicubic, against the input: is it consistent?"),
    "blur": Metric("Blur", "", 3, False, "blur effect of Crété-Roffet et al.: 0 is sharp, which may be right or wrong"),
    **FLAT_NOISE,
}
OVER_TIME = {
    "flicker": Metric(
        "Flicker", "levels", 3, False,
        "temporal change of luma that the original's motion does not explain, in levels of 255",
    ),
}  # fmt: skip


def scores_with_original(
    original: np.ndarray, picture: np.ndarray, scale: int, keys: Iterable[str] = tuple(WITH_ORIGINAL)
) -> dict[str, float]:
    """The scores `keys` of WITH_ORIGINAL for two uint8 pictures of one size (height, width, 3)."""

    def take(key):
        return lpips(original, picture) if key == "lpips" else getattr(metrics, key)(original, picture, scale)

    return {key: take(key) for key in keys}


def scores_without_original(low: np.ndarray, picture: np.ndarray, scale: int) -> dict[str, float]:
    """The scores of WITHOUT_ORIGINAL for an enlargement `picture` of `low`."""
    return {
        "lr_psnr_y": metrics.psnr_y(low, downscale(picture, scale), 1),
        "blur": metrics.blur(picture),
        **flat_scores(low, picture),
    }


def flat_scores(low: np.ndarray, picture: np.ndarray) -> dict[str, float]:
    """The figures of FLAT_NOISE for an enlargement `picture` of `low`."""
    return dict(zip(FLAT_NOISE, flat_noise(low, picture), strict=True))


_AVERAGES = dict.fromkeys(FLAT_NOISE, np.median)  # a single noisy picture would decide the mean of ratios


def mean_scores(pictures, labels, kinds) -> dict[str, dict[str, float]]:
    """Each method's mean over the pictures, of flat noise the median; what a figure is not defined for is left out of it."""
    means = {}
    for label in labels:
        columns = {key: [picture["scores"][label][key] for picture in pictures] for key in kinds}
        defined = {key: [value for value in values if not math.isnan(value)] for key, values in columns.items()}
        means[label] = {
            key: float(_AVERAGES.get(key, np.mean)(values)) if values else math.nan for key, values in defined.items()
        }
    return means


def protocol(scale: int, low: bool = False, damage: object = "") -> dict:
    """What was measured and how, in words, for whoever wants to get the same figures."""
    kinds = WITHOUT_ORIGINAL if low else WITH_ORIGINAL
    source = (
        "the given pictures" if low else f"the originals, cut to multiples of {scale}, by Pillow's bicubic (MATLAB's)"
    )
    return {
        "scale": scale,
        "low": f"{source}{damage}",
        "bicubic": "Pillow's bicubic (a = -0.5, MATLAB's imresize)",
        **{key: metric.about for key, metric in kinds.items()},
    }

"""How far a picture is from its original, by the protocol of the papers. LPIPS is in srgan.metrics.lpips.

Pictures are uint8 (height, width, 3) sRGB arrays. The `_y` measures compare BT.601 luma in its studio range, kept
in float, without `border` pixels on each side (in the papers: the scale), as the super-resolution literature does. The
`_rgb` measures treat all three channels alike. `lattice` is our own.
"""

import numpy as np
from scipy import ndimage

_WINDOW = 11  # pixels a side of SSIM's Gaussian window
_ROWS_AT_ONCE = 128
_LATTICE_WINDOW = 64


def luma(picture: np.ndarray) -> np.ndarray:
    """BT.601 studio luma of uint8 (..., 3): float64 (...) from 16 (black) to 235 (white), not rounded."""
    return 16.0 + np.asarray(picture, np.float64) @ np.array([65.481, 128.553, 24.966]) / 255.0


def psnr_y(reference: np.ndarray, picture: np.ndarray, border: int = 4) -> float:
    """Peak signal-to-noise ratio on luma in dB, of a peak of 255; infinite for equal pictures.

    Raises:
        ValueError: the pictures differ in shape, or nothing is left inside the border.
    """
    return _psnr(*_pair(luma, reference, picture, border))


def psnr_rgb(reference: np.ndarray, picture: np.ndarray, border: int = 4) -> float:
    """As `psnr_y`, on the squared error of all three channels together."""
    return _psnr(*_pair(np.float64, reference, picture, border))


def ssim_y(reference: np.ndarray, picture: np.ndarray, border: int = 4) -> float:
    """Structural similarity on luma, at most 1 (Wang et al., IEEE TIP 13(4), 2004, section III.B and equation 13).

    An 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, the mean over the places where the window lies
    inside the picture. NaN where there is no such place (sides under 11 pixels inside the border).

    Raises:
        ValueError: the pictures differ in shape, or nothing is left inside the border.
    """
    return _ssim(*_pair(luma, reference, picture, border))


def ssim_rgb(reference: np.ndarray, picture: np.ndarray, border: int = 4) -> float:
    """As `ssim_y`, the mean over the three channels."""
    reference, picture = _pair(np.float64, reference, picture, border)
    return float(np.mean([_ssim(reference[..., c], picture[..., c]) for c in range(3)]))


def lattice(reference: np.ndarray, picture: np.ndarray, scale: int = 4) -> float:
    """Checkerboard artifacts in dB: 0 where a picture has no more of them than its original, visible from about 3.

    Energy at the frequencies of the upscaling grid over that of their neighbours, minus the original's. A generator
    makes a block of scale x scale pixels from each pixel, and a GAN's blocks may become visible, in the sky or only in
    fur. Levels in dB are compared on luma, in windows of 64 pixels, half a window apart, and averaged over frequencies
    and windows. Edges on the right and at the bottom that half windows do not fill are ignored. NaN if a side has less
    than 64 pixels, and for scales below 2 or above 8.

    Raises:
        ValueError: the pictures differ in shape.
    """
    pair = _pair(luma, reference, picture, 0)
    if min(pair[0].shape) < _LATTICE_WINDOW or not 2 <= scale <= 8:
        return float("nan")
    original, made = (_standing_out(values, scale) for values in pair)
    return max(0.0, made - original)


def _standing_out(values, scale, reach=3):
    """The level of the frequencies of blocks of `scale` pixels, over that `reach` steps of frequency away, in dB.

    Levels are averaged, not energies: the mean level of noise lies under the level of its mean energy.
    """
    size = _LATTICE_WINDOW
    at = [round(index * size / scale) for index in range(scale)]
    points = np.array([(row, column) for row in at for column in at if row or column])
    away = np.array([(y, x) for y in (-reach, 0, reach) for x in (-reach, 0, reach) if y or x])
    rows, columns = np.moveaxis((points[:, None] + away) % size, -1, 0)
    taper = np.outer(np.hanning(size), np.hanning(size))
    rounding = np.sum(taper**2) / 12  # the energy of whole levels' errors: below it nothing stands out
    found = []
    for top in range(0, values.shape[0] - size + 1, size // 2):
        for left in range(0, values.shape[1] - size + 1, size // 2):
            window = values[top : top + size, left : left + size]
            energy = np.abs(np.fft.fft2((window - window.mean()) * taper)) ** 2
            level = 10 * np.log10(energy + rounding)
            found.append(np.mean(level[points[:, 0], points[:, 1]] - level[rows, columns].mean(-1)))
    return float(np.mean(found))


def blur(picture: np.ndarray) -> float:
    """How blurred a picture looks without knowing its original: 0 (sharp) to 1 (nothing but blur).

    The blur effect of Crété-Roffet et al. (SPIE 6492, 2007, section 4) on luma, with scikit-image's settings: the share
    of the differences between neighbours that an 11-pixel mean filter does not remove, in the worse of the two
    directions. It cannot tell true detail from invented detail. NaN for sides below 4 pixels and for a flat picture.
    """
    values = luma(picture)
    return max(_blur_along_rows(values), _blur_along_rows(values.T))


def _blur_along_rows(values, size=11):
    if min(values.shape) < 4:
        return float("nan")
    # From the third row and column to the last but one, as scikit-image sums them.
    smooth = ndimage.uniform_filter1d(values, size, axis=0)
    sharp, soft = (np.abs(ndimage.sobel(v, axis=0)[2:-1, 2:-1]) for v in (values, smooth))
    total = sharp.sum()
    return float(1 - np.maximum(sharp - soft, 0).sum() / total) if total else float("nan")


def _pair(convert, reference, picture, border):
    if np.shape(reference) != np.shape(picture):
        raise ValueError(f"the pictures differ in shape: {np.shape(reference)} and {np.shape(picture)}")
    height, width = np.shape(reference)[:2]
    if min(height, width) <= 2 * border:
        raise ValueError(f"a picture of {width}x{height} pixels has nothing inside a border of {border}")
    inside = slice(border, height - border), slice(border, width - border)
    return convert(reference[inside]), convert(picture[inside])


def _psnr(reference, picture):
    error = np.mean((reference - picture) ** 2)
    return float(10 * np.log10(255.0**2 / error)) if error else float("inf")


def _ssim(reference, picture):
    height, width = reference.shape
    size = _WINDOW
    if min(height, width) < size:
        return float("nan")
    total = 0.0
    for top in range(0, height - size + 1, _ROWS_AT_ONCE):  # strips keep a picture of many megapixels in the cache
        strip = slice(top, min(top + _ROWS_AT_ONCE + size - 1, height))
        total += _ssim_map(reference[strip], picture[strip]).sum()
    return float(total / ((height - size + 1) * (width - size + 1)))


def _ssim_map(x, y):
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _filter(x), _filter(y)
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    variances, covariance = _filter(x * x + y * y) - xx - yy, _filter(x * y) - xy
    return (2 * xy + c1) * (2 * covariance + c2) / ((xx + yy + c1) * (variances + c2))


def _filter(values):
    """The Gaussian window over (h, w), where it lies inside: (h - 10, w - 10)."""
    radius = _WINDOW // 2
    return ndimage.gaussian_filter(values, 1.5, radius=radius)[radius:-radius, radius:-radius]

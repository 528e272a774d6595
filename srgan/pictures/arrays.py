"""Pictures as arrays: rounding, resizing, and what becomes of transparency.

Training and comparing use uint8 arrays (height, width, 3) of sRGB values; networks take float32 arrays (batch, height,
width, 3) in [0, 1]. The conversions between the two are here. Picture files are in `srgan.pictures.reading` and
`srgan.pictures.writing`.
"""

import io
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

LUMA = 0.299, 0.587, 0.114  # shares of red, green and blue (BT.601, as in JPEG)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Clip a float array in [0, 1] and round it to uint8 [0, 255]: the one place where this is done."""
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 [0, 255] to float32 [0, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(255.0)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """uint16 [0, 65535] rounded to uint8 [0, 255]; uint8 unchanged."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def full_range(values: np.ndarray, bits: int) -> np.ndarray:
    """Samples of so many bits, 1 to 16, as uint8 or uint16 over their whole range."""
    if bits == 8 * values.itemsize:
        return values
    white, top = (255, 2**bits - 1) if bits <= 8 else (65535, 2**bits - 1)
    scaled = (values.astype(np.uint32) * white + top // 2) // top
    return scaled.astype(np.uint8 if bits <= 8 else np.uint16)


def by_masks(values: np.ndarray, masks: Iterable[int]) -> np.ndarray:
    """Channels of at most 16 bits that are parts of a number a pixel (h, w), as uint8 or uint16 (h, w, channels).

    What has no mask is 0.
    """
    channels = []
    for mask in masks:
        low = max(0, (mask & -mask).bit_length() - 1)
        table = full_range(np.arange((mask >> low) + 1, dtype=np.uint16), max(1, (mask >> low).bit_length()))
        channels.append(table[(values & mask) >> low])
    if len({channel.dtype for channel in channels}) > 1:
        channels = [channel * np.uint16(257 if channel.dtype == np.uint8 else 1) for channel in channels]
    return np.stack(channels, axis=-1)


def unpremultiplied(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (h, w, c) of uint8 or uint16 that were multiplied by alpha (h, w, 1), divided by it again."""
    white = np.iinfo(colour.dtype).max
    divided = (colour.astype(np.uint64) * white + alpha // 2) // np.maximum(alpha, 1)
    return np.where(alpha > 0, np.minimum(divided, white), colour).astype(colour.dtype)


def with_straight_alpha(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 2 or 4) of uint8 or uint16 whose colours were multiplied by alpha, with these divided by it again."""
    alpha = pixels[..., -1:]
    return np.concatenate([unpremultiplied(pixels[..., :-1], alpha), alpha], axis=2)


def with_colours(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(h, w, 1 to 4) with what `change` makes of the colours, (h, w, 1 or 3), and alpha as it is."""
    colour, alpha = np.split(pixels, [1 if pixels.shape[2] < 3 else 3], axis=2)
    return np.concatenate([change(colour), alpha], axis=2)


def gray_as_rgb(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 1 or 2) of gray, with alpha or without, as RGB: (h, w, 3 or 4)."""
    return np.repeat(pixels, [3] + [1] * (pixels.shape[2] - 1), axis=2)


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Composite (h, w, 2 or 4) of uint8 or uint16 over white: (h, w, 1 or 3) of the same type, without alpha."""
    white = np.iinfo(pixels.dtype).max
    wide = np.uint32 if pixels.dtype == np.uint8 else np.uint64
    alpha = pixels[..., -1:].astype(wide)
    return ((pixels[..., :-1] * alpha + white * (white - alpha) + white // 2) // white).astype(pixels.dtype)


def resize_bicubic(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize uint8 (h, w, 3) with Pillow's antialiased bicubic kernel (a = -0.5), which is MATLAB's `imresize`."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def crop_to_multiple(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Cut the right and lower edge so that both sides are multiples of `scale`, as the literature's protocol does."""
    height, width = pixels.shape[:2]
    return pixels[: height - height % scale, : width - width % scale]


def downscale(hr: np.ndarray, scale: int) -> np.ndarray:
    """The low resolution of `hr` (sides multiples of `scale`) by the training's own bicubic."""
    height, width = hr.shape[:2]
    return resize_bicubic(hr, width // scale, height // scale)


def through_jpeg(pixels: np.ndarray, quality: int, subsampled: bool = True) -> np.ndarray:
    """Compress uint8 (h, w, 3) as JPEG and decode it again: libjpeg's `quality`, 1 to 100; 4:2:0 if `subsampled`, else 4:4:4."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0" if subsampled else "4:4:4")
    with Image.open(file) as picture:
        return np.asarray(picture)


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize (h, w, channels) of uint8, uint16 or float32 by antialiased bicubic interpolation, each channel by itself.

    Integers are rounded and clipped; floats are not clipped.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    result = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[..., channel])
        if pixels.dtype == np.uint16:
            plane = plane.astype(np.float32)
        plane = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        result[..., channel] = np.clip(np.rint(plane), 0, 65535) if pixels.dtype == np.uint16 else plane
    return result


def palette_indices(pixels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """For each of uint8 (h, w, 1 to 4) the index of the nearest colour of `palette`, uint8 (n, 4); uint8 (h, w)."""
    height, width, channels = pixels.shape
    colour = np.full((height, width, 4), 255, np.uint8)
    colour[..., :3] = pixels[..., : 1 if channels < 3 else 3]
    if channels in (2, 4):
        colour[..., 3] = pixels[..., -1]
    numbers, inverse = np.unique(colour.reshape(-1, 4).view(np.uint32), return_inverse=True)
    found = numbers.view(np.uint8).reshape(-1, 4)
    nearest = np.empty(len(found), np.uint8)
    for start in range(0, len(found), 2**14):
        difference = found[start : start + 2**14, None].astype(np.int32) - palette[None].astype(np.int32)
        difference[..., 3] *= 4  # what is transparent must not become visible for the sake of a nearer colour
        nearest[start : start + 2**14] = np.square(difference).sum(-1).argmin(-1)
    return nearest[inverse].reshape(height, width)


def nearest_in_palette(pixels: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 to 4) with each colour replaced by the nearest of `palette`, uint8 (n, 4)."""
    colour = palette[palette_indices(pixels, palette)]
    return colour[..., {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[pixels.shape[2]]]


def fill_transparent(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`colour` (h, w, c) with the pixels where `alpha` (h, w) is 0 filled from their surroundings.

    The colours that programs store there, mostly black or white, would bleed into the edges of what is visible. The
    holes are filled from a pyramid of alpha-weighted averages over squares of doubling size.
    """
    if alpha.all():
        return colour
    weight = alpha.astype(np.float32)[..., None]
    filled = _filled(colour.astype(np.float32) * weight, weight)
    filled = np.rint(filled).astype(colour.dtype) if colour.dtype.kind == "u" else filled.astype(colour.dtype)
    return np.where(alpha[..., None] > 0, colour, filled)


def _filled(weighted, weight):
    height, width = weight.shape[:2]
    average = weighted / np.maximum(weight, np.finfo(np.float32).tiny)
    if weight.all() or height == width == 1:
        return average
    even = [(0, height % 2), (0, width % 2), (0, 0)]
    halves = [np.pad(values, even) for values in (weighted, weight)]
    halves = [values.reshape(-(-height // 2), 2, -(-width // 2), 2, -1).mean(axis=(1, 3)) for values in halves]
    coarse = _filled(*halves).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weight > 0, average, coarse)


def is_flat(pixels: np.ndarray) -> bool:
    """Whether a picture (height, width, channels) has a single colour."""
    return bool((pixels == pixels[0, 0]).all())

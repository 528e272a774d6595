"""What is measured of a network by running it: how far it sees."""

from collections.abc import Callable

import numpy as np

_LEVEL = 1 / 255
_OVERLAPS = (8, 12, 16, 24, 32, 48, 64, 80, 96)  # input pixels


def probe(height: int, width: int, channels: int) -> np.ndarray:
    """A picture with the spectrum of photographs, float32 (1, height, width, channels) in [0, 1]."""
    random = np.random.default_rng(0)
    spectrum = np.fft.rfft2(random.standard_normal((height, width)))
    distance = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    picture = np.fft.irfft2(spectrum / np.maximum(distance, 1 / max(height, width)), (height, width))
    picture = (picture - picture.min()) / (picture.max() - picture.min())
    return np.repeat(picture[None, :, :, None], channels, 3).astype(np.float32)


def measured_overlap(
    run: Callable[[np.ndarray], np.ndarray], channels: int, scale: int, multiple: int = 1, most: int = 112
) -> int:
    """Input pixels that a tile must see beyond its own for at most a level's difference.

    Measured on one picture that is cut at one side, so a reserve is added: other pictures need more, most of all of deep networks.

    Args:
        run: the network, from (1, h, w, channels) to (1, scale h, scale w, channels), in float32.
        multiple: of which sides must be multiples.
        most: what is certain to suffice, if it is less: the receptive field.
    """
    height, core = -(-64 // multiple) * multiple, -(-96 // multiple) * multiple
    steps = [overlap for overlap in _OVERLAPS if overlap < most]
    picture = probe(height, -(-(core + 128) // multiple) * multiple, channels)
    whole = np.clip(run(picture)[:, :, : core * scale], 0, 1)
    for overlap in steps:
        seen = -(-(core + overlap) // multiple) * multiple
        part = np.clip(run(picture[:, :, :seen])[:, :, : core * scale], 0, 1)
        if np.abs(part - whole).max() <= _LEVEL / 2:
            return min(overlap + max(4, overlap // 4), most)
    return most


def measured_overlap_of_one_size(
    run: Callable[[np.ndarray], np.ndarray], channels: int, scale: int, height: int, width: int
) -> int:
    """As `measured_overlap`, of a network that takes pictures of one size only: a quarter of the shorter side at most.

    Two pictures that have half of their pixels in common are compared where both see far enough.
    """
    most = min(height, width) // 4
    large = probe(height, width + width // 2, channels)
    left, right = (np.clip(run(part), 0, 1) for part in (large[:, :, :width], large[:, :, width // 2 :][:, :, :width]))
    for overlap in [overlap for overlap in _OVERLAPS if overlap < most]:
        start, end = width // 2 + overlap, width - overlap
        seen_left = left[:, :, start * scale : end * scale]
        seen_right = right[:, :, (start - width // 2) * scale : (end - width // 2) * scale]
        if np.abs(seen_left - seen_right).max() <= _LEVEL / 2:
            return min(overlap + max(4, overlap // 4), most)
    return most

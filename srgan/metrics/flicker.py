"""Flicker: temporal change of an enlarged clip that the motion of the original does not explain.

The motion is estimated in the original, by srgan.clips.flow, and successive frames are compared along it. The warping
error of Lai et al. (arXiv 1808.00449, section 4.2) does so with the result alone, and so charges it for errors of the
flow and for what no flow explains (shadows, reflections, grain): a perfect result does not get 0. Here it does, because
at every pixel only the change beyond the original's own change counts.

The change of the error, |(r' - r) - (o' - o)|, was tried and rejected: where the result lacks detail, it counts errors
of the flow as if they were the result's. On three clips, a Gaussian blur of the original, which hardly flickers, gets
1.0 to 1.7 levels by it, as much as noise of standard deviation 2 to 3. Here the blur gets 0.12 to 0.15, the noise 0.8
to 1.3.
"""

from typing import NamedTuple

import numpy as np

from srgan.clips.cuts import is_cut
from srgan.clips.flow import flow, moved, places
from srgan.metrics.pixels import luma


class Motion(NamedTuple):
    """The motion from one frame of the original to the next.

    Attributes:
        origin: float32 (height, width, 2), the x and y of each pixel in the frame before.
        valid: bool (height, width), whether the origin is reliable: inside the frame, and consistent in both
            directions.
        change: float32 (height, width), change of the original's luma along the motion, in levels.
    """

    origin: np.ndarray
    valid: np.ndarray
    change: np.ndarray


def follow(before: np.ndarray, after: np.ndarray, border: int = 4) -> Motion | None:
    """The motion between two successive frames of the original, uint8 (height, width, 3).

    A pixel is valid if the flow back to `before` and the flow forth from there differ by less than
    0.01 (|back|^2 + |forth|^2) + 0.5 in their square (Sundaram et al., ECCV 2010, equation 5), and if it and its origin
    lie at least `border` pixels inside.

    Returns:
        None if there is no motion to find: at a scene cut, or if a side has less than 16 pixels.
    """
    if is_cut(before, after):
        return None
    height, width = after.shape[:2]
    grey = [np.rint(luma(frame)).astype(np.uint8) for frame in (before, after)]
    back, forth, pixel = flow(grey[1], grey[0]), flow(grey[0], grey[1]), places(height, width)
    if back is None or forth is None:
        return None
    origin = pixel + back
    forth = moved(forth, origin, smooth=False)
    agree = _squared(back + forth) < 0.01 * (_squared(back) + _squared(forth)) + 0.5
    first, last = border, np.array([width, height], np.float32) - 1 - border
    inside = [((place >= first) & (place <= last)).all(axis=-1) for place in (pixel, origin)]
    return Motion(origin, agree & inside[0] & inside[1], _change(origin, before, after))


def flicker(motion: Motion, before: np.ndarray, after: np.ndarray) -> float:
    """Temporal change that the original's motion does not explain, in levels of luma (of 255).

    The mean over the valid pixels of max(|after - moved before| - |the same of the original|, 0), on BT.601 studio
    luma. It is 0 for the original itself, and for errors that are the same in every frame, such as a wrong tone. It
    does not measure sharpness: a blur flickers little, so read it beside the other scores.

    Args:
        motion: of the original frames, by `follow`.
        before, after: the result's frames, uint8 of the same size.

    Returns:
        NaN if no pixel is valid.
    """
    excess = (_change(motion.origin, before, after) - motion.change)[motion.valid]
    return float(np.maximum(excess, 0).mean(dtype=np.float64)) if excess.size else float("nan")


def _change(origin, before, after):
    return np.abs(luma(after).astype(np.float32) - moved(luma(before).astype(np.float32), origin))


def _squared(vectors):
    return (vectors**2).sum(axis=-1)

"""Flicker: temporal change of an enlarged clip that the motion of the original does not explain.

The motion is found in the original, by srgan.clips.flow. Along it successive frames are compared, which Lai et al. (arXiv
1808.00449, section 4.2, the warping error) do with the result alone. That charges a result for what the flow gets wrong
and for what no flow explains (shadows, gleams, grain), and a perfect result is not at 0. Here it is: at every pixel only
the change beyond the original's own is counted.

The other way round, the change of the error, |(r' - r) - (o' - o)|, was measured, too, and left: where detail is missing
in the result, the original's own mistakes of flow count as if the result had made them. On three clips a Gaussian
blur of the original, which hardly flickers, then has 1.0 to 1.7 levels, as much as noise of deviation 2 to 3; it has
0.12 to 0.15 here, the noise 0.8 to 1.3.
"""

from typing import NamedTuple

import numpy as np

from srgan.clips.cuts import is_cut
from srgan.clips.flow import flow, moved, places
from srgan.metrics.pixels import luma


class Motion(NamedTuple):
    """How a frame of the original came out of the one before it.

    Attributes:
        origin: float32 (height, width, 2), the x and y that a pixel was at.
        valid: bool (height, width), whether that is known: it was inside the frame, and the way there and back agree.
        change: float32 (height, width), levels of luma by which the original changes on the way.
    """

    origin: np.ndarray
    valid: np.ndarray
    change: np.ndarray


def follow(before, after, border=4) -> Motion | None:
    """The motion between two successive frames of the original, uint8 (height, width, 3).

    A pixel is valid if the flow back to `before` and the flow forth from there differ by less than
    0.01 (|back|^2 + |forth|^2) + 0.5 in their square (Sundaram et al., ECCV 2010, equation 5), and if it and its origin
    lie at least `border` pixels inside.

    Returns:
        None where there is none to be found: at a scene cut, or where a side has under 16 pixels.
    """
    if is_cut(before, after):
        return None
    height, width = after.shape[:2]
    grey = [np.rint(luma(frame)).astype(np.uint8) for frame in (before, after)]
    back, forth, pixel = flow(grey[1], grey[0]), flow(grey[0], grey[1]), places(height, width)
    if back is None:
        return None
    origin = pixel + back
    forth = moved(forth, origin, smooth=False)
    agree = _squared(back + forth) < 0.01 * (_squared(back) + _squared(forth)) + 0.5
    first, last = border, np.array([width, height], np.float32) - 1 - border
    inside = [((place >= first) & (place <= last)).all(axis=-1) for place in (pixel, origin)]
    return Motion(origin, agree & inside[0] & inside[1], _change(origin, before, after))


def flicker(motion, before, after) -> float:
    """Levels of luma (of 255) by which `after` differs from `before`, along the motion, more than in the original.

    The mean over the valid pixels of max(|after - moved before| - |the same of the original|, 0), on BT.601 studio luma:
    0 for the original itself, and for what is wrong in the same way in every frame, such as a tone. Where the original
    changes by itself, that much is let pass. It cannot tell sharp from soft: a blur has little flicker, so that this is to
    be read beside the other scores.

    Args:
        motion: of the original frames, by `follow`.
        before, after: the result's frames, uint8 of the same size.

    Returns:
        NaN where no pixel is valid.
    """
    excess = (_change(motion.origin, before, after) - motion.change)[motion.valid]
    return float(np.maximum(excess, 0).mean(dtype=np.float64)) if excess.size else float("nan")


def _change(origin, before, after):
    return np.abs(luma(after).astype(np.float32) - moved(luma(before).astype(np.float32), origin))


def _squared(vectors):
    return (vectors**2).sum(axis=-1)

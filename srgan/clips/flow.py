"""Motion between two successive frames, found by an optical flow: DIS (Kroeger et al., arXiv 1603.03590) of OpenCV."""

import numpy as np

from srgan.errors import SRGANError

try:
    import cv2
except ImportError as error:
    raise SRGANError(
        f"motion between frames needs OpenCV, which cannot be imported ({error}): pip install '.[video]'"
    ) from error

_SMALLEST = 16  # pixels a side, below which DIS refuses, or crashes where the other one is long
_LARGEST = 2**15 - 2  # pixels a side that OpenCV can move


def flow(grey: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """The motion of each pixel to another frame, float32 (h, w, 2), x and y in pixels, of two frames of uint8 (h, w).

    Returns:
        None where a side has under 16 pixels, too few to find motion in.
    """
    if min(grey.shape) < _SMALLEST:
        return None
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey, other, None)  # type: ignore[attr-defined]


def places(height: int, width: int) -> np.ndarray:
    """The x and y of every pixel, float32 (height, width, 2)."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def moved(picture: np.ndarray, origin: np.ndarray, smooth: bool = True) -> np.ndarray:
    """Warp a picture, float32 (h, w) or (h, w, c): each pixel is taken from the place that `origin`, (h, w, 2), gives.

    By bicubic interpolation, or by bilinear if not `smooth`. What lies outside is as the nearest pixel inside.

    Raises:
        SRGANError: it is larger than OpenCV can move.
    """
    if max(picture.shape[:2]) > _LARGEST:
        raise SRGANError(f"motion is not followed in frames of over {_LARGEST} pixels a side: use a model of pictures")
    kernel = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    return cv2.remap(picture, origin, None, kernel, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


def origin(before: np.ndarray, after: np.ndarray, scale: int = 1) -> np.ndarray:
    """Where each pixel of `after`, enlarged, was in `before`, enlarged: float32 (scale h, scale w, 2), x and y.

    Measured on two clips at a quarter of their size, the motion found in the frames enlarged by bicubic interpolation
    serves as well as one found in what a network makes of them, and better than that of the frames as they are.

    Args:
        before, after: frames of one size, uint8 or uint16 (h, w, 1 to 4), channels as in a picture's.
    """
    grey = [
        cv2.resize(_grey(frame), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for frame in (after, before)
    ]
    found, here = flow(*grey), places(*grey[0].shape)
    return here if found is None else here + found


def move_memory(memory: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The memory of a recurrent generator, warped from the frame `before` to the frame `after`.

    Args:
        memory: float32 (h, w, 3 scale²), see srgan.networks.over_time.
        before, after: see `origin`.
    """
    height, width, channels = memory.shape
    scale = round((channels / 3) ** 0.5)
    picture = memory.reshape(height, width, scale, scale, 3).swapaxes(1, 2).reshape(height * scale, width * scale, 3)
    picture = moved(picture, origin(before, after, scale))
    return picture.reshape(height, scale, width, scale, 3).swapaxes(1, 2).reshape(memory.shape)


def _grey(frame):
    if frame.dtype == np.uint16:
        frame = (frame >> 8).astype(np.uint8)
    frame = np.ascontiguousarray(frame[..., : 3 if frame.shape[-1] > 2 else 1])
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.shape[-1] == 3 else frame[..., 0]

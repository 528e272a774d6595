"""Motion made from still pictures: successive frames as a camera would have seen them, from a square of a store.

The camera pans, at times it also turns and zooms, and something else may move in front of it. Frames are cut out with
the surroundings that the bicubic kernel sees, so that the low resolution is true up to its borders. The middle frame is
the picture itself, whatever the motion, and in a pure pan so are all: it goes by whole pixels of the high resolution,
which are fractions of the low one's. Speeds are smooth, and slow ones are likelier than fast ones, as in real videos.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from srgan.pictures.arrays import downscale

MARGIN = 2  # LR pixels around a crop that the bicubic kernel of its outermost ones sees
Range = tuple[float, float]  # the ends, between which all values are equally likely


@dataclass(frozen=True)
class Motion:
    """Everything that `moving` draws from. Single numbers are probabilities, except `speed`, `bend`, `turn` and
    `zoom`."""

    speed: float = 2.0  # LR pixels a frame, at most, in the middle of the window
    bend: float = 0.15  # LR pixels a frame, at most, by which the speed changes from one frame to the next
    turn: float = 0.012  # radians a frame, at most
    zoom: float = 0.012  # of the size a frame, at most
    still: float = 0.15  # of the camera, and of what moves in front
    turning: float = 0.4  # turn and zoom, beside the pan
    foreground: float = 0.5
    foreground_side: Range = (0.25, 0.75)  # of the crop's
    foreground_edge: Range = (1.5, 6.0)  # HR pixels over which its edge fades


def moving(
    square: np.ndarray,
    other: np.ndarray,
    *,
    crop: int,
    frames: int,
    scale: int,
    random: np.random.Generator,
    turning: bool = True,
    motion: Motion = Motion(),
) -> tuple[np.ndarray, np.ndarray]:
    """A window of successive frames, cut at random from a still picture.

    Args:
        square: uint8 (size, size, 3), what the camera sees. The motion is slowed down where it would leave it: for
            nearly all, size is crop + scale * ((frames - 1) * motion.speed + 2 * MARGIN) or more. It must be crop + 4 *
            MARGIN * scale.
        other: another picture, of which a piece moves in front.
        crop: pixels a side of the high resolution, a multiple of `scale`.
        frames: how many, odd.
        scale: the low resolution is 1 / scale of it.
        random: a NumPy generator; the window depends on nothing else.
        turning: whether the camera may turn and zoom, for which all frames but the middle one are interpolated.

    Returns:
        (lr, hr): uint8 (frames, crop / scale, crop / scale, 3) and (frames, crop, crop, 3).
    """
    margin = MARGIN * scale
    times = np.arange(frames) - frames // 2
    pan = scale * smooth_path(times, random, motion)
    turn = zoom = 0.0
    if turning and random.random() < motion.turning:
        turn, zoom = random.uniform(-1, 1, 2) * (motion.turn, motion.zoom)
    hr = camera_view(square, pan, times * turn, times * zoom, crop + 2 * margin, random)
    if random.random() < motion.foreground:
        path = np.rint(scale * smooth_path(times, random, motion)).astype(int)
        _put_in_front(hr, *_piece(other, crop, random, motion), path, margin, random)
    lr = np.stack([downscale(frame, scale)[MARGIN:-MARGIN, MARGIN:-MARGIN] for frame in hr])
    return lr, hr[:, margin:-margin, margin:-margin]


def smooth_path(times: np.ndarray, random: np.random.Generator, motion: Motion) -> np.ndarray:
    """Where something is at each time, (times, 2) in LR pixels: a smooth path through (0, 0) at time 0."""
    if random.random() < motion.still:
        return np.zeros((len(times), 2))
    speed, bend = random.random(2) ** 2 * (motion.speed, motion.bend)
    angles = random.uniform(0, 2 * np.pi, 2)
    (v_y, v_x), (a_y, a_x) = np.sin([angles, angles + np.pi / 2]).T * [[speed], [bend]]
    return np.stack([v_y * times + a_y * times**2 / 2, v_x * times + a_x * times**2 / 2], axis=1)


def camera_view(
    square: np.ndarray, pan: np.ndarray, turns: np.ndarray, zooms: np.ndarray, side: int, random: np.random.Generator
) -> np.ndarray:
    """What the camera sees, (times, side, side, 3), at a random place in which all of it lies in the square."""
    half, size, turning = side / 2, len(square), turns.any() or zooms.any()
    while True:
        if not turning:
            pan = np.rint(pan)
        reach = half * np.exp(zooms) * (np.abs(np.cos(turns)) + np.abs(np.sin(turns)))  # half a side of what is seen
        first = np.ceil((reach[:, None] - pan).max(0) - half).astype(int)
        last = np.floor(size - (reach[:, None] + pan).max(0) - half).astype(int)
        if (first <= last).all():
            break
        pan, turns, zooms = pan / 2, turns / 2, zooms / 2
    top, left = random.integers(first, last, endpoint=True)
    if not turning:
        corners = pan.astype(int) + (top, left)
        return np.stack([square[y : y + side, x : x + side] for y, x in corners])
    picture, frames = Image.fromarray(square), []
    for (y, x), turn, zoom in zip(pan, turns, zooms):
        if not (y or x or turn or zoom):
            frames.append(square[top : top + side, left : left + side])
            continue
        along, across = np.exp(zoom) * np.cos(turn), np.exp(zoom) * np.sin(turn)
        # From where in the square a point of the frame is: the frame's middle is what it turns around.
        from_x = left + half + x - (along - across) * half
        from_y = top + half + y - (across + along) * half
        matrix = (along, -across, from_x, across, along, from_y)
        kernel = Image.Resampling.BICUBIC
        frames.append(np.asarray(picture.transform((side, side), Image.Transform.AFFINE, matrix, kernel)))
    return np.stack(frames)


def _piece(other, crop, random, motion):
    """A piece of a picture, float32 (side, side, 3), and how opaque it is, (side, side, 1): a blob with a soft edge."""
    side = round(crop * random.uniform(*motion.foreground_side))
    top, left = random.integers(0, len(other) - side, 2, endpoint=True)
    bumps = Image.fromarray(random.uniform(-0.3, 0.3, (5, 5)).astype(np.float32))
    bumps = np.asarray(bumps.resize((side, side), Image.Resampling.BICUBIC))
    y, x = np.abs(np.linspace(-1, 1, side))[[np.arange(side)] * 2]
    height = 0.6 - np.hypot(y[:, None], x[None]) + bumps  # below 0 at the piece's own edges
    edge = random.uniform(*motion.foreground_edge) * 2 / side  # the height falls by about 2 / side a pixel
    opacity = np.clip(height / edge, 0, 1).astype(np.float32)
    return other[top : top + side, left : left + side].astype(np.float32), opacity[..., None]


def _put_in_front(hr, piece, opacity, path, margin, random):
    """Lay the piece over each frame, at random with its middle inside the margin at time 0, then along the path."""
    side, room = len(piece), hr.shape[1]
    start = random.integers(margin, room - margin, 2) - side // 2
    for frame, corner in zip(hr, start + path):
        (top, left), (bottom, right) = np.maximum(corner, 0), np.minimum(corner + side, room)
        if top >= bottom or left >= right:
            continue
        part = np.s_[top - corner[0] : bottom - corner[0], left - corner[1] : right - corner[1]]
        behind = frame[top:bottom, left:right]
        behind[...] = np.rint(behind + opacity[part] * (piece[part] - behind))

"""The frames of a clip in order: which scene each belongs to, and the frames around it that a generator sees."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from srgan.errors import UsageError


def scenes(frames: Iterable[np.ndarray], is_cut: Callable[[np.ndarray, np.ndarray], bool]) -> Iterator[tuple]:
    """Yield each frame with its scene's number. One that only repeats its predecessor is the same array as that."""
    scene, before = 0, None
    for frame in frames:
        has_shape = isinstance(frame, np.ndarray) and frame.ndim == 3 and 1 <= frame.shape[2] <= 4 and frame.size
        if not has_shape or frame.dtype not in (np.uint8, np.uint16):
            found = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise UsageError(f"a frame is of uint8 or uint16, (h, w, 1 to 4), not {found}")
        if before is not None and frame is not before:
            if frame.dtype == before.dtype and np.array_equal(frame, before):
                frame = before
            else:
                scene += is_cut(before, frame)
        before = frame
        yield scene, frame


def windows(numbered: Iterable[tuple], reach: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield each frame's scene and the 2 reach + 1 frames around it.

    A neighbour that is missing or from another scene is replaced by the nearest frame of the same scene.

    Args:
        numbered: pairs of a scene's number and a frame; taken `reach` ahead.
    """
    count = 2 * reach + 1
    near: deque[tuple] = deque(maxlen=count)
    beyond = [(None, None)] * reach
    for pair in itertools.chain(beyond, numbered, beyond):
        near.append(pair)
        if len(near) < count:
            continue
        scene, middle = near[reach]
        before, after = [middle], [middle]
        for index in range(1, reach + 1):
            for side, (other, frame) in ((before, near[reach - index]), (after, near[reach + index])):
                side.append(frame if other == scene else side[-1])
        yield scene, [*reversed(before[1:]), *after]

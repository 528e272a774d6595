"""One frame of a clip, and what is shown in place of a damaged one."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Frame(NamedTuple):
    """A frame of a clip.

    Attributes:
        pts: when it is shown, in ticks of the clip's time base from the clip's begin.
        duration: in ticks; 0: not known.
        picture: what the clip's `pixels` makes an array of; None: damaged, until `repeat_for_damaged` fills it in.
        damaged: whether its own picture could not be decoded.
    """

    pts: int
    duration: int
    picture: Any
    damaged: bool = False


def repeat_for_damaged(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames with the picture of the nearest good frame before each damaged one, else of the first good one."""
    good = None
    early: list[Frame] = []  # damaged ones before the first good one
    for frame in frames:
        if frame.picture is not None:
            good = frame.picture
            yield from (other._replace(picture=good, damaged=True) for other in early)
            early.clear()
            yield frame
        elif good is None:
            early.append(frame)
        else:
            yield frame._replace(picture=good, damaged=True)

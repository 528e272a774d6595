"""One frame of a clip, and what is shown in place of a damaged one; and who hears of what is not as it should be."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

Notice = Callable[[str], None]  # takes a line on anything that a user should know


def unheard(line: str) -> None:
    """A `Notice` where nobody wants to know."""


class Frame(NamedTuple):
    """A frame of a clip; times are in ticks of the clip's time base."""

    pts: int  # when it is shown, from the clip's begin on
    duration: int  # 0: not known
    picture: Any  # what the clip's `pixels` makes an array of; None: damaged, until `repeat_for_damaged` fills it in
    damaged: bool = False  # whether its own picture could not be decoded


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

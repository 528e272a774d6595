"""Cutting pictures into overlapping tiles."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from srgan.memory import free_memory

# Input pixels that a tile sees beyond its own, unless the model needs more. SRResNet's receptive field is 40 pixels, but
# the outermost ones contribute little: measured on trained ones, from 8 on no pixel is more than a level away from the
# untiled result, in float32 and in bfloat16.
OVERLAP = 10

SMALLEST_TILE = 48  # input pixels a side


def overlap_for(receptive_field: int | None) -> int:
    """Input pixels that a tile must see beyond its own so that it differs from the whole by a level at most.

    A trained SRResNet needs 8 of its 40 pixels, but realesr-animevideov3 (compact) 14 of its 18: where the receptive field is
    small, what is needed is measured as a model is converted, see `srgan.upscale.engines.conversion`, and this is for the
    others. RealESRGAN_x4plus (RRDB, 23 blocks, 64 filters) sees 350: cut in both
    dimensions, five photographs differ from the whole in float32 by at most 20 levels from 32 pixels beside the cuts on, 8 from 48,
    2.6 from 64, 0.5 from 80 and 0.3 from 96; of 8 tiles of another part of one, the worst differs by 4.0 with 80, 0.6 with 88 and 0.05 with 96.
    """
    return OVERLAP if receptive_field is None else min(receptive_field, 20 if receptive_field <= 50 else 96)


def smallest_tile(overlap: int) -> int:
    """The side in input pixels of the smallest tile that is worth computing with such an overlap."""
    return max(SMALLEST_TILE, -(-(2 * overlap + 16) // 16) * 16) if overlap > OVERLAP else SMALLEST_TILE


def affordable_tile(
    engine, whole: bool = False, overlap: int = OVERLAP, taken: int = 0, most: int | None = None
) -> int:
    """Side in input pixels of the largest tile that fits into half of the free memory.

    Args:
        engine: for its `bytes_per_pixel` and `largest_tile`; that grows to 6 overlaps, with which tiles compute about 2.25
            times as many pixels as the picture has: with RRDB's 96, tiles of 224 pixels would compute 49 times as many.
        whole: without the engine's own limit, for a model whose tiles would differ: instance normalisation takes the
            mean and the variance of everything it sees.
        overlap: input pixels that a tile sees beyond its own.
        taken: bytes of it that the result will fill: until then, the system counts them as free.
        most: bytes that it may take, however many are free.
    """
    size = max(free_memory() - taken, 0) / 2
    side = int((min(size, most or size) / engine.bytes_per_pixel) ** 0.5) // 16 * 16
    return max(side if whole else min(side, max(engine.largest_tile, 6 * overlap)), smallest_tile(overlap))


class TileSize:
    """The largest tile of one picture, or of all frames of one clip; it shrinks when memory runs out.

    Args:
        side: in input pixels; None: to be chosen by the free memory.
        on_shrink: called with the new side.
    """

    def __init__(self, side: int | None = None, on_shrink: Callable[[int], None] = lambda side: None):
        self.side, self._on_shrink = side, on_shrink

    def shrink(self, side: int) -> None:
        self.side = side
        self._on_shrink(side)


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def slices(self):
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def times(self, scale: int) -> "Box":
        return Box(*(scale * side for side in self))

    def moved(self, x: int, y: int) -> "Box":
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def within(self, other: "Box") -> "Box":
        """This box in the coordinates of a larger one."""
        return self.moved(-other.left, -other.top)

    def intersection(self, other: "Box") -> "Box":
        return Box(*map(max, self[:2], other[:2]), *map(min, self[2:], other[2:]))


def tiles(width: int, height: int, tile: int, overlap: int, multiple: int = 1) -> list[tuple[Box, Box]]:
    """Cut a picture into pairs of boxes: a window of at most `tile` pixels a side to compute, and its core to keep.

    The cores cover the picture once. A core ends at least `overlap` pixels before its window does, except at the
    picture's own border, beyond which nothing is invented. All windows have one size and are spaced evenly. In pictures
    wider than `tile`, their width is a multiple of 8 where `tile` is: convolutions over bfloat16 rows of other lengths
    take a sixth longer.

    Args:
        multiple: windows begin at multiples of it and have such sides; the picture's sides are multiples, too.
    """
    rows = _spans(height, tile, overlap, multiple, multiple)
    return _boxes(rows, _spans(width, tile, overlap, multiple, math.lcm(8, multiple)))


def tiles_of_one_size(width: int, height: int, side: int, other: int, overlap: int) -> list[tuple[Box, Box]]:
    """As `tiles`, of windows that are exactly `side` wide and `other` high, in a picture that is at least as large."""
    rows, columns = (
        _spans_of(length, size, math.ceil(max(length - 2 * overlap, 1) / max(size - 2 * overlap, 1)))
        for length, size in ((height, other), (width, side))
    )
    return _boxes(rows, columns)


def _boxes(rows, columns):
    return [
        (Box(x0, y0, x1, y1), Box(left, top, right, bottom))
        for (y0, y1), (top, bottom) in rows
        for (x0, x1), (left, right) in columns
    ]


def _spans(length, tile, overlap, step, multiple):
    """The windows along one axis, which begin at multiples of `step` and are a `multiple` long, with their cores."""
    if length <= tile:
        return [((0, length), (0, length))]
    tile = tile // step * step
    overlap += step - 1  # rounding down may take off as much
    count = math.ceil((length - 2 * overlap) / (tile - 2 * overlap))
    size = math.ceil((length + 2 * overlap * (count - 1)) / count)
    size = min(math.ceil(size / multiple) * multiple, tile)
    return _spans_of(length, size, count, step)


def _spans_of(length, size, count, step=1):
    """So many windows of one size, spaced evenly, with their cores."""
    starts = [index * (length - size) // max(count - 1, 1) // step * step for index in range(count)]
    cuts = [0, *((before + size + after) // 2 for before, after in itertools.pairwise(starts)), length]
    return [((start, start + size), core) for start, core in zip(starts, itertools.pairwise(cuts))]


def split_tile(
    window: Box, core: Box, limit: int, overlap: int = OVERLAP, multiple: int = 1
) -> Iterator[tuple[Box, Box]]:
    """Yield tiles of at most `limit` pixels a side that together do the work of one larger tile."""
    for part, kept in tiles(window.width, window.height, limit, overlap, multiple):
        kept = kept.moved(window.left, window.top).intersection(core)
        if kept.width > 0 and kept.height > 0:
            yield part.moved(window.left, window.top), kept


def margin(side: int, new_side: int, least: int) -> tuple[int, int]:
    """How far a picture that repeats is continued, in its own pixels and in the result's, both whole numbers."""
    step = side // math.gcd(side, new_side)
    own = step * math.ceil(least / step)
    return own, own * new_side // side

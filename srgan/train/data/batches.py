"""Batches of aligned crops, each a function of (seed, epoch, step) and of nothing else."""

from collections.abc import Callable
from functools import lru_cache

import keras
import numpy as np

from srgan.train.data.degradation import degrade
from srgan.train.data.degradation_photograph import degrade_photograph

MARGIN = 4  # LR pixels around a crop that are degraded with it, so that filters see what is really there
BLOCK = 8  # pixels a side of a JPEG block


def endless_order(count: int, seed: tuple[int, ...]) -> Callable[[int], int]:
    """A function that maps 0, 1, 2... to the integers below `count`, in a new random order for each pass."""
    # One permutation is kept, and not drawn anew for every crop: it is as long as the store.
    order = lru_cache(2)(lambda turn: np.random.default_rng([*seed, turn]).permutation(count))

    def place(index):
        turn, position = divmod(index, count)
        return order(turn)[position]

    return place


class Batches(keras.utils.PyDataset):
    """Batches over a store, for `fit`: pairs (lr, hr) of uint8.

    Their shapes are (size, crop / scale, crop / scale, 3) and (size, crop, crop, 3).

    The low resolution is cut from the picture's own, at the same place, or made for each crop: with
    `degradation="realistic"` by srgan.train.data.degradation, with "photograph" by srgan.train.data.degradation_photograph, with
    the ranges in `photograph`. Positions and flips of the crops do not depend on the degradation. Pictures come in a
    new random order for each pass.

    Set `epoch` before each epoch: an epoch always has the same batches, so that a run can resume, also within an epoch:
    with `start` the first batches of an epoch are left out. `seed` is a sequence
    of integers. With `share=(i, n)`, a batch is the i-th, from 0, of the n equal parts of a batch of `size` crops.
    """

    def __init__(self, store, *, size, crop, steps, seed, augment=True, degradation="bicubic", photograph=None,
                 share=(0, 1), workers=0):  # fmt: skip
        super().__init__(workers=workers)
        self.share = share
        self.store, self.size, self.crop, self.steps, self.seed, self.augment = store, size, crop, steps, seed, augment
        self.degradation, self.photograph = degradation, photograph
        self._cut_lr = {"bicubic": self._own_lr, "realistic": self._degraded_lr, "photograph": self._degraded_lr}[
            degradation
        ]
        self.epoch = self.start = 0
        self._picture = endless_order(store.count, (*seed, 0))

    def __len__(self):
        return self.steps - self.start

    def __getitem__(self, step):
        first = self.first(step)
        lr, hr = zip(*(self._crop(index) for index in range(first, first + self.size // self.share[1])))
        return np.stack(lr), np.stack(hr)

    def first(self, step):
        """The number of a batch's first crop, counted from the beginning of the stage."""
        part, parts = self.share
        return (self.epoch * self.steps + self.start + step) * self.size + part * (self.size // parts)

    def _crop(self, index):
        picture = self._picture(index)
        random = np.random.default_rng([*self.seed, 1, index])
        scale, side = self.store.scale, self.crop // self.store.scale
        top, left = random.integers(0, self.store.size // scale - side, 2, endpoint=True)
        lr = self._cut_lr(index, picture, top, left, side)
        top, left = top * scale, left * scale
        hr = self.store.hr[picture, top : top + self.crop, left : left + self.crop]
        if self.augment:
            quarter_turns, flip = random.integers(4), random.integers(2)
            lr, hr = np.rot90(lr, quarter_turns), np.rot90(hr, quarter_turns)
            if flip:
                lr, hr = lr[:, ::-1], hr[:, ::-1]
        return lr, hr

    def _own_lr(self, index, picture, top, left, side):
        return self.store.lr[picture, top : top + side, left : left + side]

    def _degraded_lr(self, index, picture, top, left, side):
        # The window starts where a JPEG block of the whole picture does, so that crops lie anywhere on the blocks.
        scale = self.store.scale
        first_row, first_column = (max(0, start - MARGIN) // BLOCK * BLOCK for start in (top, left))
        last_row, last_column = (min(self.store.size // scale, start + side + MARGIN) for start in (top, left))
        rows = slice(first_row * scale, last_row * scale)
        columns = slice(first_column * scale, last_column * scale)
        # A generator of its own: the place and the turn of a crop do not depend on how much is drawn here.
        random = np.random.default_rng([*self.seed, 2, index])
        if self.degradation == "photograph":
            window = self.store.lr[picture, first_row:last_row, first_column:last_column]
            lr = degrade_photograph(window, random, self.photograph)
        else:
            lr = degrade(self.store.hr[picture, rows, columns], scale, random)
        top, left = top - first_row, left - first_column
        return lr[top : top + side, left : left + side]

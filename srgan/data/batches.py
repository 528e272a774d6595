"""Batches of aligned crops, each a function of (seed, epoch, step) and of nothing else."""

from functools import lru_cache

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Batches over a store, for `fit`: (lr, hr) of uint8, (size, crop / scale, crop / scale, 3) and (size, crop, crop, 3).

    The low resolution is cut from the picture's own, at the same place. The pictures come in an order that is drawn anew
    each time all have been seen. Set `epoch` before each epoch: whatever came before, the same epoch gives the same
    batches, so that a run can be continued. `seed` is a sequence of integers.
    """

    def __init__(self, store, *, size, crop, steps, seed, augment=True, workers=0):
        super().__init__(workers=workers)
        self.store, self.size, self.crop, self.steps, self.seed, self.augment = store, size, crop, steps, seed, augment
        self.epoch = 0
        # One permutation is kept, and not drawn anew for every crop: it is as long as the store.
        self._order = lru_cache(2)(lambda turn: np.random.default_rng([*seed, 0, turn]).permutation(store.count))

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        first = (self.epoch * self.steps + step) * self.size
        lr, hr = zip(*(self._crop(index) for index in range(first, first + self.size)))
        return np.stack(lr), np.stack(hr)

    def _crop(self, index):
        turn, position = divmod(index, self.store.count)
        picture = self._order(turn)[position]
        random = np.random.default_rng([*self.seed, 1, index])
        scale, side = self.store.scale, self.crop // self.store.scale
        top, left = random.integers(0, self.store.size // scale - side, 2, endpoint=True)
        lr = self.store.lr[picture, top : top + side, left : left + side]
        top, left = top * scale, left * scale
        hr = self.store.hr[picture, top : top + self.crop, left : left + self.crop]
        if self.augment:
            quarter_turns, flip = random.integers(4), random.integers(2)
            lr, hr = np.rot90(lr, quarter_turns), np.rot90(hr, quarter_turns)
            if flip:
                lr, hr = lr[:, ::-1], hr[:, ::-1]
        return lr, hr

"""Batches of windows: successive frames, cut from clips or with motion made from pictures."""

from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from PIL import Image

from srgan.errors import SRGANError
from srgan.pictures.arrays import is_flat
from srgan.train.data.batches import Batches, endless_order
from srgan.train.data.motion import moving

# Error added to the estimated motion, in HR pixels. Synthetic motion is too easy to estimate: the previous frame, warped
# along it, is within 49 dB of the frame, against 33 and 36 dB in two real videos. Without this error a recurrent generator
# trusts its memory too much: its gain over single frames fell from 0.26 dB after 100 steps to 0.19 dB after 200.
MOTION_ERROR = 0.3


class WindowBatches(Batches):
    """Batches for a generator over time: lr is uint8 (size, frames, h, w, 3), and hr the middle frame, (size, H, W, 3).

    A window has motion that srgan.train.data.motion makes from a picture of `store`, or is a crop of one of `clips`,
    at the same place in all frames. As for pictures each batch is a function of (seed, epoch, step), and the crops
    have random flips and quarter turns; time may also run backwards.

    Args:
        store: of pictures.
        clips: a store of windows of `frames` frames; None: all motion is made.
        share_of_clips: how many of the crops are cut from clips where there are any.
        all_frames: let hr be all frames, (size, frames, H, W, 3), as a recurrent generator is trained, and lr a pair:
            with it where each pixel of the result was in the frame before, for all frames but the first, float32
            (size, frames - 1, H, W, 2), by srgan.clips.flow and astray by about `MOTION_ERROR`. No frame is interpolated
            then.
    """

    def __init__(self, store, clips=None, *, frames, share_of_clips=0.5, all_frames=False, **options):
        super().__init__(store, **options)
        self.frames, self.all_frames, self.clips = frames, all_frames, clips
        self.share_of_clips = share_of_clips if clips else 0.0
        if all_frames:
            from srgan.clips.flow import origin  # which needs OpenCV

            self._origin = origin
        self._clip = endless_order(clips.count, (*self.seed, 2)) if clips else None

    def __getitem__(self, step):
        lr, hr = super().__getitem__(step)
        if not self.all_frames:
            return lr, hr
        first = self.first(step)
        return (lr, np.stack([self._origins(first + place, frames) for place, frames in enumerate(lr)])), hr

    def _origins(self, index, frames):
        """Where each pixel was in the frame before, for all frames but the first, with some error added."""
        random = np.random.default_rng([*self.seed, 3, index])
        found = np.stack([self._origin(*pair, self.store.scale) for pair in pairwise(frames)])
        size = abs(random.normal(0, MOTION_ERROR))
        return found + [_smooth(random.normal(0, size, (6, 6, 2)), self.crop) for _ in found]

    def _crop(self, index):
        random = np.random.default_rng([*self.seed, 1, index])
        quarter_turns, flip, backwards = random.integers(4), random.integers(2), random.integers(2)
        # Counting keeps the share exact; each store is gone through whole before a picture repeats.
        cut = int(index * self.share_of_clips)
        if int((index + 1) * self.share_of_clips) > cut:
            lr, hr = self._cut(cut, random)
        else:
            lr, hr = self._made(index - cut, random)
        if self.augment:
            lr, hr = (np.rot90(pictures, quarter_turns, (1, 2)) for pictures in (lr, hr))
            lr, hr = (pictures[:: -1 if backwards else 1, :, :: -1 if flip else 1] for pictures in (lr, hr))
        return lr, hr if self.all_frames else hr[len(hr) // 2]

    def _made(self, index, random):
        square = self.store.hr[self._picture(index)]
        other = self.store.hr[random.integers(self.store.count)]
        return moving(square, other, crop=self.crop, frames=self.frames, scale=self.store.scale, random=random,
                      turning=not self.all_frames)  # fmt: skip

    def _cut(self, index, random):
        clip, scale, side = self._clip(index), self.clips.scale, self.crop // self.clips.scale
        top, left = random.integers(0, self.clips.size // scale - side, 2, endpoint=True)
        lr = self.clips.lr[clip, :, top : top + side, left : left + side]
        top, left = top * scale, left * scale
        return lr, self.clips.hr[clip, :, top : top + self.crop, left : left + self.crop]


def _smooth(values, side):
    """A coarse grid of values, (n, n, 2), as float32 (side, side, 2)."""
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(values, -1, 0)]
    return np.stack([plane.resize((side, side), Image.Resampling.BICUBIC) for plane in planes], axis=-1)


@dataclass(frozen=True)
class Windows:
    """A few windows that stay the same, to validate on and to show.

    Attributes:
        lr: uint8 (count, frames, size / scale, size / scale, 3).
        hr: uint8 (count, size, size, 3), the middle frames.
    """

    lr: np.ndarray
    hr: np.ndarray
    size: int
    scale: int

    @classmethod
    def of(cls, store, clips, count, *, frames, crop, seed):
        """Windows that depend on `seed` only: of clips where there are any, else with motion made from pictures.

        Those of one colour, which have no PSNR, are passed over.

        Raises:
            SRGANError: too few of the windows have more than one colour.
        """
        options = {"frames": frames, "share_of_clips": 1.0, "augment": False}
        batches = WindowBatches(store, clips, size=1, crop=crop, steps=20 * count, seed=seed, **options)
        windows = (batches[step] for step in range(len(batches)))
        found = list(islice(((lr[0], hr[0]) for lr, hr in windows if not is_flat(hr[0])), count))
        if len(found) < count:
            raise SRGANError("data.validation_pictures, data.validation_clips: nearly all of them is of one colour")
        lr, hr = map(np.stack, zip(*found))
        return cls(lr, hr, crop, store.scale)

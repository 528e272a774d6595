"""Validation: scores of a generator on pictures that it is not trained on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from srgan.metrics.pixels import psnr_y
from srgan.networks.over_time import is_recurrent
from srgan.pictures.arrays import resize_bicubic, to_float, to_uint8
from srgan.train.data.prepare import Store

if TYPE_CHECKING:
    import keras


def validation_psnr_y(store: Store, upscale: Callable[[np.ndarray], np.ndarray]) -> float:
    """The mean PSNR-Y in dB of `upscale`, a function of one uint8 picture or window, over a store or windows."""
    return validation_scores(store, upscale, perceptual=False)["psnr_y"]


def validation_scores(store, upscale, perceptual) -> dict[str, float]:
    """The mean scores of `upscale`, a function of one uint8 picture or window, over a store or windows.

    Args:
        perceptual: whether to compute LPIPS, too; it is left out where pictures have less than 31 pixels a side.
    """
    results = [(hr, upscale(lr)) for lr, hr in zip(store.lr, store.hr)]
    scores = {"psnr_y": float(np.mean([psnr_y(hr, sr, store.scale) for hr, sr in results]))}
    if perceptual:
        from srgan.metrics.lpips import lpips

        scores["lpips"] = float(np.mean([lpips(hr, sr) for hr, sr in results]))
    return {name: score for name, score in scores.items() if not np.isnan(score)}


def bicubic_psnr_y(store: Store) -> float:
    """The mean PSNR-Y in dB of bicubic interpolation over a store or windows."""
    return validation_psnr_y(store, lambda lr: bicubic_one(lr, store.size))


def upscale_one(generator: "keras.Model", lr: np.ndarray) -> np.ndarray:
    """One small picture through a Keras generator, untiled: uint8 (h, w, 3) to uint8 (scale h, scale w, 3).

    Of a window (frames, h, w, 3), the middle frame is returned; a recurrent generator sees those before it first.
    """
    given = to_float(lr)[None]
    if is_recurrent(generator):
        from srgan.clips.flow import move_memory

        memory = np.zeros((*given.shape[:1], *given.shape[2:4], generator.inputs[1].shape[-1]), np.float32)
        for index in range(len(lr) // 2 + 1):
            if index:
                memory = move_memory(np.asarray(memory)[0], lr[index - 1], lr[index])[None]
            sr, memory = generator.predict_on_batch([given[:, index], memory])
    else:
        sr = generator.predict_on_batch(given)
    return to_uint8(np.asarray(sr, np.float32)[0])


def bicubic_one(lr: np.ndarray, size: int) -> np.ndarray:
    """A picture, or the middle frame of a window, enlarged by bicubic interpolation: uint8 (size, size, 3)."""
    return resize_bicubic(middle_frame(lr), size, size)


def middle_frame(lr: np.ndarray) -> np.ndarray:
    """The middle frame of a window (frames, h, w, 3), or the picture (h, w, 3) itself."""
    return lr[len(lr) // 2] if lr.ndim == 4 else lr

"""The prepared pictures and clips of a configuration, and the messages about them."""

import logging
from pathlib import Path

from srgan.config.schema import Config
from srgan.errors import SRGANError
from srgan.train.data.degradation import degraded
from srgan.train.data.pairs import match_low
from srgan.train.data.prepare import Store, default_root, prepare
from srgan.train.data.selection import choose_pictures
from srgan.train.data.windows import Windows

VALIDATION_WINDOWS = 32  # of successive frames: enough to see whether it gets better
SHOWN = 10  # pictures that cannot be used, by name

_log = logging.getLogger("srgan")


def open_stores(config) -> dict[str, Store]:
    """The stores of a configuration, made where they do not exist.

    Returns:
        Stores by the keys of their pictures or clips: "pictures" and "validation_pictures", and with a generator over
        time "clips" and "validation_clips" where they are given.

    Raises:
        SRGANError: pictures are missing or cannot be used, or most of them are smaller than data.size.
        UsageError: a category does not exist.
    """
    data, scale = config.data, config.network.scale
    root = Path(data.store).expanduser() if data.store else default_root()
    training, validation = choose_pictures(data, config.seed, root)
    if not validation:
        raise SRGANError("data.validation_count: no picture is left for validation")
    options = {"size": data.size, "scale": scale, "fit": data.fit, "shrink": data.shrink}
    held_back = data.validation_pictures is None
    low = {
        "pictures": (training, "low_resolution"),
        "validation_pictures": (validation, "low_resolution" if held_back else "validation_low_resolution"),
    }
    stores = {}
    for kind, (pictures, key) in low.items():
        pairs = None
        if (folder := getattr(data, key)) is not None:
            pairs = match_low(pictures, folder, f"data.{key}")
            pictures = list(pairs)
        noise = data.maximum_noise if kind == "pictures" else None
        label = "training pictures" if kind == "pictures" else "validation pictures"
        stores[kind] = prepare(pictures, root, **options, maximum_noise=noise, low=pairs, label=label)
    if data.clips or data.validation_clips:
        from srgan.train.data.clips import choose_clips, prepare_clips  # which needs PyAV

        for key, clips in choose_clips(data).items():
            label = "training clips" if key == "clips" else "validation clips"
            stores[key] = prepare_clips(clips, root, frames=config.network.frames, **options, label=label)
    for key, store in stores.items():
        for problem in store.skipped[:SHOWN]:
            _log.warning("skipped: %s", problem)
        if len(store.skipped) > SHOWN:
            _log.warning("skipped: %s more, see %s", len(store.skipped) - SHOWN, store.folder / "store.json")
        _judge_sizes(store, f"data.{key}", data)
    return stores


def _judge_sizes(store, key, data):
    """Warn if pictures had to be enlarged, because pixels that bicubic interpolation made are easy to restore; fail if more than half were."""
    if not store.enlarged:
        return
    fact = f"{key}: {store.enlarged} of {store.read} are smaller than data.size = {data.size}"
    remedy = "lower it, or leave them out by data.minimum_side"
    if 2 * store.enlarged > store.read:
        fact += " and would be enlarged, so that the network learns from what bicubic made"
        raise SRGANError(f"{fact}; {remedy} (srgan-train --pictures FOLDER takes a size that fits)")
    _log.warning("%s and are enlarged by bicubic; %s", fact, remedy)


def choose_examples(config: Config, stores: dict[str, Store]) -> tuple:
    """The training pictures for the sheets, and the validation pictures: stores, or a few windows of frames."""
    shown = []
    for index, kind in enumerate(("pictures", "validation_pictures")):
        store, seed = stores[kind], (config.seed, 2 + index)  # 0 and 1 are the stages'
        if config.fusion != "none":
            clips = stores.get(kind.replace("pictures", "clips"))
            count = VALIDATION_WINDOWS if kind == "validation_pictures" else max(1, config.samples)
            store = Windows.of(store, clips, count, frames=config.network.frames, crop=config.batches.crop, seed=seed)
        elif config.batches.degradation != "bicubic":  # training degrades each crop anew
            photograph = config.batches.photograph if config.batches.degradation == "photograph" else None
            store = degraded(store, seed, photograph)
        shown.append(store)
    return tuple(shown)

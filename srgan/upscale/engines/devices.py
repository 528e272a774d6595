"""Which of OpenVINO's devices computes: the one asked for, or the fastest."""

import logging
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from srgan.errors import UsageError
from srgan.upscale.engines.openvino_engine import OpenVINOEngine

_TILE = 128  # input pixels a side of the tile that is timed

_log = logging.getLogger("srgan")


def on_device(engine: OpenVINOEngine, device: str | None, precision: str = "auto") -> OpenVINOEngine:
    """`engine`, or the same on another device.

    Args:
        device: as OpenVINO lists them (CPU, GPU, GPU.1, NPU); None: the CPU, or a GPU that computes a tile faster. It is
            chosen once, so that all tiles of a picture and all frames of a clip are from the same one.

    Raises:
        UsageError: there is no such device here.
    """
    if device is None:
        gpus = [name for name in engine.devices if name.startswith("GPU")] if _may_have_gpu() else []
        engines = [engine, *filter(None, (_try(engine, name, precision) for name in gpus))]
        fastest = min(engines, key=_tile_seconds) if gpus else engine
        if gpus:
            _log.info("%s is the fastest of %s here, and is used", fastest.device, ", ".join(e.device for e in engines))
        return fastest
    device = device.upper()
    if device == engine.device:
        return engine
    if device not in engine.devices and device not in {name.split(".")[0] for name in engine.devices}:
        raise UsageError(f"device: OpenVINO finds no {device} here, only {', '.join(engine.devices)}")
    return _try(engine, device, precision) or engine


def _may_have_gpu():
    """Whether it is worth asking OpenVINO, which takes a tenth of a second."""
    return sys.platform != "linux" or any(Path("/dev").glob("dri/render*")) or Path("/dev/dxg").exists()


def _try(engine, device, precision):
    try:
        return engine.on(device, precision)
    except RuntimeError as error:
        _log.warning("%s cannot compute this model (%s): the CPU does", device, " ".join(str(error).split())[-200:])
        return None


def _tile_seconds(engine):
    description = engine.description
    shape = (1, *[description.frames] * (description.frames > 1), _TILE, _TILE)
    noise = np.random.default_rng(0).random
    channels = filter(None, (description.channels, description.memory))
    inputs = [noise((*shape, count), np.float32) for count in channels]
    engine(*inputs)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        engine(*inputs)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)

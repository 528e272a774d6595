"""Engines: a generator as a plain function on pictures, float32 (batch, h, w, 3) in [0, 1] to `scale` times the size.

In comes a `.keras` file, out comes a callable with a `Description` of what it takes, run by OpenVINO or by Keras.
"""

from srgan.upscale.engines.loading import ENGINES, PRECISIONS, load_engine

__all__ = ["ENGINES", "PRECISIONS", "load_engine"]

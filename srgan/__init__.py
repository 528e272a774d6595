"""SRGAN in Keras: train it, upscale pictures x4 with it, and measure the gain over bicubic.

The public names are imported on first use, so that `import srgan` loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srgan.config.schema import Config
    from srgan.errors import SRGANError
    from srgan.interop.loading import load_generator
    from srgan.train.objective import SRGAN
    from srgan.upscale import Upscaler

__version__ = "0.1.0"

__all__ = ["SRGAN", "Config", "SRGANError", "Upscaler", "load_generator"]

_HOMES = {
    "Config": "srgan.config.schema",
    "SRGAN": "srgan.train.objective",
    "SRGANError": "srgan.errors",
    "Upscaler": "srgan.upscale",
    "load_generator": "srgan.interop.loading",
}
_WITH_KERAS = ("SRGAN", "load_generator")


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'srgan' has no attribute {name!r}")
    if name in _WITH_KERAS:
        from srgan.runtime import choose_backend

        choose_backend()  # `import keras` after this line finds it settled
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

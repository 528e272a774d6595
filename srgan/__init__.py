"""SRGAN in Keras: train it, upscale pictures x4 with it, and see how far it is ahead of bicubic.

The public names are imported on first use, so that `import srgan` loads no framework.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Config": "srgan.config.schema",
    "SRGAN": "srgan.train.objective",
    "SRGANError": "srgan.errors",
    "Upscaler": "srgan.upscale",
    "load_generator": "srgan.networks.files",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'srgan' has no attribute {name!r}")
    if name != "Config":
        from srgan.runtime import choose_backend

        choose_backend()  # `import keras` after this line finds it settled
    return getattr(import_module(_HOMES[name]), name)


def __dir__():
    return sorted([*globals(), *__all__])

"""What has to be settled before a framework is imported: which one, and how much it says."""

import os
from importlib.util import find_spec

from srgan.errors import SRGANError

BACKENDS = ("tensorflow", "jax", "torch")  # in order of preference


def choose_backend() -> str:
    """Return Keras' backend, settling it first: KERAS_BACKEND if set, else the first of BACKENDS that is installed.

    Also turns off TensorFlow's start-up messages, unless the user has set TF_CPP_MIN_LOG_LEVEL. Imports nothing heavy,
    and has no effect once Keras is imported.

    Raises:
        SRGANError: no backend is installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "KERAS_BACKEND" not in os.environ:
        installed = next((name for name in BACKENDS if find_spec(name)), None)
        if installed is None:
            raise SRGANError("no Keras backend is installed: run `pip install tensorflow` (or jax)")
        os.environ["KERAS_BACKEND"] = installed
    return os.environ["KERAS_BACKEND"]

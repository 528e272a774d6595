"""What has to be settled before a framework is imported: which one, and how much it says."""

import contextlib
import os
import sys
import tempfile
from importlib.util import find_spec

from srgan.errors import SRGANError, UsageError

BACKENDS = ("tensorflow", "jax", "torch")  # in order of preference


def choose_backend() -> str:
    """Return Keras' backend, settling it first: KERAS_BACKEND if set, else the first of BACKENDS that is installed.
    Keras' own file of settings is not asked.

    Also turns off TensorFlow's start-up messages, unless the user has set TF_CPP_MIN_LOG_LEVEL. Imports nothing heavy,
    and has no effect once Keras is imported.

    Raises:
        SRGANError: no backend is installed.
        UsageError: KERAS_BACKEND names none, or one that is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted is None:
        wanted = next((name for name in BACKENDS if find_spec(name)), None)
        if wanted is None:
            raise SRGANError("no Keras backend is installed: run `pip install tensorflow` (or jax)")
        os.environ["KERAS_BACKEND"] = wanted
    elif wanted not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND={wanted}: must be one of {', '.join(BACKENDS)}")
    elif not find_spec(wanted):
        raise UsageError(f"KERAS_BACKEND={wanted}: {wanted} is not installed; run `pip install {wanted}`")
    return wanted


def load_keras():
    """Import Keras with the chosen backend, without TensorFlow's start-up noise, and return it."""
    choose_backend()
    with _held_back_stderr():
        import keras
    return keras


@contextlib.contextmanager
def _held_back_stderr():
    """Keep what C++ libraries write to stderr while they are loaded, and show it only if loading fails.

    TensorFlow writes its first messages before it has read TF_CPP_MIN_LOG_LEVEL.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)

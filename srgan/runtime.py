"""What has to be settled before a framework is imported: which one, and how much it says."""

import contextlib
import os
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from srgan.errors import SRGANError, UsageError
from srgan.interrupts import cleaned_up

BACKENDS = ("tensorflow", "jax", "torch")  # in order of preference
INSTALL = "pip install '.[train]'"  # what brings the first of them, in the words of the README


def has_framework() -> bool:
    """Whether any of BACKENDS is installed: training and the Keras engine need one, all else does without."""
    return any(map(find_spec, BACKENDS))


def choose_backend() -> str:
    """Return Keras' backend, settling it first: KERAS_BACKEND if set, else the first of BACKENDS that is installed.
    ~/.keras/keras.json is ignored.

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
            raise SRGANError(f"Keras has no framework to train or run with (TensorFlow, JAX or PyTorch): {INSTALL}")
        os.environ["KERAS_BACKEND"] = wanted
    elif wanted not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND={wanted}: must be one of {', '.join(BACKENDS)}")
    elif not find_spec(wanted):
        how = {"tensorflow": INSTALL, "jax": "pip install '.[jax]'"}.get(wanted, f"pip install {wanted}")
        raise UsageError(f"KERAS_BACKEND={wanted}: {wanted} is not installed: {how}")
    return wanted


def load_keras() -> ModuleType:
    """Import Keras with the chosen backend, without TensorFlow's start-up noise, and return it."""
    choose_backend()
    with _held_back_stderr():
        import keras
    return keras


def load_openvinos_keras():
    """Import Keras with the backend that computes with OpenVINO, which loads and runs models but does not train, and
    return it. For processes that need Keras for nothing else."""
    os.environ["KERAS_BACKEND"] = "openvino"
    sys.meta_path.insert(0, _NoTensorFlow())
    load_openvino()
    import keras

    return keras


def allow_tensorflow():
    """Undo what `load_openvinos_keras` does to imports of TensorFlow, for tools that ask whether it is installed."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _NoTensorFlow)]


class _NoTensorFlow:
    """Keeps Keras from loading TensorFlow, where it is installed, only to compare types: that takes seconds."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise ImportError("not in this process")


def load_openvino():
    """Import OpenVINO without its conversion tools, and return it.

    They take most of its start-up time and report every start to a server. OpenVINO counts them as optional itself; they
    are still imported when something asks for them.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino.tools.ovc"] = None  # the import system's way to say that a module is not there
        try:
            import openvino
        finally:
            del sys.modules["openvino.tools.ovc"]
        openvino.convert_model = _convert_model
    return sys.modules["openvino"]


def _convert_model(*args, **kwargs):
    """OpenVINO's `convert_model`, which reports nothing to a server."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it has a substitute that does nothing
    return import_module("openvino.tools.ovc").convert_model(*args, **kwargs)


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

    def restore():
        os.dup2(stderr, 2)

    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, cleaned_up(restore):
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            restore()
            os.close(stderr)

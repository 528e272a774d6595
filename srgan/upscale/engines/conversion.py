"""Converting a generator to OpenVINO: `python -m srgan.upscale.engines.conversion MODEL.keras TARGET.xml`.

Keras loads the generator and runs it once, to check the result. That needs no training framework: Keras has a backend
that computes with OpenVINO. But a process has one backend, so the conversion gets a process of its own, unless Keras is
loaded already.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from srgan.errors import SRGANError, is_out_of_memory
from srgan.files import temporary_folder
from srgan.runtime import load_openvino, load_openvinos_keras
from srgan.upscale.engines.description import describe, description_to_info
from srgan.upscale.engines.problems import Inconvertible

_KINDS = {"inconvertible": Inconvertible, "memory": MemoryError, "failed": SRGANError}


def convert(path):
    """The generator in a `.keras` file as an OpenVINO model, with its `Description` as runtime information.

    Raises:
        Inconvertible: it has a layer that cannot be converted, or the result computes something else.
        SRGANError: it cannot be loaded.
    """
    if "keras" in sys.modules:
        return _convert(path)
    core = load_openvino().Core()
    core.set_property({"ENABLE_MMAP": False})  # the file goes before the model
    with temporary_folder() as folder:
        target = folder / "generator.xml"
        _convert_in_a_process(path, target)
        return core.read_model(target)


def save_openvino(model, path, half=False):
    """Write an OpenVINO model as `path` (.xml) and its weights beside it (.bin), in float32 or `half` of that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    load_openvino().save_model(model, path, compress_to_fp16=half)


def _convert(path):
    load_openvino()
    from srgan.interop.loading import load_generator
    from srgan.upscale.engines import ir

    generator = load_generator(path)
    model = ir.from_keras(generator)
    for key, value in description_to_info(describe(generator)).items():
        model.set_rt_info(value, ["srgan", key])
    return model


def _convert_in_a_process(path, target):
    # It finds this package, and what the model's layers are registered by, where this process does.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-m", "srgan.upscale.engines.conversion", str(path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 0:
        return
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        raise _KINDS[answer["kind"]](answer["message"])
    except (IndexError, ValueError, KeyError, TypeError):
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise SRGANError(f"{path}: the conversion for OpenVINO stopped ({said[0]}); is there enough memory?") from None


def main(path, target):
    """Convert a `.keras` file in this process and return the exit status; a failure goes to stdout as JSON."""
    load_openvinos_keras()
    try:
        save_openvino(_convert(Path(path)), Path(target))
        return 0
    except (Inconvertible, SRGANError) as error:
        kind, message = ("inconvertible" if isinstance(error, Inconvertible) else "failed"), str(error)
    except Exception as error:
        kind = "memory" if is_out_of_memory(error) else "inconvertible"
        message = " ".join(str(error).split())[:300] or type(error).__name__
    print(json.dumps({"kind": kind, "message": message}))
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

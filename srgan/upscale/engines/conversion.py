"""Converting a generator to OpenVINO: `python -m srgan.upscale.engines.conversion MODEL.keras TARGET.xml`.

Keras loads the generator and runs it once, to check the result. That needs no training framework: Keras has a backend
that computes with OpenVINO. But a process has one backend, so the conversion gets a process of its own, unless Keras is
loaded already.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import SRGANError, UsageError, is_out_of_memory
from srgan.files import temporary_folder
from srgan.interop import spandrel
from srgan.interop.architectures import DEFAULTS, Options
from srgan.interop.onnx import is_onnx, read_onnx
from srgan.interop.probing import measured_overlap
from srgan.interop.recognition import AlteredNetwork, UnknownNetwork
from srgan.interrupts import cleaned_up
from srgan.runtime import load_openvino, load_openvinos_keras
from srgan.upscale.engines.backend_errors import Inconvertible
from srgan.upscale.engines.blending import built_as
from srgan.upscale.engines.description import Description, describe, description_to_info

if TYPE_CHECKING:
    import openvino

_KINDS = {"inconvertible": Inconvertible, "memory": MemoryError, "usage": UsageError, "failed": SRGANError}


def convert(path: str | Path, options: Options = DEFAULTS) -> "openvino.Model":
    """The generator in a model file as an OpenVINO model, with its `Description` as runtime information.

    Args:
        options: see `srgan.interop.loading.load_generator`.

    Raises:
        Inconvertible: it has a layer that cannot be converted, or the result computes something else.
        SRGANError: it cannot be loaded.
    """
    onnx = is_onnx(path)  # an untrusted graph is parsed in a process of its own, which may crash
    if "keras" in sys.modules and not onnx:
        return _convert(path, options)
    core = load_openvino().Core()
    core.set_property({"ENABLE_MMAP": False})  # the temporary file is deleted while the model is in use
    with temporary_folder() as folder:
        target = folder / "generator.xml"
        _convert_in_a_process(path, target, options)
        return core.read_model(target)


def save_openvino(model: "openvino.Model", path: Path, half: bool = False) -> None:
    """Write an OpenVINO model as `path` (.xml) and its weights beside it (.bin), in float32 or `half` of that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    load_openvino().save_model(model, path, compress_to_fp16=half)


def _convert(path, options=DEFAULTS):
    load_openvino()
    if is_onnx(path):
        model, description, assumed = _of_graph(*read_onnx(path, options))
    else:
        from srgan.interop.loading import load_generator
        from srgan.upscale.engines import keras_to_openvino

        try:
            generator = load_generator(path, options)
        except UnknownNetwork as unknown:
            if not spandrel.is_installed():
                raise
            try:
                model, description, assumed = _of_graph(*spandrel.read_with_spandrel(path, options))
            except SRGANError as error:  # of an altered network, what it looks like says more
                raise (unknown if isinstance(unknown, AlteredNetwork) else error) from error
        else:
            model, description = keras_to_openvino.from_keras(generator), describe(generator)
            description = _with_measured_overlap(description, model)
            assumed = getattr(generator, "assumed", "")
            model.set_rt_info(built_as(generator), ["srgan", "built"])
    for key, value in description_to_info(description).items():
        model.set_rt_info(value, ["srgan", key])
    if assumed:
        model.set_rt_info(assumed, ["srgan", "assumed"])
    return model


def _with_measured_overlap(description, model):
    """The description with the overlap of tiles that the model's weights need, where its receptive field is small enough to tell.

    Of deep networks, what one picture needs says too little, so that they keep the most that was measured of their kind.
    """
    field, inputs = description.receptive_field, model.inputs
    if field is None or field > 50 or len(inputs) > 1 or len(inputs[0].partial_shape) != 4:
        return description
    run = load_openvino().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = description.channels, description.scale, description.multiple
    return description._replace(overlap=measured_overlap(lambda picture: run(picture)[0], *facts, field))


def _of_graph(model, measured):
    """The model, its description, and what was assumed of it."""
    facts = measured._asdict()
    assumed = facts.pop("assumed")
    return model, Description(receptive_field=measured.overlap, **facts), assumed


def _convert_in_a_process(path, target, options):
    # It finds this package, and what the model's layers are registered by, where this process does.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    module = ("-P", "-m", "srgan.upscale.engines.conversion")
    command = [sys.executable, *module, str(path), str(target), json.dumps(options)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
    with process, cleaned_up(process.kill):
        answers, errors = process.communicate()
    if process.returncode == 0:
        return
    try:
        answer = json.loads(answers.splitlines()[-1])
        raise _KINDS[answer["kind"]](answer["message"])
    except (IndexError, ValueError, KeyError, TypeError):
        raise SRGANError(f"{path}: the conversion for OpenVINO stopped ({_why(process.returncode, errors)})") from None


def _why(status, errors):
    """Why a process ended without an answer: the signal that ended it, or its last line on stderr."""
    if status < 0:
        name = signal.Signals(-status).name
        crashed = name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
        return f"{name}; " + ("the model may be invalid" if crashed else "is there enough memory?")
    said = errors.strip().splitlines()[-1:] or [f"status {status}"]
    return f"{said[0]}; is there enough memory?"


def main(path: str, target: str, options: str = "[null, null]") -> int:
    """Convert a `.keras` file in this process and return the exit status; a failure goes to stdout as JSON."""
    load_openvinos_keras()
    try:
        save_openvino(_convert(Path(path), Options(*json.loads(options))), Path(target))
        return 0
    except (Inconvertible, SRGANError) as error:
        kind, message = next(kind for kind, of in _KINDS.items() if isinstance(error, of)), str(error)
    except Exception as error:
        kind = "memory" if is_out_of_memory(error) else "inconvertible"
        message = " ".join(str(error).split())[:300] or type(error).__name__
    print(json.dumps({"kind": kind, "message": message}))
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

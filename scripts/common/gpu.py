"""`benchmark.py gpu`: the paper's generator on the GPU of Keras' backend, or on its CPU, beside PyTorch on the same."""

import os
from importlib.util import find_spec

import numpy as np

from common.measuring import MAKE_MODEL, child, in_turns, line, operations_per_pixel, scratch_folder, torch_generator

_CHANNELS, _LAYERS = 512, 8  # of the convolutions that the card's rate is measured by


def gpu(arguments):
    # Each of two frameworks would take all memory of the card.
    os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    from srgan.upscale.engines.keras_engine import KerasEngine

    path = scratch_folder() / "paper.keras"
    child(MAKE_MODEL, path)
    engines = {each: KerasEngine(path, each) for each in ("float32", "bfloat16")}
    works = {name: lambda engine=engine: engine(lr) for name, engine in engines.items()}
    on_cpu = engines["float32"].device == "CPU"
    side = arguments.side or (96 if on_cpu else 384)
    lr = np.random.default_rng(0).random((1, side, side, 3), np.float32)
    convolve, operations = _convolutions(32 if on_cpu else 128)
    works["convolutions"] = convolve
    if find_spec("torch"):
        works["torch"], where = _through_torch(lr)
    for work in works.values():  # compiles
        work()
        work()
    seconds = in_turns(works, arguments.rounds)
    import keras

    device = engines["float32"].device
    for name in engines:
        rate = side**2 / seconds[name] / 1e6
        line(f"Keras on {keras.backend.backend()}, {device}, {name}, {side} x {side}", f"{rate:.3g} MP/s")
    peak = operations / seconds["convolutions"]
    share = operations_per_pixel() * side**2 / seconds["bfloat16"] / peak
    line(f"bfloat16 convolutions of {_CHANNELS} channels there", f"{peak / 1e12:.3g} TFLOP/s")
    line("   of which the network in bfloat16 reaches", f"{share:.0%}")
    if "torch" in works:
        line(f"PyTorch, {where}", f"{side**2 / seconds['torch'] / 1e6:.3g} MP/s")
        line("   takes, against Keras in bfloat16", f"{seconds['torch'] / seconds['bfloat16']:.2f} times as long")
    else:
        line("PyTorch", "skipped: no torch")


def _convolutions(side):
    """A function that runs convolutions of `side` x `side` pixels through Keras in bfloat16, and how many operations that is."""
    import keras

    inputs = keras.Input((side, side, _CHANNELS), dtype="bfloat16")
    x = inputs
    for _ in range(_LAYERS):
        x = keras.layers.Conv2D(_CHANNELS, 3, padding="same", activation="relu", dtype="bfloat16")(x)
    # One number comes back, so that no time is spent on copying.
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D(dtype="float32")(x))
    model.compile()
    noise = keras.ops.convert_to_tensor(
        np.random.default_rng(0).random((1, side, side, _CHANNELS), np.float32), "bfloat16"
    )
    return lambda: model.predict_on_batch(noise), _LAYERS * 2 * 9 * _CHANNELS**2 * side**2


def _through_torch(lr):
    """A function that runs the generator through PyTorch as fast as it goes there, from and to NumPy; and a description."""
    import torch

    on_gpu = torch.cuda.is_available()
    device, kind = ("cuda", torch.float16) if on_gpu else ("cpu", torch.bfloat16)
    generator = torch_generator().to(device, kind, memory_format=torch.channels_last)
    compiled = torch.compile(generator)

    def run():
        tensor = torch.from_numpy(lr).to(device, kind).permute(0, 3, 1, 2)  # which makes it channels last
        return compiled(tensor).float().cpu().numpy()

    return run, f"{device}, {str(kind).removeprefix('torch.')}, channels last, compiled"

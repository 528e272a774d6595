"""Time models of other people against PyTorch: the same file, the same picture, turn by turn.

    pip install torch spandrel && python scripts/benchmark_models.py 4x-Something.pth ... [--side 128] [--rounds 3]

Without a file, networks of random weights are made: RealESRGAN_x4plus' RRDB at full size and realesr-general-x4v3's compact one.
Prints how many times as long PyTorch takes in float32 as OpenVINO in bfloat16, where the processor has instructions for it, and in
float32, and the largest difference of the float32 results.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from common.measuring import in_turns, line, scratch_folder
from common.one_line import errors_in_one_line

from srgan.errors import UsageError
from srgan.upscale.engines import load_engine


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help=".pth or .safetensors files (default: random weights)")
    parser.add_argument("--side", type=int, default=128, help="of the picture in pixels (default: 128)")
    parser.add_argument("--rounds", type=int, default=3, help="the median is taken (default: 3)")
    arguments = parser.parse_args(argv)
    try:
        import torch
        from spandrel import ModelLoader
    except ImportError as error:
        raise UsageError(f"{error}: run `pip install torch spandrel`") from error
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    with torch.no_grad():
        for path in arguments.models or _random_models(torch, scratch_folder()):
            _compare(torch, ModelLoader().load_from_file(path).model.eval(), path, arguments)


def _random_models(torch, folder):
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.ESRGAN import ESRGAN

    networks = {"RRDB": ESRGAN(num_filters=64, num_blocks=23, scale=4), "compact": Compact(num_conv=32, upscale=4)}
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pth")
        yield folder / f"{name}.pth"


def _compare(torch, network, path, arguments):
    lr = np.random.default_rng(0).random((1, arguments.side, arguments.side, 3), np.float32)
    tensor = torch.from_numpy(lr.transpose(0, 3, 1, 2).copy())
    exact = load_engine(path, engine="openvino", precision="float32")
    fast = load_engine(path, engine="openvino", precision="auto")
    works = {"PyTorch float32": lambda: network(tensor), "OpenVINO float32": lambda: exact(lr)}
    if fast.precision != "float32":
        works[f"OpenVINO {fast.precision}"] = lambda: fast(lr)
    difference = np.abs(network(tensor).numpy().transpose(0, 2, 3, 1) - exact(lr)).max()
    print(f"{path.name}, {arguments.side} x {arguments.side}; float32 results differ by at most {difference:.1e}")
    medians = in_turns(works, arguments.rounds)
    for name, median in medians.items():
        ratio = medians["PyTorch float32"] / median
        line(f"  {name}", f"{median:.3f} s", f"PyTorch takes {ratio:.2f} times as long")


if __name__ == "__main__":
    sys.exit(main())

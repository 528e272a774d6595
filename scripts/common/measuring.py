"""What the benchmarks share: networks to measure, and how they are measured."""

import atexit
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = "import sys; from srgan.cli.train import main; sys.exit(main(sys.argv[1:]))"
UPSCALE = "from srgan.cli.upscale import main; raise SystemExit(main())"

# The paper's generator, or one that options in JSON say, with random weights.
MAKE_MODEL = """
import json, sys
import numpy as np
from srgan.runtime import load_keras
keras = load_keras()
from srgan.networks.generators import srresnet
generator = srresnet(**json.loads(sys.argv[2]) if sys.argv[2:] else {})
random = np.random.default_rng(0)
for variable in generator.variables:
    if "variance" in variable.path:
        variable.assign(random.uniform(0.8, 1.2, variable.shape))
    elif "kernel" not in variable.path:
        variable.assign(random.normal(0.1, 0.05, variable.shape))
generator.save(sys.argv[1])
"""


def scratch_folder():
    """A folder that goes with this process."""
    folder = tempfile.TemporaryDirectory(prefix="srgan-benchmark-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def child(code, *arguments, **environment):
    """Run Python code in a process of its own; return what it printed and the seconds it took."""
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        text=True,
    )
    if run.returncode:
        sys.exit(run.stderr)
    return run.stdout, time.perf_counter() - start


def in_turns(works, rounds):
    """Run every one of `works` (a dict of functions) once a round; return the median seconds of each."""
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def line(what, figure, target=""):
    print(f"{what:<72} {figure:>20}  {target}", flush=True)


def photograph():
    """A real photograph, 512 x 512."""
    from skimage import data

    return data.astronaut()


def operations_per_pixel():
    """Multiplications and additions of the paper's generator, an input pixel (a multiply-add counts as two)."""
    body = 9 * 64 * 64
    convolutions = 81 * 3 * 64 + 33 * body + 4 * body + 4 * 4 * body + 16 * 81 * 64 * 3
    return 2 * convolutions


def torch_generator():
    """The paper's generator in PyTorch, as its users would write it."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.path = nn.Sequential(
                nn.Conv2d(64, 64, 3, padding=1, bias=True),
                nn.BatchNorm2d(64),
                nn.PReLU(64),
                nn.Conv2d(64, 64, 3, padding=1),
                nn.BatchNorm2d(64),
            )

        def forward(self, x):
            return x + self.path(x)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU(64))
            self.body = nn.Sequential(
                *[Block() for _ in range(16)], nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64)
            )
            ups = [(nn.Conv2d(64, 256, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(64)) for _ in range(2)]
            self.tail = nn.Sequential(*ups[0], *ups[1], nn.Conv2d(64, 3, 9, padding=4))

        def forward(self, x):
            x = self.head(2 * x - 1)
            return self.tail(x + self.body(x)) / 2 + 0.5

    return Generator().eval().requires_grad_(False)

"""The memory that a tile takes, which decides how large tiles are."""

import subprocess
import sys
from pathlib import Path

import pytest
from upscaling import make_model

from srgan.upscale.engines.openvino_engine import OpenVINOEngine

DYSAMPLE = Path(__file__).parent / "data" / "foreign" / "realplksr-dysample-x2.safetensors"

# How much more a process has at its most, while it computes a picture, than before; OpenVINO is warm by then.
MEASURE = """
import sys
from pathlib import Path
import numpy as np
from srgan.upscale.engines.openvino_engine import OpenVINOEngine

def bytes_of(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

engine = OpenVINOEngine(Path(sys.argv[1]), sys.argv[2])
picture = np.random.default_rng(0).random((1, 256, 192, 3), np.float32)
engine(picture[:, :32, :32])
Path("/proc/self/clear_refs").write_text("5")
before = bytes_of("VmRSS")
engine(picture)
print(bytes_of("VmHWM") - before, engine.bytes_per_pixel * picture[..., 0].size)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells what a process has had at most")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "network",
    [
        {"network": "rrdb", "blocks": 1, "growth": 8},
        {"network": "rrdb", "blocks": 1, "growth": 8, "scale": 2, "unshuffle": 2, "layout": "original"},
        {"network": "compact", "blocks": 2},
        {"network": "span", "blocks": 1, "scale": 2},
        {"network": "msrresnet", "blocks": 1, "scale": 3},
        {"network": "edsr", "blocks": 1, "scale": 2},
        {"network": "realplksr", "blocks": 1, "scale": 2},
        {"blocks": 1},
        None,
    ],
    ids=["rrdb", "unshuffle", "compact", "span", "msrresnet", "edsr", "realplksr", "srresnet", "dysample"],
)
def test_tile_takes_no_more_than_was_estimated(network, precision, tmp_path):
    path = make_model(tmp_path / "model.keras", filters=24, **network) if network else DYSAMPLE
    OpenVINOEngine(path, precision)  # converted by now
    done = subprocess.run([sys.executable, "-c", MEASURE, path, precision], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    taken, estimated = map(int, done.stdout.split())
    assert taken <= 1.05 * estimated and estimated < 3 * taken

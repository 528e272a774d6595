"""Other people's models in the other commands, and at scales other than 4."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import run_command
from PIL import Image

from srgan import Upscaler

FOREIGN = Path(__file__).parent / "data" / "foreign"


def test_export_writes_it_for_openvino(tmp_path):
    done = run_command("export", "--model", FOREIGN / "compact-x3.safetensors", tmp_path / "out.xml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.xml").is_file() and (tmp_path / "out.bin").is_file()


def test_export_of_an_onnx_is_refused_in_one_line(tmp_path):
    done = run_command("export", "--model", FOREIGN / "nchw.onnx", tmp_path / "out.xml")
    assert done.returncode == 1 and "nchw.onnx" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("rrdb-basicsr-x4.pth", "--range=255"),
        ("compact-x2.pth", "--activation=relu"),
        ("nchw.onnx", "--activation=relu"),
        (None, "--range=1"),
    ],
)
def test_option_that_a_file_leaves_no_room_for_is_a_usage_error(name, option, tmp_path):
    Image.new("RGB", (16, 12)).save(tmp_path / "in.png")
    model = ["--model", FOREIGN / name] if name else []
    done = run_command("upscale", tmp_path / "in.png", tmp_path / "out.png", *model, option)
    assert done.returncode == 2, done.stderr
    assert option.replace("=", " ") in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("name", "scale"), [("compact-x2.pth", 2), ("compact-x3.safetensors", 3), ("nchw.onnx", 2)])
def test_compare_takes_it(name, scale, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "in.png")
    done = run_command("compare", tmp_path / "in.png", "--model", FOREIGN / name, "--output", tmp_path / "comparison")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison" / "index.html").is_file()


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("compact-x1.safetensors", 1),
        ("rrdb-unshuffle-x1.pth", 1),
        ("luma.onnx", 2),
        ("compact-x3.safetensors", 3),
        ("rrdb-old-x8.safetensors", 8),
    ],
)
def test_clip_of_another_scale(name, scale, tmp_path):
    make = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=62x50:rate=2:duration=1"]
    subprocess.run([*make, str(tmp_path / "in.mp4")], check=True)
    tiles = "--tile", 48, "--overlap", 8
    done = run_command("upscale", tmp_path / "in.mp4", f"{tmp_path}/%03d.png", "--model", FOREIGN / name, *tiles)
    assert done.returncode == 0, done.stderr
    frames = sorted(tmp_path.glob("*.png"))
    assert len(frames) == 2 and Image.open(frames[0]).size == (62 * scale, 50 * scale)


def test_large_scale_of_a_picture_with_transparency():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    assert Upscaler(FOREIGN / "rrdb-old-x8.safetensors")(picture).shape == (72, 56, 4)

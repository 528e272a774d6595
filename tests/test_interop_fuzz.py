"""Cut, changed and hostile model files: a picture or one line, never a traceback, a crash or a hang."""

import random
from pathlib import Path

import pytest
from helpers import run_command

from srgan.errors import SRGANError
from srgan.interop.reading import read_tensors

FOREIGN = Path(__file__).parent / "data" / "foreign"
FILES = ["compact-x2.pth", "rrdb-old-x4.pth", "compact-x3.safetensors", "nchw.onnx"]


def _changed(content, seed):
    """The content cut, with bits flipped, or with a part in another place."""
    draw = random.Random(seed)
    kind, content = seed % 3, bytearray(content)
    if kind == 0:
        del content[draw.randrange(len(content)) :]
    elif kind == 1:
        for _ in range(draw.randrange(1, 20)):
            content[draw.randrange(min(len(content), draw.choice([64, 1000, len(content)])))] ^= 1 << draw.randrange(8)
    else:
        start, target, length = (draw.randrange(len(content)) for _ in range(3))
        part = content[start : start + length % 500]
        content[target : target + len(part)] = part
    return bytes(content)


@pytest.mark.parametrize("name", FILES[:3])
def test_damaged_files_of_tensors_are_read_or_refused(name, tmp_path):
    content, refused = (FOREIGN / name).read_bytes(), 0
    path = tmp_path / name
    for seed in range(300):
        path.write_bytes(_changed(content, seed))
        try:
            read_tensors(path)
        except SRGANError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert refused > 100
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FILES)
def test_command_ends_in_a_picture_or_one_line(name, tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    for seed in (1, 2):
        path = tmp_path / f"{seed}-{name}"
        path.write_bytes(_changed((FOREIGN / name).read_bytes(), seed))
        done = run_command("upscale", tmp_path / "in.png", tmp_path / "out.png", "--model", path, timeout=120)
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert not (tmp_path / "out.png").exists() and done.stderr.count("\n") <= 4
        (tmp_path / "out.png").unlink(missing_ok=True)

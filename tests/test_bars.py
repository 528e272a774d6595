"""The bars of the commands in terminals of several widths, and in one that is resized."""

import os
import re
import subprocess
import sys

import pytest
from conftest import TINY
from helpers import import_main
from PIL import Image
from upscaling import photograph
from videos import make_video, scene

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
WIDTHS = pytest.mark.parametrize("widths", [(40,), (80,), (80, 40)], ids=str)
SLOW = """
import time
from srgan.upscale.upscaler import Upscaler
quick = Upscaler._upscale
def slow(*arguments, **options):
    time.sleep(0.2)
    return quick(*arguments, **options)
Upscaler._upscale = slow
"""


def shown(name, arguments, widths, bar, before=""):
    """What a terminal got from a command at each width; it gets the next one once it has shown the pattern `bar`."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()

    def resize(columns):
        fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    resize(widths[0])
    code = f"{before}\nimport sys; {import_main(name)}; sys.exit(main())"
    seen = [b""]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=follower,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(follower)
        try:
            while part := os.read(leader, 4096):
                seen[-1] += part
                if len(seen) < len(widths) and re.search(bar, seen[-1]):
                    resize(widths[len(seen)])
                    seen.append(b"")
        except OSError:  # the terminal is gone
            pass
    os.close(leader)
    assert process.returncode == 0, seen
    assert len(seen) == len(widths)
    return [re.split(r"[\r\n]+", part.decode().replace("\x1b[K", "")) for part in seen]


@WIDTHS
def test_pictures(widths, model, tmp_path):
    inputs = []
    for index in range(12):
        inputs.append(tmp_path / f"{index}.png")
        Image.fromarray(photograph(30, 30)).save(inputs[-1])
    arguments = [*inputs, tmp_path / "out", "--model", model]
    parts = shown("upscale", arguments, widths, rb"\d/12", SLOW)
    for lines, width in zip(parts, widths):
        bars = [line for line in lines[1:] if "/12" in line]
        assert bars and all(len(line) <= width for line in bars), bars
        pattern = r" *\d+% \d+/12 (\?|[\d:]+) left" if width == 40 else r" *\d+%\|.*\| \d+/12 \[.*picture.*\]"
        assert all(re.fullmatch(pattern, line.rstrip()) for line in bars[1:]), bars
    assert "srgan: 12 done, 0 skipped, 0 failed" in parts[-1]


@pytest.mark.parametrize("widths", [(40,), (80, 40)], ids=str)
def test_training(widths, tmp_path):
    changes = [
        *TINY,
        f"data.store={tmp_path / 'stores'}",
        "batches.steps_per_epoch=40",
        "pixel.epochs=1",
        "gan.epochs=0",
    ]
    arguments = ["--config", "sample", "--output", tmp_path / "run", "--set", *changes]
    parts = shown("train", arguments, widths, rb"pixel: +[1-9]\d?%")
    for lines, width in zip(parts, widths):
        bars = [line for line in lines[1:] if line.startswith("pixel:")]
        assert bars and all(len(line) <= width for line in bars), bars
        long = r"pixel: +\d+%\|.*\| \d+/40 \[.*step.*, loss [\d.e-]+\]"
        pattern = r"pixel: +\d+% (\?|[\d:]+) left, loss [\d.e-]+" if width == 40 else long
        assert any(re.fullmatch(pattern, line.rstrip()) for line in bars), bars


@WIDTHS
def test_clips(widths, model, tmp_path):
    make_video(tmp_path / "in.mkv", scene(12))
    slow = SLOW.replace("time.sleep(0.2)", "time.sleep(0.4)")
    parts = shown("upscale", [tmp_path / "in.mkv", tmp_path / "out.mkv", "-m", model], widths, rb"\d/12|\d%", slow)
    for lines, width in zip(parts, widths):
        bars = [line for line in lines[1:] if "%" in line]
        assert bars and all(len(line) <= width for line in bars), bars
        pattern = r" *\d+% \d+/12 (\?|[\d:]+) left" if width == 40 else r" *\d+%\|.*\| \d+/12 \[.*frame.*\]"
        assert all(re.fullmatch(pattern, line.rstrip()) for line in bars[1:]), bars


@WIDTHS
@pytest.mark.parametrize("name", ["compare", "evaluate"])
def test_measuring(name, widths, model, tmp_path):
    for index in range(12):
        Image.fromarray(photograph(64, 64, top=40 + index)).save(tmp_path / f"{index}.png")
    arguments = (
        [tmp_path, "-o", tmp_path / "out"] if name == "compare" else ["--data", f"a_long_name_of_a_set={tmp_path}"]
    )
    parts = shown(name, [*arguments, "-m", model], widths, rb"\d/12|[1-9]%", SLOW)
    for lines, width in zip(parts, widths):
        bars = [line for line in lines[1:] if "%" in line]
        assert bars and all(len(line) <= width for line in bars), bars
        pattern = r" *\d+% \d+/12 (\?|[\d:]+) left" if width == 40 else r" *\d+%\|.*\| \d+/12 \[.*picture.*\]"
        assert all(re.fullmatch(pattern, line.rstrip()) for line in bars[1:]), bars


@WIDTHS
def test_evaluating_clips(widths, model, tmp_path):
    make_video(tmp_path / "in.mkv", scene(12, 96, 64))
    arguments = ["--clips", f"a_long_name_of_a_clip={tmp_path / 'in.mkv'}", "-m", model]
    parts = shown("evaluate", arguments, widths, rb"a_long[^\r]*[1-9]", SLOW)
    for lines, width in zip(parts, widths):
        bars = [line for line in lines[1:] if "%" in line]
        assert bars and all(len(line) <= width for line in bars), bars


@WIDTHS
def test_the_gan_stage(widths, tmp_path):
    changes = [*TINY, f"data.store={tmp_path / 'stores'}", "batches.steps_per_epoch=20", "pixel.epochs=1"]
    changes += ["gan.epochs=1", "gan.content_weight=0"]
    arguments = ["-c", "sample", "-o", tmp_path / "run", "--set", *changes]
    parts = shown("train", arguments, widths, rb"gan: +\d")
    for lines, width in zip(parts, widths):
        bars = [line for line in lines[1:] if re.match("(pixel|gan):", line)]
        assert bars and all(len(line) <= width for line in bars), bars

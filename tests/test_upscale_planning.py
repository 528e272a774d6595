"""srgan-upscale's plan: which output is made of which input, how large, and what does not fit into memory."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_upscale_cli import CODE, files, save
from upscaling import photograph

from srgan.errors import UsageError
from srgan.upscale.picture_planning import plan, separate
from srgan.upscale.upscaler import Upscaler


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([".png", ".jpg", ".gif", ".tif"])), min_size=1, unique=True
    )
)
def test_a_plan_never_maps_two_inputs_to_one_output(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("plan")
    for stem, suffix in names:
        (folder / f"{stem}{suffix}").touch()
    pairs, clashes = separate(plan([str(folder)], str(folder / "out"), suffix=".png"))
    assert not clashes and len({target for _, target in pairs}) == len(pairs) == len(names)
    for source, target in pairs:
        assert target.stem in (source.stem, source.name)


def test_options_may_stand_between_inputs_and_output(upscale, tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    status, _ = upscale(tmp_path / "a.png", "--scale", 2, tmp_path / "b.png", "--format", "png", tmp_path / "out/")
    assert status == 0 and files(tmp_path / "out") == ["a.png", "b.png"]


def test_two_inputs_of_one_output_stop_only_themselves(upscale, tmp_path):
    for name in ("in/a.png", "in/a.gif", "in/b.png", "other/b.png"):
        save(tmp_path / name)
    status, lines = upscale(tmp_path / "in", tmp_path / "out")
    assert status == 0 and files(tmp_path / "out") == ["a.gif.png", "a.png", "b.png"]
    status, lines = upscale(tmp_path / "in", tmp_path / "other" / "b.png", tmp_path / "new")
    assert status == 1 and files(tmp_path / "new") == ["a.gif.png", "a.png"]
    assert sum("and another input, too" in line for line in lines) == 2
    assert lines[-1] == "srgan: 2 done, 0 skipped, 2 failed"


def test_a_folder_may_be_named_like_a_picture(upscale, tmp_path):
    (tmp_path / "out.png").mkdir()
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    assert upscale(tmp_path / "a.png", tmp_path / "out.png")[0] == 0
    assert upscale(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out.png")[0] == 0
    assert files(tmp_path / "out.png") == ["a.png", "b.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_regular_file_is_not_taken_from_a_folder(upscale, tmp_path):
    save(tmp_path / "in" / "a.png")
    os.mkfifo(tmp_path / "in" / "x.png")
    status, lines = upscale(tmp_path / "in", tmp_path / "out")
    assert status == 0 and lines[-1] == "srgan: 1 done, 0 skipped, 0 failed"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
@pytest.mark.parametrize("recursive", [True, False])
def test_a_folder_that_cannot_be_read_is_said(recursive, model, tmp_path):
    """Root may read everything: the process gives that up first."""
    for name in ("a", "locked"):
        save(tmp_path / "in" / name / "a.png")
    (tmp_path / "in" / "locked").chmod(0)
    tmp_path.chmod(0o777)
    command = [sys.executable, "-c", CODE, "--model", str(model)]
    command += ["--recursive", "in", "out"] if recursive else ["in/locked", "out"]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv to give up the rights of root")
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search",
                   "--inh-caps", "-dac_override,-dac_read_search", *command]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    (tmp_path / "in" / "locked").chmod(0o755)
    assert done.returncode == 1 and "locked: Permission denied" in done.stderr, done.stderr
    assert done.stderr.endswith(f"srgan: {int(recursive)} done, 0 skipped, 1 failed\n")
    assert files(tmp_path / "out") == (["a/a.png"] if recursive else [])


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("megabytes", [300, 350, 400, 450, 500, 550, 600, 650, 700, 800])
def test_little_memory_ends_in_one_line_or_in_smaller_tiles(megabytes, tmp_path, model):
    save(tmp_path / "a.png", photograph(200, 200))
    command = f"ulimit -v {megabytes * 1000}; exec {shlex.join([sys.executable, '-c', CODE, 'a.png', 'b.png', '--model', str(model)])}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "Traceback" not in done.stderr and "()" not in done.stderr, done.stderr
    assert done.returncode == (0 if (tmp_path / "b.png").exists() else 1) and done.stderr.startswith("srgan: ")
    assert done.returncode == 0 or megabytes < 600, done.stderr
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_result_that_does_not_fit_stops_only_itself(tmp_path, model):
    """Its result is the first that is too large, not a tile."""
    for name, side in (("1.png", 60), ("2.png", 3500), ("3.png", 60)):
        save(tmp_path / "in" / name, np.zeros((side, side, 3), np.uint8))
    options = ["--format", "webp", "--model", str(model)]  # WebP is not written in strips
    command = f"ulimit -v 900000; exec {shlex.join([sys.executable, '-c', CODE, 'in', 'out', *options])}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "2.png: not enough memory" in done.stderr and files(tmp_path / "out") == ["1.webp", "3.webp"], done.stderr


def test_plans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    where = {
        ("a.png", "b.jpg"): "b.jpg",
        ("a.png", "folder"): "folder/a.png",
        ("a.png", "new/"): "new/a.png",
        ("a.png", "-"): "-",
        ("a.png", "new/b.png"): "new/b.png",
    }
    for (source, output), target in where.items():
        ((planned, planned_target),) = plan([source], output)
        assert (str(planned), str(planned_target).replace(os.sep, "/")) == (source, target)
    assert plan(["-"], "b.png") == [("-", "b.png")]
    assert len(plan(["a.png", "a.png"], "new")) == 1  # the same one twice


def test_a_folder_of_damaged_files_gives_no_traceback_and_no_half_output(model, tmp_path):
    random = np.random.default_rng(0)
    suffixes = {".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".gif": "GIF", ".bmp": "BMP", ".tif": "TIFF"}
    for index in range(60):
        height, width = random.integers(1, 71, 2)
        suffix = list(suffixes)[index % 6]
        path = save(tmp_path / "in" / f"{index}{suffix}", photograph(height, width))
        content = bytearray(path.read_bytes())
        if index % 3 == 0:
            content = content[: random.integers(len(content))]
        elif index % 3 == 1:
            for place in random.integers(0, len(content), 5):
                content[place] ^= 1 << random.integers(8)
        path.write_bytes(content)
    done = run_command("upscale", tmp_path / "in", tmp_path / "out", "--model", model, "--max-pixels", "100000")
    changed, *said, last = done.stderr.splitlines()
    assert changed == "srgan: 10 pictures become PNG (10 gif): their own format is not written"
    counts = [int(count) for count in re.fullmatch(r"srgan: (\d+) done, 0 skipped, (\d+) failed", last).groups()]
    assert sum(counts) == 60 and counts[0] >= 20 and counts[1] >= 15 and done.returncode == 1
    assert all(line.startswith("srgan: ") for line in said) and len(said) == counts[1]
    assert len(files(tmp_path / "out")) == counts[0]
    for name in files(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as picture:
            picture.load()


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", "2x"], (60, 40)),
        (["--scale", "x2.5"], (75, 50)),
        (["--long-side", 300], (300, 200)),
        (["--fit", "90x30"], (45, 30)),
        (["--fit", "1000X80"], (120, 80)),
        (["--long-side", 15], (15, 10)),
        (["--scale", "0.5"], (15, 10)),
    ],
    ids=str,
)
def test_a_size_in_place_of_a_factor(options, size, upscale, tmp_path):
    save(tmp_path / "a.png")
    status, lines = upscale(tmp_path / "a.png", tmp_path / "b.png", *options)
    assert status == 0 and Image.open(tmp_path / "b.png").size == size
    assert any("beyond the x4 of this model, the rest by bicubic" in line for line in lines) == (size[0] > 120)
    smaller = f"srgan: {tmp_path / 'a.png'}: is larger than the size asked for, so it is scaled down"
    assert (smaller in lines) == (options == ["--long-side", 15])


def test_sizes_that_make_no_sense(upscale, model, tmp_path):
    save(tmp_path / "a.png")
    for options in (["--fit", "90"], ["--fit", "0x9"], ["--long-side", "-4"], ["--scale", "twice"]):
        assert upscale(tmp_path / "a.png", tmp_path / "b.png", *options)[0] == 2
    status, lines = upscale(tmp_path / "a.png", tmp_path / "b.png", "--scale", 2, "--fit", "9x9")
    assert status == 2 and "give one of them" in lines[0]
    for fit in ((1.5, 3), (0, 3), (3,)):
        with pytest.raises(UsageError, match="not a width and a height"):
            Upscaler(model, fit=fit)

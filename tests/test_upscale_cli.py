"""srgan-upscale as its users meet it: files, folders, streams, bad pictures, kills. Mostly as a process of its own."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from helpers import run_command
from PIL import Image
from upscaling import photograph

from srgan.cli.upscale import main
from srgan.upscale.upscaler import Upscaler

CODE = "from srgan.cli.upscale import main; raise SystemExit(main())"


def save(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(20, 30) if pixels is None else pixels).save(path, **options)
    return path


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_name_that_begins_with_a_dash(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(Path("-a.png"))
    assert main(["--model", str(model), "--", "-a.png", "out.png"]) == 0
    assert Path("out.png").exists()


def test_one_picture(model, tmp_path):
    source = save(tmp_path / "in.jpg", quality=95)
    done = run_command("upscale", source, tmp_path / "out.png", "--model", model)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "srgan: 1 done, 0 skipped, 0 failed\n")
    expected = Upscaler(model)(np.asarray(Image.open(source)))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), expected)


def test_help_and_versions_answer(model):
    assert "--skip-existing" in run_command("upscale", "--help").stdout


def test_each_file_can_be_told_to_people_and_to_programs(model, tmp_path):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.jpg", photograph(20, 40))
    (tmp_path / "in" / "c.png").write_bytes(b"no picture")
    save(tmp_path / "out" / "b.jpg")
    arguments = tmp_path / "in", tmp_path / "out", "--model", model, "--skip-existing"
    planned = run_command("upscale", *arguments, "--dry-run")
    source, target = tmp_path / "in", tmp_path / "out"
    assert planned.stdout.splitlines() == [
        f"{source}/a.png 30x20 -> {target}/a.png",
        f"{source}/b.jpg 40x20 -> {target}/b.jpg  (is there: left alone)",
        f"{source}/c.png -> {target}/c.png",
    ]
    assert (planned.returncode, planned.stderr, files(target)) == (0, "", ["b.jpg"])
    done = run_command("upscale", *arguments, "-v", "--json")
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and lines[:2] == [
        f"srgan: 1/3 {source}/b.jpg -> {target}/b.jpg (skipped)",
        f"srgan: 2/3 {source}/a.png -> {target}/a.png",
    ]
    skipped, first, failed = map(json.loads, done.stdout.splitlines())
    assert (skipped["status"], first["status"], failed["status"]) == ("skipped", "done", "failed")
    assert first["source"] == f"{source}/a.png" and first["model"] == str(model) and first["seconds"] > 0
    assert (first["source_size"], first["target_size"], first["error"]) == ([30, 20], [120, 80], None)
    assert "cannot be read as a picture" in failed["error"]
    quiet = run_command("upscale", *arguments, "-q")
    assert quiet.returncode == 1 and len(quiet.stderr.splitlines()) == 1 and "c.png" in quiet.stderr


def test_targets_are_checked_before_the_model_is_loaded(upscale, tmp_path):
    save(tmp_path / "a.png")
    for arguments in ((tmp_path / "out.xyz",), (tmp_path / "out/", "--format", "xyz")):
        status, lines = upscale(tmp_path / "a.png", *arguments, model="none.keras")
        assert status == 2 and len(lines) == 1 and "xyz" in lines[0]
    status, lines = upscale(tmp_path / "a.png", "-", "--json")
    assert status == 2 and "name a file" in lines[0]
    assert "130 or 143" in run_command("upscale", "--help").stdout


def test_without_a_model_one_line_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("srgan.models.WEIGHTS", tmp_path)
    assert main([str(save(tmp_path / "a.png")), str(tmp_path / "b.png")]) == 2
    assert re.fullmatch("srgan: no model is shipped yet: pass --model .*\n", capsys.readouterr().err)


def test_a_folder_with_bad_pictures(upscale, tmp_path):
    save(tmp_path / "in" / "a.jpg")
    save(tmp_path / "in" / "Größe 写真.PNG")
    save(tmp_path / "in" / "deep" / "b.webp")
    save(tmp_path / "in" / "animation.gif")
    (tmp_path / "in" / "cut.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes()[:300])
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    status, lines = upscale(tmp_path / "in", tmp_path / "out")
    assert status == 1 and lines[-1] == "srgan: 3 done, 0 skipped, 2 failed"
    assert lines[:3] == [
        "srgan: 1 file of other kinds left out (1 txt)",
        f"srgan: the folder {tmp_path / 'in' / 'deep'} is not looked into; --recursive includes subfolders",
        "srgan: 1 picture becomes PNG (1 gif): their own format is not written",
    ]
    assert sorted(line.split(": ")[1] for line in lines[3:-1]) == [
        str(tmp_path / "in" / bad) for bad in ("cut.jpg", "empty.png")
    ]
    assert files(tmp_path / "out") == ["Größe 写真.PNG", "a.jpg", "animation.png"]
    status, lines = upscale(tmp_path / "in", tmp_path / "out", "--recursive", "--skip-existing")
    assert status == 1 and lines[-1] == "srgan: 1 done, 3 skipped, 2 failed"
    assert Image.open(tmp_path / "out" / "deep" / "b.webp").size == (120, 80)


def test_several_inputs_and_a_format(upscale, tmp_path):
    inputs = [save(tmp_path / name) for name in ("a.png", "b.bmp", "c.tif")]
    status, lines = upscale(*inputs, tmp_path / "new" / "out", "--format", "JPG", "--quality", "60", "--scale", "2")
    assert status == 0 and lines[-1] == "srgan: 3 done, 0 skipped, 0 failed"
    assert files(tmp_path / "new") == ["out/a.jpg", "out/b.jpg", "out/c.jpg"]
    assert Image.open(tmp_path / "new" / "out" / "a.jpg").size == (60, 40)
    status, lines = upscale(*inputs, tmp_path / "missing.png", tmp_path / "new" / "out")
    assert status == 1 and "missing.png: No such file" in lines[0]
    assert lines[-1] == "srgan: 3 done, 0 skipped, 1 failed"


def test_an_output_below_its_input_is_not_an_input(upscale, tmp_path):
    save(tmp_path / "a.png")
    for _ in range(2):
        status, lines = upscale(tmp_path, tmp_path / "large", "--recursive")
        assert status == 0 and lines[-1] == "srgan: 1 done, 0 skipped, 0 failed"
    assert files(tmp_path) == ["a.png", "large/a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "a.png"], "would be written over a.png, an input"),
        (["a.png", "link.png"], "would be written over a.png, an input"),
        (["a.png", "b.png", "."], "would be written over"),
        (["a.png", "b.png", "c.png"], "several inputs need a folder"),
        (["-", "a.png", "out"], "one picture"),
        (["nothing", "out"], "no pictures there"),
        (["a.png", "out.jpg", "--format", "png"], "does not end in .png"),
        (["a.png", "out", "--format", "gif"], "'gif' is none of png"),
        (["a.png", "out.png", "--quality", "0"], "not between 1 and 100"),
        (["a.png", "out.png", "--tile", "7"], "below 48"),
        (["a.png", "out.png", "--strength", "0.5"], "--pixel-model"),
        (["a.png", "out.png", "--engine", "onnx"], "none of auto, openvino, keras"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_before_the_work(arguments, message, upscale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "a.jpg", "folder/a.png"):
        save(tmp_path / name)
    os.link(tmp_path / "a.png", tmp_path / "link.png")
    (tmp_path / "nothing").mkdir()
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    status, lines = upscale(*arguments)
    assert status == 2 and len(lines) == 1 and message in lines[0], lines
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("out.webp", (5000, 1), "WebP holds 16383"),
        ("out.jpg", (1, 20000), "JPEG holds 65500"),
    ],
)
def test_what_cannot_be_written_is_said_before_it_is_computed(name, size, message, upscale, tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", np.zeros((size[1], size[0], 3), np.uint8))
    monkeypatch.setattr(Upscaler, "__call__", None)
    status, lines = upscale(source, tmp_path / name)
    assert status == 1 and message in lines[0] and lines[-1] == "srgan: 0 done, 0 skipped, 1 failed"


def test_bombs_and_the_option_that_lifts_the_limit(upscale, tmp_path):
    source = save(tmp_path / "a.png")
    status, lines = upscale(source, tmp_path / "b.png", "--max-pixels", 599)
    assert status == 1 and "raise --max-pixels" in lines[0]
    assert upscale(source, tmp_path / "b.png", "--max-pixels", 600)[0] == 0
    assert upscale(source, tmp_path / "c.png", "--max-pixels", 0)[0] == 0


def test_streams(model, tmp_path):
    content = save(tmp_path / "a.png").read_bytes()
    for suffix, kind in (([], "PNG"), (["--format", "webp"], "WEBP")):
        command = [sys.executable, "-c", CODE, "-", "-", "--model", model, *suffix]
        done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0 and done.stderr == b"srgan: 1 done, 0 skipped, 0 failed\n"
        picture = Image.open(io.BytesIO(done.stdout))
        assert picture.format == kind and picture.size == (120, 80)
    command = [sys.executable, "-c", CODE, "-", tmp_path / "b.png", "--model", model]
    done = subprocess.run(command, input=content[:99], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr.startswith(b"srgan: standard input: cannot be read")
    assert not (tmp_path / "b.png").exists()


def test_a_reader_that_goes_away_gives_no_traceback(model, tmp_path):
    source = save(tmp_path / "a.png", photograph(200, 200))
    command = f"{sys.executable} -c '{CODE}' {source} - --model {model} --compression 0 | head -c 10 > /dev/null"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr


def test_gray_stays_gray_and_notes_are_said(upscale, tmp_path):
    gray = save(tmp_path / "gray.jpg", photograph(20, 30)[..., 0])
    upscale(gray, tmp_path / "gray.png")
    assert Image.open(tmp_path / "gray.png").mode == "L"
    clear = save(tmp_path / "clear.png", np.dstack([photograph(20, 30), photograph(20, 30)[..., 0]]))
    status, lines = upscale(clear, tmp_path / "clear.jpg")
    assert status == 0 and "JPEG has no transparency, it is laid on white" in lines[0]
    frames = [Image.fromarray(photograph(20, 30, top=top)) for top in (0, 60)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert "the first of 2 frames is taken" in upscale(tmp_path / "two.gif", tmp_path / "two.png")[1][0]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_works_without_anyone_to_hear_it(closed, tmp_path, model):
    command = shlex.join(
        [sys.executable, "-c", CODE, str(save(tmp_path / "a.png")), str(tmp_path / "b.png"), "--model", str(model)]
    )
    assert subprocess.run(f"{command} {closed}", shell=True).returncode == 0
    assert Image.open(tmp_path / "b.png").size


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_behind_standard_output_is_an_error(tmp_path, model):
    with open("/dev/full", "wb") as full:
        run = subprocess.run([sys.executable, "-c", CODE, str(save(tmp_path / "a.png")), "-", "--model", str(model)],
                             stdout=full, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert run.returncode == 1 and "standard output: cannot be written" in run.stderr and "Traceback" not in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_of_files_cannot_write_to_the_terminal(model, tmp_path):
    """In a process of its own: what pytest-xdist captures has to be UTF-8."""
    name = os.fsdecode(b"a\x1b[2J\nb\xff\xe3\x80\x80c.png")
    (tmp_path / name).write_bytes(b"no picture")
    arguments = [sys.executable, "-c", CODE, tmp_path / name, tmp_path / "out.png", "--model", model]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 2
    assert r"a\x1b[2J\nb\udcff\u3000c.png: cannot be read".replace(r"\u3000", "\u3000") in lines[0]


@pytest.mark.parametrize("length", [251, 300])
def test_names_as_long_as_there_can_be_and_longer(length, model, tmp_path):
    name, small, target = tmp_path / ("x" * length + ".png"), save(tmp_path / "a.png"), tmp_path / "b.png"
    if length < 255:
        small.rename(name)
        assert run_command("upscale", name, f"{tmp_path}/out/", "--model", model).returncode == 0
        assert files(tmp_path / "out") == [name.name]
        return
    for inputs in ((name, target), (small, name), (small, f"{name}/"), (small, target, "--model", name)):
        done = run_command("upscale", *inputs, *(() if "--model" in inputs else ("--model", model)))
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr and not target.exists()
        assert name.name in done.stderr and len(done.stderr.splitlines()) <= 3, done.stderr


def test_a_link_to_nothing_is_not_what_was_meant(model, tmp_path):
    (tmp_path / "a.png").symlink_to("nothing.png")
    done = run_command("upscale", tmp_path / "a.png", tmp_path / "b.png", "--model", model)
    assert done.returncode == 1 and "a.png: No such file\n" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_at_any_moment_nothing_is_half_and_the_rest_can_be_done(model, tmp_path):
    for index in range(12):
        save(tmp_path / "in" / f"{index}.png", photograph(60 + index, 80))
    arguments = [sys.executable, "-c", CODE, tmp_path / "in", tmp_path / "out", "--model", model, "--skip-existing"]
    random = np.random.default_rng(0)
    for _ in range(5):
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        count = len(list((tmp_path / "out").glob("*.png")))
        while process.poll() is None and time.monotonic() < deadline:
            if len(list((tmp_path / "out").glob("*.png"))) > count:  # it is in the middle of the work now
                break
            time.sleep(0.002)
        time.sleep(float(random.uniform(0, 0.05)))
        process.kill()
        process.wait()
        for path in (tmp_path / "out").glob("[!.]*"):
            with Image.open(path) as picture:
                picture.load()
                assert picture.width == 320
    done = run_command("upscale", *arguments[3:])
    assert done.returncode == 0 and re.fullmatch(r"srgan: \d+ done, \d+ skipped, 0 failed\n", done.stderr)
    whole = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    assert whole == sorted(f"{index}.png" for index in range(12))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_polite_end_leaves_nothing_behind(name, status, model, tmp_path):
    for index in range(60):
        save(tmp_path / "in" / f"{index}.png", photograph(90, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, tmp_path / "in", tmp_path / "out", "--model", model], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not list((tmp_path / "out").glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(getattr(signal, name))
    said = process.communicate(timeout=30)[1]
    assert process.returncode == status and b"Traceback" not in said, said
    assert not list((tmp_path / "out").glob(".*"))


def test_what_does_not_fit_into_memory_is_refused_and_the_rest_done(upscale, tmp_path, monkeypatch):
    """The system would end the process rather than refuse an allocation."""
    for name, side in (("a.png", 20), ("large.png", 1500), ("mid.png", 700), ("z.png", 20)):
        save(tmp_path / "in" / name, np.zeros((side, side, 3), np.uint8))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=17 << 20))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(free=0))
    status, lines = upscale(tmp_path / "in", tmp_path / "out", "--wrap")  # which takes the whole picture
    assert status == 1 and files(tmp_path / "out") == ["a.png", "z.png"]
    said = "\n".join(lines)
    assert "large.png: is upscaled in memory: --wrap takes the whole picture" in said
    assert re.search(r"large.png: not enough memory for 1500 x 1500 pixels: 17 MiB are free, .* 18 MiB", said)
    assert re.search(r"mid.png: not enough memory for a result of 2800 x 2800 pixels: 17 MiB .* 2[56] MiB", said)

"""Ctrl-C and SIGTERM: real processes of every command that are ended at every stage of their work."""

import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from helpers import ROOT, import_main
from PIL import Image
from upscaling import make_model, photograph
from videos import make_video, scene

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

# Marks the stage that is named as begun, in which the command then stays.
STAYING = """
import importlib, pathlib, sys, time
{main}
module, name = {stage!r}.rsplit(":", 1)
place = importlib.import_module(module)
*inner, name = name.split(".")
for each in inner:
    place = getattr(place, each)
work = getattr(place, name)
def stay(*arguments, **options):
    pathlib.Path({mark!r}).touch()
    if {computing}:
        import numpy
        while True:
            numpy.linalg.svd(numpy.ones((1000, 1000)))
    return work(*arguments, **options)
setattr(place, name, stay)
main()
"""


def started(command, *arguments, stage=None, mark=None, computing=False, **options):
    code = f"{import_main(command)}; main()"
    if stage:
        code = STAYING.format(main=import_main(command), stage=stage, mark=str(mark), computing=computing)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
        **options,
    )


def ended(process, number):
    """What the process says when it is sent the signal, which ends it in time and with the signal's status."""
    # Where other processes have the cores, too, what cannot be interrupted (loading a large library) takes longer.
    seconds = 2.0 * max(1.0, os.getloadavg()[0] / os.cpu_count())
    begun = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(30)
    finally:
        process.kill()
    assert time.monotonic() - begun < seconds
    said = process.stderr.read()
    assert process.returncode == 128 + number and "Traceback" not in said, said
    return said


def wait_for(found, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not found() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]
    time.sleep(0.1)


def left(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def each_with_a_signal(name, values):
    """Parametrises a test by `name` and `number`: the two signals take turns."""
    signals = itertools.cycle([signal.SIGINT, signal.SIGTERM])
    return pytest.mark.parametrize((name, "number"), list(zip(values, signals, strict=False)))


STAGES = {
    "reading": "srgan.pictures.reading:content_format",
    "loading the model": "srgan.upscale.engines.openvino_engine:_read_description",
    "compiling": "srgan.upscale.engines.openvino_engine:_compile_or_import",
    "computing": "srgan.upscale.engines.openvino_engine:OpenVINOEngine.__call__",
    "writing": "srgan.pictures.writing:write_png",
}


@each_with_a_signal("stage", STAGES)
def test_at_every_stage_of_a_picture(stage, number, model, tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "in.png")
    arguments = tmp_path / "in.png", tmp_path / "out.png", "--model", model
    process = started("upscale", *arguments, stage=STAGES[stage], mark=tmp_path / "mark", computing=True)
    wait_for((tmp_path / "mark").exists, process)
    assert ended(process, number) == "srgan: interrupted\n"
    assert left(tmp_path) == ["in.png", "mark"]


@each_with_a_signal("delay", [0.2, 1.0, 2.0, 3.0])
def test_while_a_model_is_converted(delay, number, tmp_path):
    """The real conversion, in which Keras and its backend are imported and compiled code holds the interpreter."""
    make_model(tmp_path / "generator.keras")
    Image.fromarray(photograph()).save(tmp_path / "in.png")
    arguments = tmp_path / "in.png", tmp_path / "out.png", "--model", tmp_path / "generator.keras"
    process = started("upscale", *arguments, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    said = ""
    while "converting" not in said:
        said = process.stderr.readline()
    time.sleep(delay)
    if process.poll() is None:  # else it was quick
        assert ended(process, number) == "srgan: interrupted\n"
        assert not (tmp_path / "out.png").exists()
        assert not [path for path in left(tmp_path) if ".part" in path]


@each_with_a_signal("source", ["-", "pipe.png"])
def test_while_it_waits_for_standard_input_or_a_pipe(source, number, model, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    place = source if source == "-" else tmp_path / source
    process = started("upscale", place, tmp_path / "out.png", "--model", model, stdin=subprocess.PIPE)
    time.sleep(2)
    assert ended(process, number) == "srgan: interrupted\n"
    assert left(tmp_path) == ["pipe.png"]


@each_with_a_signal("count", [200])
def test_in_a_batch_it_says_what_is_done(count, number, model, tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(count):
        Image.fromarray(photograph(90, 80)).save(tmp_path / "in" / f"{index:03}.png")
    process = started("upscale", tmp_path / "in", tmp_path / "out", "--model", model)
    wait_for(lambda: len(list(tmp_path.glob("out/*"))) > 3, process)
    said = ended(process, number)
    done = int(said.split()[2])
    rest = (
        f"{done} of {count} pictures done, {count - done} left; the same command with --skip-existing does the rest\n"
    )
    assert said == f"srgan: interrupted: {rest}"
    assert 0 < done <= len(left(tmp_path / "out")) <= done + 2 < count
    assert not [name for name in left(tmp_path / "out") if name.startswith(".")]
    for name in left(tmp_path / "out"):
        assert np.asarray(Image.open(tmp_path / "out" / name)).shape == (360, 320, 3)


@each_with_a_signal(
    "case",
    [
        ("out.mp4", "srgan.clips.reading:open_clip"),
        ("out.mp4", "srgan.upscale.engines.openvino_engine:OpenVINOEngine.__call__"),
        ("out.mp4", "srgan.clips.segments:coded_frame"),
        ("out/%03d.png", "srgan.upscale.engines.openvino_engine:OpenVINOEngine.__call__"),
        ("out/%03d.png", "srgan.pictures.writing:write_png"),
    ],
)
def test_in_a_clip(case, number, model, tmp_path):
    name, stage = case
    make_video(tmp_path / "in.mp4", scene(6))
    arguments = tmp_path / "in.mp4", tmp_path / name, "--model", model
    process = started("upscale", *arguments, stage=stage, mark=tmp_path / "mark", computing=True)
    wait_for((tmp_path / "mark").exists, process)
    assert ended(process, number) == "srgan: interrupted\n"
    assert [path for path in left(tmp_path) if path != "out"] == ["in.mp4", "mark"]


@each_with_a_signal(
    "stage",
    [
        "srgan.compare.scenes:read_rgb",
        "srgan.upscale.engines.openvino_engine:OpenVINOEngine.__call__",
        "srgan.compare.report:draw_sheet",
    ],
)
def test_in_a_comparison(stage, number, model, tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "in.png")
    arguments = tmp_path / "in.png", "--output", tmp_path / "out", "--model", model
    process = started("compare", *arguments, stage=stage, mark=tmp_path / "mark", computing=True)
    wait_for((tmp_path / "mark").exists, process)
    assert ended(process, number) == "srgan: interrupted\n"
    assert left(tmp_path / "out") == ["sheets"]


def test_the_second_signal_does_not_wait_for_the_cleaning(tmp_path):
    code = (
        "import time; from srgan.interrupts import cleaned_up, end_on_signals; end_on_signals()\n"
        "with cleaned_up(lambda: time.sleep(60)): print('ready', flush=True); time.sleep(60)"
    )
    for signals, longest in (([signal.SIGINT], 2.0), ([signal.SIGINT, signal.SIGTERM], 0.5)):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
        process.stdout.readline()
        begun = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.1)
        assert process.wait(10) == 130
        assert time.monotonic() - begun < longest


def test_what_is_ignored_stays_so_and_children_are_not_deaf():
    code = (
        "import os, signal, time; from srgan.interrupts import end_on_signals; end_on_signals()\n"
        "child = os.fork()\n"
        "if not child: time.sleep(60)\n"
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(0.3)\n"
        "os.kill(child, signal.SIGTERM); print(os.waitpid(child, 0)[1], flush=True)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (run.returncode, run.stdout) == (0, f"{int(signal.SIGTERM)}\n"), run.stderr


def test_children_end_with_their_parent():
    code = (
        "import subprocess, time; from srgan.interrupts import end_on_signals; end_on_signals()\n"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@each_with_a_signal("count", [2])
def test_among_clips_it_says_how_many_are_left(count, number, model, tmp_path):
    clips = [tmp_path / f"{index}.mkv" for index in range(count)]
    for clip in clips:
        make_video(clip, [photograph(96, 128)] * 3 + [photograph(96, 128, top=top) for top in range(60)])
    arguments = [*clips, f"{tmp_path}/out/", "--model", model]
    process = started("upscale", *arguments)
    wait_for(lambda: list(tmp_path.glob("out/.*")), process)
    said = ended(process, number)
    rest = f"0 of {count} clips done, {count} left; the same command with --skip-existing does the rest\n"
    assert said.startswith("srgan: interrupted: ") and said.endswith(rest), said


@each_with_a_signal("count", [1, 40])
def test_among_pictures_it_counts_the_clips_that_wait(count, number, model, tmp_path):
    inputs = [tmp_path / "wait.mkv", *(tmp_path / f"{index}.png" for index in range(count))]
    make_video(inputs[0], scene(6))
    for path in inputs[1:]:
        Image.fromarray(photograph(90, 80)).save(path)
    stage = "srgan.upscale.engines.openvino_engine:OpenVINOEngine.__call__"
    process = started(
        "upscale", *inputs, f"{tmp_path}/out/", "-m", model, stage=stage, mark=tmp_path / "mark", computing=True
    )
    wait_for((tmp_path / "mark").exists, process)
    rest = (
        f"0 of {count} picture{'s' * (count > 1)} done, {count} and 1 clip left; the same command with --skip-existing"
    )
    assert ended(process, number) == f"srgan: interrupted: {rest} does the rest\n"

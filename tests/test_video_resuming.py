"""Clips that are stopped, killed or run out of disk, and go on; work folders; what a terminal sees."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from filelock import FileLock
from videos import command, make_video, probe, scene

from srgan.upscale.clip_job import ahead


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out/%03d.png"])
def test_killed_and_started_again_it_goes_on_to_the_same_file(name, model, upscale, tmp_path, monkeypatch):
    times = np.cumsum(np.random.default_rng(1).integers(1, 9, 30)).tolist()
    make_video(tmp_path / "in.mkv", scene(30), [40 * time for time in times], Fraction(1, 1000), sound=True)
    arguments = [tmp_path / "in.mkv", tmp_path / name, "--model", model]
    kept = -1
    for _ in range(2):
        process = subprocess.Popen(command(*arguments, seconds=0.03), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            count = len([file for file in tmp_path.rglob("0*") if file.parent.name.endswith(".part")])
            if count > kept + 1:
                break
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert count > kept + 1 and not list(tmp_path.glob("[!.]*/0*")) and not (tmp_path / name).exists()
        kept = count
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.match(r"srgan: .*: goes on after \d+ frames\n", done.stderr), done.stderr
    assert done.stderr.endswith("30 frames, 0 replaced\n")
    (tmp_path / "whole").mkdir()
    whole = tmp_path / "whole" / name
    monkeypatch.setattr("srgan.clips.segments.SEGMENT", 4)
    assert upscale(arguments[0], whole)[0] == 0
    files = sorted(file.relative_to(tmp_path / "whole") for file in whole.parent.iterdir())
    assert len(files) == (30 if "%" in name else 1)
    for file in files:
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not list(tmp_path.rglob(".*"))
    if "%" not in name:
        assert [float(time) for time in probe(tmp_path / name)["times"]] == pytest.approx(
            np.array(times) * 0.04, abs=1e-3
        )


@pytest.mark.skipif(sys.platform == "win32", reason="limits")
def test_a_full_disk_is_said_and_what_is_finished_is_kept(model, tmp_path):
    make_video(tmp_path / "in.mp4", scene(24), g=8)
    arguments = [tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model, "--crf", 0]
    for limit, count in ((12_000, 0), (60_000, 6)):  # too little for a segment; for all of them, but not for the whole
        done = subprocess.run(command(*arguments, limit=limit), capture_output=True, text=True, check=False)
        *_, line, _ = done.stderr.splitlines()
        assert done.returncode == 1 and "no space left" in line and "Traceback" not in done.stderr, done.stderr
        assert len(list(tmp_path.glob(".out*/0*.npz"))) == count and not (tmp_path / "out.mp4").exists()
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "goes on after" in done.stderr
    assert len(probe(tmp_path / "out.mp4")["times"]) == 24


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted_it_says_that_it_can_go_on(model, upscale, tmp_path, monkeypatch):
    make_video(tmp_path / "in.mp4", scene(40))
    arguments = [tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model]
    process = subprocess.Popen(command(*arguments, seconds=0.05), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out*/0*.npz")) and time.monotonic() < deadline:
        time.sleep(0.005)
    monkeypatch.setattr("srgan.clips.segments.SEGMENT", 4)
    status, lines = upscale(*arguments[:2])
    assert status == 1 and "another process is at work on it" in lines[0]
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert re.fullmatch(r"srgan: interrupted: .*out.mp4: the same command goes on after \d+ frames\n", said)


def test_a_run_that_finished_nothing_leaves_nothing(upscale, tmp_path):
    make_video(tmp_path / "in.mp4", scene(2))
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--start", 60)
    assert status == 1 and "has no frames in that time" in lines[0], lines
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_what_another_process_is_at_work_on_is_left_to_it(upscale, tmp_path):
    make_video(tmp_path / "in.mp4", scene(2))
    folder = tmp_path / f".out.mp4-{'0' * 16}.part"  # as other options would name it
    folder.mkdir()
    (folder / "000000.npz").touch()
    with FileLock(folder / "lock"):
        assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")[0] == 0
        assert sorted(os.listdir(folder)) == ["000000.npz", "lock"]
        assert sorted(os.listdir(tmp_path)) == [folder.name, "in.mp4", "out.mp4"]
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_as_output_stays_one(upscale, tmp_path, monkeypatch):
    make_video(tmp_path / "in.mp4", scene(2))
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.mp4").symlink_to(tmp_path / "disk" / "video.mp4")
    replace = os.replace

    def within_one_file_system(source, target):
        if os.path.dirname(target) == str(tmp_path):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", within_one_file_system)
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert status == 0, lines
    assert (tmp_path / "out.mp4").is_symlink() and os.listdir(tmp_path / "disk") == ["video.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_sees_frames_a_second(model, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    make_video(tmp_path / "in.mp4", scene(8))
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    arguments = command(tmp_path / "in.mp4", tmp_path / "out.mp4", "--model", model, seconds=0.1)
    with subprocess.Popen(arguments, stderr=follower, stdin=subprocess.DEVNULL) as process:
        os.close(follower)
        seen = b""
        try:
            while part := os.read(leader, 4096):
                seen += part
        except OSError:  # the terminal is gone
            pass
    os.close(leader)
    assert process.returncode == 0 and re.search(rb"\d/8 \[.*frame/s", seen), seen
    assert seen.rstrip().endswith(b"1 done, 0 skipped, 0 failed, 8 frames, 0 replaced")


def test_threads_run_ahead_but_not_far_and_stop():
    made, closed = [], []

    def numbers():
        try:
            for number in range(100):
                made.append(number)
                yield number
        finally:
            closed.append(True)

    pulled = ahead(numbers())
    assert [next(pulled) for _ in range(3)] == [0, 1, 2]
    pulled.close()
    assert closed and len(made) <= 7

    def failing():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ahead(failing()))
    assert list(ahead(number for number in range(9))) == list(range(9))

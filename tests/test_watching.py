"""Watching and stopping a run: what TensorBoard gets within an epoch, and what is said where nothing was saved yet."""

import signal
import subprocess
import sys

import pytest
from conftest import TINY
from helpers import ROOT, import_main, run_command


def test_tensorboard_gets_the_losses_every_100_steps(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    changes = [*TINY, f"data.store={tmp_path / 'stores'}", "batches.steps_per_epoch=210", "batches.crop=16"]
    changes += ["pixel.epochs=2", "gan.epochs=1", "gan.content_weight=0"]
    done = run_command("train", "-c", "sample", "-o", tmp_path / "run", "--set", *changes)
    assert done.returncode == 0, done.stderr
    for stage, steps in (("pixel", [100, 200, 310, 410]), ("gan", [100, 200])):
        events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / stage))
        events.Reload()
        assert [event.step for event in events.Scalars("within an epoch/loss")] == steps
        assert [event.step for event in events.Scalars("loss")] == [210, 420][: len(steps) // 2]
        assert [event.step for event in events.Images("samples")] == [210, 420][: len(steps) // 2]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_run_that_is_stopped_before_its_first_checkpoint_says_so(tmp_path):
    changes = [*TINY, f"data.store={tmp_path / 'stores'}", "batches.steps_per_epoch=1000000"]
    code = f"{import_main('train')}; main()"
    arguments = ["-c", "sample", "-o", tmp_path / "run", "--set", *changes]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        while not process.stdout.readline().startswith("pixel: "):  # the stage begins
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in said
    assert f"the same command begins anew, because {tmp_path / 'run'} has no checkpoint yet" in said.splitlines()[-1]

"""Faults of the run folder, file by file: one line says how the run goes on, and nothing is lost."""

import json
import resource
import shutil
from pathlib import Path

import keras
import pytest
from helpers import equal, rows, run_command, run_python, saved_weights

from srgan.config.schema import Config
from srgan.errors import SRGANError
from srgan.train.checkpoint import Checkpoint, State
from srgan.train.log import read_log
from srgan.train.run import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of three epochs, and its configuration."""
    from conftest import TINY

    folder = tmp_path_factory.mktemp("finished")
    config = Config.load("sample", [*TINY, f"data.store={folder / 'stores'}", "pixel.epochs=3", "gan.epochs=0"])
    train(config, folder / "run")
    return folder / "run", config


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.fixture
def warnings(caplog, monkeypatch):
    """What was logged, as a list that grows."""
    caplog.set_level("WARNING", "srgan")
    messages = []
    monkeypatch.setattr(caplog.handler, "emit", lambda record: messages.append(record.getMessage()))
    return messages


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


def fill(file):
    file.write_bytes(b"\0" * 1000)


# -- checkpoints


@pytest.mark.parametrize("damage", [truncate, flip, empty, fill])
@pytest.mark.parametrize("facts", ["kept", "gone", "empty"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(damage, facts, run, warnings):
    checkpoint = Checkpoint(run / "checkpoint", "pixel")
    assert checkpoint.state().epoch == 3 and warnings == []
    damage(run / "checkpoint" / "pixel-000003.weights.h5")
    if facts == "gone":  # as earlier versions had none
        (run / "checkpoint" / "pixel-000003.json").unlink()
    elif facts == "empty":
        empty(run / "checkpoint" / "pixel-000003.json")
    if damage is flip and facts != "kept":
        return  # a flipped bit cannot be known without its digest
    assert checkpoint.state().epoch == checkpoint.state().epoch == 2
    (message,) = warnings
    assert message.startswith(f"{run / 'checkpoint' / 'pixel-000003.weights.h5'}: damaged; ")


def test_a_run_with_a_damaged_checkpoint_ends_with_the_same_weights(finished, run, warnings):
    whole, config = finished
    flip(run / "checkpoint" / "pixel-000003.weights.h5")
    train(config, run)
    assert equal(saved_weights(run), saved_weights(whole)) and len(warnings) == 1
    assert [row["epoch"] for row in rows(run)] == ["1", "2", "3"]
    assert sorted(file.name for file in (run / "checkpoint").iterdir()) == [
        "pixel-000002.json", "pixel-000002.weights.h5", "pixel-000003.json", "pixel-000003.weights.h5"]  # fmt: skip


def test_without_a_whole_checkpoint_the_run_is_refused_and_kept(finished, run):
    for file in (run / "checkpoint").glob("*.h5"):
        truncate(file)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(SRGANError, match=f"every checkpoint is damaged.*--set initial_weights={run} to begin with"):
        train(finished[1], run)
    assert all(file.read_bytes() == content for file, content in before.items())


def test_the_last_two_checkpoints_are_kept_over_both_stages(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    pixel, gan = (Checkpoint(tmp_path / "checkpoint", stage) for stage in ("pixel", "gan"))
    for checkpoint, state in (
        (pixel, State(1)),
        (pixel, State(1, 5)),
        (pixel, State(2)),
        (gan, State(0, 3)),
        (gan, State(1)),
    ):
        checkpoint.save(model, state)
    assert sorted(file.name for file in (tmp_path / "checkpoint").glob("*.h5")) == [
        "gan-000000-000003.weights.h5", "gan-000001.weights.h5"]  # fmt: skip
    assert gan.state() == State(1) and pixel.state() == State()
    gan.save(model, State(1, 7, {"loss": [0.1, 2.0]}, 3.5, [20.25, 1]))
    assert gan.state() == State(1, 7, {"loss": [0.1, 2.0]}, 3.5, [20.25, 1])


# -- the other files


def semicolons(file):
    """As a spreadsheet saves it where numbers have a decimal comma."""
    text = file.read_text().replace(".", "&").replace(",", ";").replace("&", ",")
    file.write_text(text, encoding="utf-8-sig", newline="\r\n")


def tabs(file):
    file.write_text(file.read_text().replace(",", "\t"), encoding="utf-16")


def rounded(file):
    """With lines without content at the end, whole numbers as others, and a number as a date."""
    first, *lines = file.read_text().splitlines()
    names = first.split(",")
    for index, line in enumerate(lines):
        row = dict(zip(names, line.split(",")))
        row |= {
            "epoch": f"{row['epoch']}.0",
            "step": f"{int(row['step']):.2E}",
            "total_step": f"{row['total_step']}.00",
        }
        row["seconds"], row["loss"] = f'"{row["seconds"].replace(".", ",")}"', "01.Feb" if index == 0 else row["loss"]
        lines[index] = ",".join(row.values())
    file.write_text("\n".join([first, *lines, "," * (len(names) - 1), ""]))


def test_a_log_whose_numbers_a_spreadsheet_wrote_otherwise_goes_on(run, finished, warnings):
    before = rows(run)
    rounded(run / "log.csv")
    assert [row | {"loss": ""} for row in read_log(run / "log.csv")] == [row | {"loss": ""} for row in before]
    for file in (run / "checkpoint").glob("pixel-000003*"):
        file.unlink()
    train(finished[1], run)
    assert warnings == [] and [row["loss"] for row in rows(run)][0] == "01.Feb" and len(rows(run)) == 3
    assert equal(saved_weights(run), saved_weights(finished[0])) and (run / "curves.png").exists()


@pytest.mark.parametrize("saved", [semicolons, tabs])
def test_a_log_that_a_spreadsheet_saved_is_read(saved, run):
    before = read_log(run / "log.csv")
    assert before == rows(run) and len(before) == 3
    saved(run / "log.csv")
    assert read_log(run / "log.csv") == before


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("log.csv", semicolons, None),
        ("log.csv", lambda file: file.unlink(), None),
        ("log.csv", fill, "log.csv: cannot be read as a log; it is kept as log-damaged.csv, and a new one begins"),
        ("environment.json", empty, "environment.json: damaged; it is kept as environment-damaged.json, and a new one begins."),
        ("environment.json", lambda file: file.write_text('{"a": 1}'), "environment.json: damaged; it is kept as"),
        ("environment.json", lambda file: file.unlink(), None),
        ("config.yaml", empty, "config.yaml: must hold `key: value` pairs; the run goes on with the configuration of this"),
        ("config.yaml", fill, "config.yaml: not YAML"),
        ("samples", shutil.rmtree, None),
        ("tensorboard", lambda folder: shutil.rmtree(folder, ignore_errors=True), None),
    ],
)  # fmt: skip
def test_a_run_goes_on_whatever_happened_to_a_file(name, damage, message, finished, run, warnings):
    whole, config = finished
    damage(run / name)
    # The last epoch is repeated, as after a kill.
    for file in (run / "checkpoint").glob("pixel-000003*"):
        file.unlink()
    train(config, run)
    assert equal(saved_weights(run), saved_weights(whole))
    assert [message in warning for warning in warnings] == [True] if message else warnings == []
    logged = [row["epoch"] for row in rows(run)]
    assert logged == (["3"] if name == "log.csv" and damage is not semicolons else ["1", "2", "3"])
    assert json.loads((run / "environment.json").read_text())[-1]["seed"] == 0
    assert Config.load(run / "config.yaml") == config


def test_a_run_without_its_configuration_goes_on_with_that_of_the_command(finished, run, warnings):
    whole, config = finished
    (run / "config.yaml").unlink()
    for file in (run / "checkpoint").glob("pixel-000003*"):
        file.unlink()
    train(config, run)
    assert [warning.startswith(f"{run / 'config.yaml'}: gone; the run goes on with") for warning in warnings] == [True]
    assert equal(saved_weights(run), saved_weights(whole)) and Config.load(run / "config.yaml") == config


@pytest.mark.parametrize("name", ["config.yaml", "checkpoint/pixel-000003.weights.h5", "curves.png"])
def test_a_folder_in_place_of_a_file_is_named(name, finished, run):
    (run / name).unlink()
    (run / name).mkdir()
    if name == "curves.png":  # which is written after an epoch
        for file in (run / "checkpoint").glob("pixel-000003*"):
            file.unlink()
    with pytest.raises(
        SRGANError, match=f"{name}: Is a directory, where a file belongs; move it away, and the same command"
    ):
        train(finished[1], run)


@pytest.mark.parametrize("damage", [empty, lambda file: file.unlink()])
def test_a_generator_that_is_gone_is_written_anew(damage, finished, run):
    whole, config = finished
    for name in ("generator.keras", "generator-pixel.keras"):
        damage(run / name)
    train(config, run)
    for name in ("generator.keras", "generator-pixel.keras"):
        assert equal(saved_weights(run, name), saved_weights(whole))


# -- the disk and the memory


def test_a_full_disk_ends_in_one_line_that_says_what_the_same_command_does(finished, tmp_path):
    """A limit for the size of files fails as a full disk does: in the midst of writing."""
    whole, config = finished
    (tmp_path / "tiny.yaml").write_text(config.to_yaml())
    arguments = ["--config", tmp_path / "tiny.yaml", "--output", tmp_path / "run"]
    size = (whole / "checkpoint" / "pixel-000003.weights.h5").stat().st_size // 2
    stopped = run_command(
        "train", *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    )
    assert stopped.returncode == 1
    (line,) = stopped.stderr.splitlines()
    assert line.startswith(f"srgan: {tmp_path / 'run'}") and "make room, and the same command begins anew" in line
    assert not [file for file in (tmp_path / "run").rglob(".*") if file.name != ".lock"]
    train(config, tmp_path / "run")
    assert equal(saved_weights(tmp_path / "run"), saved_weights(whole))
    for file in (tmp_path / "run" / "checkpoint").glob("pixel-000003*"):
        file.unlink()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SRGANError) as caught:
        patch.setattr("srgan.train.callbacks.draw_curves", lambda *_: Path("/dev/full").write_text("x" * 2**20))
        train(config, tmp_path / "run")
    message = f"No space left on device; make room, and the same command goes on from the last checkpoint of {tmp_path / 'run'}"
    assert str(caught.value).endswith(message)


def test_a_full_disk_leaves_the_events_of_tensorboard_whole(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code = (
        "import resource, signal; from pathlib import Path; from srgan.train.log import EventFile\n"
        f"events, value = EventFile(Path({str(tmp_path / 'pixel')!r})), {{'tag': 'loss', 'simple_value': 0.5}}\n"
        "events.add(1, value)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"size = next(Path({str(tmp_path / 'pixel')!r}).iterdir()).stat().st_size + 10\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "try: events.add(2, value)\n"
        "except OSError as error: print(error)\n"
    )
    done = run_python("-c", code)
    (file,) = (tmp_path / "pixel").iterdir()
    assert done.stdout == f"[Errno 27] File too large: '{file}'\n" and done.stderr == ""
    events = EventAccumulator(str(tmp_path / "pixel"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5)]


def test_no_room_for_a_checkpoint_keeps_the_last_two(run, monkeypatch):
    import os

    def full(*_):
        raise OSError(28, os.strerror(28))

    before = {file.name for file in (run / "checkpoint").iterdir()}
    monkeypatch.setattr(os, "posix_fallocate", full)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(OSError, match="No space left on device.*pixel-000004"):
        Checkpoint(run / "checkpoint", "pixel").save(model, State(4))
    assert {file.name for file in (run / "checkpoint").iterdir()} <= before
    assert Checkpoint(run / "checkpoint", "pixel").state().epoch == 3


def test_too_little_memory_names_what_to_lower(tiny, tmp_path, monkeypatch):
    from srgan.train import objective

    def large(kind, hr, sr):
        return keras.ops.sum(keras.ops.broadcast_to(keras.ops.mean(sr), (1 << 21, 1 << 20)))  # 8 TB

    monkeypatch.setattr(objective, "pixel_loss", large)
    with pytest.raises(SRGANError) as caught:
        train(tiny("gan.epochs=0"), tmp_path / "run")
    assert str(caught.value) == (
        "not enough memory for a step of the pixel stage with batches.size = 2 crops of batches.crop = 32 pixels; lower "
        "batches.size (batches.accumulate keeps the crops of a step as many), batches.crop or network.filters"
    )

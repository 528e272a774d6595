"""The run folder: which run it holds, and what may change when that run resumes."""

import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import keras
from filelock import FileLock

from srgan.config.reading import read_tree
from srgan.config.schema import Config
from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path, set_aside
from srgan.interrupts import cleaned_up
from srgan.train.checkpoint import STAGES, Checkpoint, State
from srgan.train.data.prepare import Store
from srgan.train.validation import bicubic_psnr_y

# What may change from one start of a run to the next. Digests tell whether moved pictures are the same.
CHANGEABLE = (
    *("batches.workers", "checkpoint_minutes", "deterministic", "distribute", "gan.patience", "keep_every"),
    *("pixel.patience", "samples", "data.store"),
    *(
        f"data.{of}{key}"
        for of in ("", "validation_")
        for key in ("pictures", "annotations", "clips", "low_resolution")
    ),
)
GAN_ONLY = ("gan.", "network.discriminator")  # what the pixel stage does not depend on

_log = logging.getLogger("srgan")

PACKAGES = ("srgan", "keras", "tensorflow", "jax", "torch", "numpy", "pillow", "pycocotools")


@contextmanager
def own_folder(output: Path) -> Iterator[None]:
    """Create the run folder and lock it for the block; remove it if no run began."""
    output.mkdir(parents=True, exist_ok=True)

    def clean():
        if not (output / "config.yaml").exists():
            with suppress(OSError):
                (output / ".lock").unlink()
                output.rmdir()

    with FileLock(output / ".lock", timeout=0), cleaned_up(clean):
        for part in output.rglob(".*.part*"):
            part.unlink()  # left by a process that was killed while it wrote
        try:
            yield
        except SRGANError:
            clean()
            raise


def progress(output) -> dict[str, State]:
    """How far each stage has come."""
    return {stage: Checkpoint(output / "checkpoint", stage).state() for stage in STAGES}


def what_goes_on(output: str | os.PathLike) -> str:
    """What the same command does after an interruption."""
    if any(Path(output, "checkpoint").glob("[!.]*.weights.h5")):
        return f"the same command goes on from the last checkpoint of {output}"
    return (
        f"the same command begins anew, because {output} has no checkpoint yet; there is one after each epoch, and every "
        "checkpoint_minutes"
    )


def _begun(output):
    return any(state.begun for state in progress(output).values())


def refuse_other_runs(config: Config, output: Path) -> None:
    """Require that the folder is free, or holds a run of this configuration, or one that has no checkpoint yet.

    A run whose checkpoint was deleted is refused, too: its generator would be overwritten.

    Keys that do not affect the weights may change, and so may those that only affect future epochs: the number of
    epochs, and everything about a GAN stage that has not begun. A cosine schedule is stretched to the new end, so the
    learning rate jumps.

    Raises:
        UsageError: the folder holds something else; the message names the keys that differ.
    """
    file = output / "config.yaml"
    if not file.exists():
        if _begun(output):
            _log.warning(
                "%s: gone; the run goes on with the configuration of this command, which could not be compared", file
            )
            return
        if output.is_dir() and any(not path.name.startswith(".") for path in output.iterdir()):
            raise UsageError(f"{output}: holds files and no run; give a new folder as --output")
        return
    Checkpoint(output / "checkpoint", STAGES[0]).require_whole()
    if not _begun(output):
        log = output / "log.csv"
        is_logged = log.exists() and len(log.read_bytes().splitlines()) > 1
        if is_logged and not (output / "checkpoint").is_dir():  # which there is before an epoch is logged
            raise UsageError(
                f"{output}: holds a run whose checkpoint is gone, so that it cannot go on and would be overwritten; "
                f"give another --output, and --set initial_weights={output} to begin with what was learnt"
            )
        return
    try:
        read_tree(file)
    except UsageError as error:
        _log.warning("%s; the run goes on with the configuration of this command, which could not be compared", error)
        return
    try:
        before = Config.load(file).flat()
    except UsageError as error:
        raise UsageError(f"{output}: holds a run that this version cannot continue ({error})") from error
    now = config.flat()
    states = progress(output)
    stage = "gan" if states["gan"].begun else "pixel"
    least = states[stage].epoch + bool(states[stage].step)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and key not in CHANGEABLE]
    if now[f"{stage}.epochs"] >= least:
        changed = [key for key in changed if key != f"{stage}.epochs"]
    if not states["gan"].begun:
        changed = [key for key in changed if not key.startswith(GAN_ONLY)]
    if changed:
        again = ""
        if states["gan"].begun and all(key.startswith(GAN_ONLY) for key in changed):
            again = (f"; to begin the GAN stage anew without the pixel stage, give another --output and --set pixel.epochs=0 "
                     f"initial_weights={output / 'generator-pixel.keras'}")  # fmt: skip
        listed = ", ".join(f"{key} (was {before.get(key)!r}, is {now.get(key)!r})" for key in changed)
        raise UsageError(
            f"{output}: holds a run of another configuration: {listed}. Give another --output, or the same values{again}"
        )


def _starts(output):
    """The earlier starts in environment.json, if the run has finished an epoch."""
    file = output / "environment.json"
    if not _begun(output) or not file.exists():
        return []
    try:
        starts = json.loads(file.read_text(encoding="utf-8"))
        if not all("bicubic_psnr_y" in start for start in starts):
            raise ValueError("no list of starts")
        return starts
    except (ValueError, TypeError):
        kept = set_aside(file)
        _log.warning("%s: damaged; it is kept as %s, and a new one begins. Whether the pictures are still those of the "
                     "epochs that are done could not be compared", file, kept.name)  # fmt: skip
        return []


def _digests(stores):
    return {key: store.digest for key, store in stores.items()}


def refuse_other_pictures(output: Path, stores: dict[str, Store]) -> None:
    """Require that the pictures are those of the epochs that are done."""
    now = _digests(stores)
    before = next((start["digests"] for start in _starts(output) if "digests" in start), now)  # not in earlier versions
    changed = [f"data.{key}" for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        raise SRGANError(
            f"{output}: the pictures have changed since this run began, or are decoded otherwise ({', '.join(changed)}); "
            "put them back to go on, or give another --output"
        )


def describe_start(config: Config, output: Path, devices: list[str], stores: dict[str, Store], examples: tuple) -> None:
    """Print what is about to happen, and add an entry for this start to environment.json."""
    starts = _starts(output)
    bicubic = starts[0]["bicubic_psnr_y"] if starts else bicubic_psnr_y(examples[1])
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    backend = keras.backend.backend()
    skipped = [problem for store in stores.values() for problem in store.skipped]
    counts = {key if key.startswith("validation") else f"training_{key}": store.count for key, store in stores.items()}
    starts.append(
        {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "backend": backend,
            "devices": devices,
            "precision": config.precision,
            "seed": config.seed,
            "versions": versions,
            "epochs": {stage: getattr(config, stage).epochs for stage in STAGES},
            "digests": _digests(stores),
            **counts,
            "skipped": skipped,
            "bicubic_psnr_y": bicubic,
        }
    )
    with atomic_path(output / "environment.json") as temporary:
        temporary.write_text(json.dumps(starts, indent=1), encoding="utf-8")
    clips = "".join(
        f", {count} windows of {key.replace('_', ' ')}" for key, count in counts.items() if key.endswith("clips")
    )
    print(
        f"{backend} {versions.get(backend, '')} on {', '.join(devices)}, {config.precision}; "
        f"{counts['training_pictures']} training and {counts['validation_pictures']} validation pictures{clips}"
        f"{f', {len(skipped)} skipped' if skipped else ''}"
    )
    print(f"run folder {output}; bicubic has a validation PSNR-Y of {bicubic:.2f} dB", flush=True)

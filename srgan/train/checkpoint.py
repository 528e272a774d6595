"""The state of a run on disk."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.interrupts import cleaned_up

if TYPE_CHECKING:
    import keras

STAGES = ("pixel", "gan")
KEPT = 2  # so that a damaged one can be replaced

_log = logging.getLogger("srgan")


@dataclass(frozen=True)
class State:
    """How far a stage has come.

    Attributes:
        epoch: how many epochs are done.
        step: how many steps of the next one.
        metrics: values of the metrics' variables within an epoch, by the metric's name.
        seconds: how long these steps took.
        best: the best validation score so far, the higher the better, and after how many epochs it was reached.
    """

    epoch: int = 0
    step: int = 0
    metrics: dict = field(default_factory=dict)
    seconds: float = 0.0
    best: tuple[float, int] | None = None

    @property
    def begun(self) -> bool:
        return bool(self.epoch or self.step)

    def out_of_patience(self, patience) -> bool:
        """Whether the last `patience` epochs brought nothing better."""
        return bool(patience and self.best) and self.epoch - self.best[1] >= patience


class Checkpoint:
    """The whole state of a stage, in a file whose name contains the epoch, and the step within an epoch.

    A file is written under another name, synchronised and renamed, so that a complete one survives a kill at any
    moment. The last two of a run are kept. A digest of each lies beside it; if the last file is damaged, the one before
    stands for it.
    """

    def __init__(self, folder, stage):
        self.folder, self.stage = Path(folder), stage

    def _whole(self):
        """The files of all stages that are not damaged, the last first."""
        files = [file for file in self.folder.glob("*.weights.h5") if _place(file)]
        stamped = [(file, file.stat()) for file in sorted(files, key=_place, reverse=True)]
        return [file for file, status in stamped if _is_whole(file, status.st_size, status.st_mtime_ns)]

    def _newest(self):
        return next((file for file in self._whole() if _place(file)[0] == STAGES.index(self.stage)), None)

    def state(self) -> State:
        """How far the stage has come; that of a stage that has not begun where there is no checkpoint."""
        newest = self._newest()
        if newest is None:
            return State()
        _, epoch, step = _place(newest)
        facts = _facts(newest)
        return State(epoch, step, **{key: facts[key] for key in ("metrics", "seconds", "best") if key in facts})

    def require_whole(self) -> None:
        """Require that there is a whole file, if there is any.

        Raises:
            SRGANError: all are damaged.
        """
        if any(self.folder.glob("*.weights.h5")) and not self._whole():
            raise SRGANError(
                f"{self.folder}: every checkpoint is damaged, so that the run cannot go on; give another --output, and "
                f"--set initial_weights={self.folder.parent} to begin with what was learnt"
            )

    def save(self, model: "keras.Model", state: State) -> None:
        """Write the state of `model`, which `state` describes.

        Raises:
            OSError: there is no room, for instance. What was there before is kept.
        """
        self.folder.mkdir(exist_ok=True)
        for left in self.folder.glob(".*"):
            left.unlink()  # half files of a killed process
        self._keep(KEPT - 1)  # before the next one is written: a disk may just have room for two
        new = self.folder / f"{self.stage}-{state.epoch:06d}{f'-{state.step:06d}' if state.step else ''}.weights.h5"
        # Keras insists on the suffix .weights.h5, so that the temporary name is made here and not by atomic_path.
        part = self.folder / f".{new.name}"
        with contextlib.ExitStack() as stack:
            stack.callback(part.unlink, missing_ok=True)
            stack.enter_context(cleaned_up(lambda: part.unlink(missing_ok=True)))
            with _clean_errors(part):
                _reserve(part, model)
                model.save_weights(part, overwrite=True)
                with open(part, "r+b") as file:
                    os.fsync(file.fileno())
            with atomic_path(_facts_file(new)) as temporary:
                temporary.write_text(json.dumps({"sha256": _digest(part), **asdict(state)}), encoding="utf-8")
            os.replace(part, new)
        self._keep(KEPT)

    def _keep(self, count):
        """Delete all files but the last whole ones, and facts without a file."""
        kept = self._whole()[:count]
        for file in self.folder.glob("*.weights.h5"):
            if file not in kept:
                file.unlink()
        for file in self.folder.glob("*.json"):
            if file not in map(_facts_file, kept):
                file.unlink()

    def load(self, model: "keras.Model") -> None:
        newest = self._newest()
        try:
            model.load_weights(newest)
        except ValueError as error:  # layers that are stored under other names
            raise SRGANError(
                f"{newest}: holds other layers than this version of srgan has, which cannot go on with it: pass another "
                f"--output, and --set initial_weights={self.folder.parent} to begin with what was learnt"
            ) from error


def _place(file):
    """(stage, epoch, step) of a file by its name; None if it is no checkpoint."""
    match = re.fullmatch(r"([a-z]+)-(\d+)(?:-(\d+))?\.weights\.h5", file.name)
    return match and match[1] in STAGES and (STAGES.index(match[1]), int(match[2]), int(match[3] or 0))


def _facts_file(file):
    return file.with_name(file.name.replace(".weights.h5", ".json"))


def _facts(file):
    """What is known of a checkpoint; of one of an earlier version or with damaged facts, nothing."""
    try:
        facts = json.loads(_facts_file(file).read_text(encoding="utf-8"))
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}


@cache
def _is_whole(file, size, time):
    """Whether a file has the digest that is noted, or where none is, can be opened. Says so, once, if it has not."""
    expected = _facts(file).get("sha256")
    whole = _digest(file) == expected if expected else _opens(file)
    if not whole:
        _log.warning("%s: damaged; it is left out, and the run goes on from what was saved before it", file)
    return whole


def _digest(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _opens(file):
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            return bool(len(opened))
    except OSError:
        return False


def _reserve(file, model):
    """Fail now if there is no room: HDF5 reports that in several messages that nobody can suppress."""
    if not hasattr(os, "posix_fallocate"):
        return
    variables = [*model.variables, *getattr(getattr(model, "optimizer", None), "variables", [])]
    size = sum(int(np.prod(variable.shape)) * 4 + 1000 for variable in variables)
    with open(file, "wb") as opened:
        os.posix_fallocate(opened.fileno(), 0, size)


@contextlib.contextmanager
def _clean_errors(file):
    """Make one OSError with the file's name of what HDF5 raises, and suppress what it writes while it is closed."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda *_: None
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        if isinstance(error, RuntimeError) and not number:
            raise
        number = error.errno if getattr(error, "errno", None) else int(number[1]) if number else errno.EIO
        raise OSError(number, os.strerror(number), str(file)) from error
    finally:
        sys.unraisablehook = hook

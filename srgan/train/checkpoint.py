"""The state of a run on disk."""

import os
from pathlib import Path

from srgan.errors import SRGANError
from srgan.interrupts import cleaned_up


class Checkpoint:
    """The whole state of a stage after its last epoch, in one file whose name contains the epoch.

    A file is written under another name, synchronised and renamed, and only then its predecessor is deleted, so that a
    complete one survives a kill at any moment.
    """

    def __init__(self, folder, stage):
        self.folder, self.stage = Path(folder), stage

    def _files(self):
        return sorted(self.folder.glob(f"{self.stage}-*[0-9].weights.h5"))

    def epoch(self) -> int:
        """How many epochs are done."""
        return max((int(file.name.split(".")[0].rpartition("-")[2]) for file in self._files()), default=0)

    def save(self, model, epoch):
        self.folder.mkdir(exist_ok=True)
        for left in self.folder.glob(".*"):
            left.unlink()  # half files of a killed process
        new = self.folder / f"{self.stage}-{epoch:06d}.weights.h5"
        # Keras insists on the suffix .weights.h5, so that the temporary name is made here and not by atomic_path.
        part = self.folder / f".{new.name}"
        with cleaned_up(lambda: part.unlink(missing_ok=True)):
            model.save_weights(part, overwrite=True)
            with open(part, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(part, new)
        for old in self.folder.glob("*.weights.h5"):
            if old != new:
                old.unlink()

    def load(self, model):
        newest = self._files()[-1]
        try:
            model.load_weights(newest)
        except ValueError as error:  # layers that are stored under other names
            raise SRGANError(
                f"{newest}: holds other layers than this version of srgan has, which cannot go on with it: pass another "
                f"--output, and --set initial_weights={self.folder.parent} to begin with what was learnt"
            ) from error

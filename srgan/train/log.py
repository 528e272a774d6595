"""The log of a run."""

import csv
from importlib.util import find_spec

from srgan.files import atomic_path

LOSSES = ("pixel", "content", "adversarial", "artifact", "flat", "chroma", "lattice", "colour", "discriminator")


COLUMNS = ["stage", "epoch", "step", "seconds", "learning_rate", "loss", *(f"loss/{name}" for name in LOSSES)]
COLUMNS += ["discriminator/real", "discriminator/fake", "validation/psnr_y"]


class Log:
    """log.csv, a line per epoch of either stage, and the same for TensorBoard if that is installed."""

    def __init__(self, output, stage):
        self.path, self.stage = output / "log.csv", stage
        self.writer = None
        if find_spec("tensorboard"):
            from tensorboard.summary import Writer

            self.writer = Writer(str(output / "tensorboard" / stage))

    def cut(self, epoch):
        """Drop this stage's lines after `epoch`: these epochs are about to be repeated."""
        rows = []
        if self.path.exists():
            with open(self.path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["stage"] != self.stage or int(row["epoch"]) <= epoch]
        self._replace(rows)

    def write(self, row):
        with open(self.path, newline="") as file:
            rows = list(csv.DictReader(file))
        self._replace([*rows, {"stage": self.stage, **row}])
        if self.writer:
            for name in COLUMNS[3:]:
                if name in row:
                    self.writer.add_scalar(name, row[name], row["step"])
            self.writer.flush()

    def _replace(self, rows):
        with atomic_path(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

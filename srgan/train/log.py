"""The log of a run."""

import csv
import io
import logging
import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from srgan.files import atomic_path, set_aside

LOSSES = ("pixel", "content", "adversarial", "artifact", "flat", "chroma", "lattice", "colour", "discriminator")
COLUMNS = ["stage", "epoch", "step", "total_step", "seconds", "learning_rate", "loss"]
COLUMNS += [f"loss/{name}" for name in LOSSES]
COLUMNS += [f"discriminator/{name}" for name in ("real", "fake")]
COLUMNS += [f"validation/{name}" for name in ("psnr_y", "lpips", "bicubic_psnr_y")]
WHOLE = ("epoch", "step", "total_step")  # columns of whole numbers


class Log:
    """log.csv, a line per epoch of either stage, and the same for TensorBoard if that is installed.

    `step` begins anew with each stage, and `total_step` does not. TensorBoard also gets losses within an epoch.
    """

    def __init__(self, output, stage):
        self.path, self.stage = output / "log.csv", stage
        self.events = EventFile(output / "tensorboard" / stage) if find_spec("tensorboard") else None

    def cut(self, epoch):
        """Drop this stage's lines after `epoch`: these epochs are about to be repeated."""
        rows = [row for row in self._rows() if row["stage"] != self.stage or int(row["epoch"]) <= epoch]
        self._replace(rows)

    def write(self, row):
        rows = self._rows()
        before = max((int(each.get("step") or 0) for each in rows if each["stage"] != self.stage), default=0)
        self._replace([*rows, {"stage": self.stage, "total_step": before + row["step"], **row}])
        self.write_scalars(row["step"], {name: row[name] for name in COLUMNS[4:] if name in row})

    def write_scalars(self, step, values):
        """Give TensorBoard the values by their names."""
        if self.events:
            self.events.add(step, *({"tag": name, "simple_value": value} for name, value in values.items()))

    def write_picture(self, step, name, file):
        """Give TensorBoard a picture file."""
        if self.events:
            with Image.open(file) as image:
                width, height = image.size
            content = {"height": height, "width": width, "colorspace": 3, "encoded_image_string": file.read_bytes()}
            self.events.add(step, {"tag": name, "image": content})

    def _rows(self):
        try:
            return read_log(self.path)
        except FileNotFoundError:
            return []
        except ValueError:
            kept = set_aside(self.path)
            logging.getLogger("srgan").warning("%s: cannot be read as a log; it is kept as %s, and a new one begins",
                                               self.path, kept.name)  # fmt: skip
            return []

    def _replace(self, rows):
        with atomic_path(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


class EventFile:
    """A new file of events for TensorBoard, whose own writer answers a full disk by tracebacks, from a thread, too."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._write(file_version="brain.Event:2")

    def add(self, step: int, *values: dict) -> None:
        """Append an event with the values, as `Summary.Value` has them.

        Raises:
            OSError: it cannot be written; the file ends with the event before.
        """
        self._write(step=step, summary={"value": values})

    def _write(self, **facts):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        size = self._path.stat().st_size if self._path.exists() else 0
        try:
            with open(self._path, "ab") as file:
                RecordWriter(file).write(Event(wall_time=time.time(), **facts).SerializeToString())
        except OSError as error:
            if self._path.exists():
                os.truncate(self._path, size)
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def read_log(path) -> list[dict[str, str]]:
    """The lines of a log, also of one that a spreadsheet saved: with semicolons or tabs, decimal commas, lines without
    content, whole numbers as 4.0 or 1E+03, in UTF-16.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is something else.
    """
    content = path.read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    if not {"stage", "epoch"} <= set(reader.fieldnames or ()):
        raise ValueError("no log")
    try:
        rows = [{key: (value or "").strip().replace(",", ".") for key, value in row.items() if key} for row in reader]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    rows = [row for row in rows if any(row.values())]
    for row in rows:
        for key in WHOLE:
            if row.get(key) or key == "epoch":
                row[key] = str(round(float(row[key])))
    return rows

"""What happens during a run besides the steps: validation, samples, log, checkpoint, bar, and the stop at NaN or Ctrl-C."""

import csv
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from srgan.distribution import gather, is_first_machine, together
from srgan.errors import SRGANError
from srgan.images import atomic_path, resize_bicubic, to_float, to_uint8
from srgan.metrics import psnr_y
from srgan.networks.generator import save_generator
from srgan.networks.video import is_recurrent
from srgan.sheets import sheet

LOSSES = ("pixel", "content", "adversarial", "artifact", "lattice", "colour", "discriminator")
COLUMNS = ["stage", "epoch", "step", "seconds", "learning_rate", "loss", *(f"loss/{name}" for name in LOSSES)]
COLUMNS += ["discriminator/real", "discriminator/fake", "validation/psnr_y"]


class AfterEpoch(keras.callbacks.Callback):
    """What follows an epoch, in this order: validate, draw the samples, log, save the generator, and the checkpoint last.

    The checkpoint is what makes the epoch count. A kill before it repeats the epoch, and with it its line and files.
    Of several machines the first does it, and the others wait.
    """

    def __init__(self, stage, output, checkpoint, snapshot, store, validation, *, steps, samples):
        super().__init__()
        self.stage, self.output, self.checkpoint = stage, output, checkpoint
        self.snapshot = snapshot  # a generator in float32 that takes the (averaged) weights, to validate and save
        self.store, self.validation, self.steps, self.samples = store, validation, steps, samples
        self.log = Log(output, stage) if is_first_machine() else None

    def on_train_begin(self, logs=None):
        if self.log:
            self.checkpoint.folder.mkdir(exist_ok=True)  # what tells a run that was stopped from one that lost it
            self.log.cut(self.checkpoint.epoch())

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model):
            self.snapshot.set_weights(self.model.generator.get_weights())
        if not all(np.isfinite(weights).all() for weights in self.model.get_weights()):
            raise SRGANError(stopped_by_nan("a weight", self.stage, epoch, self.output))
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        with together():
            if is_first_machine():
                self._report(epoch, rate, logs or {})

    def _report(self, epoch, rate, logs):
        seconds = time.perf_counter() - self.started
        score = validation_psnr_y(self.validation, lambda lr: upscale_one(self.snapshot, lr))
        self._draw_samples(epoch)
        step = (epoch + 1) * self.steps
        row = {"epoch": epoch + 1, "step": step, "seconds": round(seconds, 2), "learning_rate": rate, **logs}
        self.log.write({**row, "validation/psnr_y": score})
        save_generator(self.snapshot, self.output / "generator.keras")
        if self.stage == "pixel":
            save_generator(self.snapshot, self.output / "generator-pixel.keras")
        self.checkpoint.save(self.model, epoch + 1)
        losses = "  ".join(f"{name} {value:.4g}" for name, value in sorted(logs.items()) if "/" in name)
        print(f"{self.stage} epoch {epoch + 1}/{self.params['epochs']}  {losses}  validation PSNR-Y {score:.2f} dB"
              f"  {seconds:.0f} s", flush=True)  # fmt: skip

    def _draw_samples(self, epoch):
        rows = []
        for store in (self.store, self.validation):
            for lr, hr in zip(store.lr[: self.samples], store.hr[: self.samples]):
                bicubic = bicubic_one(lr, store.size)
                rows.append([middle_frame(lr), bicubic, upscale_one(self.snapshot, lr), hr])
        if rows:
            folder = self.output / "samples"
            folder.mkdir(exist_ok=True)
            name = "GAN" if self.stage == "gan" else "pixels"
            with atomic_path(folder / f"{self.stage}-{epoch + 1:04d}.png") as temporary:
                sheet(rows, ["low", "bicubic", name, "high"]).save(temporary)


@contextmanager
def averaged_weights(model):
    """Within the block the model has the moving average of its weights, where its optimizer keeps one."""
    if not model.optimizer.use_ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


def validation_psnr_y(store, upscale):
    """The mean PSNR-Y in dB of `upscale`, a function of one uint8 picture or window, over a store or windows."""
    return float(np.mean([psnr_y(hr, upscale(lr), store.scale) for lr, hr in zip(store.lr, store.hr)]))


def upscale_one(generator, lr):
    """One small picture through a Keras generator, untiled: uint8 (h, w, 3) to uint8 (scale h, scale w, 3).

    Of a window, (frames, h, w, 3), it is the middle frame; a recurrent generator has seen those before it.
    """
    given = to_float(lr)[None]
    if is_recurrent(generator):
        from srgan.flow import move_memory

        memory = np.zeros((*given.shape[:1], *given.shape[2:4], generator.inputs[1].shape[-1]), np.float32)
        for index in range(len(lr) // 2 + 1):
            if index:
                memory = move_memory(np.asarray(memory)[0], lr[index - 1], lr[index])[None]
            sr, memory = generator.predict_on_batch([given[:, index], memory])
    else:
        sr = generator.predict_on_batch(given)
    return to_uint8(np.asarray(sr, np.float32)[0])


def bicubic_one(lr, size):
    """What bicubic interpolation makes of a picture or of the middle frame of a window, uint8 (size, size, 3)."""
    return resize_bicubic(middle_frame(lr), size, size)


def middle_frame(lr):
    """The middle frame of a window (frames, h, w, 3), or the picture (h, w, 3) itself."""
    return lr[len(lr) // 2] if lr.ndim == 4 else lr


class Checkpoint:
    """The whole state of a stage after its last epoch, as one file whose name tells the epoch.

    A file is written under another name, synchronised and renamed, and its predecessor goes only then: a kill at any
    moment leaves one that is whole.
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


class Log:
    """log.csv, a line an epoch of either stage, and the same for TensorBoard where that is installed."""

    def __init__(self, output, stage):
        self.path, self.stage = output / "log.csv", stage
        self.writer = None
        if find_spec("tensorboard"):
            from tensorboard.summary import Writer

            self.writer = Writer(str(output / "tensorboard" / stage))

    def cut(self, epoch):
        """Drop what was logged of this stage after `epoch`: those epochs are about to be repeated."""
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


class Progress(keras.callbacks.Callback):
    """A bar over the steps of the stage on a terminal: steps a second and the time left. Nothing in a pipe."""

    def __init__(self, stage, epochs, steps):
        super().__init__()
        self.stage, self.epochs, self.steps, self.bar = stage, epochs, steps, None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            done = epoch * self.steps
            total = self.epochs * self.steps
            self.bar = tqdm(total=total, initial=done, desc=self.stage, unit="step", disable=None, leave=False)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.clear()  # the line of the epoch is printed over it

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()


class StopAtNaN(keras.callbacks.Callback):
    """Stops the run at the first step whose loss is no number."""

    def __init__(self, stage, output):
        super().__init__()
        self.stage, self.output, self.current = stage, output, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.current = epoch

    def on_train_batch_end(self, batch, logs=None):
        for name, value in (logs or {}).items():
            if not np.isfinite(value):
                raise SRGANError(stopped_by_nan(name, self.stage, self.current, self.output, batch + 1))


class StopAtInterrupt(keras.callbacks.Callback):
    """Within the block, the first Ctrl-C stops the run after the step or epoch under way and the second at once.

    Typed on one of several machines, the first stops them all after the same step.

    Raised in the midst of a step, a KeyboardInterrupt can land in a destructor or in a library's callback, where it is
    lost. What was started deaf to Ctrl-C, by `nohup` or in a script's background, stays so.
    """

    def __enter__(self):
        self.asked = False
        self.heard = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self.heard:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_):
        if self.heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, *_):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nsrgan: stopping after this step; Ctrl-C again stops at once", file=sys.stderr)

    def _stop(self):
        if any(gather(self.asked)):
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        self._stop()

    def on_epoch_end(self, epoch, logs=None):
        self._stop()


def stopped_by_nan(what, stage, epoch, output, step=None):
    place = f"step {step} of epoch {epoch + 1}" if step else f"the end of epoch {epoch + 1}"
    kept = (
        f"the checkpoint after epoch {epoch} is kept in {output / 'checkpoint'}" if epoch else "no epoch was done yet"
    )
    return f"{what} is no finite number at {place} of the {stage} stage; {kept}. Try a lower {stage}.learning_rate"

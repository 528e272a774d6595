"""Keras callbacks of a run: validation, samples, log, checkpoint, progress bar, and stopping at NaN or Ctrl-C."""

import signal
import sys
import threading
import time
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.networks.files import save_generator
from srgan.pictures.sheets import sheet
from srgan.train.distribution import all_machines_or_none, gather, is_first_machine
from srgan.train.log import Log
from srgan.train.validation import bicubic_one, middle_frame, upscale_one, validation_psnr_y


class AfterEpoch(keras.callbacks.Callback):
    """After each epoch: validate, draw the samples, log, save the generator, and last save the checkpoint.

    An epoch counts once its checkpoint is saved. A run that is killed before repeats the epoch, and rewrites its log
    line and files. Of several machines the first does this, and the others wait.
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
        with all_machines_or_none():
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
def averaged_weights(model: keras.Model):
    """Within the block the model has the moving average of its weights, if its optimizer keeps one."""
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


class Progress(keras.callbacks.Callback):
    """A progress bar over the steps of the stage, with steps per second and the time left; on a terminal only."""

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
    """Stops the run at the first step with a loss that is not finite."""

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
    """Within the block, the first Ctrl-C stops the run after the current step or epoch, the second at once.

    On several machines, the first Ctrl-C on any of them stops all after the same step.

    The step is finished first because a KeyboardInterrupt in its midst can be raised in a destructor or in a library's
    callback, where it is lost. A process started with SIGINT ignored (nohup, background jobs) keeps ignoring it.
    """

    def __enter__(self):
        self.asked = False
        self.handles_signal = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self.handles_signal:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_):
        if self.handles_signal:
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
    return f"{what} is not finite at {place} of the {stage} stage; {kept}. Try a lower {stage}.learning_rate"

"""Keras callbacks of a run: validation, samples, log, checkpoint, progress bar, and stopping at NaN or Ctrl-C."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
from keras import ops

from srgan.errors import SRGANError
from srgan.files import atomic_path, copy_file
from srgan.networks.files import save_generator
from srgan.pictures.sheets import sheet
from srgan.progress import Bar
from srgan.train.checkpoint import STAGES, State
from srgan.train.curves import draw_curves
from srgan.train.distribution import all_machines_or_none, gather, is_first_machine, machine
from srgan.train.log import Log, read_log
from srgan.train.validation import bicubic_one, bicubic_psnr_y, middle_frame, upscale_one, validation_scores

STEPS_SHOWN = 100  # between the losses that TensorBoard gets within an epoch


class AfterEpoch(keras.callbacks.Callback):
    """After each epoch: validate, draw the samples, log, save the generator, and last save the checkpoint.

    An epoch counts once its checkpoint is saved. A run that is killed before repeats what came after the checkpoint
    before, and rewrites its log line and files. Within an epoch a checkpoint is saved every config.checkpoint_minutes,
    and `save_within` saves one. Of several machines the first does this, and the others wait.
    """

    def __init__(self, stage, output, checkpoint, snapshot, store, validation, *, config, batches, metrics=True):
        super().__init__()
        self.stage, self.output, self.checkpoint = stage, output, checkpoint
        self.snapshot = snapshot  # a generator in float32 that takes the (averaged) weights, to validate and save
        self.store, self.validation, self.config, self.batches = store, validation, config, batches
        self.steps = config.batches.steps_per_epoch
        self.metrics = metrics  # whether their values can be kept within an epoch
        self.state = checkpoint.state()
        self.log = Log(output, stage) if is_first_machine() else None
        self.out_of_patience = False

    def on_train_begin(self, logs=None):
        if self.log:
            self.checkpoint.folder.mkdir(exist_ok=True)  # what tells a run that was stopped from one that lost it
            self.log.cut(self.state.epoch)

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        self.saved = time.monotonic()
        self.started = time.perf_counter() - self.state.seconds
        for metric in self.model.metrics if self.metrics else ():
            for variable, value in zip(metric.variables, self.state.metrics.get(metric.name, ())):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        step = self.step_after(batch)
        if self.log and step and step % STEPS_SHOWN == 0:
            now = {f"within an epoch/{name}": float(value) for name, value in (logs or {}).items()}
            self.log.write_scalars(self.batches.epoch * self.steps + step, now)
        minutes = self.config.checkpoint_minutes
        if self.log and minutes and time.monotonic() - self.saved >= 60 * minutes:
            self.save_within(batch)

    def step_after(self, batch):
        """How many steps of the epoch are done after `batch` of this `fit`; None within a step and at the end."""
        step, rest = divmod(self.batches.start + batch + 1, self.config.batches.accumulate)
        return None if rest or step == self.steps else step

    def save_within(self, batch):
        """Save a checkpoint after `batch`, unless that is within a step or the last one."""
        step = self.step_after(batch)
        if step is None or not _finite(self.model):
            return
        metrics = {metric.name: [float(v) for v in metric.variables] for metric in self.model.metrics if self.metrics}
        seconds = time.perf_counter() - self.started
        self.checkpoint.save(self.model, State(self.batches.epoch, step, metrics, seconds, self.state.best))
        self.saved = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model):
            self.snapshot.set_weights(self.model.generator.get_weights())
        if not _finite(self.model):
            raise SRGANError(stopped_by_nan("a weight", self.stage, epoch, self.output))
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        with all_machines_or_none():
            if is_first_machine():
                self._report(epoch, rate, logs or {})
        self.out_of_patience = any(gather(self.state.out_of_patience(getattr(self.config, self.stage).patience)))
        self.model.stop_training = self.out_of_patience

    def _report(self, epoch, rate, logs):
        seconds = time.perf_counter() - self.started
        scores = validation_scores(self.validation, lambda lr: upscale_one(self.snapshot, lr), self.stage == "gan")
        self._draw_samples(epoch)
        step = (epoch + 1) * self.steps
        row = {"epoch": epoch + 1, "step": step, "seconds": round(seconds, 2), "learning_rate": rate, **logs}
        scores_of_row = {f"validation/{name}": score for name, score in scores.items()}
        self.log.write({**row, **scores_of_row, "validation/bicubic_psnr_y": self._bicubic})
        draw_curves(read_log(self.log.path), self.output / "curves.png")
        self._save_generators(epoch + 1, best := self._best(epoch + 1, scores))
        self.state = State(epoch + 1, best=best)
        self.checkpoint.save(self.model, self.state)
        losses = "  ".join(f"{name} {value:.4g}" for name, value in sorted(logs.items()) if "/" in name)
        shown = f"validation PSNR-Y {scores['psnr_y']:.2f} dB"
        shown += f"  LPIPS {scores['lpips']:.4f}" if "lpips" in scores else ""
        print(f"{self.stage} epoch {epoch + 1}/{self.params['epochs']}  {losses}  {shown}  {seconds:.0f} s", flush=True)
        if self.state.out_of_patience(getattr(self.config, self.stage).patience):
            print(f"{self.stage}: no better score since epoch {best[1]}, which is patience enough", flush=True)

    @cached_property
    def _bicubic(self):
        return bicubic_psnr_y(self.validation)

    def _best(self, epoch, scores):
        """The best score so far and its epoch: by LPIPS where it was computed, else by PSNR-Y."""
        score = -scores["lpips"] if "lpips" in scores else scores["psnr_y"]
        return self.state.best if self.state.best and self.state.best[0] >= score else (score, epoch)

    def _save_generators(self, epoch, best):
        file = self.output / "generator.keras"
        save_generator(self.snapshot, file)
        if self.stage == "pixel":
            save_generator(self.snapshot, self.output / "generator-pixel.keras")
        if best[1] == epoch:
            copy_file(file, self.output / "generator-best.keras")
        if self.config.keep_every and epoch % self.config.keep_every == 0:
            (self.output / "generators").mkdir(exist_ok=True)
            copy_file(file, self.output / "generators" / f"{self.stage}-{epoch:04d}.keras")

    def _draw_samples(self, epoch):
        rows = []
        for store in (self.store, self.validation):
            for lr, hr in zip(store.lr[: self.config.samples], store.hr[: self.config.samples]):
                bicubic = bicubic_one(lr, store.size)
                rows.append([middle_frame(lr), bicubic, upscale_one(self.snapshot, lr), hr])
        if rows:
            folder = self.output / "samples"
            folder.mkdir(exist_ok=True)
            name = "GAN" if self.stage == "gan" else "pixels"
            file = folder / f"{self.stage}-{epoch + 1:04d}.png"
            with atomic_path(file) as temporary:
                sheet(rows, ["low", "bicubic", name, "high"]).save(temporary)
            self.log.write_picture((epoch + 1) * self.steps, "samples", file)


def _finite(model):
    return all(np.isfinite(weights).all() for weights in model.get_weights())


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
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
    """A progress bar over the whole run, with the running loss, steps per second and the time left; on a terminal only.

    The time left supposes that all steps take as long as those that this process has done.
    """

    def __init__(self, stage, config, batches):
        super().__init__()
        self.stage, self.config, self.batches, self.bar = stage, config, batches, None

    def on_epoch_begin(self, epoch, logs=None):
        if self.bar is None:
            epochs = {stage: getattr(self.config, stage).epochs for stage in STAGES}
            before = sum(epochs[stage] for stage in STAGES[: STAGES.index(self.stage)])
            done = (before + epoch) * self.batches.steps + self.batches.start
            total = sum(epochs.values()) * self.batches.steps
            accumulate = self.config.batches.accumulate
            self.bar = Bar(total=total // accumulate, initial=done // accumulate, desc=self.stage, unit="step")

    def on_train_batch_end(self, batch, logs=None):
        if (self.batches.start + batch + 1) % self.config.batches.accumulate == 0:
            self.bar.set_postfix_str(f"loss {float((logs or {}).get('loss', 0)):.4g}", refresh=False)
            self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.clear()  # the line of the epoch is printed over it

    def on_train_end(self, logs=None):
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class StopAtNaN(keras.callbacks.Callback):
    """Stops the run at the first step with a loss that is not finite."""

    def __init__(self, stage, output, batches):
        super().__init__()
        self.stage, self.output, self.batches = stage, output, batches

    def on_train_batch_end(self, batch, logs=None):
        for name, value in (logs or {}).items():
            if not np.isfinite(value):
                step = self.batches.start + batch + 1
                raise SRGANError(stopped_by_nan(name, self.stage, self.batches.epoch, self.output, step))


class StopAtInterrupt(keras.callbacks.Callback):
    """Within the block, the first Ctrl-C stops the run after the current step or epoch, the second at once.

    On several machines, the first Ctrl-C or SIGTERM on any of them stops all after the same step.

    The step is finished first because a KeyboardInterrupt in its midst can be raised in a destructor or in a library's
    callback, where it is lost. A process started with SIGINT ignored (nohup, background jobs) keeps ignoring it.

    Args:
        after: the AfterEpoch that saves what is done.
    """

    def __init__(self, after):
        super().__init__()
        self.after = after

    def __enter__(self):
        self.asked, self.handlers = False, {}
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self.handlers[signal.SIGINT] = signal.default_int_handler
            if machine()[1] > 1:
                self.handlers[signal.SIGTERM] = signal.SIG_DFL
        for number in self.handlers:
            signal.signal(number, self._ask)
        return self

    def __exit__(self, *_):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _ask(self, number, _):
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        print("\nsrgan: stopping after this step; Ctrl-C again stops at once", file=sys.stderr)

    def on_train_batch_end(self, batch, logs=None):
        if self.after.step_after(batch) is not None and any(gather(self.asked)):
            if is_first_machine():
                self.after.save_within(batch)
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if any(gather(self.asked)):
            raise KeyboardInterrupt


def stopped_by_nan(what: str, stage: str, epoch: int, output: Path, step: int | None = None) -> str:
    place = f"step {step} of epoch {epoch + 1}" if step else f"the end of epoch {epoch + 1}"
    kept = "no epoch was done yet"
    if epoch:
        kept = f"the checkpoint after epoch {epoch} is kept in {output / 'checkpoint'}"
    return f"{what} is not finite at {place} of the {stage} stage; {kept}. Try a lower {stage}.learning_rate"

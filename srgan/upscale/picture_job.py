"""Upscaling picture files in a pipeline of three stages: read, compute, write.

Each stage is a function that takes a `Task` and returns it. `_ahead` runs one in threads of its own, so that the next
picture is read and the last one written while the network computes.
"""

import logging
import os
import shutil
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import chain
from pathlib import Path

from srgan import pictures
from srgan.errors import SRGANError, is_out_of_memory
from srgan.files import copy_time, temporary_folder
from srgan.interrupts import cleaned_up
from srgan.memory import require_memory
from srgan.upscale import large_job
from srgan.upscale.remarks import Notes, tell_remarks

MAX_PIXELS = 100_000_000  # of a picture file that is read; 16 times as many come out
MAX_STRIP_PIXELS = 1_000_000_000  # of one that is read in strips
FOR_CLIPS = (
    "this model is for frames that belong together, and takes each picture by itself here; FOLDER OUT/%05d.png makes a "
    "clip of the pictures"
)
_SMALL = 2**18  # pixels; two pictures of that size always fit into memory

_log = logging.getLogger("srgan")


@dataclass
class Task:
    """One file on its way through the stages.

    Attributes:
        source, target: paths, or "-" for standard input and output.
        picture: as read, then as computed; None once it is written.
        strips: of a picture that is too large to be read at once; then `picture` has no pixels.
        kind: the format to write.
        error: why it failed, or None. The later stages leave a failed task alone.
        sizes: width and height of the picture and of its result, once they are known.
        denoise: the Upscaler's, given or chosen by the picture's noise; None: the model itself.
        notes: what is said of it when it is done, such as what its format cannot hold.
        remarks: what is said of it at the end, in one line with all files of which the same is to be said.
        seconds: that the stages have taken so far.
    """

    source: str | Path
    target: str | Path
    picture: pictures.Picture | None = None
    strips: pictures.Strips | None = None
    kind: str = ""
    error: SRGANError | None = None
    sizes: tuple | None = None
    denoise: float | None = None
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0


def upscale_files(
    pairs: list[tuple],
    make_upscaler: Callable,
    *,
    skip_existing: bool = False,
    max_pixels: int | None = MAX_PIXELS,
    max_strip_pixels: int | None = MAX_STRIP_PIXELS,
    stream_suffix: str = ".png",
    keep_time: bool = False,
    on_file: Callable = lambda task, status, number, total: None,
    clips: int = 0,
    on_tile: Callable = lambda done, total: None,
    **options,
) -> Counter:
    """Upscale files. What fails is reported and skipped.

    Args:
        pairs: (source, target), as `plan` gives them.
        make_upscaler: gives the `srgan.Upscaler`; called once, if there is anything to do.
        skip_existing: leave alone what has its target already.
        max_pixels: refuse larger pictures; None: take any.
        max_strip_pixels: the same for pictures that are read in strips, see `srgan.upscale.large_job`.
        stream_suffix: the format of what is written to standard output, as a suffix.
        keep_time: give each file the time at which its input was last modified.
        on_file: called after each file with its `Task`, "done", "skipped" or "failed", its number and that of all.
        clips: how many wait until the pictures are done, to be counted where the command is interrupted.
        on_tile: called with how many tiles of a single picture are done, and of how many.
        options: for `srgan.pictures.write_picture`.

    Returns:
        A Counter of "done", "skipped" and "failed".
    """
    is_there = [skip_existing and pair[1] != "-" and os.path.exists(pair[1]) for pair in pairs]
    tasks = [Task(*pair) for pair, there in zip(pairs, is_there) if not there]
    counts = Counter(done=0, skipped=len(pairs) - len(tasks), failed=0)
    for number, pair in enumerate((pair for pair, there in zip(pairs, is_there) if there), 1):
        on_file(Task(*pair), "skipped", number, len(pairs))
    if not tasks:
        return counts
    with ExitStack() as stack:
        bar = stack.enter_context(_Bar("picture" if len(tasks) > 1 else "tile"))
        stack.enter_context(cleaned_up(lambda: _left(counts, len(tasks), clips)))
        stack.enter_context(cleaned_up(bar.close))
        reader, computer, writer = (stack.enter_context(ThreadPoolExecutor(threads)) for threads in (1, 2, 1))
        loading = computer.submit(make_upscaler)  # while the first picture is read
        limits = {"max_pixels": max_pixels, "max_strip_pixels": max_strip_pixels}

        def show_tile(done, total):
            if len(tasks) == 1:
                bar.show(done, total)
                on_tile(done, total)

        reads = _ahead(reader, partial(_read, get_upscaler=loading.result, **limits), tasks)
        first = next(reads)
        upscaler = loading.result()
        if len(tasks) > 1 and upscaler.engine.description.over_time:
            _log.info("%s", FOR_CLIPS)
        more = {"stream_suffix": stream_suffix, "on_tile": show_tile, "max_pixels": max_pixels}
        compute = partial(_compute, upscaler=upscaler, options=options, **more)
        # Of two small pictures, one can be prepared and rounded while the network computes the other.
        computed = _ahead(computer, compute, chain([first], reads), lambda task: int(_is_small(task)))
        written = _ahead(writer, partial(_write, keep_time=keep_time, **options), computed)
        if len(tasks) > 1:
            bar.show(0, len(tasks))
        notes = Notes()
        for number, task in enumerate(written, 1):
            notes.tell(task)
            status = "failed" if task.error else "done"
            counts[status] += 1
            if task.error:
                report(task)
            on_file(task, status, counts["skipped"] + number, len(pairs))
            if len(tasks) > 1:
                bar.show(number, len(tasks))
    notes.tell_rest()
    tell_remarks(tasks)
    return counts


def upscale_file(
    task: Task,
    upscaler: Callable,
    *,
    max_pixels: int | None = MAX_PIXELS,
    max_strip_pixels: int | None = MAX_STRIP_PIXELS,
    keep_time: bool = False,
    turn: AbstractContextManager | None = None,
    **options,
) -> Task:
    """Upscale one file: the stages of `upscale_files`, one after another. Where it fails, the task has the error.

    Args:
        turn: held while the network computes: a lock, where several threads upscale one file each.
    """
    task = _read(task, get_upscaler=lambda: upscaler, max_pixels=max_pixels, max_strip_pixels=max_strip_pixels)
    more = {"stream_suffix": ".png", "on_tile": lambda done, total: None, "max_pixels": max_pixels}
    with turn or nullcontext():
        task = _compute(task, upscaler=upscaler, options=options, **more)
    task = _write(task, keep_time=keep_time, **options)
    task.strips = None  # which hold the open input
    return task


def _left(counts, total, clips):
    """What is said when the command is interrupted."""
    if total + clips == 1:
        return ""
    done = counts["done"] + counts["failed"]
    waiting = f" and {clips} clip{'s' * (clips > 1)}" if clips else ""
    rest = f"{total - done}{waiting} left; the same command with --skip-existing does the rest"
    return f"{done} of {total} picture{'s' * (total > 1)} done, {rest}"


def _ahead(pool: Executor, stage: Callable, tasks: Iterable, others: Callable = lambda task: 1) -> Iterator:
    """Yield the tasks, in their order, after `stage` has run on them in `pool`.

    Args:
        others: says of a task how many others may be under way, or wait to be taken, beside it.
    """
    waiting: deque[Future] = deque()
    for task in tasks:
        room = others(task)
        while len(waiting) > room:
            yield waiting.popleft().result()
        waiting.append(pool.submit(stage, task))
        while len(waiting) > room:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _stage(work):
    """Make `work` a stage: it leaves failed tasks alone, and a task that fails in it gets the error."""

    @wraps(work)
    def stage(task, **options):
        if not task.error:
            begun = time.perf_counter()
            try:
                work(task, **options)
                task.seconds += time.perf_counter() - begun
            except SRGANError as error:
                # A new exception: the traceback of the original would keep its intermediate arrays in memory.
                task.error, task.picture = type(error)(str(error)), None
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                task.error, task.picture = SRGANError("not enough memory for this picture"), None
        return task

    return stage


@_stage
def _read(task, get_upscaler, max_pixels, max_strip_pixels):
    if "-" not in (task.source, task.target):
        try:
            suffix = Path(task.target).suffix
            task.strips = large_job.open_large(task.source, suffix, get_upscaler, max_strip_pixels)
        except large_job.NotInStrips as reason:
            _log.info("%s: is upscaled in memory: %s", task.source, reason)
        if task.strips:
            task.picture = task.strips.picture
            return
    source = sys.stdin.buffer.read() if task.source == "-" else task.source
    task.picture = pictures.read_picture(source, max_pixels=max_pixels)


@_stage
def _compute(task, upscaler, stream_suffix, on_tile, max_pixels, options):
    height, width, channels = task.picture.pixels.shape
    suffix = stream_suffix if task.target == "-" else Path(task.target).suffix
    source_suffix = Path(str(task.source)).suffix.lower()
    if task.strips:
        width, height = task.strips.size
    elif "-" not in (task.source, task.target) and large_job.is_large(upscaler, width, height):
        with suppress(large_job.NotInStrips):
            large_job.require_strips(upscaler, suffix)
            _log.info("%s: is read as a whole, which takes %d MiB", task.source, task.picture.pixels.nbytes >> 20)
            task.strips = pictures.in_strips(task.picture)
            task.picture = task.strips.picture
    task.sizes = (width, height), upscaler.size(width, height)
    task.kind = pictures.output_format(suffix, *task.sizes[1])
    if task.picture.note:
        task.notes.append(task.picture.note)
    if channels in (2, 4) and task.kind in pictures.WITHOUT_ALPHA:
        task.notes.append(f"{task.kind} has no transparency, it is laid on white")
    if task.picture.icc and task.kind in pictures.IN_SRGB:
        task.notes.append(f"{task.kind} is written in sRGB, to which its colours are converted")
    given = 12 if source_suffix in (".avif", ".heic", ".heif") else 16  # at most
    if task.picture.pixels.itemsize > 1 and (bits := pictures.BITS.get(task.kind, 16)) < given:
        task.notes.append(f"{task.kind} has {bits} bits, to which its {given} are rounded")
    if upscaler.fit and task.sizes[1][0] < width:
        task.remarks.append("larger than the size asked for, so it is scaled down")
    scale = upscaler.engine.description.scale
    if task.sizes[1][0] > scale * width:
        task.remarks.append(f"enlarged beyond the x{scale} of this model, the rest by bicubic")
    if upscaler.palette and task.kind != "PNG":
        task.notes.append(f"{task.kind} is written without a palette")
    elif upscaler.palette and task.picture.palette is None:
        task.remarks.append("without a palette, on which --palette has no effect")
    # Of another format it is said that it changes.
    elif task.picture.palette is not None and not upscaler.palette and (source_suffix, task.kind) == (".png", "PNG"):
        task.remarks.append("of a palette and written in true colours; --palette keeps the palette")
    if upscaler.alpha != "auto" and channels in (1, 3):
        task.remarks.append("without transparency, on which --alpha has no effect")
    if task.strips:
        try:
            files = Path(task.source), Path(task.target)
            _make_folder(files[1])
            large = partial(large_job.upscale_large, on_tile=on_tile, **options)
            task.picture, task.denoise = large(task.strips, *files, task.kind, upscaler)
            return
        except large_job.NotInStrips as reason:
            _log.info("%s: is upscaled in memory: %s", task.source, reason)
            task.strips, task.picture = None, pictures.read_picture(task.source, max_pixels=max_pixels)
    upscaler = upscaler.for_picture(task.picture.pixels)
    task.picture, task.denoise = upscaler(task.picture, on_tile=on_tile), upscaler.denoise


@_stage
def _write(task, keep_time, **options):
    picture, task.picture = task.picture, None
    if not options.get("strip_metadata") and (lost := pictures.left_out(picture, task.kind)):
        task.notes.append(f"{task.kind} has no place for {'; '.join(lost)}")
    if task.target == "-":
        _write_to_stdout(picture, task.kind, options)
        return
    target = Path(task.target)
    if not task.strips:
        _make_folder(target)
        if task.kind != "PNG":  # the encoders of the other formats copy the whole picture
            height, width = picture.pixels.shape[:2]
            size = height * width * 4 * picture.pixels.itemsize
            require_memory(size, f"writing {width} x {height} pixels as {task.kind}")
        pictures.write_picture(picture, target, kind=task.kind, **options)
    if keep_time and task.source != "-":
        copy_time(task.source, target)


def _make_folder(target):
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SRGANError(f"{target.parent}: cannot be made a folder ({error.strerror})") from error


def _write_to_stdout(picture, kind, options):
    with temporary_folder() as folder:
        path = folder / "picture"
        pictures.write_picture(picture, path, kind=kind, **options)
        try:
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SRGANError(f"standard output: cannot be written ({error.strerror})") from error


def _is_small(task):
    return not task.strips and (task.picture is None or task.picture.pixels[..., 0].size <= _SMALL)


def report(task: Task) -> None:
    """Say why a task failed, in one line that begins with its source."""
    reason = str(task.error) or type(task.error).__name__
    name = "standard input" if task.source == "-" else str(task.source)
    _log.error("%s", reason if reason.startswith(name) else f"{name}: {reason}")


class _Bar:
    """The progress over the pictures, or over the tiles of one. For a single tile no bar is shown and none is imported."""

    def __init__(self, unit):
        self._unit, self._bar = unit, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._bar is not None:
            self._bar.close()

    def show(self, done, total):
        if total == 1:
            return
        if self._bar is None:
            from srgan.progress import Bar

            self._bar = Bar(total=total, unit=self._unit)
        if self._bar.total != total:  # their number grows when memory runs out
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)

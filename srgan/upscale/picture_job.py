"""Picture files through an Upscaler: read, compute, write."""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from srgan import pictures
from srgan.errors import SRGANError

MAX_PIXELS = 100_000_000  # of a picture file that is read; 16 times as many come out

_log = logging.getLogger("srgan")


def upscale_files(pairs, make_upscaler, *, skip_existing=False, max_pixels=MAX_PIXELS, stream_suffix=".png", **options):
    """Upscale files. Reading the next and writing the last go on beside computing. What fails is reported and skipped.

    Args:
        pairs: (source, target), as `plan` gives them.
        make_upscaler: called without arguments, once, if there is anything to do.
        skip_existing: leave alone what has its target already.
        max_pixels: refuse larger pictures; None: take any.
        stream_suffix: the format of what is written to standard output, as a suffix.
        options: for `srgan.pictures.write_picture`.

    Returns:
        A Counter of "done", "skipped" and "failed".
    """
    counts = Counter(done=0, skipped=0, failed=0)
    todo = [pair for pair in pairs if not (skip_existing and pair[1] != "-" and os.path.exists(pair[1]))]
    counts["skipped"] = len(pairs) - len(todo)
    if not todo:
        return counts

    def fail(source, error):
        counts["failed"] += 1
        said = str(error) or type(error).__name__
        name = "standard input" if source == "-" else str(source)
        _log.error("%s", said if said.startswith(name) else f"{name}: {said}")

    def finish(source, written):
        try:
            written.result()
            counts["done"] += 1
        except SRGANError as error:
            fail(source, error)

    def compute(source, target, read):
        picture = read.result()
        height, width, channels = picture.pixels.shape
        suffix = stream_suffix if target == "-" else Path(target).suffix
        pictures.check_writable(suffix, *upscaler.size(width, height))
        if picture.note:
            _log.info("%s: %s", source, picture.note)
        kind = pictures.WRITABLE[suffix.lower()]
        if channels in (2, 4) and kind in pictures.WITHOUT_ALPHA:
            _log.info("%s: %s has no transparency, it is laid on white", source, kind)
        return upscaler(picture, on_tile=show if len(todo) == 1 else lambda done, total: None)

    def show(done, total):
        """The progress over the pictures, or over the tiles of one. With one tile there is none, and tqdm is not imported."""
        nonlocal bar
        if total == 1:
            return
        if bar is None:
            from tqdm import tqdm

            unit = "picture" if len(todo) > 1 else "tile"
            bar = stack.enter_context(tqdm(total=total, unit=unit, disable=None, leave=False))
        if bar.total != total:  # when memory runs out there are more tiles
            bar.reset(total)
        bar.update(done - bar.n)

    def settle(source, target, result):
        """Have a computed picture written; one picture at most waits in memory for that."""
        nonlocal last
        try:
            result = result.result()
            if last:
                finish(*last)
            last = source, writer.submit(_write, result, target, stream_suffix, options)
        except SRGANError as error:
            fail(source, error)
        if len(todo) > 1:
            show(bar.n + 1, len(todo))

    bar = last = None  # what is being written
    computed = deque()  # two small pictures at most: what comes before and after the network is done beside the other's
    with (
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(2) as computer,
        ThreadPoolExecutor(1) as writer,
        contextlib.ExitStack() as stack,
    ):
        if len(todo) > 1:
            show(0, len(todo))
        read = reader.submit(_read, todo[0][0], max_pixels)
        upscaler = make_upscaler()
        if len(todo) > 1 and upscaler.engine.description.over_time:
            _log.info("this model is for frames that belong together, and takes each picture by itself here; FOLDER "
                      "OUT/%05d.png makes a clip of the pictures")  # fmt: skip
        for index, (source, target) in enumerate(todo):
            picture = read
            if index + 1 < len(todo):
                read = reader.submit(_read, todo[index + 1][0], max_pixels)
            room = 2 if _is_small(picture) else 1
            while len(computed) >= room:
                settle(*computed.popleft())
            computed.append((source, target, computer.submit(compute, source, target, picture)))
            if room == 1:
                settle(*computed.popleft())
            picture = None
        while computed:
            settle(*computed.popleft())
        if last:
            finish(*last)
    return counts


def _is_small(read):
    """Whether a picture that was read, or could not be, is too small for two at once to be a question of memory."""
    return read.exception() is not None or read.result().pixels[..., 0].size <= 2**18


def _read(source, max_pixels):
    return pictures.read_picture(sys.stdin.buffer.read() if source == "-" else source, max_pixels=max_pixels)


def _write(picture, target, stream_suffix, options):
    if target != "-":
        target = Path(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SRGANError(f"{target.parent}: cannot be made a folder ({error.strerror})") from error
        pictures.write_picture(picture, target, **options)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture{stream_suffix}"
        pictures.write_picture(picture, path, **options)
        try:
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SRGANError(f"standard output: cannot be written ({error.strerror})") from error

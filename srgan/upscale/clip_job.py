"""Upscaling clips: frames are read, enlarged and encoded side by side, in segments that survive a kill.

Which inputs are clips, and what each becomes, `srgan.upscale.clip_planning` decides. PyAV is imported only where there is
a clip.
"""

import contextlib
import itertools
import logging
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from srgan import pictures
from srgan.clips.formats import RATE, WRITABLE
from srgan.errors import SRGANError, UsageError
from srgan.files import copy_time
from srgan.interrupts import cleaned_up
from srgan.pictures.formats import refuse_more_pixels
from srgan.progress import Bar
from srgan.upscale.clip_planning import first_file
from srgan.upscale.picture_job import MAX_PIXELS

_log = logging.getLogger("srgan")


def upscale_clips(
    pairs: list[tuple[Path, Path]],
    make_upscaler: Callable,
    *,
    skip_existing: bool = False,
    keep_time: bool = False,
    on_file: Callable = lambda source, target, status, error: None,
    **options,
) -> Counter:
    """Upscale clips, one after the other. What fails is reported, and the others are done.

    Args:
        pairs: (source, target), as `split_inputs` gives them.
        make_upscaler: gives the `srgan.Upscaler`; called for every clip that can be read.
        skip_existing: leave alone what has its target already.
        keep_time: give each video file the time at which its input was last modified.
        on_file: called after each with "done", "skipped" or "failed" and why it failed, or None.
        options: for `upscale_clip`.

    Returns:
        A Counter of clips "done", "skipped" and "failed", and of "frames" and those of them that were "replaced".

    Raises:
        UsageError: the options fit no clip, or not the only one.
    """
    counts = Counter(done=0, skipped=0, failed=0, frames=0, replaced=0)
    unusable = []

    def make():
        try:
            return make_upscaler()
        except UsageError as error:
            unusable.append(error)
            raise

    def left():
        count = counts.total() - counts["frames"] - counts["replaced"]
        rest = "the same command with --skip-existing does the rest"
        return f"{count} of {len(pairs)} clips done, {len(pairs) - count} left; {rest}" if len(pairs) > 1 else ""

    with cleaned_up(left):
        for source, target in pairs:
            if skip_existing and os.path.exists(first_file(target)):
                counts["skipped"] += 1
                on_file(source, target, "skipped", None)
                continue
            try:
                counts.update(upscale_clip(source, target, make, **options), done=1)
                if keep_time and not target.is_dir():
                    copy_time(source, target)
                on_file(source, target, "done", None)
            except (SRGANError, OSError) as error:
                if error in unusable or isinstance(error, UsageError) and len(pairs) == 1:
                    raise
                counts["failed"] += 1
                message = str(error)
                if isinstance(error, OSError):
                    message = f"{error.filename or source}: {error.strerror or error}"
                elif not message.startswith((str(source), str(target))):
                    message = f"{source}: {message}"
                _log.error("%s", message)
                on_file(source, target, "failed", error)
    return counts


def upscale_clip(
    source: str | Path,
    target: str | Path,
    make_upscaler: Callable,
    *,
    codec: str | None = None,
    crf: float | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: float | None = None,
    deinterlace: str = "auto",
    max_pixels: int | None = MAX_PIXELS,
    on_frame: Callable = lambda done, total: None,
    **picture_options,
) -> Counter:
    """Upscale a clip, frame by frame. Frames that an earlier call with the same arguments finished are not computed again.

    What is finished lies in a hidden folder beside the target until the whole is there, see `srgan.upscale.work_folder`.

    Args:
        source: a video file, or a folder of pictures.
        target: a file whose suffix, one of `WRITABLE`, says the container; or a pattern such as out/%05d.png.
        make_upscaler: gives the `srgan.Upscaler`; called when the clip has turned out to be readable.
        codec: an FFmpeg encoder's name; None: libx264, in WebM libvpx-vp9.
        crf: its constant rate factor, less is better; None: `srgan.clips.encoding.QUALITY`.
        start, end: seconds that bound what is done; None: from the first to the last frame.
        rate: frames a second of a folder; None: `RATE`.
        deinterlace: a video file's frames: "auto" (those that are marked as interlaced), "on" (all) or "off".
        max_pixels: refuse larger frames; None: take any.
        on_frame: called with how many frames are done, and of how many, None where the file does not say.
        picture_options: for `srgan.pictures.write_picture`, where the target is a pattern.

    Returns:
        A Counter of "frames" and of those that were "replaced": damaged, and their predecessor shown instead.

    Raises:
        SRGANError: it cannot be read, computed or written; what is finished stays.
        UsageError: the options do not fit together.
    """
    from srgan.clips.encoding import choose_encoding
    from srgan.clips.numbered_pictures import PictureWriter
    from srgan.clips.reading import open_clip
    from srgan.clips.rehearsal import fit_container
    from srgan.clips.writing import VideoWriter
    from srgan.upscale import work_folder

    source, target = Path(source), Path(target)
    if not source.exists():
        raise SRGANError(f"{source}: no such file")
    if target.exists() and source.samefile(target):
        raise UsageError(f"{source}: would be written over itself; choose another output")
    if rate is not None and source.is_file():
        raise UsageError(f"fps: {source} has times of its own for its frames; leave it out")
    if deinterlace == "on" and source.is_dir():
        raise UsageError(f"deinterlace: {source} has pictures, not fields; leave it out")
    rate = RATE if rate is None else rate
    suffix = target.suffix.lower()
    is_video = suffix in WRITABLE
    clip = open_clip(source, rate, start, end, _log.warning, deinterlace, in_srgb=is_video)
    refuse_more_pixels(source, clip.width, clip.height, max_pixels, "million pixels a frame")
    upscaler = make_upscaler()
    encoding = None
    if is_video:
        width, height = upscaler.size(clip.width, clip.height)
        encoding = choose_encoding(clip, width, height, suffix, codec, crf, _log.warning)
        encoding = fit_container(encoding, suffix, lambda line: _log.warning("%s: %s", target, line))
    elif codec or crf is not None:
        raise UsageError(f"{'codec' if codec else 'crf'}: {target} are pictures; leave it out")
    options = [start, end, str(rate), deinterlace, target.name, None if is_video else picture_options]
    key = work_folder.resume_key(source, upscaler, encoding, options)
    with work_folder.work_folder(target, key) as folder:
        writer: VideoWriter | PictureWriter
        if encoding is not None:
            writer = VideoWriter(clip, target, folder, encoding, notice=_log.warning)
        else:
            writer = PictureWriter(target, folder, notice=_log.warning, palettes=upscaler.palette, **picture_options)
        keep_alpha = encoding is None or encoding.alpha
        counts = _upscale_frames(clip, upscaler, writer, target, keep_alpha, on_frame)
        if not counts["frames"]:
            raise SRGANError(f"{source}: has no frames" + ("" if start is end is None else " in that time"))
        writer.join()
    work_folder.remove_work_folders(target)
    return counts


def _upscale_frames(clip, upscaler, writer, target, keep_alpha, on_frame):
    from srgan.upscale.work_folder import Memories, recorded_tile

    counts = Counter(frames=0, replaced=0)
    if writer.kept:
        _log.info("%s: goes on after %d frames", target, writer.kept)
    description = upscaler.engine.description
    tile, memories = recorded_tile(upscaler, writer.folder), Memories(writer)
    begin, memory = memories.last() if description.memory else (writer.kept, None)
    around = min(begin, max(description.frames // 2, int(description.memory > 0)))  # frames before it that still count
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Bar(total=clip.count, initial=writer.kept, unit="frame", smoothing=0.1))
        # Decoding, the network and, in this thread, encoding go on side by side, each at most two frames ahead.
        read = stack.enter_context(contextlib.closing(ahead(_read(clip, begin - around, keep_alpha, counts))))
        steps = enlarged(read, upscaler, around, memory, memories.keep, tile)
        results = stack.enter_context(contextlib.closing(ahead(steps)))
        goes_on = f"{target}: the same command goes on after"
        stack.enter_context(cleaned_up(lambda: f"{goes_on} {writer.kept} frames" if writer.kept else ""))
        stack.enter_context(cleaned_up(bar.close))
        numbers = itertools.count(writer.kept + 1)

        def show():
            bar.update()
            on_frame(next(numbers), clip.count)

        writer.write(itertools.islice(results, writer.kept - begin, None), on_frame=show)
    return counts


def _read(clip, first, keep_alpha, counts):
    """Yield the frames from number `first` on, counted from 0, with their pixels.

    Earlier ones are decoded, too, so that each frame is the same as in a run from the beginning, wherever the key frames
    are. Decoding takes a small part of the network's time.
    """
    picture = pixels = None
    for number, frame in enumerate(clip.frames()):
        counts["frames"] += 1
        counts["replaced"] += frame.damaged
        if number < first:
            continue
        if frame.picture is not picture:
            picture, pixels = frame.picture, clip.pixels(frame)
            if clip.alpha and not keep_alpha:
                pixels = pictures.on_white(pixels)
        yield frame, pixels


def enlarged(
    frames: Iterable, upscaler, skip: int = 0, memory=None, keep: Callable = lambda memory: None, tile=None
) -> Iterator[tuple]:
    """Yield the pairs (frame, pixels) of a clip with the pixels upscaled.

    Args:
        skip, memory, tile: see `srgan.Upscaler.steps`.
        keep: called with what is remembered with a frame, before that is passed on.
    """
    shown, seen = itertools.tee(frames)  # the network looks ahead
    steps = upscaler.steps((pixels for _, pixels in seen), skip, memory, tile)
    for (frame, _), (result, remembered) in zip(itertools.islice(shown, skip, None), steps):
        keep(remembered)
        yield frame, result


def ahead(items: Generator, depth: int = 2) -> Iterator:
    """Yield from the generator `items`, which a thread of its own runs up to `depth` items ahead."""
    waiting: queue.Queue = queue.Queue(depth)
    stopped, end = threading.Event(), object()

    def put(item):
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                return waiting.put(item, timeout=0.1)

    def work():
        try:
            with contextlib.closing(items):
                for item in items:
                    put(item)
                    if stopped.is_set():
                        return
        finally:
            put(end)

    with ThreadPoolExecutor(1) as thread:
        worked = thread.submit(work)
        try:
            while (item := waiting.get()) is not end:
                yield item
            worked.result()
        finally:
            stopped.set()

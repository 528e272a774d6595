"""Upscaling clips: frames are read, enlarged and encoded side by side, in segments that survive a kill.

What a clip is, is decided by the names (`split`); PyAV is imported only where there is one.
"""

import contextlib
import glob
import hashlib
import itertools
import json
import logging
import os
import queue
import re
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from srgan import __version__, pictures
from srgan.clips.formats import CONTAINERS, RATE, READABLE, WRITABLE
from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path
from srgan.upscale.memory import affordable_tile
from srgan.upscale.picture_job import MAX_PIXELS
from srgan.upscale.tiles import TileSize

_MEMORY = "memory-"  # what the names of kept memories begin with
_FORMAT = 2  # of the segments; raise it when the same frames come out of the same clip as something else
_log = logging.getLogger("srgan")


def split(inputs, output):
    """Divide what is to be done into clips and pictures.

    - A video file becomes a video: OUTPUT is a name in `WRITABLE`, or a folder that gets a file of the same name.
    - OUTPUT with a number in its name, such as out/%05d.png, gets the frames of one clip as pictures.
    - A folder whose OUTPUT is one of these, but for a folder, is taken as the frames of one clip, in the order of its numbers.
    - A GIF is a clip where OUTPUT is one of these, but for a folder: there, as everywhere else, it is a picture.

    Returns:
        Pairs (source, target) of clips, and the inputs that are none of them.

    Raises:
        UsageError: a clip cannot be made of that, or cannot become that.
    """
    target = Path(output)
    suffix = target.suffix.lower()
    source = Path(inputs[0])
    only_pictures = _is_still(source) and suffix not in WRITABLE - {".gif"}  # or a mistake that is not about clips
    if not only_pictures and (suffix in WRITABLE | READABLE or _is_numbered(target)):
        if len(inputs) > 1:
            raise UsageError(f"{output}: several inputs need a folder as the last argument")
        if inputs[0] == "-":
            raise UsageError("-: a clip cannot be read from standard input; name a file")
        if suffix in READABLE - WRITABLE:
            raise UsageError(f"{output}: {suffix[1:]} is none of {CONTAINERS}")
        if _has_number(target) and suffix not in pictures.WRITABLE:
            raise UsageError(f"{output}: frames are written as {', '.join(key[1:] for key in pictures.WRITABLE)}")
        if _is_still(source):
            raise UsageError(f"{source}: is a picture; a clip is made of a clip or of a folder of frames")
        if suffix not in WRITABLE and source.is_dir() and target.parent.is_dir() and source.samefile(target.parent):
            raise UsageError(f"{output}: the frames are read from this folder; name another")
        return [(source, target)], []
    clips = [name for name in inputs if Path(name).suffix.lower() in READABLE and not Path(name).is_dir()]
    if clips and (suffix in pictures.WRITABLE or output == "-"):
        raise UsageError(
            f"{clips[0]}: is a clip, and {output} no place for one; name a video, or out/%05d.png for its frames"
        )
    if clips and len(inputs) == 1 and suffix and not output.endswith(("/", os.sep)) and not target.is_dir():
        raise UsageError(f"{output}: {suffix[1:]} is none of {CONTAINERS}; end a folder's name with /")
    pairs = []
    for name in dict.fromkeys(clips):
        own = Path(name).suffix.lower()
        pairs.append((Path(name), target / (Path(name).name if own in WRITABLE else f"{Path(name).stem}.mp4")))
    return pairs, [name for name in inputs if name not in clips]


def _is_numbered(path):
    return path.suffix.lower() not in WRITABLE and _has_number(path)


def _has_number(path):
    """Whether a name has one place for a number, as C's printf has it."""
    return re.fullmatch(r"[^%]*%0?\d*d[^%]*", path.name)


def _is_still(path):
    return path.suffix.lower() in pictures.READABLE - {".gif"} and not path.is_dir()


def upscale_clips(pairs, make_upscaler, *, skip_existing=False, **options):
    """Upscale clips, one after the other. What fails is reported, and the others are done.

    Args:
        pairs: (source, target), as `split` gives them.
        make_upscaler: gives the `srgan.Upscaler`; called for every clip that can be read.
        skip_existing: leave alone what has its target already.
        options: for `upscale_clip`.

    Returns:
        A Counter of clips "done", "skipped" and "failed", and of "frames" and those of them that were "replaced".

    Raises:
        UsageError: the options fit no clip, or not the only one.
    """
    counts = Counter(done=0, skipped=0, failed=0, frames=0, replaced=0)
    check_times(**{key: options[key] for key in ("start", "end", "rate") if key in options})
    unusable = []

    def make():
        try:
            return make_upscaler()
        except UsageError as error:
            unusable.append(error)
            raise

    for source, target in pairs:
        if skip_existing and os.path.exists(_first_file(target)):
            counts["skipped"] += 1
            continue
        try:
            counts.update(upscale_clip(source, target, make, **options), done=1)
        except SRGANError as error:
            if error in unusable or isinstance(error, UsageError) and len(pairs) == 1:
                raise
            counts["failed"] += 1
            said = str(error)
            _log.error("%s", said if said.startswith((str(source), str(target))) else f"{source}: {said}")
        except OSError as error:
            counts["failed"] += 1
            _log.error("%s: %s", error.filename or source, error.strerror or error)
    return counts


def check_times(start=None, end=None, rate=None):
    """Raise UsageError if these are no bounds, in seconds, or no rate, in frames a second, of any clip."""
    if start is not None and end is not None and end <= start:
        raise UsageError(f"end: {end:g} s is not after the start, {start:g} s")
    if rate is not None and not 0.01 <= rate <= 1000:
        raise UsageError(f"fps: {rate:g} is not between 0.01 and 1000")


def _first_file(target):
    return Path(target).with_name(target.name % 1) if _is_numbered(target) else target


def upscale_clip(
    source,
    target,
    make_upscaler,
    *,
    codec=None,
    crf=None,
    start=None,
    end=None,
    rate=None,
    max_pixels=MAX_PIXELS,
    **picture_options,
):
    """Upscale a clip, frame by frame. What an earlier call with the same arguments finished is not done again.

    Finished segments lie in a hidden folder beside the target until the whole is there. The folder's name stands for
    all that the result depends on: the file that is read, the model and how it is run, the options, the versions.

    Args:
        source: a video file, or a folder of pictures.
        target: a file whose suffix, one of `WRITABLE`, says the container; or a pattern such as out/%05d.png.
        make_upscaler: gives the `srgan.Upscaler`; called when the clip has turned out to be readable.
        codec: an FFmpeg encoder's name; None: libx264, in WebM libvpx-vp9.
        crf: its constant rate factor, less is better; None: `srgan.clips.writing.QUALITY`.
        start, end: seconds that bound what is done; None: from the first to the last frame.
        rate: frames a second of a folder; None: `RATE`.
        max_pixels: refuse larger frames; None: take any.
        picture_options: for `srgan.pictures.write_picture`, where the target is a pattern.

    Returns:
        A Counter of "frames" and of those that were "replaced": damaged, and their predecessor shown instead.

    Raises:
        SRGANError: it cannot be read, computed or written; what is finished stays.
        UsageError: the options do not fit together.
    """
    from srgan.clips import reading, writing

    source, target = Path(source), Path(target)
    check_times(start, end, rate)
    if not source.exists():
        raise SRGANError(f"{source}: no such file")
    if target.exists() and source.samefile(target):
        raise UsageError(f"{source}: would be written over itself; choose another output")
    if rate is not None and source.is_file():
        raise UsageError(f"fps: {source} has times of its own for its frames; leave it out")
    rate = RATE if rate is None else rate
    clip = reading.open_clip(source, rate, start, end, _log.warning)
    if max_pixels and clip.width * clip.height > max_pixels:
        raise SRGANError(
            f"{source}: {clip.width} x {clip.height} are more than {max_pixels / 1e6:g} million pixels a frame; "
            "raise --max-pixels if you trust it"
        )
    upscaler = make_upscaler()
    suffix = target.suffix.lower()
    is_film = suffix in WRITABLE
    encoding = None
    if is_film:
        encoding = writing.choose_encoding(
            clip, *upscaler.size(clip.width, clip.height), suffix, codec, crf, notice=_log.warning
        )
    elif codec or crf is not None:
        raise UsageError(f"{'codec' if codec else 'crf'}: {target} are pictures; leave it out")
    key = _key(
        source,
        upscaler,
        encoding,
        writing.SEGMENT,
        [start, end, str(rate), target.name, None if is_film else picture_options],
    )
    with _work_folder(target, key) as folder:
        if is_film:
            writer = writing.FilmWriter(clip, target, folder, encoding, notice=_log.warning)
        else:
            writer = writing.PictureWriter(target, folder, notice=_log.warning, **picture_options)
        tile = _clip_tile(upscaler, folder)
        counts = _upscale_frames(clip, upscaler, writer, target, tile, keep_alpha=suffix == ".gif" or not is_film)
        if not counts["frames"]:
            raise SRGANError(f"{source}: has no frames" + ("" if start is end is None else " in that time"))
        writer.join()
    for old in _work_folders(target):
        _remove(old)
    return counts


def _upscale_frames(clip, upscaler, writer, target, tile, keep_alpha):
    counts = Counter(frames=0, replaced=0)
    if writer.kept:
        _log.info("%s: goes on after %d frames", target, writer.kept)
    description = upscaler.engine.description
    memories = _Memories(writer)
    begin, memory = memories.last() if description.memory else (writer.kept, None)
    around = min(begin, max(description.frames // 2, int(description.memory > 0)))  # frames before it that still count
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(total=clip.count, initial=writer.kept, unit="frame", disable=None, leave=False, smoothing=0.1)
        )
        # Decoding, the network and, in this thread, encoding go on side by side, each at most two frames ahead.
        read = stack.enter_context(contextlib.closing(ahead(_read(clip, begin - around, keep_alpha, counts))))
        steps = enlarged(read, upscaler, around, memory, memories.keep, tile)
        results = stack.enter_context(contextlib.closing(ahead(steps)))
        try:
            writer.write(itertools.islice(results, writer.kept - begin, None), on_frame=bar.update)
        except (KeyboardInterrupt, SystemExit):
            bar.close()
            _log.info("%s: stopped; the same command goes on after %d frames", target, writer.kept)
            raise
    return counts


def _read(clip, first, keep_alpha, counts):
    """Yield the frames from number `first` on, counted from 0, with their pixels.

    The others are decoded, too: only so every frame gets what it got in a run from the beginning, whatever the file's
    key frames are like, and it takes a small part of the time that the network took.
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


def enlarged(frames, upscaler, skip=0, memory=None, keep=lambda memory: None, tile=None):
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


def ahead(items, depth=2):
    """Yield from the generator `items`, which a thread of its own runs up to `depth` items ahead."""
    waiting, stopped, end = queue.Queue(depth), threading.Event(), object()

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


# What is kept between runs. -------------------------------------------------------------------------------------------


class _Memories:
    """What a recurrent generator remembers, kept in the writer's folder for a run that goes on: a frame of the result as
    float32, so with every `SEGMENT`-th frame only.

    It is kept before that frame is passed on. So of the frames that a writer has, a run can begin again behind the last
    with a memory, and computes what follows just as it was.
    """

    def __init__(self, writer):
        self._writer = writer
        self._number = 0  # of frames that are behind what is remembered
        for part in writer.folder.glob(f".{_MEMORY}*"):
            part.unlink()  # left by a process that was killed while it wrote

    def last(self):
        """Behind how many frames, not more than the writer has, a run can begin, and with which memory."""
        self._number = max(self._numbers(), default=0)
        return self._number, np.load(self._file(self._number)) if self._number else None

    def keep(self, memory):
        from srgan.clips import writing

        self._number += 1
        if memory is None or self._number % writing.SEGMENT:
            return
        with writing.saying_what_failed(self._writer.folder), atomic_path(self._file(self._number)) as temporary:
            np.save(temporary, memory)
        for number in sorted(self._numbers())[:-1]:
            self._file(number).unlink()

    def _numbers(self):
        """Those kept and not behind the writer's last frame: there can be later ones, which it has yet to get."""
        numbers = (int(file.stem.removeprefix(_MEMORY)) for file in self._writer.folder.glob(f"{_MEMORY}*.npy"))
        return [number for number in numbers if number <= self._writer.kept]

    def _file(self, number):
        return self._writer.folder / f"{_MEMORY}{number:06}.npy"


def _key(source, upscaler, encoding, segment, options):
    """A name for all that the result depends on."""
    from av import __version__ as av_version
    from av import library_versions

    engine = upscaler.engine
    versions = [__version__, av_version, sorted(library_versions.items()), _engine_version(engine)]
    if engine.description.memory:
        from srgan.clips.flow import cv2  # which is missed now, before anything is begun, or finds the motion

        versions.append(cv2.__version__)
    described = {
        "format": [_FORMAT, segment],
        "versions": versions,
        "source": _identity(source),
        "model": [
            hashlib.sha256(path.read_bytes()).hexdigest() if isinstance(path, Path) else path for path in engine.weights
        ],
        "engine": [engine.name, engine.device, engine.precision, upscaler.scale, upscaler.tile],
        "encoding": str(encoding),
        "options": options,
    }
    return hashlib.sha256(json.dumps(described, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _engine_version(engine):
    if engine.name == "OpenVINO":
        import openvino

        return openvino.get_version()
    import keras

    return [keras.backend.backend(), keras.__version__]


def _identity(source):
    """What changes when a file, or what is in a folder, does."""
    from srgan.clips.reading import frame_files

    identity = []
    for file in frame_files(source) if source.is_dir() else [source]:
        try:
            facts = file.stat()
        except OSError:  # a link that leads nowhere: a damaged frame
            identity.append(file.name)
        else:
            identity.append((file.name, facts.st_size, facts.st_mtime_ns))
    return identity


def _work_folders(target):
    """The hidden folders beside `target`, one for each set of options it was begun with."""
    place = target.resolve()
    return place.parent.glob(f".{glob.escape(place.name)}-{'?' * 16}.part")


@contextlib.contextmanager
def _work_folder(target, key):
    """The hidden folder of one run, made and locked."""
    from filelock import FileLock, Timeout

    from srgan.clips import writing

    place = target.resolve()
    folder = place.parent / f".{place.name}-{key}.part"
    lock = FileLock(folder / "lock")
    with writing.saying_what_failed(target):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise SRGANError(f"{target}: another process is at work on it") from None
    try:
        yield folder
    finally:
        lock.release()
        with contextlib.suppress(FileNotFoundError):  # another process that is finished removes it, too
            # Nothing is finished.
            if all(file.name in ("lock", "tile") or file.name.startswith(_MEMORY) for file in folder.iterdir()):
                _remove(folder)


def _remove(folder):
    """Remove a hidden folder, but for one that another process is at work in."""
    from filelock import FileLock, Timeout

    with contextlib.suppress(Timeout, OSError), FileLock(folder / "lock", timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # on Windows a lock that is held cannot be removed, and goes when it is released


def _clip_tile(upscaler, folder):
    """The clip's `TileSize`, recorded in its work folder.

    A resumed run uses the tiles of the run that began: their size depends on the memory that was free, and where tiles
    meet, a pixel may differ by a level.
    """
    from srgan.clips import writing

    file = folder / "tile"

    def record(side):
        with writing.saying_what_failed(folder), atomic_path(file) as temporary:
            temporary.write_text(str(side))

    if file.exists():
        return TileSize(int(file.read_text()), record)
    side = upscaler.tile
    if side is None and upscaler.engine.description.receptive_field >= 0:
        side = affordable_tile(upscaler.engine)
        record(side)
    return TileSize(side, record)

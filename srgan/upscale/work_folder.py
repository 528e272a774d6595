"""The hidden folder beside the target of a clip or of a large picture, which keeps the finished part until a stopped run resumes.

Its name has a hash of all that the result depends on: the file that is read, the model and how it is run, the options and
the versions. Other options start anew, in their own folder.
"""

import contextlib
import glob
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srgan import __version__
from srgan.clips import segments
from srgan.clips.ffmpeg import wrap_write_errors
from srgan.clips.reading import frame_files
from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.interrupts import cleaned_up
from srgan.upscale.engines.description import Tiling
from srgan.upscale.tiles import TileSize, affordable_tile

_MEMORY = "memory-"  # the prefix of the names of saved memories
_UNFINISHED = ("lock", "tile", "decoding", "colour", "gray", "result")
_FORMAT = 6  # of the segments; raise it when the same clip and options give other frames
_LONGEST_NAME = 255 - 23  # bytes that a file system leaves for the target's name in the folder's, ".NAME-KEY.part"


def resume_key(source: Path, upscaler, encoding, options: list) -> str:
    """A hash, 16 hexadecimal digits, of all that the result depends on."""
    from av import __version__ as av_version
    from av import library_versions

    engine = upscaler.engine
    versions = [__version__, av_version, sorted(library_versions.items()), _engine_version(engine)]
    if engine.description.memory:
        from srgan.clips.flow import cv2  # fails here where OpenCV is missing, before any work

        versions.append(cv2.__version__)
    described = {
        "format": [_FORMAT, segments.SEGMENT],
        "versions": versions,
        "source": _identity(source),
        "model": [(hashlib.sha256(path.read_bytes()).hexdigest(), share) for path, share in engine.weights.items()],
        "engine": [engine.name, engine.device, engine.precision, upscaler.scale, upscaler.tile, upscaler.overlap],
        "denoise": upscaler.denoise,  # of which auto has the same weights as 0.5
        "unsaid": [upscaler.activation, upscaler.value_range],
        "fit": upscaler.fit,
        "alpha": [upscaler.alpha, upscaler.wrap, upscaler.palette],
        "encoding": str(encoding),
        "options": options,
    }
    return hashlib.sha256(json.dumps(described, default=str, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def work_folder(target: Path, key: str) -> Iterator[Path]:
    """The hidden folder of one run, made and locked. It is removed if nothing in it is finished.

    Raises:
        SRGANError: it cannot be made, or another process holds it.
    """
    from filelock import FileLock, Timeout

    place = target.resolve()
    folder = place.parent / f".{_short(place.name)}-{key}.part"
    lock = FileLock(folder / "lock", thread_local=False)  # the thread that handles a signal releases it
    with wrap_write_errors(target):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise SRGANError(f"{target}: another process is at work on it") from None

    def clean():
        lock.release()
        with contextlib.suppress(FileNotFoundError):  # another process that is finished removes it, too
            # It holds no finished part. (Of a large picture, "rows" counts them.)
            if all(file.name in _UNFINISHED or file.name.startswith(_MEMORY) for file in folder.iterdir()):
                _remove(folder)

    with cleaned_up(clean):
        try:
            yield folder
        finally:
            clean()


def remove_work_folders(target: Path) -> None:
    """Remove the hidden folders beside `target`, whatever the options, except those that another process is using."""
    place = target.resolve()
    for folder in place.parent.glob(f".{glob.escape(_short(place.name))}-{'?' * 16}.part"):
        _remove(folder)


def recorded_tile(upscaler, folder: Path, most: int | None = None) -> TileSize:
    """The `TileSize` of a clip or of a large picture, recorded in its work folder.

    A resumed run uses the tiles of the run that began: their size depends on the memory that was free, and where tiles
    meet, a pixel may differ by a level.

    Args:
        most: bytes of memory that computing one may take; None: what is free decides.
    """
    file = folder / "tile"

    def record(side):
        with wrap_write_errors(folder), atomic_path(file) as temporary:
            temporary.write_text(str(side))

    if file.exists():
        return TileSize(int(file.read_text()), record)
    side = upscaler.tile
    if side is None and upscaler.engine.description.tiling is Tiling.OVERLAPPING:
        side = affordable_tile(upscaler.engine, overlap=upscaler.overlap, most=most)
        record(side)
    return TileSize(side, record)


class Memories:
    """The memories of a recurrent generator, saved in the work folder.

    One is as large as a frame of the result in float32, so only that of every `SEGMENT`-th frame is saved, and it is saved
    before its frame is passed on. A run resumes after the last finished frame that has one, and computes the rest as before.

    Args:
        writer: of the frames; its `folder` is the work folder, its `kept` the number of finished frames.
    """

    def __init__(self, writer):
        self._writer = writer
        self._number = 0  # older than the memory to resume with
        for part in writer.folder.glob(f".{_MEMORY}*"):
            part.unlink()  # left by a process that was killed while it wrote

    def last(self) -> tuple[int, np.ndarray | None]:
        """After how many of the writer's frames a run can resume, and with which memory."""
        self._number = max(self._numbers(), default=0)
        return self._number, np.load(self._file(self._number)) if self._number else None

    def keep(self, memory: np.ndarray | None) -> None:
        """Save the memory of the next frame, where it is one of those that are saved."""
        self._number += 1
        if memory is None or self._number % segments.SEGMENT:
            return
        with wrap_write_errors(self._writer.folder), atomic_path(self._file(self._number)) as temporary:
            np.save(temporary, memory)
        for number in sorted(self._numbers())[:-1]:
            self._file(number).unlink()

    def _numbers(self):
        """The numbers of saved memories, without those of frames that the writer has not finished."""
        numbers = (int(file.stem.removeprefix(_MEMORY)) for file in self._writer.folder.glob(f"{_MEMORY}*.npy"))
        return [number for number in numbers if number <= self._writer.kept]

    def _file(self, number):
        return self._writer.folder / f"{_MEMORY}{number:06}.npy"


def _short(name):
    """The name, with a digest in place of its end where the folder's name would be too long for a file system."""
    content = name.encode(errors="surrogateescape")
    if len(content) <= _LONGEST_NAME:
        return name
    return content[:100].decode(errors="ignore") + hashlib.sha256(content).hexdigest()[:16]


def _engine_version(engine):
    if engine.name == "OpenVINO":
        import openvino

        return openvino.get_version()
    import keras

    return [keras.backend.backend(), keras.__version__]


def _identity(source):
    """What changes when a file, or what is in a folder, does."""
    identity = []
    for file in frame_files(source) if source.is_dir() else [source]:
        try:
            facts = file.stat()
        except OSError:  # a broken link: a damaged frame
            identity.append(file.name)
        else:
            identity.append((file.name, facts.st_size, facts.st_mtime_ns))
    return identity


def _remove(folder):
    """Remove a hidden folder, unless another process is using it."""
    from filelock import FileLock, Timeout

    with contextlib.suppress(Timeout, OSError), FileLock(folder / "lock", timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # on Windows a lock that is held cannot be removed, and goes when it is released

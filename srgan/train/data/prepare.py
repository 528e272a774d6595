"""Preparing: every picture decoded once, brought to squares of `size` pixels and to /scale, and kept in a store.

A store is a folder of raw uint8 arrays that are memory-mapped for training:

    hr.bin       (count, size, size, 3), or of clips, by srgan.train.data.clips, (count, frames, size, size, 3)
    lr.bin       the same with size / scale
    names.txt    the picture or clip each square comes from, a line each
    store.json   the count, the settings, a digest of the arrays, and the pictures or clips that were skipped and why

Its name is a digest of the settings and of each source's path, size and time, so a changed setting or picture makes a
new store. It is built under another name and renamed when it is complete.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock

from srgan.errors import SRGANError
from srgan.interrupts import cleaned_up
from srgan.metrics.noise import noise_level
from srgan.pictures import read_rgb, size_of
from srgan.pictures.arrays import downscale, is_flat, resize_bicubic
from srgan.progress import Bar
from srgan.train.data.pairs import pair_squares

_log = logging.getLogger("srgan")
FORMAT = 3  # part of the key: raise it when what is stored changes


def default_root() -> Path:
    """Where stores are kept unless the configuration says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srgan" / "stores"


@dataclass(frozen=True)
class Store:
    """A finished store. Opening it reads store.json only, whatever the number of pictures."""

    folder: Path
    count: int
    size: int
    scale: int
    skipped: list
    digest: str  # of what the arrays hold, wherever the pictures came from
    frames: int | None  # of each window, in a store of clips
    enlarged: int  # how many pictures or clips were smaller than a square and became larger
    read: int  # of how many that could be read

    @classmethod
    def open(cls, folder):
        """The store in a folder.

        Raises:
            OSError, ValueError, KeyError, TypeError: it is not there, or damaged.
        """
        content = json.loads((Path(folder) / "store.json").read_text(encoding="utf-8"))
        values = (content[key] for key in ("count", "size", "scale", "skipped", "digest"))
        later = (content.get(key, 0) for key in ("enlarged", "read"))  # which earlier versions did not write
        store = cls(Path(folder), *values, content.get("frames"), *later)
        for array in (store.hr, store.lr):
            if os.path.getsize(array.filename) != array.nbytes:
                raise ValueError("an array has another length")
        return store

    @cached_property
    def hr(self) -> np.memmap:
        return self._map("hr.bin", self.size)

    @cached_property
    def lr(self) -> np.memmap:
        return self._map("lr.bin", self.size // self.scale)

    @property
    def names(self) -> list[str]:
        return (self.folder / "names.txt").read_text(encoding="utf-8", errors="surrogateescape").splitlines()

    def _map(self, name, side):
        frames = () if self.frames is None else (self.frames,)
        return np.memmap(self.folder / name, np.uint8, "r", shape=(self.count, *frames, side, side, 3))


def prepare(
    pictures: Sequence[Path],
    root: Path,
    *,
    size: int,
    scale: int,
    fit: str = "squash",
    shrink: float = 1.0,
    maximum_noise: float | None = None,
    low: Mapping[Path, Path] | None = None,
    label: str = "pictures",
) -> Store:
    """Open the store of `pictures`, making it first where it does not exist.

    Args:
        pictures: paths, in the order of the store.
        root: folder of stores.
        size: pixels a side of a square, a multiple of `scale`.
        fit: "squash" resizes to the square whatever the aspect; "crop" resizes the shorter side
            to it and keeps the centre; "tile" cuts the picture, at its own resolution, into all squares that fit and
            are not of one colour.
        shrink: factor by which pictures are resized first, as far as a square still fits into them.
        maximum_noise: levels of 255; pictures with more noise in their flat parts, once shrunk, are left out; None:
            none are.
        low: the path of the low resolution of each picture; None: it is made by bicubic. `fit` and `shrink` do not count
            then, see srgan.train.data.pairs.pair_squares.
        label: what the progress bar and messages call them.

    Raises:
        SRGANError: no picture can be used, or the disk has too little room.
    """
    settings = {"format": FORMAT, "size": size, "scale": scale, "fit": fit, "shrink": shrink}
    if maximum_noise is not None:  # without it, a store keeps the key of earlier versions
        settings["maximum_noise"] = maximum_noise
    files = list(pictures)
    if low is not None:
        settings["pairs"] = True
        files += [low[picture] for picture in pictures]

    def cut(path, pixels):
        if low is None:
            return list(squares(pixels, size=size, scale=scale, fit=fit, shrink=shrink))
        return pair_squares(pixels, low[path], size=size, scale=scale)

    def build(part):
        pixels = len(pictures) * size**2
        if fit == "tile" or low is not None:
            pixels = sum(math.prod(size_of(picture) or (0, 0)) for picture in pictures)
        check_room(part.parent, pixels, scale, f"{len(pictures)} pictures")
        content = dict(settings)
        with new_store(part, content, f"{len(pictures)} {label}") as write:
            content |= _prepare_all(pictures, settings, cut, label, write)

    return make_store(files, root, settings, build)


def make_store(files, root, settings, build) -> Store:
    """Open the store of `files` under these settings; where there is none, `build` is given the folder to write it to."""
    root = Path(root)
    folder = root / _key(files, settings)
    if store := _open_whole(folder):
        return store
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{folder.name}.lock"):  # a second process waits and then finds the finished store
        if store := _open_whole(folder):
            return store
        if folder.exists():
            _log.warning("%s: a damaged store of prepared pictures; it is made anew", folder)
            shutil.rmtree(folder)
        part = root / f".{folder.name}.part"
        shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
        with cleaned_up(lambda: shutil.rmtree(part, ignore_errors=True)):
            try:
                build(part)
                os.replace(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return Store.open(folder)


def _open_whole(folder):
    """A store; None: it is not there, or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Store.open(folder)
    return None


@contextmanager
def new_store(folder: Path, content: dict, label: str) -> Iterator[Callable]:
    """Write a store: the block is given a function of a name, (hr, lr) pairs from it, and None or what was wrong with
    it. `content` goes to store.json as it is at the end of the block.

    Raises:
        SRGANError: there was no pair.
    """
    folder.mkdir()
    count, skipped, digest = 0, [], hashlib.sha256()
    with (
        open(folder / "hr.bin", "wb") as hr_file,
        open(folder / "lr.bin", "wb") as lr_file,
        open(folder / "names.txt", "w", encoding="utf-8", errors="surrogateescape") as names,
    ):

        def write(name, pairs, problem=None):
            nonlocal count
            for hr, lr in pairs:
                for file, pixels in ((hr_file, np.ascontiguousarray(hr)), (lr_file, np.ascontiguousarray(lr))):
                    file.write(pixels)
                    digest.update(pixels)
                names.write(f"{name}\n")
                count += 1
            if problem:
                skipped.append(problem)

        yield write
    if not count:
        reason = f"; the first: {skipped[0]}" if skipped else ""
        raise SRGANError(f"none of the {label} can be used{reason}")
    content = {"count": count, **content, "digest": digest.hexdigest(), "skipped": skipped}
    (folder / "store.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def squares(pixels: np.ndarray, *, size: int, scale: int, fit: str = "squash", shrink: float = 1.0) -> Iterator:
    """The (hr, lr) pairs of one picture: uint8 (size, size, 3) and (size / scale, size / scale, 3).

    Tiles of a single colour are left out: nothing can be learned from them, and their PSNR is undefined.
    """
    for hr, lr in all_squares(pixels, size=size, scale=scale, fit=fit, shrink=shrink):
        if fit != "tile" or not is_flat(hr):
            yield hr, lr


def all_squares(
    pixels: np.ndarray, *, size: int, scale: int, fit: str = "squash", shrink: float = 1.0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """As `squares`, those of one colour too, so that pictures of one size have as many at the same places.

    The low resolution is made of the whole picture, so that a square's borders are as true as its middle.
    """
    pixels = shrunk(pixels, size, shrink)
    height, width = pixels.shape[:2]
    if fit == "squash":
        hr = resize_bicubic(pixels, size, size)
    elif fit == "crop" or min(height, width) < size:
        factor = size / min(height, width)
        width, height = max(size, round(width * factor)), max(size, round(height * factor))
        left, top = (width - size) // 2, (height - size) // 2
        hr = resize_bicubic(pixels, width, height)[top : top + size, left : left + size]
    else:
        height, width = height - height % size, width - width % size
        hr = pixels[:height, :width]
    lr, side = downscale(np.ascontiguousarray(hr), scale), size // scale
    for row in range(hr.shape[0] // size):
        for column in range(hr.shape[1] // size):
            square = hr[row * size : (row + 1) * size, column * size : (column + 1) * size]
            yield square, lr[row * side : (row + 1) * side, column * side : (column + 1) * side]


def shrunk(pixels: np.ndarray, size: int, shrink: float) -> np.ndarray:
    """A picture reduced by the factor `shrink`, or by less where a side would fall below `size`."""
    height, width = pixels.shape[:2]
    factor = min(1.0, max(shrink, size / min(height, width)))
    width, height = max(size, round(width * factor)), max(size, round(height * factor))
    if factor == 1 or (height, width) == pixels.shape[:2]:
        return pixels
    return resize_bicubic(pixels, width, height)


def _key(pictures, settings):
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    folders = {folder: os.fsencode(folder.resolve()) for folder in {path.parent for path in pictures}}
    for path in pictures:
        try:
            status = path.stat()
        except OSError as error:
            raise SRGANError(f"{path}: {error.strerror}") from error
        digest.update(folders[path.parent] + b"/" + os.fsencode(path.name))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def check_room(root: Path, pixels: int, scale: int, label: str) -> None:
    """Check that the disk has room for so many high-resolution pixels and their low resolution.

    Raises:
        SRGANError: there is not.
    """
    need, free = pixels * 3 * (1 + 1 / scale**2), shutil.disk_usage(root).free
    if need > free:
        raise SRGANError(
            f"{root}: preparing {label} takes {need / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; "
            "make room, set data.store to a folder elsewhere, or lower data.count or data.size"
        )


def _prepare_all(pictures, settings, cut, label, write):
    limit, noisy, sides = settings.get("maximum_noise"), [], []

    def work(path):
        try:
            pixels = read_rgb(path)
            if limit and noise_level(shrunk(pixels, settings["size"], settings["shrink"])) > limit:
                noisy.append(path)
                return [], None
            pairs = cut(path, pixels)
            sides.append(min(pixels.shape[:2]))
            return pairs, None
        except SRGANError as error:
            return [], str(error)

    with Bar(total=len(pictures), desc=f"preparing {label}", unit=" pictures") as bar:
        for path, (pairs, problem) in zip(pictures, _parallel(work, pictures)):
            write(path.name, pairs, problem)
            bar.update()
    if noisy:
        write("", [], f"{len(noisy)} of {len(pictures)} {label}: more noise than data.maximum_noise = {limit:g} levels")
    return {"enlarged": sum(side < settings["size"] for side in sides), "read": len(sides)}


def _parallel(work, items):
    """Like map over threads (Pillow releases the GIL), with few results waiting so that memory stays flat."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        items = iter(items)
        waiting = [pool.submit(work, item) for item in islice(items, 4 * workers)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(work, item) for item in islice(items, 1))

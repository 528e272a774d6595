"""Upscaling: whole pictures and the frames of clips through an engine, in overlapping tiles, and folders of them."""

import contextlib
import itertools
import logging
import math
import operator
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from srgan import images, pictures
from srgan.cuts import is_cut
from srgan.engines import load_engine
from srgan.errors import SRGANError, UsageError
from srgan.pictures import Picture

# Input pixels that a tile sees beyond its own. The network looks 40 pixels far, but hardly: measured on trained SRResNets,
# from 8 on no pixel is more than a level away from the untiled result, in float32 and in bfloat16.
OVERLAP = 10
SMALLEST_TILE = 48  # input pixels a side
MAX_PIXELS = 100_000_000  # of a picture file that is read; 16 times as many come out

_log = logging.getLogger("srgan")


class Upscaler:
    """Upscales pictures and clips. One may be used by several threads at once.

    Args:
        model: the path of a `.keras` file or the name of a shipped model; None: the default of those.
        engine, precision, pixel_model, strength: see `srgan.engines.load_engine`. Pictures of 16 bits and of floats are
            always computed in float32, because bfloat16 has fewer levels than they.
        tile: the side of the largest piece that is computed at once, in input pixels; None: by the memory that is free.
        scale: how many times as wide and high the result is; None: as the model makes it. Another than the model's is
            reached by resizing its result (bicubic, antialiased).

    Example:
        >>> upscaler = Upscaler("srresnet")
        >>> upscaler(np.zeros((30, 40, 3), np.uint8)).shape
        (120, 160, 3)
    """

    def __init__(
        self, model=None, *, engine="auto", precision="auto", tile=None, scale=None, pixel_model=None, strength=1.0
    ):
        if tile is not None and tile < SMALLEST_TILE:
            raise UsageError(f"tile: {tile} is below {SMALLEST_TILE} pixels")
        if scale is not None and not 0 < scale <= 32:
            raise UsageError(f"scale: {scale} is not above 0 and at most 32")
        self.engine = load_engine(model, engine=engine, precision=precision, pixel_model=pixel_model, strength=strength)
        self.scale = scale or self.engine.description.scale
        self.tile = tile
        self._exact_engine = None
        self._lock = threading.Lock()

    def __call__(self, picture, *, on_tile=lambda done, total: None):
        """Upscale one picture. For a generator over time it stands for all the frames that this looks at.

        Args:
            picture: a Pillow picture; or an array (h, w), (h, w, 1) gray, (h, w, 2) gray and alpha, (h, w, 3) RGB or
                (h, w, 4) RGB and alpha, of uint8, uint16, or floats in [0, 1]; or a `srgan.pictures.Picture`.
            on_tile: called before the first tile and after each with the number of tiles done and their total.

        Returns:
            The same kind of thing, upscaled. Floats are clipped to [0, 1].

        Raises:
            SRGANError: the network gave no numbers, or not even the smallest tile fits into memory.
        """
        if isinstance(picture, Picture):
            pixels, _ = self._upscale([picture.pixels] * self.engine.description.frames, on_tile=on_tile)
            return replace(picture, pixels=pixels)
        if isinstance(picture, Image.Image):
            return pictures.to_pillow(self(pictures.from_pillow(picture), on_tile=on_tile))
        array = np.asarray(picture)
        if array.ndim not in (2, 3) or array.ndim == 3 and not 1 <= array.shape[2] <= 4 or not array.size:
            raise UsageError(f"a picture has the shape (h, w) or (h, w, 1 to 4), not {array.shape}")
        if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
            raise UsageError(f"a picture is of uint8, uint16 or floats, not {array.dtype}")
        pixels = array.reshape(*array.shape[:2], -1)
        if array.dtype.kind == "f":
            pixels = pixels.astype(np.float32)
        result, _ = self._upscale([pixels] * self.engine.description.frames, on_tile=on_tile)
        return result.reshape(*result.shape[:2], *array.shape[2:]).astype(array.dtype, copy=False)

    def clip(self, frames):
        """Upscale the frames of a clip, each when it is asked for.

        A generator of pictures takes them one by one. One over time sees the frames around each, or remembers those
        before it, but never across a scene cut: at cuts, as at the clip's ends, the nearest frame of the same scene stands
        for one that is missing, and what is remembered of a scene ends with it.

        Args:
            frames: arrays (h, w, 1 to 4) of uint8 or uint16, channels as in a picture's, that stay as they are; taken
                only as far ahead as the generator looks.

        Yields:
            The frames upscaled, in their order; for a frame that only repeats its predecessor the same array again.

        Raises:
            SRGANError: as for a picture.
        """
        for result, _ in self.steps(frames):
            yield result

    def steps(self, frames, skip=0, memory=None):
        """Upscale a clip as `clip` does, for those who stop and go on in the middle.

        Args:
            frames: see `clip`.
            skip: how many frames, at the beginning, are there for those after them only.
            memory: what was remembered with the frame before the first that is not skipped; None: nothing.

        Yields:
            Pairs of a frame upscaled and what is remembered with it, float32 (h, w, memory), None if nothing ever is.
        """
        description = self.engine.description
        if description.memory:
            from srgan.flow import move_memory  # which needs OpenCV
        last, before, previous = 0, (), None
        scenes = _scenes(frames, is_cut if description.over_time else lambda before, after: False)
        for index, (scene, window) in enumerate(_windows(scenes, description.frames // 2)):
            if index >= skip:
                memory = memory if scene == last else None
                if memory is not None and window[0] is not previous:
                    memory = move_memory(memory, _seen(previous), _seen(window[0]))
                if description.memory or not before or any(map(operator.is_not, window, before)):
                    result, memory = self._upscale(window, memory)
                    before = window
                yield result, memory
            last, previous = scene, window[0]

    def size(self, width, height):
        """The size of the result for a picture of that size."""
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))

    def _upscale(self, frames, memory=None, on_tile=lambda done, total: None):
        """The middle one of so many frames as the engine takes upscaled, and what is remembered with it, else None."""
        height, width, channels = frames[0].shape
        new_width, new_height = self.size(width, height)
        if channels in (1, 3):
            colour, memory = self._upscale_colour(frames, memory, on_tile)
            return _resized(colour, new_width, new_height), memory
        colour, memory = self._upscale_colour(list(map(_seen, frames)), memory, on_tile)
        result = np.empty((new_height, new_width, channels), colour.dtype)
        result[..., :-1] = _resized(colour, new_width, new_height)
        result[..., -1:] = _resized(frames[len(frames) // 2][..., -1:], new_width, new_height)
        return result, memory

    def _upscale_colour(self, frames, memory, on_tile):
        dtype, (height, width, channels) = frames[0].dtype, frames[0].shape
        engine = self.engine if dtype == np.uint8 else self._exact()
        scale, levels = engine.description.scale, _levels(dtype)
        result = np.empty((height * scale, width * scale, channels), dtype)
        remembered = None
        if engine.description.memory:
            remembered = np.empty((height, width, engine.description.memory), np.float32)
            memory = np.zeros_like(remembered) if memory is None else memory
        whole = engine.description.receptive_field < 0
        limit = self.tile or affordable_tile(engine, whole)
        # In one piece while it fits: on the generator with instance normalisation of docs/variants.md and 20 pictures of
        # COCO, tiles of 64 and 96 pixels were up to 160 levels off the whole, in steps from tile to tile, and fixed
        # statistics of 40 training pictures 0.34 dB worse than each picture's own.
        if whole and not self.tile and height * width <= limit**2:
            limit = max(height, width)
        todo = tiles(width, height, limit, OVERLAP)[::-1]
        total = len(todo)
        if total > 1 and whole:
            _log.warning(
                "this model looks at the whole picture at once, so that its %d tiles may differ in tone", total
            )
        on_tile(0, total)
        while todo:
            window, core = todo.pop()
            shape = window.height, window.width, 3
            lr = np.stack([np.broadcast_to(frame[window.slices()], shape) for frame in frames])
            lr = lr.astype(np.float32) / np.float32(levels)
            inputs = [lr if len(frames) == 1 else lr[None]]
            if remembered is not None:
                inputs.append(memory[window.slices()][None])
            try:
                sr, after = self._compute(engine, *inputs)
            except MemoryError as error:
                limit = max(window.width, window.height) // 2
                if limit < SMALLEST_TILE:
                    raise SRGANError("not enough memory, even for the smallest tile") from error
                _log.warning("out of memory: going on with tiles of %d pixels", limit)
                self.tile = limit
                todo = [part for tile in [*todo, (window, core)] for part in _split(*tile, limit)]
                total += len(todo) - 1
                continue
            inner = sr[core.within(window).times(scale).slices()]
            result[core.times(scale).slices()] = _quantised(
                inner if channels == 3 else inner.mean(-1, keepdims=True), dtype
            )
            if remembered is not None:
                remembered[core.slices()] = after[core.within(window).slices()]
            on_tile(total - len(todo), total)
        return result, remembered

    def _compute(self, engine, *inputs):
        """What the engine makes of one tile: the picture, and what it remembers, else None."""
        results = engine(*inputs)
        if not _are_numbers(results) and engine.precision != "float32":
            _log.warning("%s gave values that are no numbers: computing again in float32", engine.precision)
            results = self._exact()(*inputs)
        if not _are_numbers(results):
            raise SRGANError("the network gave values that are no numbers: its weights are damaged")
        sr, after = results if isinstance(results, tuple) else (results, [None])
        return sr[0], after[0]

    def _exact(self):
        """The engine in float32."""
        with self._lock:
            if self._exact_engine is None:
                self._exact_engine = self.engine.with_precision("float32")
            return self._exact_engine


def _resized(pixels, width, height):
    """Bicubic to a size; floats are clipped to [0, 1] again."""
    pixels = images.resize(pixels, width, height)
    return np.clip(pixels, 0.0, 1.0) if pixels.dtype.kind == "f" else pixels


def _seen(frame):
    """The colours of a frame, (h, w, 1 or 3), those that can be seen in place of those that are transparent."""
    return frame if frame.shape[-1] in (1, 3) else images.fill_transparent(frame[..., :-1], frame[..., -1])


def _levels(dtype):
    return np.iinfo(dtype).max if dtype.kind == "u" else 1


def _quantised(values, dtype):
    values = np.clip(values, 0.0, 1.0)  # a copy, on which the rest can work in place
    if dtype.kind == "u":
        values *= _levels(dtype)
        np.rint(values, out=values)
    return values.astype(dtype, copy=False)


def _are_numbers(results):
    return all(np.isfinite(values).all() for values in (results if isinstance(results, tuple) else [results]))


# Frames. --------------------------------------------------------------------------------------------------------------


def _scenes(frames, is_cut):
    """Yield each frame with its scene's number. One that only repeats its predecessor is the same array as that."""
    scene, before = 0, None
    for frame in frames:
        if (
            frame.ndim != 3
            or not 1 <= frame.shape[2] <= 4
            or frame.dtype not in (np.uint8, np.uint16)
            or not frame.size
        ):
            raise UsageError(f"a frame is of uint8 or uint16, (h, w, 1 to 4), not {frame.dtype} {frame.shape}")
        if before is not None and frame is not before:
            if frame.dtype == before.dtype and np.array_equal(frame, before):
                frame = before
            else:
                scene += is_cut(before, frame)
        before = frame
        yield scene, frame


def _windows(scenes, reach):
    """Yield each frame's scene and the 2 reach + 1 frames around it, the nearest of its scene for others' and for none.

    Args:
        scenes: pairs of a scene's number and a frame; taken `reach` ahead.
    """
    near = deque(maxlen=2 * reach + 1)
    beyond = [(None, None)] * reach
    for pair in itertools.chain(beyond, scenes, beyond):
        near.append(pair)
        if len(near) < near.maxlen:
            continue
        scene, middle = near[reach]
        before, after = [middle], [middle]
        for index in range(1, reach + 1):
            for side, (other, frame) in ((before, near[reach - index]), (after, near[reach + index])):
                side.append(frame if other == scene else side[-1])
        yield scene, [*reversed(before[1:]), *after]


# Tiles. ---------------------------------------------------------------------------------------------------------------


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self):
        return self.right - self.left

    @property
    def height(self):
        return self.bottom - self.top

    def slices(self):
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def times(self, scale):
        return Box(*(scale * side for side in self))

    def moved(self, x, y):
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def within(self, other):
        """This box in the coordinates of a larger one."""
        return self.moved(-other.left, -other.top)

    def intersection(self, other):
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )


def tiles(width, height, tile, overlap):
    """Cut a picture into pairs of boxes: a window of at most `tile` pixels a side to compute, and the core to keep of it.

    The cores cover the picture once. A core ends at least `overlap` pixels before its window does, except at the
    picture's own border, beyond which nothing is invented. All windows have one size, as near to each other as fits. Of
    pictures wider than `tile` their width is a multiple of 8 where `tile` is: convolutions of bfloat16 rows of other
    lengths take a sixth longer.
    """
    return [
        (Box(x0, y0, x1, y1), Box(left, top, right, bottom))
        for (y0, y1), (top, bottom) in _spans(height, tile, overlap)
        for (x0, x1), (left, right) in _spans(width, tile, overlap, multiple=8)
    ]


def _spans(length, tile, overlap, multiple=1):
    if length <= tile:
        return [((0, length), (0, length))]
    count = math.ceil((length - 2 * overlap) / (tile - 2 * overlap))
    size = math.ceil((length + 2 * overlap * (count - 1)) / count)
    size = min(math.ceil(size / multiple) * multiple, tile)
    starts = [index * (length - size) // (count - 1) for index in range(count)]
    cuts = [0, *((before + size + after) // 2 for before, after in itertools.pairwise(starts)), length]
    return [((start, start + size), core) for start, core in zip(starts, itertools.pairwise(cuts))]


def _split(window, core, limit):
    """The tiles, of at most `limit` pixels a side, that do the work of one larger tile."""
    for part, kept in tiles(window.width, window.height, limit, OVERLAP):
        kept = kept.moved(window.left, window.top).intersection(core)
        if kept.width > 0 and kept.height > 0:
            yield part.moved(window.left, window.top), kept


def affordable_tile(engine, whole=False):
    """The side of the largest tile that half of the free memory suffices for.

    Args:
        whole: without the engine's own limit, for a model whose tiles would differ: instance normalisation takes the
            mean and the variance of all that it sees.
    """
    side = int((free_memory() / 2 / engine.bytes_per_pixel) ** 0.5) // 16 * 16
    return max(side if whole else min(side, engine.largest_tile), SMALLEST_TILE)


def free_memory():
    """Bytes that this process may still take: of the machine, of its control group and of its own limit."""
    candidates = [4 * 2**30]  # where nothing says more
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        candidates = [1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable")))]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            group = Path("/sys/fs/cgroup")
            candidates.append(int((group / limit).read_text()) - int((group / used).read_text()))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            candidates.append(limit - 1024 * 4 * int(Path("/proc/self/statm").read_text().split()[0]))
    return max(min(candidates), 0)


# Files and folders. ---------------------------------------------------------------------------------------------------


def plan(inputs, output, *, recursive=False, suffix=None):
    """What is to be made of what: a list of pairs (source, target), paths or "-" for standard input and output.

    Args:
        inputs: files, folders of pictures, or "-".
        output: a file for one input file, a folder for more; a folder's structure is kept.
        recursive: also take what is in the folders of an input folder.
        suffix: of files written into a folder; None: the input's own, or .png where that is not written.

    Raises:
        UsageError: two inputs would be written to one output, an output is an input, or no picture was found.
    """
    into_folder = len(inputs) > 1 or output.endswith(("/", os.sep)) or any(map(os.path.isdir, [*inputs, output]))
    if suffix and suffix not in pictures.WRITABLE:
        raise UsageError(f"format: {suffix[1:]!r} is none of {', '.join(key[1:] for key in pictures.WRITABLE)}")
    if not into_folder:
        if suffix and output != "-" and Path(output).suffix.lower() != suffix:
            raise UsageError(f"{output}: does not end in {suffix}, as --format says")
        pairs = [(inputs[0], output)]
    elif "-" in inputs or output == "-":
        raise UsageError("-: standard input and output take one picture; name one input file and one output file")
    elif os.path.exists(output) and not os.path.isdir(output) or Path(output).suffix.lower() in pictures.WRITABLE:
        raise UsageError(f"{output}: several inputs need a folder as the last argument")
    else:
        pairs = []
        for name in dict.fromkeys(inputs):
            for source, place in _pictures_of(Path(name), Path(output), recursive):
                own = source.suffix if source.suffix.lower() in pictures.WRITABLE else ".png"
                pairs.append((source, Path(output) / place.with_suffix(suffix or own)))
    if not pairs:
        raise UsageError(
            f"{', '.join(inputs)}: no pictures there" + ("" if recursive else "; --recursive looks deeper")
        )
    refuse_clashes(pairs)
    return pairs


def _pictures_of(path, output, recursive):
    """Pairs of a picture and its place below the output folder."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    output = output.resolve()
    for folder, folders, files in os.walk(path):
        folder = Path(folder)
        inner = [name for name in folders if not name.startswith(".") and (folder / name).resolve() != output]
        folders[:] = sorted(inner) if recursive else []
        for name in sorted(files):
            if Path(name).suffix.lower() in pictures.READABLE and not name.startswith("."):
                yield folder / name, (folder / name).relative_to(path)


def refuse_clashes(pairs):
    """Raise UsageError if a pair's target is an input or another's target."""
    inputs = {_identity(source): source for source, _ in pairs if source != "-" and os.path.exists(source)}
    targets = {}
    for source, target in pairs:
        if target == "-":
            continue
        if os.path.exists(target) and _identity(target) in inputs:
            raise UsageError(
                f"{source}: would be written over {inputs[_identity(target)]}, an input; choose another output"
            )
        other = targets.setdefault(os.path.normcase(os.path.realpath(target)), source)
        if other != source:
            raise UsageError(f"{other} and {source} would both be written to {target}; give them folders of their own")


def _identity(path):
    """The same for two names of one file."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def check_options(quality, compression):
    """Raise UsageError unless these can be options of `upscale_files`."""
    if not 1 <= quality <= 100:
        raise UsageError(f"quality: {quality} is not between 1 and 100")
    if not 0 <= compression <= 9:
        raise UsageError(f"compression: {compression} is not between 0 and 9")


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

"""Upscaling pictures and the frames of clips by an engine, in overlapping tiles."""

import logging
import numbers
import operator
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from srgan import pictures
from srgan.clips.cuts import is_cut
from srgan.errors import SRGANError, UsageError
from srgan.memory import require_addresses, require_memory
from srgan.models import absolute, denoise_ends, find_model
from srgan.pictures import Picture
from srgan.upscale.alpha import ALPHAS, hardened, hidden_colour, is_hard, seen_colour
from srgan.upscale.denoising import Slices, choose_denoise
from srgan.upscale.engines.blending import DENOISE
from srgan.upscale.engines.description import Tiling
from srgan.upscale.engines.loading import load_engine
from srgan.upscale.frame_windows import scenes, windows
from srgan.upscale.luma import from_luma, to_luma
from srgan.upscale.picture_planning import check_size, size_of_result
from srgan.upscale.pixel_values import are_numbers, as_array, as_pixels, levels_of, quantised
from srgan.upscale.tiles import TileSize, affordable_tile, margin, smallest_tile, split_tile, tiles, tiles_of_one_size

_log = logging.getLogger("srgan")


class Upscaler:
    """Upscales pictures and clips. One may be used by several threads at once.

    Args:
        model: the path of a `.keras` file or the name of a shipped model; None: the default of those.
        engine, precision, pixel_model, strength, activation, value_range, device, threads: see `srgan.upscale.engines.load_engine`. Pictures
            of 16 bits and of floats are always computed in float32, because bfloat16 has fewer levels.
        denoise: how much noise goes, in [0, 1], with models that have ends of less noise and more; 0.5 is the model itself.
            None or "auto": of each picture as its noise asks for, see `choose_denoise`; of clips 0.5.
        tile: the side of the largest piece that is computed at once, in input pixels; None: by the memory that is free.
        scale: how many times as wide and high the result is; None: as the model makes it. Another than the model's is
            reached by resizing its result (bicubic, antialiased).
        fit: width and height, in place of `scale`: the result is as large as fits into them, in the picture's proportions.
        alpha: "auto": alpha is transparency, and hidden colours never bleed into visible ones. "data": alpha is a plain
            fourth channel, and colours are upscaled regardless of it. Both resize alpha by bicubic interpolation.
            "network": like "auto", but the network upscales alpha. If alpha is only fully on or off, it stays so.
        wrap: the picture is a texture that repeats: beyond each edge lies the opposite one.
        palette: a picture of a palette becomes one of the same colours.
        overlap: how many input pixels a tile sees beyond its own; None: as many as the model needs.

    It can be pickled and copied: the model is loaded again where the copy arrives.

    Example:
        >>> upscaler = Upscaler("srresnet")
        >>> upscaler(np.zeros((30, 40, 3), np.uint8)).shape
        (120, 160, 3)
    """

    def __init__(
        self,
        model=None,
        *,
        engine="auto",
        precision="auto",
        tile=None,
        scale=None,
        fit=None,
        pixel_model=None,
        strength=1.0,
        denoise=None,
        alpha="auto",
        wrap=False,
        palette=False,
        overlap=None,
        activation=None,
        value_range=None,
        device=None,
        threads=None,
    ):
        model, pixel_model = absolute(model), absolute(pixel_model)
        denoise = None if denoise == "auto" else denoise
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        if overlap is not None and not (isinstance(overlap, numbers.Integral) and 0 <= overlap <= 256):
            raise UsageError(f"overlap: {overlap!r} is not a whole number of pixels from 0 to 256")
        if tile is not None and not isinstance(tile, numbers.Integral):
            raise UsageError(f"tile: {tile!r} is not a whole number of pixels")
        check_size(scale, fit)
        if alpha not in ALPHAS:
            raise UsageError(f"alpha: {alpha!r} is none of {', '.join(ALPHAS)}")
        self.alpha, self.wrap, self.palette = alpha, wrap, palette
        self.activation, self.value_range, self.denoise = activation, value_range, denoise
        require_addresses()
        self.engine = load_engine(
            model, engine=engine, precision=precision, pixel_model=pixel_model, strength=strength, denoise=denoise,
            activation=activation, value_range=value_range, device=device, threads=threads,
        )  # fmt: skip
        self.scale, self.fit = scale or self.engine.description.scale, fit
        self.overlap = self.engine.description.overlap if overlap is None else overlap
        if tile is not None and self.engine.description.fixed_height:
            raise UsageError("tile: this model takes one size only")
        most = (min(self.engine.description.fixed_height, self.engine.description.fixed_width) - 8) // 2
        if self.engine.description.fixed_height and self.overlap > most:
            if overlap is not None:
                raise UsageError(f"overlap: {overlap} leaves too little of this model's one size; {most} is the most")
            self.overlap = max(0, most)
        if tile is not None and tile < smallest_tile(self.overlap):
            raise UsageError(
                f"tile: {tile} is below {smallest_tile(self.overlap)} pixels, what tiles of this model need at least"
            )
        self.tile = tile
        self._chooses = denoise is None and denoise_ends(next(iter(self.engine.weights))) is not None
        self._by_denoise: dict[float, Upscaler] = {}
        self._exact_engine = None
        self._lock = threading.Lock()

    def __repr__(self):
        return f"<Upscaler {find_model(self._arguments['model']).stem}, x{self.scale:g}, {self.engine.name}>"

    def __getstate__(self):
        return self._arguments

    def __setstate__(self, arguments):
        self.__init__(**arguments)

    def __call__(self, picture, *, on_tile=lambda done, total: None):
        """Upscale one picture. A generator over time gets it as each of the frames that it looks at.

        Args:
            picture: a Pillow picture; or an array (h, w), (h, w, 1) gray, (h, w, 2) gray and alpha, (h, w, 3) RGB or
                (h, w, 4) RGB and alpha, of uint8, uint16, or floats in [0, 1]; or a `srgan.pictures.Picture`.
            on_tile: called before the first tile and after each with the number of tiles done and their total.

        Returns:
            The same kind of thing, upscaled. Floats are clipped to [0, 1].

        Raises:
            SRGANError: the network gave no numbers, or the result or even the smallest tile does not fit into memory.
            UsageError: it is no picture, of another type, or floats of another range.
        """
        if isinstance(picture, Picture):
            pixels = self._upscale_picture(picture.pixels, on_tile)
            if self.palette and picture.palette is not None:
                return replace(picture, pixels=pictures.nearest_in_palette(pixels, picture.palette))
            return replace(picture, pixels=pixels, palette=None)
        if isinstance(picture, Image.Image):
            return pictures.to_pillow(self(pictures.from_pillow(picture), on_tile=on_tile))
        if isinstance(picture, (str, bytes, os.PathLike)):
            raise UsageError("a picture is an array or a Pillow picture, not a file's name; open the file first")
        array = as_array(picture)
        result = self._upscale_picture(as_pixels(array), on_tile)
        return result.reshape(*result.shape[:2], *array.shape[2:]).astype(array.dtype, copy=False)

    def for_picture(self, pixels: np.ndarray | Slices) -> "Upscaler":
        """The Upscaler for a picture: this one, or where `denoise` is "auto", one of the value that `choose_denoise` gives."""
        value = choose_denoise(pixels, self.alpha != "data") if self._chooses else DENOISE
        if value == DENOISE:
            return self
        settings = self._arguments | {"denoise": value}
        if self.engine.name == "OpenVINO":
            settings["device"] = self.engine.device  # which is chosen once
        with self._lock:
            if value not in self._by_denoise:
                self._by_denoise[value] = Upscaler(**settings)
            return self._by_denoise[value]

    def clip(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
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

    def steps(
        self,
        frames: Iterable[np.ndarray],
        skip: int = 0,
        memory: np.ndarray | None = None,
        tile: TileSize | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Upscale a clip as `clip` does, for callers that stop and resume in the middle.

        Args:
            frames: see `clip`.
            skip: number of leading frames used only as context; they yield no result.
            memory: what was remembered with the frame before the first that is not skipped; None: nothing.
            tile: the clip's `TileSize`; None: one of the Upscaler's `tile`.

        Yields:
            Pairs of a frame upscaled and what is remembered with it, float32 (h, w, memory), None if nothing ever is.
        """
        description, tile = self.engine.description, tile or TileSize(self.tile)
        if description.memory:
            from srgan.clips.flow import move_memory  # which needs OpenCV
        last, previous = 0, None
        before: list[np.ndarray] = []
        numbered = scenes(frames, is_cut if description.over_time else lambda before, after: False)
        for index, (scene, window) in enumerate(windows(numbered, description.frames // 2)):
            if index >= skip:
                memory = memory if scene == last else None
                if memory is not None and window[0] is not previous:
                    memory = move_memory(memory, seen_colour(previous), seen_colour(window[0]))
                if description.memory or not before or any(map(operator.is_not, window, before)):
                    result, memory = self._upscale(window, memory, tile)
                    before = window
                yield result, memory
            last, previous = scene, window[0]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size of the result for a picture of that size."""
        return size_of_result(width, height, self.scale, self.fit)

    def window(self, pixels: np.ndarray) -> np.ndarray:
        """A part of a larger picture upscaled at once, by the model's own scale; both (height, width, 1 to 4)."""
        height, width = (side * self.engine.description.scale for side in pixels.shape[:2])
        tile = TileSize(max(pixels.shape[:2]))
        return self._upscale_whole([pixels], None, tile, lambda done, total: None, width, height)[0]

    def _upscale_picture(self, pixels, on_tile):
        frames = [pixels] * self.engine.description.frames
        return self.for_picture(pixels)._upscale(frames, on_tile=on_tile)[0]

    def _upscale(self, frames, memory=None, tile=None, on_tile=lambda done, total: None):
        """The middle one of so many frames as the engine takes upscaled, and what is remembered with it, else None."""
        tile = tile or TileSize(self.tile)
        height, width = frames[0].shape[:2]
        new_width, new_height = self.size(width, height)
        what = f"a result of {new_width} x {new_height} pixels"
        value = frames[0].itemsize * frames[0].shape[2]
        result = max(new_width * new_height, width * height * self.engine.description.scale**2) * value
        beside = smallest_tile(self.overlap) ** 2 * self.engine.bytes_per_pixel
        require_memory(result + min(beside, result), what)
        try:
            return self._upscale_wrapped(frames, memory, tile, on_tile, new_width, new_height)
        except MemoryError as error:  # of the result; that of a tile is handled in _upscale_tiles
            raise SRGANError(f"not enough memory for {what}") from error

    def _upscale_wrapped(self, frames, memory, tile, on_tile, new_width, new_height):
        height, width = frames[0].shape[:2]
        if not self.wrap:
            return self._upscale_whole(frames, memory, tile, on_tile, new_width, new_height)
        least = self.overlap + 6
        (x, new_x), (y, new_y) = margin(width, new_width, least), margin(height, new_height, least)
        frames = [np.pad(frame, [(y, y), (x, x), (0, 0)], "wrap") for frame in frames]
        memory = None if memory is None else np.pad(memory, [(y, y), (x, x), (0, 0)], "wrap")
        size = new_width + 2 * new_x, new_height + 2 * new_y
        result, memory = self._upscale_whole(frames, memory, tile, on_tile, *size)
        memory = None if memory is None else memory[y : y + height, x : x + width]
        return np.ascontiguousarray(result[new_y : new_y + new_height, new_x : new_x + new_width]), memory

    def _upscale_whole(self, frames, memory, tile, on_tile, new_width, new_height):
        channels = frames[0].shape[2]
        if channels in (1, 3):
            colour, memory = self._upscale_colour(frames, memory, tile, on_tile)
            return _resized(colour, new_width, new_height), memory
        colours, alpha = [frame[..., :-1] for frame in frames], frames[len(frames) // 2][..., -1:]
        seen = colours if self.alpha == "data" else list(map(seen_colour, frames))
        colour, remembered = self._upscale_colour(seen, memory, tile, on_tile)
        result = np.empty((new_height, new_width, channels), colour.dtype)
        result[..., :-1] = _resized(colour, new_width, new_height)
        if self.alpha == "network":
            large, _ = self._upscale_colour([frame[..., -1:] for frame in frames], None, tile)
        result[..., -1:] = _resized(large if self.alpha == "network" else alpha, new_width, new_height)
        if is_hard(alpha):
            result[..., -1] = hardened(result[..., -1])
        hidden = result[..., -1:] == 0
        if self.alpha != "data" and hidden.any():
            behind = hidden_colour(colours[len(colours) // 2], alpha)
            if behind is None:
                behind = _resized(self._upscale_colour(colours, memory, tile)[0], new_width, new_height)
            result[..., :-1] = np.where(hidden, behind, result[..., :-1])
        return result, remembered

    def _upscale_colour(self, frames, memory, tile, on_tile=lambda done, total: None):
        description, (height, width, _) = self.engine.description, frames[0].shape
        beyond = [
            (0, max(fixed - side, -side % description.multiple))
            for fixed, side in ((description.fixed_height, height), (description.fixed_width, width))
        ]
        if any(map(any, beyond)):
            beyond.append((0, 0))
            frames = [np.pad(frame, beyond, "reflect") for frame in frames]
        scale = description.scale
        if description.channels == 1 and frames[0].shape[2] == 3:
            result, memory = self._upscale_luma(frames[0], tile, on_tile), None
        else:
            result, memory = self._upscale_tiles(frames, memory, tile, on_tile)
        return np.ascontiguousarray(result[: height * scale, : width * scale]), memory

    def _upscale_luma(self, frame, tile, on_tile):
        """Luma by a network that takes nothing else, and the colour differences by bicubic interpolation."""
        y, *differences = to_luma(frame.astype(np.float32) / np.float32(levels_of(frame.dtype)))
        y, _ = self._upscale_tiles([y], None, tile, on_tile)
        differences = [pictures.resize(values, y.shape[1], y.shape[0]) for values in differences]
        return quantised(from_luma(y, *differences), frame.dtype)

    def _upscale_tiles(self, frames, memory, tile, on_tile):
        dtype, (height, width, channels) = frames[0].dtype, frames[0].shape
        engine = self.engine if dtype == np.uint8 else self._float32_engine()
        scale, levels = engine.description.scale, levels_of(dtype)
        result = np.empty((height * scale, width * scale, channels), dtype)
        remembered = None
        if engine.description.memory:
            remembered = np.empty((height, width, engine.description.memory), np.float32)
            memory = np.zeros_like(remembered) if memory is None else memory
        whole = engine.description.tiling is Tiling.WHOLE
        fixed = engine.description.fixed_height, engine.description.fixed_width
        limit = min(fixed) or tile.side or affordable_tile(engine, whole, self.overlap, result.nbytes)
        # In one piece while it fits: on the generator with instance normalisation of docs/variants.md and 20 pictures of
        # COCO, tiles of 64 and 96 pixels were up to 160 levels off the whole, in steps from tile to tile, and fixed
        # statistics of 40 training pictures 0.34 dB worse than each picture's own.
        if whole and not tile.side and height * width <= limit**2:
            limit = max(height, width)
        cut = {"overlap": self.overlap, "multiple": engine.description.multiple}
        if any(fixed):
            todo = tiles_of_one_size(width, height, *fixed[::-1], self.overlap)[::-1]
        else:
            todo = tiles(width, height, limit, **cut)[::-1]
        total = len(todo)
        if total > 1 and whole:
            _log.warning(
                "this model looks at the whole picture at once, so that its %d tiles may differ in tone", total
            )
        on_tile(0, total)
        while todo:
            window, core = todo.pop()
            shape = window.height, window.width, engine.description.channels
            lr = np.stack([np.broadcast_to(frame[window.slices()], shape) for frame in frames])
            lr = lr.astype(np.float32) / np.float32(levels)
            inputs = [lr if len(frames) == 1 else lr[None]]
            if remembered is not None:
                inputs.append(memory[window.slices()][None])
            try:
                sr, after = self._compute(engine, *inputs)
            except MemoryError as error:
                limit = max(window.width, window.height) // 2
                if limit < smallest_tile(self.overlap) or any(fixed):
                    raise SRGANError("not enough memory, even for the smallest tile") from error
                _log.warning("out of memory: going on with tiles of %d pixels", limit)
                tile.shrink(limit)
                todo = [part for boxes in [*todo, (window, core)] for part in split_tile(*boxes, limit, **cut)]
                total += len(todo) - 1
                continue
            inner = sr[core.within(window).times(scale).slices()]
            inner = inner if channels == inner.shape[-1] else inner.mean(-1, keepdims=True)
            result[core.times(scale).slices()] = quantised(inner, dtype)
            if remembered is not None:
                remembered[core.slices()] = after[core.within(window).slices()]
            on_tile(total - len(todo), total)
        return result, remembered

    def _compute(self, engine, *inputs):
        """What the engine makes of one tile: the picture, and what it remembers, else None."""
        results = engine(*inputs)
        if not are_numbers(results) and engine.precision != "float32":
            _log.warning("%s gave values that are no numbers: computing again in float32", engine.precision)
            results = self._float32_engine()(*inputs)
        if not are_numbers(results):
            raise SRGANError("the network produced NaN or infinity: the model file is probably damaged")
        sr, after = results if isinstance(results, tuple) else (results, [None])
        return sr[0], after[0]

    def _float32_engine(self):
        """The engine in float32."""
        with self._lock:
            if self._exact_engine is None:
                self._exact_engine = self.engine.with_precision("float32")
            return self._exact_engine


def _resized(pixels, width, height):
    """Bicubic to a size; floats are clipped to [0, 1] again."""
    pixels = pictures.resize(pixels, width, height)
    return np.clip(pixels, 0.0, 1.0) if pixels.dtype.kind == "f" else pixels

"""A folder of numbered pictures as a clip."""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from srgan import pictures
from srgan.clips.colour import PICTURE_COLOUR
from srgan.clips.frame import Frame, Notice, repeat_for_damaged, unheard
from srgan.clips.hdr import HDR
from srgan.errors import SRGANError

_NUMBERED = re.compile(r"(.*?)(-?)(\d+)(\D*)")


class FrameFolder:
    """A clip whose frames are the pictures of a folder, in the order of their names, numbers by their value.

    The arguments are those of `srgan.clips.reading.open_clip`.

    Raises:
        SRGANError: there are no frames in that time, or none can be read.
    """

    begin = Fraction(0)
    aspect = Fraction(1)
    colour = PICTURE_COLOUR
    subsampling = "420"
    hdr = HDR()

    def __init__(self, path, rate, start=None, end=None, notice: Notice = unheard, in_srgb: bool = True):
        self.path, self._in_srgb = Path(path), in_srgb
        self.rate = Fraction(rate).limit_denominator(1001)
        self.time_base = 1 / self.rate
        files = frame_files(self.path)
        first, last = round((start or 0) * self.rate), None if end is None else round(end * self.rate)
        self.files = files[first:last]
        if not self.files:
            raise SRGANError(f"{path}: no frames there" + (" in that time" if files else ""))
        self.count = len(self.files)
        for line in _check_numbers(self.files):
            notice(f"{path}: {line}")
        first = next((picture for picture in map(_read, self.files) if picture is not None), None)
        if first is None:
            raise SRGANError(f"{path}: none of its pictures can be read")
        if in_srgb and first.icc:
            notice(f"{path}: its colours are converted to sRGB")
        self.height, self.width, channels = first.pixels.shape
        self.deep, self.alpha = first.pixels.dtype == np.uint16, channels in (2, 4)
        self.has_transparency = self.alpha

    def frames(self) -> Iterator[Frame]:
        """Yield every `Frame`.

        Raises:
            SRGANError: a picture has another size than the first.
        """
        return repeat_for_damaged(Frame(pts, 1, self._checked(file)) for pts, file in enumerate(self.files))

    def pixels(self, frame: Frame) -> np.ndarray:
        """A frame's picture as an upright array (height, width, 3 or 4) of uint8 or uint16."""
        picture = frame.picture.pixels
        if picture.shape[2] < 3:
            picture = np.repeat(picture, [3] + [1] * (picture.shape[2] - 1), axis=2)
        if picture.shape[2] == 4 and not self.alpha:
            picture = pictures.on_white(picture)
        if picture.dtype == np.uint8 and self.deep:
            picture = picture.astype(np.uint16) * 257
        elif picture.dtype == np.uint16 and not self.deep:
            picture = pictures.to_8_bits(picture)
        if self.alpha and picture.shape[2] == 3:
            opaque = np.full((*picture.shape[:2], 1), np.iinfo(picture.dtype).max, picture.dtype)
            picture = np.concatenate([picture, opaque], axis=2)
        return picture

    def _checked(self, file):
        """The picture, or None where it cannot be read."""
        picture = _read(file)
        if picture is None:
            return None
        pixels = picture.pixels
        if pixels.shape[:2] != (self.height, self.width):
            raise SRGANError(
                f"{file}: is {pixels.shape[1]} x {pixels.shape[0]}, and the first frame {self.width} x {self.height}"
            )
        return pictures.in_srgb(picture) if self._in_srgb else picture


def _read(file):
    try:
        return pictures.read_picture(file)
    except SRGANError:
        return None


def frame_files(folder: Path) -> list[Path]:
    """The pictures in a folder that are frames, in order. A GIF is none: an earlier run may have made it of the others."""
    names = (name for name in folder.iterdir() if name.suffix.lower() in pictures.READABLE - {".gif"})
    files = [name for name in names if not name.name.startswith(".")]
    signed = _signed(files)
    return sorted(files, key=lambda file: _by_number(file, signed))


def _by_number(path, signed):
    """A sort key: texts and numbers by turns."""
    numbered = _numbered(path, signed)
    head = numbered[0] if numbered else path.name
    parts = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", head)]
    return [*parts, numbered[1], numbered[2] + path.suffix] if numbered else parts


def _signed(files):
    """What is before the numbers where a minus is their sign, as of frame_-1.png beside frame_0.png; else it is a hyphen."""
    found = [match for file in files if (match := _NUMBERED.fullmatch(file.stem))]
    without = {head for head, minus, _, _ in (match.groups() for match in found) if not minus}
    return {match[1] for match in found if match[2] and not match[1][-1:].isalnum()} & without


def _numbered(file, signed):
    """What is before the last number in a name, the number, and what is behind; None if there is none."""
    if not (match := _NUMBERED.fullmatch(file.stem)):
        return None
    head, minus, digits, tail = match.groups()
    return (head, -int(digits), tail) if minus and head in signed else (head + minus, int(digits), tail)


def _check_numbers(files):
    """What is said of the numbers of frames, by the last number in each name, as lines.

    Numbers are missing where most are there, or follow the one before, among the names that are alike but for it.
    """
    groups: dict[tuple, list[int]] = {}
    signed = _signed(files)
    for head, number, tail in filter(None, (_numbered(file, signed) for file in files)):
        groups.setdefault((head, tail), []).append(number)
    missing, twice = [], []
    for found in groups.values():
        if 4 * len(found) < len(files):
            continue  # no sequence, but times of day, say
        numbers = sorted(set(found))
        twice += [number for number, times in Counter(found).items() if times > 1]
        count = numbers[-1] - numbers[0] + 1 - len(numbers)
        following = sum(after == before + 1 for before, after in pairwise(numbers))
        if count and (count < len(numbers) or 2 * following >= len(numbers) - 1):
            first = next(before + 1 for before, after in pairwise(numbers) if after > before + 1)
            missing.append((count, first))
    if missing:
        yield (
            f"{sum(count for count, _ in missing)} numbers are missing between its frames, the first is {missing[0][1]}: "
            "what comes after them follows without a gap, and is early"
        )
    if twice:
        yield f"{len(twice)} numbers are there more than once, the first is {twice[0]}: all of these pictures are shown"

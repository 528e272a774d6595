"""Which inputs of a command are clips, and what each becomes: decided by the names alone."""

import os
import re
from pathlib import Path

from srgan import pictures
from srgan.clips.formats import CONTAINERS, READABLE, WRITABLE
from srgan.errors import UsageError


def split_inputs(
    inputs: list[str], output: str, *, start: float | None = None, end: float | None = None, rate: float | None = None
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Divide the inputs of a command into clips and pictures.

    - A video file becomes a video: OUTPUT is a name in `WRITABLE`, or a folder that gets a file of the same name.
    - OUTPUT with a number in its name, such as out/%05d.png, gets the frames of one clip as pictures.
    - If OUTPUT is a video file or a numbered name, an input folder is read as the frames of one clip in numeric order, and a
      GIF is read as a clip. Otherwise a GIF is a still picture.

    Args:
        start, end, rate: seconds that bound the clips, and frames a second, to be checked where there are clips.

    Returns:
        Pairs (source, target) of clips, and the inputs that are none of them.

    Raises:
        UsageError: a clip cannot be made of that, or cannot become that; or end <= start, or the rate is not in
            [0.01, 1000].
    """
    clips, rest = _split(inputs, output)
    if clips and start is not None and end is not None and end <= start:
        raise UsageError(f"end: {end:g} s is not after the start, {start:g} s")
    if clips and rate is not None and not 0.01 <= rate <= 1000:
        raise UsageError(f"fps: {rate:g} is not between 0.01 and 1000")
    return clips, rest


def first_file(target: Path) -> Path:
    """The first file that a clip's target stands for."""
    return target.with_name(target.name % 1) if _is_numbered(target) else target


def _split(inputs, output):
    target = Path(output)
    suffix = target.suffix.lower()
    source = Path(inputs[0])
    for name in map(Path, inputs):
        if _has_number(name) and not name.exists():
            raise UsageError(f"{name}: no such file; of numbered frames name the folder, {name.parent}{os.sep}")
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
            f"{clips[0]}: is a clip and cannot be written to {output}; give a video file, or out/%05d.png for its frames"
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

"""Which output file is made from which input."""

import numbers
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from srgan import pictures
from srgan.errors import SRGANError, UsageError
from srgan.files import kinds


@dataclass
class LeftOut:
    """What is in input folders and is not taken: files that are no pictures, counted by their suffixes in lower case, and
    the folders in them, where those are not to be taken, too.
    """

    files: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)

    @property
    def why_nothing(self) -> str:
        """What a message adds that there are no pictures."""
        return (f" ({kinds(self.files)})" if self.files else "") + "; --recursive looks deeper" * bool(self.folders)


def plan(
    inputs: list[str],
    output: str,
    *,
    recursive: bool = False,
    suffix: str | None = None,
    on_problem: Callable[[str], None] | None = None,
    left_out: LeftOut | None = None,
) -> list[tuple]:
    """The pairs (source, target) of a command: paths, or "-" for standard input and output.

    Several may have one target: see `separate`.

    Args:
        inputs: files, folders of pictures, or "-".
        output: a file for one input file, a folder for more; a folder's structure is kept.
        recursive: also take what is in the folders of an input folder.
        suffix: of files written into a folder; None: the input's own, or .png where that is not written.
        on_problem: called with a line on each folder that cannot be read; None: an error ends it.
        left_out: gets what is in folders and is not taken.

    Raises:
        UsageError: the output is no place for these inputs, or no picture was found.
    """
    is_folders_name = output.endswith(("/", os.sep))
    into_folder = len(inputs) > 1 or is_folders_name or any(map(os.path.isdir, [*inputs, output]))
    left_out = left_out or LeftOut()
    check_suffix(suffix)
    if not into_folder:
        if output != "-":
            try:
                pictures.output_format(Path(output).suffix, 1, 1)
            except SRGANError as error:
                raise UsageError(f"{output}: {error}") from None
        if suffix and output != "-" and Path(output).suffix.lower() != suffix:
            raise UsageError(f"{output}: does not end in {suffix}, as --format says")
        pairs: list[tuple] = [(inputs[0], output)]
    elif "-" in inputs or output == "-":
        raise UsageError("-: standard input and output take one picture; name one input file and one output file")
    elif not os.path.isdir(output) and (
        os.path.exists(output) or Path(output).suffix.lower() in pictures.WRITABLE and not is_folders_name
    ):
        raise UsageError(f"{output}: several inputs need a folder as the last argument")
    else:
        pairs, problems = [], []

        def report(error):
            if on_problem is None:
                raise SRGANError(f"{error.filename}: {error.strerror}") from error
            problems.append(error)
            on_problem(f"{error.filename}: {error.strerror}; what is in it is left out")

        for name in dict.fromkeys(inputs):
            for source, place in pictures_of(Path(name), Path(output), recursive, report, left_out):
                pairs.append((source, Path(output) / renamed(place, suffix)))
        if problems and not pairs:
            return []
    if not pairs:
        raise UsageError(f"{', '.join(inputs)}: no pictures there{left_out.why_nothing}")
    return pairs


def check_suffix(suffix: str | None) -> None:
    """Raise UsageError if files with that suffix are not written."""
    if suffix and suffix not in pictures.WRITABLE:
        raise UsageError(f"format: {suffix[1:]!r} is none of {', '.join(key[1:] for key in pictures.WRITABLE)}")


def renamed(place: PurePath, suffix: str | None) -> PurePath:
    """The name of an output: with `suffix`; None: with the input's own, or .png where that is not written."""
    own = place.suffix if place.suffix.lower() in pictures.WRITABLE else ".png"
    return place.with_suffix(suffix or own)


def pictures_of(
    path: Path, output: Path, recursive: bool, on_error: Callable[[OSError], None], left_out: LeftOut
) -> Iterator[tuple[Path, Path]]:
    """Pairs of a picture and its place below the output folder, one folder after another, each when it is asked for.

    Args:
        on_error: called with the error of each folder that cannot be read.
        left_out: gets what is there and is not taken.
    """
    if not path.is_dir():
        yield path, Path(path.name)
        return
    output = output.resolve()
    for name, folders, files in os.walk(path, onerror=on_error):
        folder = Path(name)
        inner = [name for name in folders if not name.startswith(".") and (folder / name).resolve() != output]
        folders[:] = sorted(inner) if recursive else []
        left_out.folders += [] if recursive else [str(folder / name) for name in sorted(inner)]
        known = {part for name in files if _is_picture(name) for part in (name, Path(name).stem)}
        for name in sorted(files):
            if name.startswith(".") or not _is_file(folder / name):
                continue
            if _is_picture(name):
                yield folder / name, (folder / name).relative_to(path)
            elif not (name.lower().endswith(".xmp") and Path(name).stem in known):  # see `sidecars`
                left_out.files[Path(name).suffix.lower()] += 1


def _is_picture(name):
    return Path(name).suffix.lower() in pictures.READABLE


def sidecars(source: Path) -> list[Path]:
    """The XMP files beside a picture that raw converters and catalogues keep: photo.xmp and photo.jpg.xmp."""
    names = ((source.with_suffix(suffix), source.with_name(source.name + suffix)) for suffix in (".xmp", ".XMP"))
    found = {str(path).lower(): path for pair in names for path in pair if os.path.isfile(path)}
    return list(found.values())


def _is_file(path):
    """Whether it is a regular file. Reading a pipe, socket or device might never end. Broken links are reported."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def separate(pairs: list[tuple]) -> tuple[list[tuple], list[str]]:
    """If inputs share an output name, keep the input's extension in it: a.gif becomes a.gif.png beside a.png.

    Returns:
        The pairs that are left, and a line for each input whose output another input has already.

    Raises:
        UsageError: an output is an input.
    """
    inputs = {_identity(source): source for source, _ in pairs if source != "-" and os.path.exists(source)}
    named = _apart(pairs, _place)
    for source, target in named:
        if target != "-" and os.path.exists(target) and _identity(target) in inputs:
            raise UsageError(
                f"{source}: would be written over {inputs[_identity(target)]}, an input; choose another output"
            )
    return _without_clashes(named, _place)


def separate_in_folder(pairs: list[tuple]) -> tuple[list[tuple], list[str]]:
    """`separate` for pairs whose inputs are in one folder and whose outputs are in another. No file is looked at."""
    return _without_clashes(_apart(pairs, str), str)


def _apart(pairs, place):
    """The pairs, with the input's extension in names that inputs would share."""
    shared = Counter(place(target) for _, target in pairs)
    named = []
    for source, target in pairs:
        suffix = os.path.splitext(target)[1]
        if shared[place(target)] > 1 and os.path.splitext(source)[1].lower() != suffix.lower():
            target = type(target)(str(target)[: -len(os.path.basename(target))] + os.path.basename(source) + suffix)
        named.append((source, target))
    return named


def _without_clashes(named, place):
    """The pairs whose output no other has, and a line for each of the rest."""
    shared = Counter(place(target) for _, target in named)
    left = [pair for pair in named if shared[place(pair[1])] == 1]
    clashing = [pair for pair in named if shared[place(pair[1])] > 1]
    return left, [
        f"{source}: would be written to {target}, and another input, too; give them folders of their own"
        for source, target in clashing
    ]


def _place(target):
    return target if target == "-" else os.path.normcase(os.path.realpath(target))


def _identity(path):
    """The same for two names of one file."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def size_of_result(width: int, height: int, scale: float | None, fit: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of a result that is `scale` times as large, or as large as fits into `fit`."""
    factor = min(fit[0] / width, fit[1] / height) if fit else scale or 1
    return max(1, round(width * factor)), max(1, round(height * factor))


def check_size(scale: float | None, fit: tuple[int, int] | None) -> None:
    """Raise UsageError unless these say how large a result is."""
    if scale is not None and not (isinstance(scale, numbers.Real) and 0 < scale <= 32):
        raise UsageError(f"scale: {scale!r} is not a number above 0 and at most 32")
    if fit is not None:
        if scale is not None:
            raise UsageError("fit: is in place of a scale; give one of them")
        if np.shape(fit) != (2,) or not all(isinstance(side, numbers.Integral) and side > 0 for side in fit):
            raise UsageError(f"fit: {fit!r} is not a width and a height in pixels")


def check_options(quality: int, compression: int) -> None:
    """Raise UsageError unless these can be options of `upscale_files`."""
    if not 1 <= quality <= 100:
        raise UsageError(f"quality: {quality} is not between 1 and 100")
    if not 0 <= compression <= 9:
        raise UsageError(f"compression: {compression} is not between 0 and 9")

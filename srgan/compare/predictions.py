"""Pictures that another program made of the same originals."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from srgan.compare.versions import find_pictures, named_path
from srgan.errors import SRGANError, UsageError
from srgan.pictures import read_rgb


def find_predictions(texts: Iterable[str]) -> dict[str, Path]:
    """The folders given as [NAME=]FOLDER by name.

    Raises:
        UsageError: one is not there, or two have one name.
    """
    pairs = [(name, Path(path)) for name, path in map(named_path, texts)]
    if len(dict(pairs)) < len(pairs):
        raise UsageError("--prediction-dir: two folders have one name; name them NAME=PATH")
    if missing := [str(folder) for _, folder in pairs if not folder.is_dir()]:
        raise UsageError(f"{missing[0]}: no such folder of predictions")
    return dict(pairs)


def read_prediction(folder: Path, path: Path, original: np.ndarray, scale: int) -> np.ndarray:
    """The picture in `folder` that was made for `path`, cut to the size of `original`.

    Raises:
        SRGANError: there is none, or more than one, or it has another size.
    """
    found = [file for file in find_pictures([folder]) if file.stem == path.stem]
    if not found:
        longer = [file for file in find_pictures([folder]) if file.stem.startswith(path.stem)]
        found = [file for file in longer if not file.stem[len(path.stem)].isdigit()]
    if len(found) != 1:
        what = f"{len(found)} pictures begin so" if found else "no such picture"
        raise SRGANError(f"{folder / path.stem}: {what}, exactly one prediction is needed")
    pixels, (height, width) = read_rgb(found[0]), original.shape[:2]
    if not (0 <= pixels.shape[0] - height < scale and 0 <= pixels.shape[1] - width < scale):
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise SRGANError(f"{found[0]}: has {size} pixels, the original {width}x{height}")
    return pixels[:height, :width]

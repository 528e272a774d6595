"""Pictures that another program made of the same originals."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgan.compare.damage import Damage
from srgan.compare.inputs import named, pictures_in
from srgan.errors import SRGANError, UsageError
from srgan.pictures import read_rgb


@dataclass(frozen=True)
class Prediction:
    """A folder of pictures made by another program, or one such picture, and what it is called."""

    label: str
    path: Path


def find_predictions(texts: Iterable[str], pictures: int = 0, damage: Damage | None = None) -> list[Prediction]:
    """The folders and files given as [NAME=]PATH.

    Args:
        texts: any number of them.
        pictures: how many pictures are compared, of which a file can be of one only.
        damage: what is done to the low resolutions: nothing.

    Raises:
        UsageError: one is not there, two have one name, or they do not go with the rest.
    """
    found = []
    for name, path in ((name, Path(path)) for name, path in map(named, texts)):
        if not path.exists():
            raise UsageError(f"{path}: no such folder of predictions, nor a file")
        if path.is_file() and pictures > 1:
            raise UsageError(f"{path}: is one picture, and {pictures} are compared; pass a folder of predictions")
        found.append(Prediction(name or (path.stem if path.is_file() else path.resolve().name), path))
    labels = [prediction.label for prediction in found]
    if len(set(labels)) < len(labels):
        raise UsageError("--prediction-dir: two folders have one name; name them NAME=PATH")
    if found and damage:
        option = next(name for name in ("blur", "noise", "jpeg") if getattr(damage, name))
        raise UsageError(
            f"--{option}: --prediction-dir holds what was made of other low resolutions; leave one of them out"
        )
    return found


def refuse_taken(predictions: Iterable[Prediction], labels: Iterable[str]) -> None:
    """See that no prediction has the label of a method.

    Raises:
        UsageError: one has.
    """
    if taken := {prediction.label for prediction in predictions} & set(labels):
        raise UsageError(f"--prediction-dir: {min(taken)} is taken; name the folder NAME=PATH")


def read_prediction(place: Path, path: Path, size: tuple[int, int], scale: int) -> np.ndarray:
    """The picture at `place`, a file or a folder, that was made for `path`: uint8 (height, width, 3).

    In a folder it is the one of the same name, or of that name with something behind that is no number.

    Args:
        place: of the prediction.
        path: of the original.
        size: height and width that are wanted; up to `scale` - 1 pixels more are cut off.
        scale: of the prediction.

    Raises:
        SRGANError: there is none, or more than one, or it has another size.
    """
    file = place if place.is_file() else _find(place, path.stem)
    pixels, (height, width) = read_rgb(file), size
    if not (0 <= pixels.shape[0] - height < scale and 0 <= pixels.shape[1] - width < scale):
        raise SRGANError(f"{file}: has {pixels.shape[1]}x{pixels.shape[0]} pixels, {width}x{height} are expected")
    return pixels[:height, :width]


def _find(folder, stem):
    pictures = pictures_in(folder)
    found = [file for file in pictures if file.stem == stem]
    if not found:
        longer = [file for file in pictures if file.stem.startswith(stem)]
        found = [file for file in longer if not file.stem[len(stem)].isdigit()]
    if len(found) != 1:
        what = f"{len(found)} pictures begin so" if found else "no such picture"
        raise SRGANError(f"{folder / stem}: {what}, exactly one prediction is needed")
    return found[0]

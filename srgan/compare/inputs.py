"""Finding the pictures that are compared."""

from collections.abc import Iterable
from pathlib import Path

from srgan.errors import UsageError
from srgan.files import did_you_mean
from srgan.pictures import READABLE


def find_pictures(paths: Iterable[str | Path], recursive: bool = False) -> list[Path]:
    """The files of `paths`, in order and without duplicates; of a folder the pictures in it, by their suffixes, sorted.

    Of a test set, a folder that has a folder HR, these are the pictures in HR.

    Args:
        paths: files and folders.
        recursive: take the folders in a folder, too, but for hidden ones.

    Raises:
        UsageError: a path does not exist, or no picture is found.
    """
    found: list[Path] = []
    given = list(map(Path, paths))
    for path in given:
        if path.is_dir():
            found += _pictures_in(path / "HR" if (path / "HR").is_dir() else path, recursive)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path}: no such picture or folder{did_you_mean(path)}")
    if not found:
        where = ", ".join(map(str, given))
        below = any(path.is_dir() and any(each.is_dir() for each in path.iterdir()) for path in given)
        hint = "; --recursive takes the folders in it" if below and not recursive else ""
        raise UsageError(f"{where}: no pictures there{hint}")
    return list(dict.fromkeys(found))


def _pictures_in(folder, recursive):
    inside = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        file
        for file in inside
        if file.suffix.lower() in READABLE
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def named(text: str) -> tuple[str | None, str]:
    """NAME=PATH as a pair, without a name (None, PATH). What exists as a whole is a path."""
    name, separator, path = text.partition("=")
    return (name, path) if separator and name and not Path(text).exists() else (None, text)


def named_path(text: str) -> tuple[str, str]:
    """NAME=PATH as a pair; a PATH alone is named by its last part."""
    name, path = named(text)
    return name or Path(path).resolve().name, path


def find_set(text: str, recursive: bool = False) -> tuple[str, list[Path]]:
    """The name and the pictures of a test set, given as NAME=FOLDER or FOLDER; see `find_pictures`.

    Raises:
        UsageError: there is no such folder, or no picture in it.
    """
    name, path = named_path(text)
    return name, find_pictures([path], recursive)

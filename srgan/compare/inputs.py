"""Finding the pictures that are compared."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from srgan.errors import UsageError
from srgan.files import did_you_mean, left_out_lines
from srgan.pictures import READABLE

_log = logging.getLogger("srgan")


def find_pictures(paths: Iterable[str | Path], recursive: bool = False) -> list[Path]:
    """The files of `paths`, in order and without duplicates; of a folder the pictures in it, by their suffixes, sorted.

    Of a test set, a folder that has a folder HR, these are the pictures in HR. Files of other kinds and folders that are
    not looked into are counted in a warning.

    Args:
        paths: files and folders.
        recursive: take the folders in a folder, too, but for hidden ones.

    Raises:
        UsageError: a path does not exist, or no picture is found.
    """
    found: list[Path] = []
    given = list(map(Path, paths))
    others: Counter[str] = Counter()
    folders: list[Path] = []
    for path in given:
        if path.is_dir():
            found += pictures_in(path, recursive, others, folders)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path}: no such picture or folder{did_you_mean(path)}")
    if not found:
        hint = "; --recursive takes the folders in it" if folders else ""
        raise UsageError(f"{', '.join(map(str, given))}: no pictures there{hint}")
    for line in left_out_lines(others, folders, "--recursive includes subfolders"):
        _log.warning("%s", line)
    return list(dict.fromkeys(found))


def pictures_in(
    folder: Path, recursive: bool = False, others: Counter[str] | None = None, folders: list[Path] | None = None
) -> list[Path]:
    """The pictures in a folder, or in a folder HR in it, sorted.

    Args:
        recursive: take the folders in a folder, too, but for hidden ones.
        others, folders: get what is not taken: files of other kinds, counted by suffix, and folders.
    """
    found = []
    others, folders = Counter() if others is None else others, [] if folders is None else folders
    folder = folder / "HR" if (folder / "HR").is_dir() else folder
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.is_dir():
            folders += [] if recursive else [path]
        elif path.suffix.lower() not in READABLE:
            others[path.suffix.lower()] += 1
        elif path.is_file():
            found.append(path)
    return found


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

"""Files that are whole or absent."""

import contextlib
import difflib
import itertools
import os
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from srgan.errors import SRGANError
from srgan.interrupts import cleaned_up


def did_you_mean(path: str | os.PathLike, names: Iterable[str] = ()) -> str:
    """ "; did you mean NAME?" for a path that is not there, where one of `names` or what lies beside it is like it, else ""."""
    path = Path(path)
    beside = []
    with contextlib.suppress(OSError):
        beside = [name for name in os.listdir(path.parent) if not name.startswith(".") and name != path.name]
    if close := difflib.get_close_matches(path.name, names, 1):
        return f"; did you mean {close[0]}?"
    close = difflib.get_close_matches(path.name, beside, 1, 0.7)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""


def kinds(suffixes: Counter[str]) -> str:
    """Counted suffixes in words: 2 mov, 1 cr2."""
    return ", ".join(f"{count} {suffix[1:] or 'without a suffix'}" for suffix, count in suffixes.most_common())


def left_out_lines(suffixes: Counter[str], folders: Sequence[str | os.PathLike], remedy: str) -> Iterator[str]:
    """What is said of files of other kinds, counted by their suffixes, and of folders in a folder that are left out.

    Args:
        remedy: what the second line ends with: how to take the folders, too.
    """
    if count := suffixes.total():
        yield f"{count} file{'s' * (count > 1)} of other kinds left out ({kinds(suffixes)})"
    if count := len(folders):
        what = f"{count} folders, the first {folders[0]}, are" if count > 1 else f"the folder {folders[0]} is"
        yield f"{what} not looked into; {remedy}"


def copy_time(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Give `target` the time at which `source` was last modified."""
    with contextlib.suppress(OSError):  # of a file that has gone meanwhile
        facts = os.stat(source)
        os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def copy_file(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy the content of a file; `target` is whole or as it was."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def set_aside(path: str | os.PathLike) -> Path:
    """Rename a damaged file to NAME-damaged, with a number where that is taken, and return its new path."""
    path = Path(path)
    names = itertools.chain(["damaged"], (f"damaged-{number}" for number in itertools.count(2)))
    paths = (path.with_stem(f"{path.stem}-{name}") for name in names)
    return path.rename(next(free for free in paths if not free.exists()))


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it onto `path` if the block ends well, else remove it.

    The temporary name keeps the suffix, because many writers choose their format by it. A reader of `path` sees the old
    file or the whole new one, also after a kill.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}.part{path.suffix}")
    with cleaned_up(lambda: _remove(temporary)):
        try:
            yield temporary
            with open(temporary, "r+b") as file:  # Windows synchronises no file that is open for reading only
                os.fsync(file.fileno())
            try:
                os.replace(temporary, path)
            except OSError as error:  # which names the temporary file
                raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def wrap_os_errors(path: str | os.PathLike) -> Iterator[None]:
    """Raise an OSError in the block as an SRGANError: `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise SRGANError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a file of text, in UTF-8 and with its line ends as they are; names of files may have anything in them.

    Raises:
        SRGANError: it cannot be written.
    """
    with wrap_os_errors(path), atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


@contextlib.contextmanager
def temporary_folder(**options) -> Iterator[Path]:
    """Yield a folder that is removed at the block's end. `options`: those of `tempfile.mkdtemp`."""
    folder = Path(tempfile.mkdtemp(**options))
    with cleaned_up(lambda: shutil.rmtree(folder, ignore_errors=True)):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove(path):
    with contextlib.suppress(OSError):
        path.unlink()

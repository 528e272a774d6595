"""Folders that several machines see: a path that they share, or a URL of fsspec such as s3://bucket/folder."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from srgan import pictures
from srgan.errors import SRGANError, UsageError
from srgan.files import temporary_folder
from srgan.upscale.picture_job import Task, upscale_file
from srgan.upscale.picture_planning import LeftOut, check_suffix, pictures_of, renamed, separate_in_folder

_TOP = PurePosixPath()


def is_url(path: str | os.PathLike) -> bool:
    """Whether it is a URL for fsspec, and no path."""
    return "://" in str(path)


def check_folders(source: str, output: str, suffix: str | None) -> None:
    """Raise UsageError unless the pictures of `source` can be upscaled into `output`."""
    check_suffix(suffix)
    for path in (source, output):
        if path.startswith(("file://", "local://")):
            raise UsageError(f"{path}: a path is named without {path.partition('//')[0]}//")
    if not is_url(source) and not os.path.isdir(source):
        raise UsageError(f"{source}: --ray takes one folder of pictures, and a folder for the results")
    if not is_url(output) and os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"{output}: --ray takes a folder for the results")
    inner, outer = (each.rstrip("/") if is_url(each) else os.path.realpath(each) for each in (source, output))
    if inner == outer or inner.startswith(outer + "/"):
        raise UsageError(f"{output}: holds the inputs, over which results could be written; choose another folder")


def walk(
    source: str,
    output: str,
    *,
    recursive: bool = False,
    suffix: str | None = None,
    on_problem: Callable[[str], None],
    left_out: LeftOut,
) -> Iterator[tuple[Task, bool]]:
    """Yield a task for each picture of a folder, and whether its output is there.

    One folder is listed after another, when it is its turn. Names are those of `picture_planning.plan`.

    Args:
        on_problem: called with a line on each folder that cannot be read, and on each picture whose output another has.
    """

    def unreadable(error):
        on_problem(f"{error.filename}: {error.strerror}; what is in it is left out")

    if is_url(source):
        found = _objects_of(source.rstrip("/"), output.rstrip("/"), recursive, left_out)
    else:
        found = pictures_of(Path(source), Path(output), recursive, unreadable, left_out)
    for folder, group in groupby(found, key=lambda pair: pair[1].parent):
        pairs = [(path, _join(output, renamed(place, suffix))) for path, place in group]
        pairs, clashes = separate_in_folder(pairs)
        for line in clashes:
            on_problem(line)
        there = _names(_join(output, folder))
        for path, target in pairs:
            yield Task(path, target), os.path.basename(target) in there


def is_there(folder: str, base: str) -> bool:
    """Whether there is such a folder; a bucket is there if it can be listed."""
    if not is_url(folder):
        return os.path.isdir(os.path.join(base, folder))
    filesystem, path = _opened(folder)
    with _wrapped(folder):
        filesystem.exists(path)
    return True


def make_folder(folder: str) -> None:
    """Make it, unless it is a URL: those have none."""
    if not is_url(folder):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise SRGANError(f"{folder}: cannot be made a folder ({error.strerror})") from error


def upscale_shared_file(
    task: Task, upscaler: Callable, base: str, log, **options
) -> tuple[Task, list[tuple[int, str]]]:
    """`upscale_file` with files at paths or URLs. What has a URL is read from, and written to, a local file.

    Args:
        base: the folder that relative paths are relative to.
        log: its `taken()` gives what was logged meanwhile, pairs of a level and a text.

    Returns:
        The task, and what was logged, with the names of the task in place of those of local files.
    """
    begun = time.perf_counter()
    with ExitStack() as stack:
        local = Task(_absolute(task.source, base), _absolute(task.target, base))
        try:
            if is_url(task.source) or is_url(task.target):
                folder = stack.enter_context(temporary_folder())
            if is_url(task.source):
                local.source = _fetched(task.source, folder, options.get("keep_time"))
            if is_url(task.target):
                local.target = folder / f"target{os.path.splitext(task.target)[1]}"
            upscale_file(local, upscaler, **options)
            if is_url(task.target) and not local.error:
                filesystem, path = _opened(task.target)
                with _wrapped(task.target):
                    filesystem.put_file(str(local.target), path)
        except SRGANError as error:
            local.error = SRGANError(str(error))
    names = {str(local.source): str(task.source), str(local.target): str(task.target)}
    if local.error:
        local.error = type(local.error)(_renamed(str(local.error), names))
    messages = [(level, _renamed(text, names)) for level, text in log.taken()]
    return replace(local, source=task.source, target=task.target, seconds=time.perf_counter() - begun), messages


def _absolute(path, base):
    return path if is_url(path) else os.path.join(base, path)


def _renamed(text, names):
    for before, after in names.items():
        text = text.replace(before, after)
    return text


def _fetched(url, folder, keep_time):
    filesystem, path = _opened(url)
    local = folder / f"source{os.path.splitext(url)[1]}"
    with _wrapped(url):
        filesystem.get_file(path, str(local))
        if keep_time:
            modified = filesystem.modified(path).timestamp()
            os.utime(local, (modified, modified))
    return local


def _join(folder, place):
    if not is_url(folder):
        return Path(folder) / place
    return "/".join([folder.rstrip("/"), *place.parts])


def _names(folder):
    """The names in a folder; none if it is not there."""
    try:
        if not is_url(folder):
            return {name for name in os.listdir(folder) if os.path.exists(os.path.join(folder, name))}
        filesystem, path = _opened(folder)
        return {os.path.basename(name) for name in filesystem.ls(path, detail=False)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _objects_of(url, output, recursive, left_out, place=_TOP):
    """`pictures_of` for a URL."""
    filesystem, path = _opened(url)
    with _wrapped(url):
        entries = sorted(
            (os.path.basename(each["name"].rstrip("/")), each["type"]) for each in filesystem.ls(path, detail=True)
        )
    entries = [(name, kind) for name, kind in entries if name and not name.startswith(".")]
    for name, kind in entries:
        if kind == "directory":
            continue
        if os.path.splitext(name)[1].lower() in pictures.READABLE:
            yield f"{url}/{name}", place / name
        else:
            left_out.files[os.path.splitext(name)[1].lower()] += 1
    inner = [name for name, kind in entries if kind == "directory" and f"{url}/{name}" != output]
    left_out.folders += [] if recursive else [f"{url}/{name}" for name in inner]
    for name in inner if recursive else ():
        yield from _objects_of(f"{url}/{name}", output, recursive, left_out, place / name)


def _opened(url):
    """The file system of a URL and the path in it."""
    try:
        import fsspec

        with _wrapped(url):
            return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        what_to_do = ": pip install '.[ray]'" if url.startswith("s3://") else ""
        raise SRGANError(f"{url}: needs a package that is not there ({error}){what_to_do}") from error


@contextmanager
def _wrapped(url):
    """Makes SRGANErrors, which name the URL, of what file systems raise."""
    try:
        yield
    except (SRGANError, ImportError):
        raise
    except FileNotFoundError as error:
        raise SRGANError(f"{url}: is not there") from error
    except Exception as error:
        raise SRGANError(f"{url}: {(str(error).splitlines() or [type(error).__name__])[0]}") from error

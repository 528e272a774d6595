"""Which pictures are used: from a COCO annotation file or a bare folder, chosen by the seed, in two disjoint splits."""

import contextlib
import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def choose_pictures(data, seed, cache) -> tuple[list[Path], list[Path]]:
    """The training and the validation pictures of a configuration.

    Args:
        data: srgan.config.data.Data.
        seed: decides the choice; the pictures of a smaller count are a subset of those of a larger one.
        cache: folder for the lists of candidates, so that a large annotation file is parsed once.

    Returns:
        Two lists of paths, in the order of the choice. The splits are disjoint by content, not only by name.

    Raises:
        SRGANError: a folder or annotation file is missing, or too few pictures qualify.
        UsageError: a category does not exist.
    """
    folder = Path(data.pictures).expanduser()
    candidates = _shuffled(_candidates(folder, data.annotations, data, cache, ""), seed)
    if data.validation_pictures is None:
        held_back = data.validation_count or 0
        if held_back >= len(candidates):
            raise SRGANError(
                f"{folder}: {len(candidates)} pictures qualify, and data.validation_count = {held_back} of them "
                "are held back: none is left for training; lower data.validation_count"
            )
        validation, candidates = candidates[:held_back], candidates[held_back:]
    else:
        other = Path(data.validation_pictures).expanduser()
        validation = _candidates(other, data.validation_annotations, data, cache, "validation_")
        validation = _take(_shuffled(validation, seed), data.validation_count, other, "data.validation_count")
    candidates = without_copies(candidates, validation)
    return _take(candidates, data.count, folder, "data.count"), validation


def _shuffled(pictures, seed):
    """In an order that depends on the seed and the names: one more picture leaves the order of the others alone."""
    return sorted(pictures, key=lambda path: hashlib.sha256(f"{seed}/".encode() + os.fsencode(path.name)).digest())


def _take(pictures, count, folder, key):
    if count is not None and count > len(pictures):
        raise SRGANError(
            f"{folder}: {key} = {count}, but only {len(pictures)} pictures qualify; ask for at most that many, "
            f"or for all with {key}=null"
        )
    return pictures[:count]


def without_copies(pictures, others):
    """The files `pictures` without those whose bytes are also in `others`. Only files of equal size are read."""
    sizes = {}
    for other in others:
        sizes.setdefault(other.stat().st_size, []).append(other)
    digests = {}

    def digest(path):
        if path not in digests:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
        return digests[path]

    def copied(path):
        same_size = sizes.get(path.stat().st_size, ())
        return any(path == other or digest(path) == digest(other) for other in same_size)

    return [path for path in pictures if not copied(path)]


def _candidates(folder, annotations, data, cache, kind):
    """The pictures that qualify. `kind` is what the keys of their folder and file begin with."""
    if not folder.is_dir():
        place = "" if folder.is_absolute() else f" in {Path.cwd()}"
        raise SRGANError(
            f"{folder}: no such folder{place} (data.{kind}pictures){_download_hint(folder.parent, folder)}"
        )
    if annotations is None:
        if data.categories:
            raise UsageError(
                f"data.categories = {data.categories}: needs data.{kind}annotations, a COCO instances file"
            )
        return _in_folder(folder, data.minimum_side, cache)
    annotations = Path(annotations).expanduser()
    if not annotations.is_file():
        hint = _download_hint(annotations.parent.parent, annotations)
        raise SRGANError(f"{annotations}: no such file (data.{kind}annotations){hint}")
    names = _annotated(annotations, tuple(data.categories), data.minimum_side, cache)
    present = {entry.name for entry in os.scandir(folder)}
    pictures = [folder / name for name in names if name in present]
    if not pictures:
        raise SRGANError(f"{folder}: holds none of the {len(names)} pictures that qualify in {annotations}")
    return pictures


def _download_hint(output, path):
    """The command that fetches COCO, where `path` looks like a part of it that is missing in the folder `output`."""
    if "train2017" not in path.name and "val2017" not in path.name:
        return ""
    return f"; get it with: python scripts/download_coco.py train2017 val2017 --output {output}"


def _annotated(annotations, categories, minimum_side, cache):
    """File names from a COCO instances file, by pycocotools."""
    status = annotations.stat()
    question = ["annotated", str(annotations.resolve()), status.st_size, status.st_mtime_ns, categories, minimum_side]

    def answer():
        from pycocotools.coco import COCO

        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it reports its own progress
                coco = COCO(str(annotations))
            pictures = coco.loadImgs(sorted(coco.getImgIds()))
            known = {category["name"] for category in coco.loadCats(coco.getCatIds())}
            unknown = [name for name in categories if name not in known]
            if unknown:
                raise UsageError(
                    f"data.categories: {annotations} has no category {unknown[0]!r}; it has {', '.join(sorted(known))}"
                )
            if categories:
                ids = coco.getCatIds(catNms=list(categories))
                shown = {picture for identity in ids for picture in coco.getImgIds(catIds=[identity])}
                pictures = [picture for picture in pictures if picture["id"] in shown]
            return [p["file_name"] for p in pictures if min(p["width"], p["height"]) >= minimum_side]
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise SRGANError(f"{annotations}: not a COCO instances file ({error!r})") from error

    return _remembered(cache, question, answer)


def _in_folder(folder, minimum_side, cache):
    """Every file of `folder` with a picture's suffix; with a minimum side, those whose header says they are as large."""
    entries = sorted(
        (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
        for entry in os.scandir(folder)
        if entry.is_file() and Path(entry.name).suffix.lower() in SUFFIXES
    )
    if not entries:
        raise SRGANError(
            f"{folder}: holds no pictures ({', '.join(sorted(SUFFIXES))}); its subfolders are not looked into"
        )
    names = [name for name, _, _ in entries]
    if minimum_side:

        def answer():
            with ThreadPoolExecutor() as pool:
                sides = pool.map(lambda name: _shorter_side(folder / name), names)
                return [name for name, side in zip(names, sides) if side is None or side >= minimum_side]

        names = _remembered(cache, ["folder", str(folder.resolve()), entries, minimum_side], answer)
        if not names:
            raise SRGANError(f"{folder}: no picture has data.minimum_side = {minimum_side} pixels")
    return [folder / name for name in names]


def _shorter_side(path):
    """Pixels, or None where the header cannot be read: preparing will report that file."""
    try:
        with Image.open(path) as picture:
            return min(picture.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _remembered(cache, question, answer):
    """`answer()`, kept in the folder `cache` under a digest of `question`."""
    file = Path(cache) / f"candidates-{hashlib.sha256(json.dumps(question).encode()).hexdigest()[:24]}.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    found = answer()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return found

"""Which pictures are used: from a COCO annotation file or a bare folder, chosen by the seed, in two disjoint splits."""

import contextlib
import hashlib
import io
import json
import logging
import os
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path, left_out_lines
from srgan.pictures import READABLE, size_of

MOST_HELD_BACK = 50  # pictures for validation, of the folder of the others

_log = logging.getLogger("srgan")
SUFFIXES = READABLE - {".gif"}  # which is a clip, or a drawing


def choose_pictures(data, seed: int, cache: Path) -> tuple[list[Path], list[Path]]:
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
        held_back = data.validation_count
        if held_back is None:
            held_back = min(MOST_HELD_BACK, max(1, len(candidates) // 10))
        if held_back >= len(candidates):
            raise SRGANError(
                f"{folder}: {len(candidates)} pictures qualify, and data.validation_count = {held_back} of them "
                "are held back: none is left for training; lower data.validation_count"
            )
        validation, candidates = candidates[:held_back], candidates[held_back:]
        same, are = "", "copies of validation pictures"
        all_are = f"the {len(candidates)} pictures beside the {held_back} that are held back for validation are copies of these"
        remedy = "add other pictures"
    else:
        other = Path(data.validation_pictures).expanduser()
        validation = _candidates(other, data.validation_annotations, data, cache, "validation_")
        validation = _take(_shuffled(validation, seed), data.validation_count, other, "data.validation_count")
        same = "data.validation_pictures is the same folder as data.pictures: " if folder.samefile(other) else ""
        are, remedy = "validation pictures", "set data.validation_pictures=null to hold some back"
        all_are = f"{same}all of its {len(candidates)} pictures are validation pictures"
    training = without_copies(candidates, validation)
    if not training:
        raise SRGANError(f"{folder}: {all_are}, and none is left for training; {remedy}")
    if common := len(candidates) - len(training):
        _log.warning("%s%s of the %s pictures that qualify for training are %s, and are not trained on",
                     same, common, len(candidates), are)  # fmt: skip
    return _take(training, data.count, folder, "data.count"), validation


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


def without_copies(pictures: list[Path], others: list[Path]) -> list[Path]:
    """The files `pictures` without those whose bytes are also in `others`. Only files of equal size are read."""
    sizes = {}
    for other in others:
        sizes.setdefault(other.stat().st_size, []).append(other)

    @lru_cache(None)
    def digest(path):
        return hashlib.sha256(path.read_bytes()).digest()

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
    listed = dict(_annotated(annotations, tuple(data.categories), data.minimum_side, cache))
    found = _present(folder, listed)
    absent = [name for name in listed if name not in found]
    remedy = f"data.{kind}pictures must be the folder of the files, or the one that their names start from"
    if not found:
        raise SRGANError(
            f"{folder}: holds none of the {len(listed)} pictures that qualify in {annotations}"
            + (f", such as {absent[0]}; {remedy}" if absent else "")
        )
    if absent:
        hint = _download_hint(folder.parent, folder) or f"; {remedy}"
        _log.warning("%s: %s of the %s pictures that qualify are not in %s, such as %s%s",
                     annotations, len(absent), len(listed), folder, absent[0], hint)  # fmt: skip
    # One file may be listed under two ids, or with its folder and without.
    unknown = list(dict.fromkeys(path for name, path in found.items() if listed[name] is None))
    small = set(unknown) - set(_large_enough(unknown, data.minimum_side, cache))
    pictures = [path for path in dict.fromkeys(found.values()) if path not in small]
    if not pictures:
        raise SRGANError(f"{folder}: no picture has data.minimum_side = {data.minimum_side} pixels")
    return pictures


def _present(folder, names):
    """The paths of those `names` that are there: as files below `folder`, or in it without the folders of their names.

    Where no name is the same, one counts that differs in capitals or in how its accents are written.
    """

    @lru_cache(None)  # a listing for each folder: looking up 118,000 names takes longer
    def names_in(place):
        try:
            return {entry.name for entry in os.scandir(place)}
        except OSError:
            return set()

    @lru_cache(None)
    def alike_in(place):
        return {_alike(name): name for name in names_in(place)}

    found = {}
    for name in names:
        parts = name.replace("\\", "/").split("/")
        places = [folder / name, folder.joinpath(*parts), folder / parts[-1]]
        for path in places:
            if path.name in names_in(path.parent):
                found[name] = path
                break
        else:
            for path in places:
                if other := alike_in(path.parent).get(_alike(path.name)):
                    found[name] = path.with_name(other)
                    break
    return found


def _alike(name):
    """The same for names that some file systems do not tell apart, and change: those of Windows and macOS."""
    return unicodedata.normalize("NFC", name).casefold()


def _download_hint(output, path):
    """The command that fetches COCO, where `path` looks like a part of it that is missing in the folder `output`."""
    if "train2017" not in path.name and "val2017" not in path.name:
        return ""
    return f"; get it with: srgan-download-coco train2017 val2017 --output {output}"


def _annotated(annotations, categories, minimum_side, cache):
    """From a COCO instances file, by pycocotools: a file name and the shorter side, or None if unknown, of each picture.

    Pictures that are known to be smaller than `minimum_side` are left out.
    """
    status = annotations.stat()
    file = [str(annotations.resolve()), status.st_size, status.st_mtime_ns]
    question = ["annotated by text", *file, categories, minimum_side]

    def answer():
        from pycocotools.coco import COCO

        try:
            coco = COCO()
            dataset = {key: value for key, value in _parsed(annotations).items() if value is not None}
            usable = [each for each in dataset["images"] if _is_listed(each)]
            if not usable:
                raise ValueError("no image has an id and a file_name")
            unusable = len(dataset["images"]) - len(usable)
            coco.dataset = _with_text_ids(dataset | {"images": usable})
            with contextlib.redirect_stdout(io.StringIO()):  # it reports its own progress
                coco.createIndex()
            pictures = sorted(usable, key=lambda picture: str(picture["id"]).zfill(20))
            if categories:
                known = {category["name"] for category in coco.dataset["categories"]}
                if not known or not coco.dataset["annotations"]:
                    raise UsageError(
                        f"data.categories = {list(categories)}: {annotations} does not say what its pictures show; set "
                        "data.categories=[] to take all"
                    )
                unknown = [name for name in categories if name not in known]
                if unknown:
                    raise UsageError(
                        f"data.categories: {annotations} has no category {unknown[0]!r}; it has {', '.join(sorted(known))}"
                    )
                ids = coco.getCatIds(catNms=list(categories))
                shown = {picture for identity in ids for picture in coco.getImgIds(catIds=[identity])}
                pictures = [picture for picture in pictures if _text(picture["id"]) in shown]
                if not pictures:
                    raise UsageError(f"data.categories = {list(categories)}: {annotations} has no picture of these")
            sides = [(p["file_name"], _side(p)) for p in pictures]
            return unusable, [(name, side) for name, side in sides if side is None or side >= minimum_side]
        except (ValueError, KeyError, TypeError, AssertionError, AttributeError, RecursionError) as error:
            reason = str(error) if isinstance(error, ValueError) else ""
            reason = f"no {error}" if isinstance(error, KeyError) else reason
            raise SRGANError(
                f"{annotations}: not a COCO instances file{f' ({reason[:200]})' if reason else ''}; it must be an object "
                "with a list `images`, each of them with an id and a file_name"
            ) from error

    unusable, found = _remembered(cache, question, answer)
    if unusable:
        _log.warning("%s: %s of its images have no id or no file_name, and are left out; add what is missing to use them",
                     annotations, unusable)  # fmt: skip
    return found


def _parsed(file):
    """The content of a JSON file, of any Unicode encoding, with a byte order mark or not, or of Windows'."""
    content = file.read_bytes()
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        return json.loads(content.decode("cp1252", "replace"))


def _with_text_ids(dataset):
    """A COCO data set for pycocotools: some tools write one number as a number here and as text there, or leave one out."""

    def usable(key, *ids):
        rows = (each for each in dataset.get(key, ()) if isinstance(each, dict))
        return [each for each in rows if all(each.get(name) is not None for name in ids)]

    objects = [
        {"id": index, "image_id": _text(each["image_id"]), "category_id": _text(each["category_id"])}
        for index, each in enumerate(usable("annotations", "image_id", "category_id"))
    ]
    kinds = [{"id": _text(each["id"]), "name": each["name"]} for each in usable("categories", "id", "name")]
    images = [{"id": _text(each["id"])} for each in dataset["images"]]
    return {"images": images, "annotations": objects, "categories": kinds}


def _text(identity):
    return str(identity).removesuffix(".0")


def _is_listed(picture):
    name = picture.get("file_name") if isinstance(picture, dict) else None
    return isinstance(name, str) and bool(name) and "id" in picture


def _side(picture):
    """The shorter side of a picture in a COCO file; None where it is not given."""
    try:
        side = min(float(picture["width"]), float(picture["height"]))  # some tools write them as text
    except (KeyError, TypeError, ValueError):
        return None
    return side if side > 0 else None


def _in_folder(folder, minimum_side, cache):
    """Every file of `folder` with a picture's suffix; with a minimum side, those whose header says they are as large."""
    names, others, folders = [], Counter(), []
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            folders.append(entry.name)
        elif is_picture_name(entry.name) and entry.is_file():
            names.append(entry.name)
        else:
            others[Path(entry.name).suffix.lower()] += 1
    if not names:
        raise SRGANError(
            f"{folder}: holds no pictures ({', '.join(sorted(SUFFIXES))}); its subfolders are not looked into"
        )
    for line in left_out_lines(others, sorted(folders), "move or link the pictures into one folder to train on them"):
        _log.warning("%s: %s", folder, line)
    pictures = _large_enough([folder / name for name in sorted(names)], minimum_side, cache)
    if not pictures:
        raise SRGANError(f"{folder}: no picture has data.minimum_side = {minimum_side} pixels")
    return pictures


def is_picture_name(name: str) -> bool:
    """Whether a file of that name is taken from a folder: one with a picture's suffix that is not hidden."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _large_enough(pictures, minimum_side, cache):
    """The pictures whose headers give both sides at least `minimum_side` pixels, and those whose headers say nothing."""
    if not (minimum_side and pictures):
        return pictures

    def answer():
        with ThreadPoolExecutor() as pool:
            sides = pool.map(shorter_side, pictures)
            return [side is None or side >= minimum_side for side in sides]

    status = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in pictures]
    large = _remembered(cache, ["large enough", status, minimum_side], answer)
    return [path for path, is_large in zip(pictures, large) if is_large]


def shorter_side(path: Path) -> int | None:
    """Pixels, or None where the header cannot be read: preparing will report that file."""
    size = size_of(path)
    return min(size) if size else None


def _remembered(cache, question, answer):
    """`answer()`, kept in the folder `cache` under a digest of `question`."""
    file = Path(cache) / f"candidates-{hashlib.sha256(json.dumps(question).encode()).hexdigest()[:24]}.json"
    with contextlib.suppress(OSError, ValueError):  # not there, or damaged
        return json.loads(file.read_text(encoding="utf-8"))
    found = answer()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(found), encoding="utf-8")
    return found

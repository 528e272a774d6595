"""Downloading COCO 2017: pictures and their annotations.

`fetch` leaves data/coco/train2017/*.jpg, data/coco/val2017/*.jpg and data/coco/annotations/instances_train2017.json and so on.

It may be stopped at any time, also by kill -9: the same call goes on where it was, and once all is there it does
nothing. A half archive is a .part file; it is continued only if the server still has the same file. Every file is checked
against its checksum in the archive, and a folder appears under its own name only when it is whole.
"""

import json
import math
import os
import shutil
import ssl
import stat
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from srgan.errors import SRGANError, UsageError
from srgan.progress import Bar

BASE_URL = "http://images.cocodataset.org"
SPLITS = ("train2017", "val2017")
BACK_OFF = (1, 2, 5, 10, 30, 60)  # seconds before each new attempt; starts over after an attempt that brought data
TIMEOUT = 60  # seconds of silence after which a connection counts as cut
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP answers worth another attempt
NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)
CHUNK = 1 << 20


class Unfinished(Exception):
    """An attempt ended before the file did; the message says why."""


def archives(splits: Iterable[str], output: Path, base_url: str) -> list[tuple[str, str, Path]]:
    """What is not there yet, as (folder name, URL, path of the archive); says what is."""
    wanted = []
    for split in splits:
        folder = output / split
        if folder.is_dir() and any(folder.iterdir()):
            print(f"{folder}: already there")
        else:
            wanted.append((split, f"{base_url}/zips/{split}.zip", output / f"{split}.zip"))
    instances = [output / "annotations" / f"instances_{split}.json" for split in splits]
    if all(path.is_file() for path in instances):
        print(f"{output / 'annotations'}: already there")
    else:
        name = "annotations_trainval2017.zip"
        wanted.append(("annotations", f"{base_url}/annotations/{name}", output / name))
    return wanted


def require_space(folder: Path, needed: int) -> None:
    """Raise SRGANError if the disk of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SRGANError(
            f"{folder}: {needed / 1e9:,.2f} GB are needed there and {free / 1e9:,.2f} GB are free; choose --output"
        )


def space_needed(wanted: Iterable[tuple[str, str, Path]], keep: bool) -> int:
    """Bytes that downloading and unpacking all of `wanted` takes at its peak; archives of unknown size count as 0."""
    left, sizes, unpacked = 0, [0], 0
    for folder, url, archive in wanted:
        if archive.exists():
            size = archive.stat().st_size
        else:
            size = remote_size(url) or 0
            left += max(0, size - length(part_of(archive)))
        sizes.append(size)
        unpacked += math.ceil(size * (3.5 if folder == "annotations" else 1.05))  # JPEGs hardly shrink, JSON does
    # Without --keep each archive is deleted before the next is fetched, so the largest one counts.
    return unpacked + (left if keep else min(left, max(sizes)))


def patiently(url: str, attempt: Callable[[], Any], length_now: Callable[[], int] = lambda: 0) -> Any:
    """Return what `attempt()` returns, waiting and trying again while it fails for a reason that may pass.

    Gives up after len(BACK_OFF) attempts in a row that did not raise `length_now()` above its highest yet.

    Raises:
        SRGANError: it gave up, or the server gave an answer that waiting does not change.
    """
    failures, furthest = 0, length_now()
    while True:
        try:
            return attempt()
        except Unfinished as error:
            reason = str(error)
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                raise SRGANError(f"{url}: the server answers {error.code} {error.reason}; see --base-url") from error
            reason = f"the server answers {error.code} {error.reason}"
        except NETWORK_ERRORS as error:
            reason = str(getattr(error, "reason", error) or type(error).__name__)
        if length_now() > furthest:
            failures, furthest = 0, length_now()
        if failures == len(BACK_OFF):
            kept = f" with {length_now():,} bytes" if length_now() else ""
            raise SRGANError(
                f"{url}: {reason}, also at attempt {failures + 1}{kept}; the same command goes on from there"
            )
        tqdm.write(f"{url}: {reason}; trying again in {BACK_OFF[failures]} s", file=sys.stderr)
        time.sleep(BACK_OFF[failures])
        failures += 1


def remote_size(url: str) -> int | None:
    """The size of the file at `url` in bytes, or None if the server does not say."""

    def attempt():
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT) as response:
                return int(response.headers.get("Content-Length", -1))
        except urllib.error.HTTPError as error:
            if error.code in (405, 501):  # a server without HEAD
                return -1
            raise

    size = patiently(url, attempt)
    return size if size >= 0 else None


def part_of(archive: Path) -> Path:
    return archive.with_name(archive.name + ".part")


def notes_of(part: Path) -> Path:
    """The JSON file that records which server file `part` is a partial download of."""
    return part.with_name(part.name + ".json")


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def read_notes(part: Path, url: str) -> dict | None:
    """The notes on `part` if they are about `url`, else None: then what `part` holds is of no use."""
    try:
        notes = json.loads(notes_of(part).read_text())
        return notes if notes["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe(url: str, response: HTTPResponse) -> dict:
    """The notes on the file that `response` brings, whole (200) or from some byte on (206)."""
    headers = response.headers
    if response.status == 206:
        size = headers.get("Content-Range", "").rpartition("/")[2]
    else:
        size = headers.get("Content-Length", "")
    return {
        "url": url,
        "size": int(size) if size.isdigit() else None,
        "etag": headers.get("ETag"),
        "last_modified": headers.get("Last-Modified"),
    }


def same_file(notes: dict, found: dict) -> bool:
    """Whether two notes can be about the same file; an answer to If-Range may leave out a validator."""
    known = (notes["etag"], found["etag"]), (notes["last_modified"], found["last_modified"])
    return notes["size"] == found["size"] and all(a == b for a, b in known if a and b)


def continue_part(url: str, part: Path, bar: tqdm) -> None:
    """Make one request for what `part` lacks and add what comes.

    Raises:
        Unfinished: `part` is not whole yet.
    """
    notes = read_notes(part, url)
    start = length(part) if notes else 0
    if notes and start == notes["size"]:
        return
    request = urllib.request.Request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        # If-Range wants a strong validator: with it a server whose file has changed sends the new one from the start.
        strong = notes["etag"] if notes["etag"] and not notes["etag"].startswith("W/") else notes["last_modified"]
        if strong:
            request.add_header("If-Range", strong)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # the file on the server has become shorter than the part here
            part.unlink()
            raise Unfinished("has changed on the server, so it starts again") from error
        raise
    with response:
        found = describe(url, response)
        if response.status == 206:
            # Some servers ignore If-Range, and a proxy may send another range: use only what matches.
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if not (begins and same_file(notes, found)):
                part.unlink()
                raise Unfinished("has changed on the server, so it starts again")
        elif start:
            why = "the server cannot resume" if same_file(notes, found) else "has changed on the server"
            tqdm.write(f"{url}: {why}, so it starts again", file=sys.stderr)
        with open(part, "ab" if response.status == 206 else "wb") as file:
            if response.status != 206:
                start = 0
                notes_of(part).write_text(json.dumps(found))
            bar.total = found["size"]
            bar.n = bar.initial = start
            bar.refresh()
            while chunk := response.read1(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if found["size"] not in (None, length(part)):  # where the server gives no size, the archive's checksums decide
        raise Unfinished("the connection was cut")


def download(url: str, archive: Path) -> None:
    """Fetch `url` to `archive`, which appears only when it is whole."""
    part = part_of(archive)
    with Bar(desc=archive.name, unit="B", unit_scale=True, unit_divisor=1000, leave=True) as bar:
        patiently(url, lambda: continue_part(url, part, bar), lambda: length(part))
    os.replace(part, archive)
    notes_of(part).unlink(missing_ok=True)


def members_below(content: zipfile.ZipFile, folder: str, archive: Path) -> list[zipfile.ZipInfo]:
    """The files of the open zip `content` that lie in its `folder`.

    Raises:
        SRGANError: a name leads out of the folder, or there is none in it.
    """
    members = []
    for member in content.infolist():
        path = PurePosixPath(member.filename)
        outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            raise SRGANError(f"{archive}: not COCO's archive: {member.filename!r} leads out of it; delete it")
        if not member.is_dir() and path.parts[:1] == (folder,) and len(path.parts) > 1:
            members.append(member)
    if not members:
        raise SRGANError(f"{archive}: not COCO's archive: there is no {folder}/ in it; delete it")
    return members


def unpack(archive: Path, folder: str, output: Path) -> int:
    """Unpack `folder` of `archive` into `output`, where it appears only when all of it is there; return the file count.

    Reading a member to its end compares its checksum, so a damaged archive never gets into place.
    """
    temporary = output / f".{folder}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed run left
    try:
        with zipfile.ZipFile(archive) as content:
            members = members_below(content, folder, archive)
            require_space(output, sum(member.file_size for member in members))
            for member in Bar(members, desc=f"{folder}: unpacking", unit=" files", leave=True):
                content.extract(member, temporary)
        put_in_place(temporary / folder, output / folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        archive.unlink()
        raise SRGANError(f"{archive}: damaged ({error}) and removed; the same command downloads it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(members)


def put_in_place(made: Path, target: Path) -> None:
    """Move the folder `made` to `target`; where one is already, as with other years' annotations, file by file."""
    if target.is_dir() and any(target.iterdir()):
        for path in sorted(made.iterdir()):
            os.replace(path, target / path.name)
        return
    if target.is_dir():
        target.rmdir()
    os.rename(made, target)


def fetch(splits: Iterable[str], output: Path, base_url: str = BASE_URL, keep: bool = False) -> None:
    """Bring `splits` (of SPLITS) and the annotations to the folder `output`, as far as they are not there.

    Args:
        base_url: the server, or a mirror of it.
        keep: whether the archives stay after unpacking.

    Raises:
        SRGANError: a file cannot be fetched or is damaged, or the disk is too small.
        UsageError: `base_url` is no address.
    """
    if not base_url.startswith(("http://", "https://")):
        raise UsageError(f"--base-url {base_url}: must start with http:// or https://")
    base_url = base_url.rstrip("/")
    wanted = archives(splits, output, base_url)
    if not wanted:
        return
    output.mkdir(parents=True, exist_ok=True)
    require_space(output, space_needed(wanted, keep))
    for folder, url, archive in wanted:
        if not archive.exists():
            download(url, archive)
        count = unpack(archive, folder, output)
        if not keep:
            archive.unlink()
        print(f"{output / folder}: {count:,} files")

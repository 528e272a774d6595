"""What srgan-upscale says of each file: lines for people, JSON for programs, and what would be done."""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from srgan import pictures
from srgan.errors import printable
from srgan.files import did_you_mean, kinds, left_out_lines
from srgan.upscale.clip_planning import first_file
from srgan.upscale.picture_planning import LeftOut, sidecars, size_of_result

_log = logging.getLogger("srgan")


def tell_file(
    source,
    target,
    status,
    *,
    number=0,
    total=0,
    verbose=False,
    as_json=False,
    error=None,
    sizes=None,
    denoise=None,
    seconds=None,
    model=None,
    out=None,
) -> None:
    """Say on standard error (`verbose`) and on standard output (`as_json`) what became of a file.

    Args:
        status: "done", "skipped", "failed" or "planned".
        number, total: which file it is of how many; 0: not counted.
        error: why it failed, or None.
        sizes: width and height before and after, or None.
        denoise: how much of its noise went, or None.
        seconds: that reading, computing and writing took, or None.
        model: a path, or None.
        out: where the object is printed; None: standard output.
    """
    if verbose and status != "failed":  # which is said anyway
        what = "" if status == "done" else f" ({status})"
        what += "" if denoise is None else f", --denoise {denoise:g}"
        _log.info("%s%s -> %s%s", f"{number}/{total} " if total else "", source, target, what)
    if as_json:
        before, after = sizes or (None, None)
        facts = {"source": str(source), "target": str(target), "status": status, "error": error and str(error)}
        facts |= {"source_size": before, "target_size": after, "model": model and str(model), "denoise": denoise}
        facts["seconds"] = seconds
        print(json.dumps(facts), file=out, flush=True)


def tell_left_out(left_out: LeftOut) -> None:
    """Say how many files of folders are no pictures, and how many folders in them are not looked into."""
    for line in left_out_lines(left_out.files, left_out.folders, "--recursive includes subfolders"):
        _log.info("%s", line)


def missing_inputs(pairs: list[tuple], skip_existing: bool) -> dict[tuple, str]:
    """The pairs whose input is not there, and a line on each; not those that are left alone because of what is there."""
    missing = [pair for pair in pairs if pair[0] != "-" and not os.path.exists(pair[0])]
    return {
        (source, target): f"{source}: No such file{did_you_mean(source)}"
        for source, target in missing
        if not (skip_existing and target != "-" and first_file(Path(target)).exists())
    }


def tell_sidecars(sources: Iterable) -> None:
    """Say which XMP files lie beside the pictures. They are not copied: a raw converter would apply their edits twice."""
    found = list(dict.fromkeys(path for source in sources if source != "-" for path in sidecars(Path(source))))
    if len(found) == 1:
        _log.info("%s: is not copied or applied; its tags and edits are not in the result", found[0])
    elif found:
        what = "are not copied or applied; their tags and edits are not in the results"
        _log.info("%d XMP files beside pictures, the first %s, %s", len(found), found[0], what)


def tell_changed_formats(pairs: list[tuple]) -> None:
    """Say which inputs become files of another format because their own is not written."""
    changed: dict[str, Counter] = {}
    for source, target in pairs:
        before, after = Path(source).suffix.lower(), Path(target).suffix.lower()
        if before in pictures.READABLE and before not in pictures.WRITABLE and after in pictures.WRITABLE:
            changed.setdefault(pictures.WRITABLE[after], Counter())[before] += 1
    for kind, suffixes in changed.items():
        count = suffixes.total()
        what = "picture becomes" if count == 1 else "pictures become"
        _log.info("%d %s %s (%s): their own format is not written", count, what, kind, kinds(suffixes))


def tell_plan(
    pairs: list[tuple],
    skip_existing: bool,
    scale: float | None,
    fit: tuple | None,
    as_json: bool,
    there: bool | None = None,
) -> None:
    """Print the pairs of inputs and outputs, with their sizes as far as they are known, and what is there already.

    Args:
        skip_existing: whether that is left alone.
        scale, fit: of the Upscaler, as far as they were given; None: as the model makes it, which is not loaded.
        as_json: objects as of `tell_file` with the status "planned" or "skipped".
        there: whether the outputs are there; None: they are files of this machine, which are looked at.
    """
    for source, target in pairs:
        exists = there if there is not None else target != "-" and os.path.exists(first_file(Path(target)))
        before = pictures.size_of(source) if source != "-" and Path(source).is_file() else None
        after = size_of_result(before[0], before[1], scale, fit) if before and (scale or fit) else None
        if as_json:
            status = "skipped" if exists and skip_existing else "planned"
            tell_file(source, target, status, as_json=True, sizes=(before, after))
            continue
        note = ("  (is there: left alone)" if skip_existing else "  (is there: replaced)") if exists else ""
        sizes = [" {}x{}".format(*size) if size else "" for size in (before, after)]
        print(f"{printable(str(source))}{sizes[0]} -> {printable(str(target))}{sizes[1]}{note}")
    sys.stdout.flush()

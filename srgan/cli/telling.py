"""What srgan-upscale says of each file: lines for people, JSON for programs, and what would be done."""

import json
import logging
import os
import sys
from collections import Counter
from pathlib import Path

from srgan.errors import printable

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
    seconds=None,
    model=None,
) -> None:
    """Say on standard error (`verbose`) and on standard output (`as_json`) what became of a file.

    Args:
        status: "done", "skipped" or "failed".
        number, total: which file it is of how many; 0: not counted.
        error: why it failed, or None.
        sizes: width and height before and after, or None.
        seconds: that reading, computing and writing took, or None.
        model: a path, or None.
    """
    if verbose and status != "failed":  # which is said anyway
        what = "" if status == "done" else f" ({status})"
        _log.info("%s%s -> %s%s", f"{number}/{total} " if total else "", source, target, what)
    if as_json:
        before, after = sizes or (None, None)
        facts = {"source": str(source), "target": str(target), "status": status, "error": error and str(error)}
        facts |= {"source_size": before, "target_size": after, "model": model and str(model), "seconds": seconds}
        print(json.dumps(facts), flush=True)


def tell_left_out(others: Counter) -> None:
    """Say how many files of folders are no pictures, from their number by suffix."""
    from srgan.upscale.picture_planning import kinds

    if count := others.total():
        _log.info("%d file%s of other kinds left out (%s)", count, "s" * (count > 1), kinds(others))


def tell_changed_formats(pairs: list[tuple]) -> None:
    """Say which inputs become files of another format because their own is not written."""
    from srgan import pictures
    from srgan.upscale.picture_planning import kinds

    changed: dict[str, Counter] = {}
    for source, target in pairs:
        before, after = Path(source).suffix.lower(), Path(target).suffix.lower()
        if before in pictures.READABLE and before not in pictures.WRITABLE and after in pictures.WRITABLE:
            changed.setdefault(pictures.WRITABLE[after], Counter())[before] += 1
    for kind, suffixes in changed.items():
        count = suffixes.total()
        what = "picture becomes" if count == 1 else "pictures become"
        _log.info("%d %s %s (%s): the own format is not written", count, what, kind, kinds(suffixes))


def tell_plan(pairs: list[tuple], skip_existing: bool) -> None:
    """Print the pairs of inputs and outputs, with the inputs' sizes and what is there already."""
    for source, target in pairs:
        place = Path(target).with_name(Path(target).name % 1) if "%" in str(target) else target
        there = target != "-" and os.path.exists(place)
        note = ("  (is there: left alone)" if skip_existing else "  (is there: replaced)") if there else ""
        print(f"{printable(str(source))}{_size(source)} -> {printable(str(target))}{note}")
    sys.stdout.flush()


def _size(source):
    from PIL import Image

    if source == "-" or not Path(source).is_file():
        return ""
    try:
        with Image.open(source) as image:
            return f" {image.width}x{image.height}"
    except (OSError, ValueError, SyntaxError):  # of a format that Pillow has not, or no picture
        return ""

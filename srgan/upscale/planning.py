"""Which output file is made from which input."""

import os
from pathlib import Path

from srgan import pictures
from srgan.errors import UsageError


def plan(inputs, output, *, recursive=False, suffix=None):
    """The pairs (source, target) of a command: paths, or "-" for standard input and output.

    They may clash: see `refuse_clashes`.

    Args:
        inputs: files, folders of pictures, or "-".
        output: a file for one input file, a folder for more; a folder's structure is kept.
        recursive: also take what is in the folders of an input folder.
        suffix: of files written into a folder; None: the input's own, or .png where that is not written.

    Raises:
        UsageError: the output is no place for these inputs, or no picture was found.
    """
    into_folder = len(inputs) > 1 or output.endswith(("/", os.sep)) or any(map(os.path.isdir, [*inputs, output]))
    if suffix and suffix not in pictures.WRITABLE:
        raise UsageError(f"format: {suffix[1:]!r} is none of {', '.join(key[1:] for key in pictures.WRITABLE)}")
    if not into_folder:
        if suffix and output != "-" and Path(output).suffix.lower() != suffix:
            raise UsageError(f"{output}: does not end in {suffix}, as --format says")
        pairs = [(inputs[0], output)]
    elif "-" in inputs or output == "-":
        raise UsageError("-: standard input and output take one picture; name one input file and one output file")
    elif os.path.exists(output) and not os.path.isdir(output) or Path(output).suffix.lower() in pictures.WRITABLE:
        raise UsageError(f"{output}: several inputs need a folder as the last argument")
    else:
        pairs = []
        for name in dict.fromkeys(inputs):
            for source, place in _pictures_of(Path(name), Path(output), recursive):
                own = source.suffix if source.suffix.lower() in pictures.WRITABLE else ".png"
                pairs.append((source, Path(output) / place.with_suffix(suffix or own)))
    if not pairs:
        raise UsageError(
            f"{', '.join(inputs)}: no pictures there" + ("" if recursive else "; --recursive looks deeper")
        )
    return pairs


def _pictures_of(path, output, recursive):
    """Pairs of a picture and its place below the output folder."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    output = output.resolve()
    for folder, folders, files in os.walk(path):
        folder = Path(folder)
        inner = [name for name in folders if not name.startswith(".") and (folder / name).resolve() != output]
        folders[:] = sorted(inner) if recursive else []
        for name in sorted(files):
            if Path(name).suffix.lower() in pictures.READABLE and not name.startswith("."):
                yield folder / name, (folder / name).relative_to(path)


def refuse_clashes(pairs):
    """Raise UsageError if a pair's target is an input or another's target."""
    inputs = {_identity(source): source for source, _ in pairs if source != "-" and os.path.exists(source)}
    targets = {}
    for source, target in pairs:
        if target == "-":
            continue
        if os.path.exists(target) and _identity(target) in inputs:
            raise UsageError(
                f"{source}: would be written over {inputs[_identity(target)]}, an input; choose another output"
            )
        other = targets.setdefault(os.path.normcase(os.path.realpath(target)), source)
        if other != source:
            raise UsageError(f"{other} and {source} would both be written to {target}; give them folders of their own")


def _identity(path):
    """The same for two names of one file."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def check_options(quality, compression):
    """Raise UsageError unless these can be options of `upscale_files`."""
    if not 1 <= quality <= 100:
        raise UsageError(f"quality: {quality} is not between 1 and 100")
    if not 0 <= compression <= 9:
        raise UsageError(f"compression: {compression} is not between 0 and 9")

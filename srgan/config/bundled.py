"""The configurations that come with the package, found without reading any."""

from pathlib import Path

from srgan.errors import UsageError
from srgan.files import did_you_mean

_PACKAGE = Path(__file__).parents[1]
FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")  # installed; in a checkout


def find_config(source: str | Path) -> Path:
    """The path itself where it is a file, the configuration of a run folder, or the bundled one of that name, with or
    without `.yaml`.

    Raises:
        UsageError: there is neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    if (path / "config.yaml").is_file():
        return path / "config.yaml"
    if len(path.parts) == 1:
        for file in _files():
            if path.name in (file.name, file.stem):
                return file
    hint = did_you_mean(path, bundled() if len(path.parts) == 1 else ())
    raise UsageError(
        f"{source}: no such file, and no bundled configuration of that name ({', '.join(bundled())}){hint}"
    )


def bundled() -> list[str]:
    """The names of the bundled configurations."""
    return [file.stem for file in _files()]


def _files():
    return next((sorted(folder.glob("*.yaml")) for folder in FOLDERS if folder.is_dir()), [])

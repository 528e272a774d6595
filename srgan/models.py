"""The shipped models, and finding one by name or path."""

from pathlib import Path

from srgan.errors import UsageError

WEIGHTS = Path(__file__).parent / "weights"


# The first that is there is the default: most pictures are JPEGs, whose artifacts the others enlarge.
SHIPPED = ("srgan-photo", "srresnet", "srgan", "srgan-video")


def shipped_models() -> dict[str, Path]:
    """The models that come with the package, by name, the default first."""
    files = {name: WEIGHTS / f"{name}.keras" for name in SHIPPED}
    return {name: file for name, file in files.items() if file.is_file()}


def is_shipped(path: str | Path) -> bool:
    """Whether a file is one of the package's own weights."""
    return Path(path).parent == WEIGHTS


def find_model(name_or_path: str | Path | None = None) -> Path:
    """The file of a model: a path, or the name of a shipped one; without either the default model.

    Raises:
        UsageError: there is none; the message lists what there is.
    """
    shipped = shipped_models()
    if name_or_path is None:
        if not shipped:
            raise UsageError("no model is shipped yet: pass --model with a .keras file, as srgan-train writes it")
        return next(iter(shipped.values()))
    path = Path(name_or_path)
    if str(name_or_path) in shipped and not path.is_file():
        return shipped[str(name_or_path)]
    if path.is_dir() and (path / "generator.keras").is_file():  # a run folder of srgan-train
        return path / "generator.keras"
    if not path.is_file():
        have = f"shipped: {', '.join(shipped)}" if shipped else "no model is shipped yet"
        raise UsageError(
            f"{name_or_path}: no such model; pass the path of a .keras, .pth or .safetensors file ({have})"
        )
    return path


def pixel_trained(path: Path, name: str | None = None) -> Path | None:
    """The pixel-trained model that belongs to a GAN-trained one: as named, else its sister file."""
    if name is not None:
        return find_model(name)
    for sister in (path.name.replace("srgan", "srresnet"), f"{path.stem}-pixel.keras"):
        if sister != path.name and path.with_name(sister).is_file():
            return path.with_name(sister)
    raise UsageError(f"{path}: strength below 1 needs the pixel-trained model that belongs to it: pass --pixel-model")

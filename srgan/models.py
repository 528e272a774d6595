"""The shipped models, and finding one by name or path."""

import difflib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srgan.errors import UsageError
from srgan.hub import PREFIX, SUFFIXES, fetch

_log = logging.getLogger("srgan")

WEIGHTS = Path(__file__).parent / "weights"


# What each is for. The first that is there is the default: most pictures are JPEGs, whose artifacts the others enlarge.
SHIPPED = {
    "srgan-photo": "photographs from phones, cameras and the web",
    "srgan-fast": "photographs and clips in a quarter of the time, with less detail",
    "srresnet": "clean pictures, the most faithful",
    "srgan": "clean pictures, crisper, with invented texture",
    "srgan-video": "clean clips, steadier from frame to frame",
}
FOR_LOSSLESS = "srresnet"  # what lossless files suit: it enlarges what is there, and takes nothing for an artifact
FOR_CLIPS = "srgan-fast"
LOSSLESS = {".png", ".gif", ".bmp", ".tga", ".dds"}  # suffixes of what is no photograph, most likely


def shipped_models() -> dict[str, Path]:
    """The models that come with the package, by name, the default first."""
    files = {name: WEIGHTS / f"{name}.keras" for name in SHIPPED}
    return {name: file for name, file in files.items() if file.is_file()}


def own_models() -> dict[str, Path]:
    """The models in the user's folder, SRGAN_MODELS or ~/.config/srgan/models, by their names without the suffix.

    Of several that differ in their suffixes only, the first in the alphabet; find_model takes the others by their whole names.
    What lies beside a model for --strength and --denoise is none by itself.
    """
    own = _own_by_stem()
    beside = {f"{name}-{end}" for name in own for end in ("pixel", "denoise0", "denoise1")}
    return {name: own[name] for name in sorted(own) if name not in beside}


def _own_by_stem():
    return {file.stem: file for file in reversed(_own_files())}


def _own_files():
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folder = Path(os.environ.get("SRGAN_MODELS") or Path(settings) / "srgan" / "models")
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if file.suffix.lower() in SUFFIXES]


def list_models() -> list[str]:
    """A line for each model that can be given by its name: the shipped ones and what they are for, then the user's own."""
    own = own_models()
    about = {name: SHIPPED[name] for name in shipped_models()}
    about |= {name: str(file) for name, file in own.items() if name not in about}
    width = max(map(len, about), default=0)
    return [f"{name:{width}}  {text}" for name, text in about.items()]


def default_notice(sources: Iterable[str | Path], drawings: bool = False, clips: bool = False) -> str:
    """What is said where no model was chosen: which one is taken, what it is for, and which suits the inputs better.

    Args:
        sources: the inputs, whose suffixes tell whether they can ever have been JPEGs.
        drawings: whether they look like sprites or drawings, see `srgan.pictures.drawings`.
        clips: whether there are clips among them.
    """
    name = find_model().stem
    notice = f"model {name}, for {SHIPPED[name]}; --model picks another"
    if clips and FOR_CLIPS in shipped_models() and name != FOR_CLIPS:
        notice += f", and --model {FOR_CLIPS} takes a quarter of the time"
    suffixes = {Path(source).suffix.lower() for source in sources}
    if FOR_LOSSLESS not in shipped_models() or name == FOR_LOSSLESS:
        return notice
    if drawings:
        notice += f", and --model {FOR_LOSSLESS} suits sprites and drawings, which these seem to be"
    elif suffixes and suffixes <= LOSSLESS:
        kinds = ", ".join(sorted(suffix[1:].upper() for suffix in suffixes))
        notice += f", and --model {FOR_LOSSLESS} suits what was never a JPEG, as most {kinds} files"
    return notice


def is_shipped(path: str | Path) -> bool:
    """Whether a file is one of the package's own weights."""
    return Path(path).parent == WEIGHTS


def find_model(name_or_path: str | Path | None = None) -> Path:
    """The file of a model: a path, the name of a shipped one or of one in the user's folder, or hf://OWNER/NAME on the hub;
    without any the default model.

    Raises:
        UsageError: there is none; the message lists what there is.
    """
    shipped = shipped_models()
    if name_or_path is None:
        if not shipped:
            raise UsageError("no model is shipped yet: pass --model with a .keras file, as srgan-train writes it")
        return next(iter(shipped.values()))
    if not isinstance(name_or_path, str | os.PathLike):
        raise UsageError(f"model: {name_or_path!r} is neither a path nor a name")
    name, path = str(name_or_path), Path(name_or_path)
    if name.startswith(PREFIX):
        return fetch(name)
    own = _own_by_stem()
    if name in shipped and not path.is_file():
        if name in own:
            _log.info("%s: the shipped model; the one in the folder of your own is %s", name, own[name])
        return shipped[name]
    if path.is_dir() and (path / "generator.keras").is_file():  # a run folder of srgan-train
        return path / "generator.keras"
    if not path.is_file():
        if found := own.get(name) or {file.name: file for file in _own_files()}.get(name):
            return found
        if path.is_dir():
            raise UsageError(f"{path}: {_without_generator(path)}")
        have = f"shipped: {', '.join(shipped)}" if shipped else "no model is shipped yet"
        have += f"; of your own: {', '.join(own)}" if own else ""
        runs = [str(run) for run in [Path("runs", name)] if (run / "generator.keras").is_file()]
        similar = runs or difflib.get_close_matches(name, [*shipped, *own], 1)
        model, at, strength = name.rpartition("@")  # as srgan-compare and srgan-evaluate have it
        if at and (model in shipped or model in own or os.path.exists(model)):
            similar = [f"{model} with --strength {strength}"]
        meant = f"did you mean {similar[0]}? Else pass" if similar else "pass"
        raise UsageError(
            f"{name_or_path}: no such model; {meant} the path of a .keras, .pth, .safetensors or .onnx file ({have})"
        )
    return path


def _without_generator(folder):
    """Why a folder is no model, and what to name in its place."""
    if others := sorted(file.name for file in folder.glob("generator*.keras") if file.is_file()):
        return f"a run folder without generator.keras; name one of its files, such as {folder / others[0]}"
    if (folder / "config.yaml").is_file():
        return (
            "a run folder without generator.keras, which srgan-train writes after each epoch; the same srgan-train command "
            "goes on"
        )
    return "a folder without generator.keras, so no run folder of srgan-train; name one, or a model file"


def absolute(model: Any) -> Any:
    """A model's path as it is for a process in another folder; a name as it is, though a folder may be called so, too."""
    if not isinstance(model, str | os.PathLike):
        return model
    is_run = (Path(model) / "generator.keras").is_file() and str(model) not in shipped_models()
    return os.path.abspath(model) if is_run or Path(model).is_file() else model


def pixel_trained(path: Path, name: str | None = None) -> Path:
    """The pixel-trained model that belongs to a GAN-trained one: as named, else its sister file."""
    if name is not None:
        return find_model(name)
    for sister in (path.name.replace("srgan", "srresnet"), f"{path.stem}-pixel.keras"):
        if sister != path.name and path.with_name(sister).is_file():
            return path.with_name(sister)
    raise UsageError(
        f"{title(path)}: a strength below 1 blends a GAN with the same network trained by pixels alone, and no such file lies beside "
        "this model; if there is one, pass --pixel-model"
    )


def title(path: Path) -> str:
    """What a message calls a model: a shipped one by its name, others by their files."""
    return path.stem if is_shipped(path) else str(path)


def denoise_ends(path: Path) -> tuple[Path | None, Path] | None:
    """The generators beside `path` that take less noise and more than it: NAME-denoise0.keras, which may be missing, and
    NAME-denoise1.keras.
    """
    less, more = (path.with_name(f"{path.stem}-denoise{end}.keras") for end in (0, 1))
    return (less if less.is_file() else None, more) if more.is_file() else None

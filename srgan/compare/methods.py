"""Methods: the models that are compared, each by a label of its own."""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srgan.compare.inputs import named
from srgan.compare.scenes import BICUBIC, LOW, ORIGINAL
from srgan.errors import UsageError

_log = logging.getLogger("srgan")


@dataclass(frozen=True)
class Method:
    """A model: its label, its file and the file's SHA-256, its engine in words, and its `srgan.Upscaler`."""

    label: str
    path: Path
    sha256: str
    engine: str
    upscale: Callable


def load_methods(models: Iterable[str | Path] | None = None, **options: Any) -> tuple[list[Method], int]:
    """Load models and return them with their scale. They compute in float32 unless `options` say otherwise.

    Args:
        models: any number of [NAME=]MODEL[@STRENGTH], where MODEL is a shipped model's name or a path; None or none: all
            that are shipped.
        options: passed on to the Upscaler; `denoise` to the models that have weights for it, where at least one has.

    Raises:
        SRGANError: a model is missing or cannot be loaded.
        UsageError: the models enlarge by different factors, or none is shipped.
    """
    from srgan.models import denoise_ends, find_model, shipped_models, title
    from srgan.upscale.upscaler import Upscaler

    methods, scales, labels = [], {}, {LOW, BICUBIC, ORIGINAL}
    chosen = [parse_model(model) for model in models or shipped_models()] or [parse_model(None)]
    if any(place == BICUBIC for _, place, _ in chosen) and not Path(BICUBIC).exists():
        raise UsageError(f"{BICUBIC}: is part of every comparison and no model; leave it out")
    paths = [find_model(place) for _, place, _ in chosen]
    some_denoise = options.get("denoise") not in (None, "auto") and any(map(denoise_ends, paths))
    for (name, _, strength), path in zip(chosen, paths, strict=True):
        settings = {"precision": "float32"} | options | ({} if strength is None else {"strength": strength})
        if some_denoise and not denoise_ends(path):
            _log.warning("%s: has no weights for --denoise, which does nothing to it", title(path))
            del settings["denoise"]
        upscaler = Upscaler(model=path, **settings)
        blend, denoise = settings.get("strength", 1.0), upscaler.denoise
        mixed = (f"@{blend:g}" if blend < 1 else "") + ("" if denoise is None else f" denoise {denoise:g}")
        label = unique(name or _label(path) + mixed, labels)
        sha256, engine = hashlib.sha256(path.read_bytes()).hexdigest(), upscaler.engine
        methods.append(Method(label, path, sha256, f"{engine.name}, {engine.device}, {engine.precision}", upscaler))
        scales[label] = upscaler.scale
    if len(set(scales.values())) > 1:
        different = ", ".join(f"{label} x{scale}" for label, scale in scales.items())
        raise UsageError(f"the models enlarge by different factors ({different}): pass --scale for a common one")
    return methods, next(iter(scales.values()))


def parse_model(text: str | Path | None) -> tuple[str | None, str | Path | None, float | None]:
    """The name, the model and the strength in [NAME=]MODEL[@STRENGTH]; a file or folder of that name is meant first."""
    if text is None or Path(text).exists():
        return None, text, None
    name, model = named(str(text))
    found = re.fullmatch(r"(.+)@(\d*\.?\d+)", model)
    if found is None or Path(model).exists():
        return name, model, None
    return name, found[1], float(found[2])


def _label(path):
    """`runs/NAME/generator.keras` is called NAME and `generator-pixel.keras` NAME-pixel; other files by their own name."""
    if path.stem.partition("-")[0] != "generator":
        return path.stem
    return path.resolve().parent.name + path.stem.removeprefix("generator")


def unique(name: str, taken: set[str]) -> str:
    """`name`, with a number appended if it is in the set `taken`, to which it is then added.

    Names that differ only in case count as equal, as they do on the file systems of macOS and Windows.
    """
    candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    chosen = next(candidate for candidate in candidates if candidate.casefold() not in taken)
    taken.add(chosen.casefold())
    return chosen

"""From which files a generator's weights are mixed, and in what shares (Wang et al., arXiv 1809.00219, section 3.4)."""

import hashlib
import json
import numbers
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import UsageError
from srgan.models import denoise_ends, pixel_trained, shipped_models, title

if TYPE_CHECKING:
    import keras

UNLIKE = "are not built alike, so that their weights cannot be interpolated"
DENOISE = 0.5  # where a generator itself stands between its ends
# How far beyond the generator, seen from the end of more noise, that of less lies where it has no file: as srgan-photo's
# was chosen (docs/training-notes.md), whose own files would take 7 MB. srgan-fast's is near it.
_BEYOND = 0.5 / 1.3


def blend(
    path: Path, strength: float = 1.0, pixel_model: str | None = None, denoise: float | None = None
) -> dict[Path, float]:
    """The share of each file, `path` first; they add up to 1.

    `denoise` mixes the generator with the nearer of its ends, or moves it away from the other where it has no nearer one, and
    `strength` mixes what comes of that with the pixel-trained model: every share of the first is multiplied by `strength`.

    Raises:
        UsageError: a number is not in [0, 1], or there is no pixel-trained model or are no ends.
    """
    for name, value in (("strength", strength), ("denoise", DENOISE if denoise is None else denoise)):
        if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
            raise UsageError(f"{name}: {value!r} is not between 0 and 1")
    shares = {path: float(strength)}
    if denoise is not None:
        ends = denoise_ends(path)
        if ends is None:
            able = [name for name, file in shipped_models().items() if denoise_ends(file)]
            others = f"; these have them: {', '.join(able)}" if able else ""
            raise UsageError(f"{title(path)}: has no weights for more and less noise, which --denoise needs{others}")
        less, more = ends
        end, distance = (more if denoise > DENOISE else less), abs(denoise - DENOISE) / DENOISE
        if end is None:
            end, distance = more, -_BEYOND * distance
        if distance:
            shares = {path: strength * (1 - distance), end: strength * distance}
    if strength < 1:
        pixel_path = pixel_trained(path, pixel_model)
        shares[pixel_path] = shares.get(pixel_path, 0) + 1 - strength
    return shares


def built_as(generator: "keras.Model") -> str:
    """A digest that is the same for generators that differ in their weights only: of layers, shapes of weights, and constants."""
    from srgan.networks.layers import kind_of

    facts = [
        (kind_of(layer), [list(weight.shape) for weight in layer.weights] or _constants(layer))
        for layer in generator.layers
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def _constants(layer):
    """What a layer without weights computes with, as of a `Rescaling`."""
    config = layer.get_config()
    return [config[key] for key in sorted(config) if key not in ("name", "trainable", "dtype", "batch_shape")]

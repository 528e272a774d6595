"""Which network a model has that training is to start from. Imports no framework."""

import logging
from pathlib import Path

from srgan.config.bundled import find_config
from srgan.config.reading import read_tree
from srgan.errors import UsageError
from srgan.interop.loading import is_foreign
from srgan.interop.onnx import is_onnx
from srgan.interop.recognition import read_network
from srgan.models import find_model, is_shipped

_log = logging.getLogger("srgan")


def network_of(model: str) -> dict:
    """The section `network` of a configuration that fits a model, without the discriminator.

    Of other people's models it is read from the file, of a shipped one from its recipe, and of a run's from the
    `config.yaml` beside it; without one it is empty.

    Raises:
        SRGANError: there is no such model, or it is none that can be trained.
    """
    path = find_model(model)
    if is_onnx(path):
        raise UsageError(
            f"initial_weights = {model!r}: an .onnx file cannot be trained; take the .pth that it was made of"
        )
    if is_foreign(path):
        network = read_network(path)
        if network.assumed:
            _log.info("%s: the file does not say: %s", path, "; ".join(network.assumed))
        return {"generator": network.generator, **network.settings}
    recipe = path.with_name("config.yaml")
    if is_shipped(path):
        try:
            recipe = find_config(path.stem)
        except UsageError:
            return {}
    section = read_tree(Path(recipe)).get("network") if Path(recipe).is_file() else None
    return {key: value for key, value in (section or {}).items() if not key.startswith("discriminator")}

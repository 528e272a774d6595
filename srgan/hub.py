"""Models on the Hugging Face Hub, by `hf://OWNER/NAME/FILE@REVISION`."""

import re
from pathlib import Path

from srgan.errors import SRGANError, UsageError

PREFIX = "hf://"
SUFFIXES = (".keras", ".safetensors", ".pth", ".pt", ".onnx")  # of model files
_FORM = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+?)(/(?P<file>[^@]+))?(@(?P<revision>[\w./-]+))?")


def fetch(address: str) -> Path:
    """The file of a model on the hub, downloaded once and kept in the hub's own cache.

    Args:
        address: hf://OWNER/NAME/FILE@REVISION; without FILE the only model file there, without REVISION the newest.

    Raises:
        UsageError: it is no such address, huggingface_hub is not installed, or there is not exactly one model file.
        SRGANError: there is no such repository, file or revision, or the hub cannot be reached.
    """
    found = _FORM.fullmatch(address)
    if not found:
        raise UsageError(
            f"{address}: an address on the hub is hf://OWNER/NAME, and /FILE and @REVISION behind it if needed"
        )
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError(f"{address}: needs one more package: pip install '.[hub]'") from None
    repository, file, revision = found["repository"], found["file"], found["revision"]
    try:
        file = file or _only_model(huggingface_hub, address, repository, revision)
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except SRGANError:
        raise
    except Exception as error:  # of its own, of its HTTP library, and of the network
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SRGANError(f"{address}: cannot be had from the hub ({said[:200]}); is there a network?") from error


def _only_model(huggingface_hub, address, repository, revision):
    files = huggingface_hub.HfApi().list_repo_files(repository, revision=revision)
    models = [file for file in files if file.lower().endswith(SUFFIXES)]
    if len(models) != 1:
        have = ", ".join(models[:10]) or f"none of {', '.join(SUFFIXES)}"
        raise UsageError(f"{address}: name one of its files behind it, as in {PREFIX}{repository}/FILE; it has {have}")
    return models[0]

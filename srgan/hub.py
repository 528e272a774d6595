"""Models on the Hugging Face Hub, by `hf://OWNER/NAME/FILE@REVISION`."""

import logging
import re
from pathlib import Path

from srgan.errors import SRGANError, UsageError

_log = logging.getLogger("srgan")

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
    from huggingface_hub.utils import logging as hub_logging

    hub_logging.set_verbosity_error()  # without a network it tells of each attempt
    repository, file, revision = found["repository"], found["file"], found["revision"]
    try:
        file = file or _only_model(huggingface_hub, address, repository, revision)
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
    except SRGANError:
        raise
    except Exception as error:  # of its own, of its HTTP library, and of the network
        kept = None if file or _is_absent(error) else _kept_model(huggingface_hub, repository, revision)
        if kept:
            _log.info("%s: the hub cannot be reached; %s is taken, which was downloaded before", address, kept.name)
            return kept
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        absent = "no such repository, file or revision, or it needs a login"
        why = absent if _is_absent(error) else "is there a network?"
        raise SRGANError(f"{address}: cannot be had from the hub ({said[:200]}); {why}") from error


def _is_absent(error):
    return getattr(getattr(error, "response", None), "status_code", None) in (401, 403, 404)


def _kept_model(huggingface_hub, repository, revision):
    """The only model file of a repository in the hub's cache, or None."""
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, revision=revision, local_files_only=True))
    except Exception:  # nothing of it is there
        return None
    models = [file for file in folder.rglob("*") if file.name.lower().endswith(SUFFIXES)]
    return models[0] if len(models) == 1 else None


def _only_model(huggingface_hub, address, repository, revision):
    files = huggingface_hub.HfApi().list_repo_files(repository, revision=revision)
    models = [file for file in files if file.lower().endswith(SUFFIXES)]
    if len(models) != 1:
        have = ", ".join(models[:10]) or f"none of {', '.join(SUFFIXES)}"
        raise UsageError(f"{address}: name one of its files behind it, as in {PREFIX}{repository}/FILE; it has {have}")
    return models[0]

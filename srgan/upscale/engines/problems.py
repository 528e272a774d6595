"""What goes wrong in an engine, in words of our own."""

from srgan.errors import SRGANError


class Inconvertible(Exception):
    """OpenVINO cannot run this generator; the message says why."""


def translate_backend_error(error):
    """The MemoryError or SRGANError that an engine's error stands for: every backend has its own."""
    said = str(error)
    if any(words in said.lower() for words in ("bad_alloc", "resource_exhausted", "out of memory", "allocate")):
        return MemoryError(said)
    return SRGANError(f"the engine failed: {' '.join(said.split())[:300]}")

"""What goes wrong in an engine, in words of our own."""

from srgan.errors import SRGANError, is_out_of_memory


class Inconvertible(Exception):
    """OpenVINO cannot run this generator; the message says why."""


def translate_backend_error(error: Exception) -> Exception:
    """The MemoryError or SRGANError that an engine's error stands for: every backend has its own."""
    said = str(error)
    if is_out_of_memory(error):
        return MemoryError(said)
    return SRGANError(f"the engine failed: {' '.join(said.split())[:300]}")

"""The errors of all backends as the exceptions of this package."""

from srgan.errors import SRGANError, is_out_of_memory


class Inconvertible(Exception):
    """OpenVINO cannot run this generator; the message says why."""


def translate_backend_error(error: Exception) -> Exception:
    """Translate a backend's error, of whatever type, into a MemoryError or an SRGANError."""
    said = str(error)
    if is_out_of_memory(error):
        return MemoryError(said)
    return SRGANError(f"the engine failed: {' '.join(said.split())[:300]}")

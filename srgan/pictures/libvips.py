"""What libvips says of a file: it has one list of messages for all threads."""

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()


@contextlib.contextmanager
def own_messages(clear: bool = True) -> Iterator[None]:
    """A block in which no other thread decodes, so that what libvips says is said of this block's file.

    Args:
        clear: forget what it said of earlier files.
    """
    import pyvips

    with _lock:
        if clear:
            pyvips.vips_lib.vips_error_clear()
        yield

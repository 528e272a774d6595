"""The two kinds of failure a user can meet. Both end a command with one line and no traceback."""

import errno
import unicodedata


class SRGANError(Exception):
    """Something failed while working; the message names the file or key and says what to do. Exit status 1."""

    exit_status = 1


class UsageError(SRGANError):
    """What was asked for makes no sense; nothing was done. Exit status 2."""

    exit_status = 2


_OUT_OF_MEMORY = (
    *("alloc", "resource_exhausted", "out of memory", "failed to map segment"),
    *("start new thread", "resource temporarily unavailable"),  # for a thread's stack
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, of a library's loader or of a backend, which all have their own, says so."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY)


def is_out_of_space(error: BaseException) -> bool:
    """Whether an error of the system or of FFmpeg says that a disk, a quota or a limit for the size of files is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def printable(text: str) -> str:
    """`text` with escapes for what could change a terminal or end the line: names of files may have anything in them."""
    return "".join(
        repr(each)[1:-1] if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") else each for each in text
    )

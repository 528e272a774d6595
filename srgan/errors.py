"""The two kinds of failure a user can meet. Both end a command with one line and no traceback."""


class SRGANError(Exception):
    """Something failed while working; the message names the file or key and says what to do. Exit status 1."""

    exit_status = 1


class UsageError(SRGANError):
    """What was asked for makes no sense; nothing was done. Exit status 2."""

    exit_status = 2

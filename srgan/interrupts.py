"""Ctrl-C and SIGTERM end a command at once, whatever its threads are doing, and leave nothing half behind.

A thread waits for the signals and ends the process: neither a tile under way nor a read that waits for its input is
waited for. What would be left half done registers how it is cleaned up, with `cleaned_up`.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
_LONGEST = 1.5  # seconds that cleaning up may take, such as on a network's file system that hangs

_cleanups: dict[object, Callable[[], object]] = {}
_ending = threading.Event()


@contextlib.contextmanager
def cleaned_up(clean: Callable[[], object]) -> Iterator[None]:
    """Within the block, a signal that ends the process calls `clean` first, in another thread; inner blocks' come first.

    If it returns a text, that is said behind "interrupted".
    """
    stay_if_ending()
    key = object()
    _cleanups[key] = clean
    try:
        yield
    finally:
        stay_if_ending()
        _cleanups.pop(key, None)


def end_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end this process, with status 130 and 143, within two seconds and the second one at once.

    To be called in the main thread. What the process was started to ignore (by nohup, in the background) stays ignored.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    for number in _STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # only a signal that has a handler wakes the thread
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reading, writing), daemon=True).start()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def stay_if_ending() -> None:
    """Wait for the end where a signal ends this process: nothing is begun any more, and nobody hears what was removed."""
    if _ending.is_set():
        threading.Event().wait()


def _wait(reading, _writing):
    status = _next_status(reading)
    threading.Thread(target=clean_up_and_end, args=(status,), daemon=True).start()
    reading.settimeout(_LONGEST)
    with contextlib.suppress(TimeoutError):
        _next_status(reading)
    os._exit(status)


def _next_status(reading):
    """Wait for one of the signals. Others that have a handler are received, too."""
    while (number := reading.recv(1)[0]) not in _STATUS:
        pass
    return _STATUS[number]


def clean_up_and_end(status: int) -> None:
    """Clean up what is under way, and end this process at once with that status."""
    _ending.set()
    try:
        import psutil  # which is slow to import

        for child in psutil.Process().children(recursive=True):
            child.kill()
        texts = [clean() for clean in reversed(_cleanups.copy().values())]
        time.sleep(0.05)  # meanwhile another thread may have opened the file that was not there to be removed
        for clean in reversed(_cleanups.copy().values()):
            clean()
        print(": ".join(["srgan: interrupted", *map(str, filter(None, texts))]), file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _forget():
    """In a process that was forked, which has no such thread: signals do what they do by default."""
    signal.set_wakeup_fd(-1)
    for number in _STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    _cleanups.clear()

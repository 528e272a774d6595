"""How much memory is free, and refusing what would not fit into it."""

import contextlib
import sys
from pathlib import Path

import psutil

from srgan.errors import SRGANError

CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_NEEDED = 200 * 2**20  # bytes of addresses; with fewer, OpenVINO crashes rather than say so
_M_ARENA_MAX = -8  # of glibc's mallopt
_SMALL = 2**24  # bytes; asking takes a millisecond
_UNLIMITED = 2**60  # cgroup v1 writes a number about that size for "no limit"


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control groups and of its own address space."""
    return _free(psutil.virtual_memory().available)


def require_memory(size: int, what: str) -> None:
    """Refuse what takes more than is free, memory on disk included. Beyond it, the system may end the process.

    Args:
        size: bytes.
        what: takes them.

    Raises:
        SRGANError: there are too few.
    """
    if size < _SMALL:
        return
    free = _free(psutil.virtual_memory().available + psutil.swap_memory().free)
    if free < size:
        raise SRGANError(f"not enough memory for {what}: {free >> 20} MiB are free, and it takes {-(-size >> 20)} MiB")


def require_addresses() -> None:
    """Refuse to begin where the address space is limited to so little that OpenVINO would crash.

    Raises:
        SRGANError: it is.
    """
    if (free := _free_addresses()) < _NEEDED:
        raise SRGANError(
            f"not enough memory: {free >> 20} MiB of the address space are left, and {_NEEDED >> 20} MiB are needed; raise "
            "the limit (ulimit -v)"
        )


def save_addresses() -> None:
    """Let threads share one heap where the address space is limited: glibc reserves 64 MiB of addresses for each one's own."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes
        import resource

        if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _free(available):
    return max(min(available, *_free_in_control_groups(), _free_addresses()), 0)


def _free_addresses():
    """Bytes of its address space that this process may still take."""
    with contextlib.suppress(ImportError):
        import resource  # Unix only

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            return max(limit - psutil.Process().memory_info().vms, 0)
    return sys.maxsize


def _free_in_control_groups():
    """Yield the bytes left in this process's control group of version 1 or 2 and in each of its parents.

    In a container, the group's path may be the host's and the group itself be mounted at the root: the search ends there.
    """
    with contextlib.suppress(OSError):
        for line in OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            names, top = ("memory.max", "memory.current"), CGROUPS
            if controllers:
                names, top = ("memory.limit_in_bytes", "memory.usage_in_bytes"), CGROUPS / "memory"
            group = top / path.lstrip("/")
            for folder in [group, *group.parents]:
                with contextlib.suppress(OSError, ValueError):  # not there, or "max"
                    limit, used = (int((folder / name).read_text()) for name in names)
                    if limit < _UNLIMITED:
                        yield limit - used + _reclaimable(folder)
                if folder == top:
                    break


def _reclaimable(group):
    """Bytes of files in memory that the system gives up when the group needs more."""
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))  # version 1, with its children; 2
    return 0

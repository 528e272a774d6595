"""How much memory is free, and how large a tile fits into it."""

import contextlib
from pathlib import Path

import psutil

from srgan.upscale.tiles import OVERLAP, smallest_tile

_CGROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_UNLIMITED = 2**60  # cgroup v1 writes a number about that size for "no limit"


def affordable_tile(engine, whole: bool = False, overlap: int = OVERLAP) -> int:
    """Side in input pixels of the largest tile that fits into half of the free memory.

    Args:
        engine: for its `bytes_per_pixel` and `largest_tile`.
        whole: without the engine's own limit, for a model whose tiles would differ: instance normalisation takes the
            mean and the variance of everything it sees.
        overlap: input pixels that a tile sees beyond its own.
    """
    side = int((free_memory() / 2 / engine.bytes_per_pixel) ** 0.5) // 16 * 16
    return max(side if whole else min(side, engine.largest_tile), smallest_tile(overlap))


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, of its control groups and of its own address space."""
    free = [psutil.virtual_memory().available, *_free_in_control_groups()]
    with contextlib.suppress(ImportError):
        import resource  # Unix only

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit - psutil.Process().memory_info().vms)
    return max(min(free), 0)


def _free_in_control_groups():
    """Yield the bytes left in this process's control group of version 1 or 2 and in each of its parents.

    In a container, the group's path may be the host's and the group itself be mounted at the root: the search ends there.
    """
    with contextlib.suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            names = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
            )
            top = _CGROUPS / "memory" if controllers else _CGROUPS
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

"""How much memory there is, and what fits into it."""

import contextlib
from pathlib import Path

from srgan.upscale.tiles import SMALLEST_TILE


def affordable_tile(engine, whole=False):
    """The side of the largest tile that half of the free memory suffices for.

    Args:
        whole: without the engine's own limit, for a model whose tiles would differ: instance normalisation takes the
            mean and the variance of all that it sees.
    """
    side = int((free_memory() / 2 / engine.bytes_per_pixel) ** 0.5) // 16 * 16
    return max(side if whole else min(side, engine.largest_tile), SMALLEST_TILE)


def free_memory():
    """Bytes that this process may still take: of the machine, of its control group and of its own limit."""
    candidates = [4 * 2**30]  # where nothing says more
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        candidates = [1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable")))]
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            group = Path("/sys/fs/cgroup")
            candidates.append(int((group / limit).read_text()) - int((group / used).read_text()))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            candidates.append(limit - 1024 * 4 * int(Path("/proc/self/statm").read_text().split()[0]))
    return max(min(candidates), 0)

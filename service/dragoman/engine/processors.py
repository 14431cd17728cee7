"""The processors and the memory that this process may use: the container's share, not the host's.

A container sees all processors of its host; its control group says how many it may use. More threads than that do not
make it faster: the kernel stops them in the middle of a step.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

_NO_MEMORY_LIMIT = 2**60  # version 1 writes a number of this size if there is no limit


def cpu_limit(root: Path = Path("/")) -> float:
    """Return how many processors may be used at once: the smallest of affinity, cpuset and quota.

    Args:
        root: The folder of `proc` and `sys`; tests use another one.
    """
    allowed = float(len(os.sched_getaffinity(0)))  # respects the cpuset, too
    return min([allowed, *_quotas(root)])


def usable_threads(limit: float) -> int:
    """Return how many threads may run without being throttled: 1 for a limit of 0.5, 2 for 2.7."""
    return max(1, int(limit))


def memory_limit(root: Path = Path("/")) -> int:
    """Return how many bytes of memory the control groups allow; 0 if they set no limit."""
    return min(_memory_limits(root), default=0)


def _memory_limits(root: Path) -> Iterator[int]:
    """Yield the limit of our control group and of each above it, in bytes."""
    for controllers, mount, path in _groups(root):
        if not controllers:
            name, folder = "memory.max", mount
        elif "memory" in controllers:
            name, folder = "memory.limit_in_bytes", mount / ",".join(controllers)
        else:
            continue
        for group in _upwards(folder, path):
            limit = _read(group / name).strip()
            if limit.isdecimal() and int(limit) < _NO_MEMORY_LIMIT:
                yield int(limit)


def _groups(root: Path) -> Iterator[tuple[list[str], Path, str]]:
    """Yield our control groups: their controllers (none in version 2), where they are mounted, their path."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        yield [name for name in controllers.split(",") if name], root / "sys/fs/cgroup", path


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota of our control group and of each above it, in processors."""
    for controllers, mount, path in _groups(root):
        if not controllers:  # version 2
            for folder in _upwards(mount, path):
                yield from _quota(_read(folder / "cpu.max").split())
        elif "cpu" in controllers:  # version 1
            for folder in _upwards(mount / ",".join(controllers), path):
                files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from _quota([_read(folder / name).strip() for name in files])


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a group and those above it. Inside a container, the group's folder may be the mount itself."""
    folder = mount / path.lstrip("/")
    yield folder
    while folder != mount:
        folder = folder.parent
        yield folder


def _quota(fields: list[str]) -> Iterator[float]:
    """Yield quota divided by period, unless it is `max` or -1, which mean no limit."""
    if len(fields) == 2 and all(field.isdecimal() and int(field) > 0 for field in fields):
        yield int(fields[0]) / int(fields[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def kernel_set() -> str:
    """Return the instruction set that decides which kernels run, and so the last bits of every result."""
    flags = set(_read(Path("/proc/cpuinfo")).split())
    known = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd")
    return next((flag for flag in known if flag in flags), platform.machine())

"""What this process may compute with: the container's share of the processor, not the host's.

A container sees all processors of its host; how many it is allowed to use stands in its control group.
Threads beyond that do not make it faster: they are stopped by the kernel in the middle of a step.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path


def cpu_limit(root: Path = Path("/")) -> float:
    """Return how many processors may be used at once: the least of affinity, cpuset and quota.

    Args:
        root: Where `proc` and `sys` lie; another one in tests.
    """
    allowed = float(len(os.sched_getaffinity(0)))  # knows the cpuset too
    return min([allowed, *_quotas(root)])


def usable_threads(limit: float) -> int:
    """Return how many threads fill a limit without being stopped: 1 for 0.5, 2 for 2.7."""
    return max(1, int(limit))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota of our control group and of each above it, in processors."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            for folder in _upwards(mounts, path):
                yield from _quota(_read(folder / "cpu.max").split())
        elif "cpu" in controllers.split(","):  # version 1
            for folder in _upwards(mounts / controllers, path):
                files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from _quota([_read(folder / name).strip() for name in files])


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a group and those above it; inside a container, ours may be the mount itself."""
    folder = mount / path.lstrip("/")
    yield folder
    while folder != mount:
        folder = folder.parent
        yield folder


def _quota(fields: list[str]) -> Iterator[float]:
    """Yield quota over period, where there is one: no limit is written `max` or -1."""
    if len(fields) == 2 and all(field.isdecimal() and int(field) > 0 for field in fields):
        yield int(fields[0]) / int(fields[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def kernel_set() -> str:
    """Return the widest instruction set that decides which kernels run, and with them the last bits."""
    flags = set(_read(Path("/proc/cpuinfo")).split())
    known = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2", "i8mm", "asimddp", "asimd")
    return next((flag for flag in known if flag in flags), platform.machine())

"""How many processors a container has: control groups of both versions, as files."""

import os
from pathlib import Path

import pytest

from dragoman.engine.processors import cpu_limit, usable_threads

HOST = float(len(os.sched_getaffinity(0)))


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Return a root in which /proc/self/cgroup and some files under /sys/fs/cgroup say what is given."""
    files = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, HOST),
        ("0::/pod/one\n", {"pod/one/cpu.max": "max 100000\n", "pod/cpu.max": "25000 100000\n"}, 0.25),
        ("0::/hidden/by/the/namespace\n", {"cpu.max": "75000 100000\n"}, 0.75),
        (
            "4:memory:/x\n3:cpu,cpuacct:/pod\n",
            {"cpu,cpuacct/pod/cpu.cfs_quota_us": "60000", "cpu,cpuacct/pod/cpu.cfs_period_us": "100000"},
            0.6,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, HOST),
        ("0::/\n", {"cpu.max": "99900000 100000\n"}, HOST),
        ("0::/\n", {"cpu.max": "nonsense"}, HOST),
        ("0::/\n", {}, HOST),
    ],
    ids=[
        "v2",
        "v2-none",
        "v2-above",
        "v2-namespace",
        "v1",
        "v1-none",
        "more-than-host",
        "garbled",
        "no-file",
    ],
)
def test_cpu_limit(tmp_path: Path, groups: str, files: dict[str, str], limit: float) -> None:
    """
    The least of all quotas from our group upwards counts, and never more than the affinity allows.
    """
    assert limit == cpu_limit(machine(tmp_path, groups, files))


def test_no_control_groups(tmp_path: Path) -> None:
    """
    Without control groups, the affinity decides.
    """
    assert HOST == cpu_limit(tmp_path)


@pytest.mark.parametrize(("limit", "threads"), [(0.1, 1), (1.0, 1), (1.9, 1), (2.0, 2), (7.5, 7)])
def test_usable_threads(limit: float, threads: int) -> None:
    """
    Threads never exceed the limit, but for the one that there must be.
    """
    assert threads == usable_threads(limit)

"""What drills at full size have found, and how to find it again."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dragoman import bundle
from dragoman.config import DEFAULT_BUNDLE
from dragoman.engine.processors import cpu_limit, kernel_set

RESULTS = Path(__file__).parent / "results"


def write(name: str, figures: dict[str, Any], select: str = "") -> None:
    """Write figures to results/NAME.json, with the machine they come from and the command that finds them again.

    Args:
        select: Which test it was, for pytest's -k, if not the one of that name.
    """
    served = bundle.load(DEFAULT_BUNDLE)
    facts = {
        "command": f"make drills ARGS=\"-k '{select or name}'\"",
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": _processor(),
        "cores": cpu_limit(),
        "kernel_set": kernel_set(),
        "load_average": [round(load, 2) for load in os.getloadavg()],  # of a quiet machine: our own work
        "bundle": f"{served.full_name} ({served.manifest.precision}, {served.checksum[:12]})",
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(facts | figures, indent=2, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, os.uname().machine)

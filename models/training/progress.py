"""Show and record how a training goes: a bar on a terminal, lines elsewhere, numbers in metrics.jsonl."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """One training's bar and metrics file."""

    def __init__(self, run: Path, total: int, done: int, *, quiet: bool) -> None:
        self._file = None if quiet else run / "metrics.jsonl"
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Bar(
            TextColumn("{task.completed:,.0f} tokens"), BarColumn(), TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(), console=self._console, disable=quiet or not sys.stderr.isatty(),
        )  # fmt: skip
        self._task = self._bar.add_task("train", total=total, completed=done, note="")
        self._total = total
        self._last = (time.monotonic(), done)
        self._sums: dict[str, float] = {}
        self._count, self._updates, self._seconds, self._tokens = 0, 0, 0.0, done

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._summarise()
        self._bar.stop()

    def update(self, tokens: int, updates: int, seconds: float, measured: dict[str, float]) -> None:
        """Count one update; show and record the mean of those since the last line once a minute."""
        for name, value in measured.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._tokens, self._updates, self._seconds = tokens, updates, seconds
        self._bar.update(self._task, completed=tokens)
        if time.monotonic() - self._last[0] >= SECONDS_BETWEEN_LINES:
            self._summarise()

    def _summarise(self) -> None:
        """Show and record the updates since the last line, if there are any."""
        if not self._count:
            return
        then, before = self._last
        speed = (self._tokens - before) / (time.monotonic() - then)
        means = {name: value / self._count for name, value in self._sums.items()}
        self._last, self._sums, self._count = (time.monotonic(), self._tokens), {}, 0
        self._bar.update(self._task, note=f"loss {means['loss']:.3f}, {speed:,.0f} tokens/s")
        self.record(
            {
                "tokens": self._tokens,
                "updates": self._updates,
                "seconds": round(self._seconds),
                "tokens_per_second": round(speed),
            }
            | {name: round(value, 4) for name, value in means.items()}
            | {"hours_left": round((self._total - self._tokens) / max(1.0, speed) / 3600, 1)}
        )

    def record(self, values: dict[str, Any]) -> None:
        """Append one line to the metrics file, after what is still to be said, and print it where there is no bar."""
        self._summarise()
        if self._file is None:
            return
        line = json.dumps(values)
        if not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:  # a full disk must not end a training
            self.warn(f"{self._file}: {error.strerror}")

    def warn(self, message: str) -> None:
        """Say what went wrong without stopping."""
        self._console.print(f"warning: {message}", style="yellow", markup=False)

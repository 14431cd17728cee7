"""What the batching room asks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dragoman.engine.model_runner import Step


class Runner(Protocol):
    """The engine that a worker drives; `dragoman.engine.model_runner.ModelRunner` is the real one."""

    def join(self, sources: Sequence[Sequence[int]]) -> None:
        """Encode sentences and give each a row."""

    def step(self, tokens: Sequence[int], num_top: int) -> Step:
        """Advance every row by one token."""

    def branch(self, branches: Sequence[tuple[int, int, int]]) -> None:
        """Copy rows over others, from the first step that the two do not share."""

    def leave(self, rows: Sequence[int]) -> None:
        """Free rows and close the gaps."""

    def clear(self) -> None:
        """Free all rows, whatever state a failure left them in."""

    @property
    def padding_ratio(self) -> float:
        """Return which share of the cached positions of the rows in use is empty."""

"""One sentence's life: waiting, running, finished."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from service.engine.runner import FREE
from service.errors import DeadlinePassed
from service.text.tokenizer import EOS_ID
from service.translation import Finish, Times


@dataclass(frozen=True)
class Result:
    """What the engine made of a sentence."""

    ids: list[int]  # pieces, without the end
    log_probabilities: list[float]  # of each piece, and of the end if it was reached
    attention: npt.NDArray[np.float32]  # (T, S): len(log_probabilities), len(source_ids)
    finish: Finish
    times: Times


@dataclass(eq=False)
class Sequence:
    """A sentence on its way through the engine.

    Attributes:
        source_ids: Tag, pieces, end.
        max_tokens: Target pieces, at most.
        shift: Of the alignment head: which step's attention belongs to a piece.
        forced: Pieces the translation must begin with; with `is_forced_whole` it is exactly these.
        priority: Lower joins first.
        deadline: On the loop's clock; of equal priority, the earlier joins first. After it the sentence is given up.
        arrival: Its number in the order of arrival.
        overtaken: How many newer sentences joined before it.
    """

    source_ids: list[int]
    max_tokens: int
    shift: int
    forced: list[int] = field(default_factory=list)
    is_forced_whole: bool = False
    priority: int = 0
    deadline: float = math.inf
    arrival: int = 0
    overtaken: int = 0
    ids: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    attention: list[npt.NDArray[np.float32]] = field(default_factory=list)
    future: Future[Result] = field(default_factory=Future)
    submitted_at: float = 0.0
    started_at: float = 0.0
    encoded_at: float = 0.0

    @property
    def is_abandoned(self) -> bool:
        """Tell whether nobody waits for the result any more."""
        return self.future.cancelled()

    def is_lost(self, now: float) -> bool:
        """Tell whether more work on it would be for nobody."""
        return self.is_abandoned or self.deadline <= now

    def give_up(self) -> None:
        """Tell whoever still waits that the deadline has passed."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(DeadlinePassed("not finished before the deadline"))

    def next_forced(self) -> int:
        """Return the piece that must come next, or `FREE`."""
        if len(self.ids) < len(self.forced):
            return self.forced[len(self.ids)]
        return EOS_ID if self.is_forced_whole else FREE

    def advance(
        self, piece: int, log_probability: float, attention: npt.NDArray[np.float32]
    ) -> Finish | None:
        """Take in one step; return why the sentence is finished, if it is."""
        self.ids.append(piece)
        self.log_probabilities.append(log_probability)
        self.attention.append(attention[: len(self.source_ids)].copy())
        if piece == EOS_ID:
            return Finish.FORCED if self.is_forced_whole else Finish.STOP
        return Finish.LENGTH if len(self.ids) >= self.max_tokens else None

    def finish(self, reason: Finish, now: float) -> None:
        """Hand the result to whoever waits for it."""
        rows = (
            self.attention[self.shift :] + self.attention[-1:] * self.shift
        )  # the last piece keeps its own row
        result = Result(
            ids=self.ids if reason is Finish.LENGTH else self.ids[:-1],
            log_probabilities=self.log_probabilities,
            attention=np.stack(rows),
            finish=reason,
            times=Times(
                queue=self.started_at - self.submitted_at,
                encode=self.encoded_at - self.started_at,
                decode=now - self.encoded_at,
            ),
        )
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

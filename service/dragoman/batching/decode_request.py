"""One sentence's life: waiting, running, finished."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dragoman.batching.search import (
    MAX_REPEATS,
    MIN_REPEATED,
    Hypothesis,
    expand,
    most_repetitions,
    num_candidates,
    repeated_block,
)
from dragoman.engine.cache import Float
from dragoman.engine.model_runner import Step
from dragoman.errors import DeadlinePassed
from dragoman.text.tokenizer import BOS_ID, EOS_ID
from dragoman.types import GREEDY, Finish, Search, Times


@dataclass(frozen=True)
class Output:
    """One translation of a sentence, as pieces.

    Attributes:
        ids: Without the end.
        log_probabilities: Of each piece, and of the end if it was reached: T.
        steps: Of each of these at least, the attention, (S,) each; S is 0 if it was not wanted.
        repetitions: Of the last block, if that is why it ended.
    """

    tokens: list[int]
    log_probabilities: list[float]
    steps: list[Float]
    finish: Finish
    repetitions: int = 0

    @cached_property
    def attention(self) -> Float:
        """Return the alignment head's weights, (T, S); put together only if somebody asks."""
        return np.stack(self.steps[: len(self.log_probabilities)])


@dataclass(frozen=True)
class DecodeResult:
    """What the engine made of a sentence."""

    best: Output
    alternatives: list[Output]
    times: Times


@dataclass(eq=False)
class DecodeRequest:
    """A sentence on its way through the engine.

    Attributes:
        source_ids: Tag, pieces, end.
        max_tokens: Target pieces, at most.
        shift: Of the alignment head: which step's attention belongs to a piece.
        wants_attention: It is kept, else let go at once.
        search: How many rows it takes, and what is wanted of them.
        forced: Pieces the translation must begin with; with `is_forced_whole` it is exactly these.
        priority: Lower joins first.
        deadline: On the loop's clock; of equal priority, the earlier joins first. After it the sentence is given up.
        caller: Whose it is; callers take turns.
        arrival: Its number in the order of arrival.
        is_abandoned: What `abandon` leads to; to ask the future at each step would be slow.
        live: Hypotheses that go on, a row each; one until the first free choice.
        ended: Those that do not.
    """

    source_tokens: list[int]
    max_tokens: int
    shift: int
    wants_attention: bool = True
    search: Search = GREEDY
    target_prefix: list[int] = field(default_factory=list)
    is_target_forced: bool = False
    priority: int = 0
    deadline: float = math.inf
    caller: str = ""
    arrival: int = 0
    is_abandoned: bool = False
    live: list[Hypothesis] = field(default_factory=lambda: [Hypothesis()])
    ended: list[Hypothesis] = field(default_factory=list)
    future: Future[DecodeResult] = field(default_factory=Future)
    submitted_at: float = 0.0
    started_at: float = 0.0
    encoded_at: float = 0.0
    finished_at: float = 0.0

    @property
    def whose(self) -> tuple[str, int]:
        """Return caller and priority: those who share both go by deadline and arrival among themselves."""
        return self.caller, self.priority

    @property
    def expected_tokens(self) -> int:
        """Return how long its translation will be, at a guess: as long as its source."""
        return min(self.max_tokens, len(self.target_prefix) + len(self.source_tokens))

    @property
    def work(self) -> int:
        """Return what it will cost, in pieces read and written."""
        return len(self.source_tokens) + self.search.beam_size * self.expected_tokens

    def __post_init__(self) -> None:
        self._width = len(self.source_tokens) if self.wants_attention else 0

    def abandon(self) -> None:
        """Leave at the next step, for nobody waits for the result any more; if it is done, do nothing."""
        self.is_abandoned = self.future.cancel()

    def is_lost(self, now: float) -> bool:
        """Tell whether more work on it would be for nobody."""
        return self.is_abandoned or self.deadline <= now

    def give_up(self) -> None:
        """Tell whoever still waits that the deadline has passed."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(DeadlinePassed("not finished before the deadline"))

    @property
    def num_top(self) -> int:
        """Return how many of the best pieces of each row the next choice needs."""
        if (
            self.search.beam_size == 1
            or self.is_target_forced
            or len(self.live[0].tokens) < len(self.target_prefix)
        ):
            return 0
        return num_candidates(self.search)

    def advance(self, step: Step) -> bool:
        """Take in one step; tell whether the sentence is done."""
        if self.num_top:
            self.live, ended = expand(self.live, step, self.search, self._width)
            self.ended += ended
        else:
            self._follow(self.live[0], step)
        for hypothesis in self.live:
            if len(hypothesis.tokens) >= self.max_tokens or len(hypothesis.tokens) >= MIN_REPEATED:
                self._stop(hypothesis)
            if hypothesis.finish:
                self.ended.append(hypothesis)
        if self.ended:
            self.live = [hypothesis for hypothesis in self.live if not hypothesis.finish]
        return not self.live or len(self.ended) >= self.search.beam_size

    def _follow(self, hypothesis: Hypothesis, step: Step) -> None:
        """Take the forced or the best piece."""
        row, written = hypothesis.row, len(hypothesis.tokens)
        if written < len(self.target_prefix) or self.is_target_forced:
            token = self.target_prefix[written] if written < len(self.target_prefix) else EOS_ID
            log_probability = float(step.log_probabilities[row, token])
        else:
            tokens, log_probabilities = step.best_rows
            token, log_probability = tokens[row], log_probabilities[row]
        hypothesis.append(token, log_probability, step.seen(row, self._width))
        if token == EOS_ID:
            hypothesis.finish = Finish.FORCED if self.is_target_forced else Finish.STOP

    def _stop(self, hypothesis: Hypothesis) -> None:
        """End a hypothesis if it turns in circles or is too long."""
        tokens = hypothesis.tokens
        if hypothesis.finish or self.is_target_forced or len(tokens) < len(self.target_prefix):
            return
        if len(tokens) > len(self.target_prefix) and repeated_block(tokens, MAX_REPEATS)[0]:
            least = max(MAX_REPEATS, most_repetitions(self.source_tokens) + 2)
            period, repetitions = repeated_block(tokens[len(self.target_prefix) :], least)
            if period:
                hypothesis.cut_repetition(period, repetitions)
                return
        if len(tokens) >= self.max_tokens:
            hypothesis.finish = Finish.LENGTH

    def finish(self, now: float) -> None:
        """Hand the result to whoever waits for it."""
        self.finished_at = now
        penalty = self.search.length_penalty
        ranked = sorted(  # one that came to its end is better than any that was stopped
            self.ended,
            key=lambda h: (h.finish in (Finish.STOP, Finish.FORCED), h.score(penalty)),
            reverse=True,
        )
        best, *others = (self._written(h) for h in ranked[: 1 + self.search.num_alternatives])
        times = Times(
            queue=self.started_at - self.submitted_at,
            encode=self.encoded_at - self.started_at,
            decode=now - self.encoded_at,
        )
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(DecodeResult(best, others, times))

    def _written(self, hypothesis: Hypothesis) -> Output:
        assert hypothesis.finish is not None, "only what has ended is ranked. This is a bug."
        is_complete = hypothesis.finish in (Finish.STOP, Finish.FORCED)
        log_probabilities, attention = hypothesis.retrace()
        return Output(
            tokens=hypothesis.tokens[:-1] if is_complete else hypothesis.tokens,
            log_probabilities=log_probabilities[: len(hypothesis.tokens)],  # a repetition was cut
            steps=attention[self.shift :] + attention[-1:] * self.shift,
            finish=hypothesis.finish,
            repetitions=hypothesis.repetitions,
        )


def previous_token(hypothesis: Hypothesis) -> int:
    """Return what the decoder reads next: the last piece written, or the start."""
    return hypothesis.tokens[-1] if hypothesis.tokens else BOS_ID

"""One sentence in the engine: what is asked for, the hypotheses it grows, and the result."""

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

COMPLETE = (Finish.STOP, Finish.FORCED)  # with an end token


@dataclass(frozen=True)
class Output:
    """One translation of a sentence, as tokens.

    Attributes:
        tokens: Without the end token.
        log_probabilities: Of each token, and of the end token if it was reached: T.
        steps: The attention of at least these T steps, (S,) each; S is 0 if attention was not asked for.
        finish: Why it ended.
        repetitions: How often its last block was repeated, if that ended it.
    """

    tokens: list[int]
    log_probabilities: list[float]
    steps: list[Float]
    finish: Finish
    repetitions: int = 0

    @cached_property
    def attention(self) -> Float:
        """Return the weights of the alignment head, (T, S); stacked on first use, for few callers ask."""
        return np.stack(self.steps[: len(self.log_probabilities)])


@dataclass(frozen=True)
class DecodeResult:
    """The translations of one sentence, best first, and where its time went."""

    best: Output
    alternatives: list[Output]
    times: Times


@dataclass(eq=False)
class DecodeRequest:
    """A sentence on its way through the engine.

    Attributes:
        source_tokens: Language tag, tokens, end.
        max_tokens: Limit on the target tokens.
        shift: Of the alignment head: how many steps later than its token the attention comes.
        wants_attention: Whether attention is kept.
        search: How many hypotheses to keep and to return.
        target_prefix: Tokens that the translation must begin with.
        is_target_forced: The prefix is the whole translation: it is scored and aligned, nothing is searched for.
        priority: Lower numbers join first.
        deadline: On the pool's clock. Of equal priority, the earlier deadline joins first; after it the sentence is
            given up.
        caller: Who asked; callers take turns. Empty if unknown.
        arrival: Its number in the order of arrival.
        is_abandoned: Whether the caller has gone; kept here because asking the future at each step would be slow.
        live: Hypotheses that go on, one row each. There is one until the first free choice.
        ended: Hypotheses that have ended.
        future: Brings the result.
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

    def __post_init__(self) -> None:
        self._attention_width = len(self.source_tokens) if self.wants_attention else 0

    @property
    def lane(self) -> tuple[str, int]:
        """Return its lane in the queue: within one, sentences join by deadline and arrival."""
        return self.caller, self.priority

    @property
    def expected_tokens(self) -> int:
        """Estimate the length of the translation: that of the source, beyond the prefix."""
        return min(self.max_tokens, len(self.target_prefix) + len(self.source_tokens))

    @property
    def work(self) -> int:
        """Return its cost: tokens to read and, for each hypothesis, to write."""
        return len(self.source_tokens) + self.search.beam_size * self.expected_tokens

    def abandon(self) -> None:
        """Stop work on it at the next step, because nobody waits for the result; harmless if it is done."""
        self.is_abandoned = self.future.cancel()

    def is_lost(self, now: float) -> bool:
        """Tell whether more work on it would be in vain."""
        return self.is_abandoned or self.deadline <= now

    def give_up(self) -> None:
        """Fail the future with `DeadlinePassed`, unless it is cancelled already."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(DeadlinePassed("not finished before the deadline"))

    @property
    def num_top(self) -> int:
        """Return how many of the best tokens of each row the next choice needs."""
        if self.search.beam_size == 1 or self._is_forced_at(len(self.live[0].tokens)):
            return 0
        return num_candidates(self.search)

    def advance(self, step: Step) -> bool:
        """Extend each hypothesis by one token, and return whether the sentence is done."""
        if self.num_top:
            self.live, ended = expand(self.live, step, self.search, self._attention_width)
            self.ended += ended
        else:
            self._extend(self.live[0], step)
        for hypothesis in self.live:
            if len(hypothesis.tokens) >= self.max_tokens or len(hypothesis.tokens) >= MIN_REPEATED:
                self._stop_if_endless(hypothesis)
            if hypothesis.finish:
                self.ended.append(hypothesis)
        if self.ended:
            self.live = [hypothesis for hypothesis in self.live if not hypothesis.finish]
        return not self.live or len(self.ended) >= self.search.beam_size

    def _is_forced_at(self, position: int) -> bool:
        """Tell whether the token at a position is given rather than chosen."""
        return self.is_target_forced or position < len(self.target_prefix)

    def _extend(self, hypothesis: Hypothesis, step: Step) -> None:
        """Append the forced token or, where none is forced, the most probable one."""
        row = hypothesis.row
        position = len(hypothesis.tokens)
        if self._is_forced_at(position):
            token = self.target_prefix[position] if position < len(self.target_prefix) else EOS_ID
            log_probability = float(step.log_probabilities[row, token])
        else:
            best_tokens, log_probabilities = step.best_rows
            token = best_tokens[row]
            log_probability = log_probabilities[row]
        hypothesis.append(token, log_probability, step.seen(row, self._attention_width))
        if token == EOS_ID:
            hypothesis.finish = Finish.FORCED if self.is_target_forced else Finish.STOP

    def _stop_if_endless(self, hypothesis: Hypothesis) -> None:
        """End a hypothesis that repeats itself or has reached the limit of tokens."""
        tokens = hypothesis.tokens
        if hypothesis.finish or self.is_target_forced or len(tokens) < len(self.target_prefix):
            return
        if len(tokens) > len(self.target_prefix) and repeated_block(tokens, MAX_REPEATS)[0]:
            min_repeats = max(MAX_REPEATS, most_repetitions(self.source_tokens) + 2)
            period, repetitions = repeated_block(tokens[len(self.target_prefix) :], min_repeats)
            if period:
                hypothesis.cut_repetition(period, repetitions)
                return
        if len(tokens) >= self.max_tokens:
            hypothesis.finish = Finish.LENGTH

    def finish(self, now: float) -> None:
        """Rank the hypotheses that have ended, and hand the result to the caller."""
        self.finished_at = now
        penalty = self.search.length_penalty
        ranked = sorted(  # a complete translation is better than any that was stopped
            self.ended,
            key=lambda h: (h.finish in COMPLETE, h.score(penalty)),
            reverse=True,
        )
        best, *others = (self._output(h) for h in ranked[: 1 + self.search.num_alternatives])
        times = Times(
            queue=self.started_at - self.submitted_at,
            encode=self.encoded_at - self.started_at,
            decode=now - self.encoded_at,
        )
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(DecodeResult(best, others, times))

    def _output(self, hypothesis: Hypothesis) -> Output:
        assert hypothesis.finish is not None, "only what has ended is ranked. This is a bug."
        log_probabilities, attention = hypothesis.retrace()
        return Output(
            tokens=hypothesis.tokens[:-1] if hypothesis.finish in COMPLETE else hypothesis.tokens,
            log_probabilities=log_probabilities[: len(hypothesis.tokens)],  # shorter if a repetition was cut
            steps=attention[self.shift :] + attention[-1:] * self.shift,
            finish=hypothesis.finish,
            repetitions=hypothesis.repetitions,
        )


def previous_token(hypothesis: Hypothesis) -> int:
    """Return the token that the decoder reads next: the last one written, or the start token."""
    return hypothesis.tokens[-1] if hypothesis.tokens else BOS_ID

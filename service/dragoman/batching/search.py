"""How hypotheses grow: greedy and beam search, and the guard against endless repetition.

Plain Python over the few best pieces of each row; all that touches the whole vocabulary was done by the
engine. A beam is at home in the same running batch as greedy sentences: each hypothesis is one row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dragoman.engine.cache import Float
from dragoman.engine.model_runner import Step
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import Finish, Search

MAX_PERIOD = 16  # pieces of the longest block whose repetition is noticed
MAX_REPEATS = 4  # of a block in a row, unless the source does the like
MIN_REPEATED = 12  # pieces, below which a model may still find its way out

# A step after those before it, or none: the trail before, the piece's log-probability, its attention.
History = tuple["History", float, Float] | tuple[()]


@dataclass(eq=False, slots=True)
class Hypothesis:
    """A translation being written.

    Attributes:
        row: Its decoder row.
        ids: Pieces, the end included once it is reached.
        total: Sum of their log-probabilities, each given those before.
        trail: Of its steps; a linked list, so that hypotheses with the same past share it.
        finish: Why it ended, if it did.
        repetitions: How often its last block was written, if that is why.
    """

    row: int = -1
    tokens: list[int] = field(default_factory=list)
    total: float = 0.0
    history: History = ()
    finish: Finish | None = None
    repetitions: int = 0

    def append(self, token: int, log_probability: float, attention: Float) -> None:
        """Grow by one piece; `attention` is that of its step, (S,)."""
        log_probability = min(log_probability, 0.0)  # rounding may lift a certainty above it
        self.tokens.append(token)
        self.total += log_probability
        self.history = (self.history, log_probability, attention)

    def child(self, token: int, log_probability: float, attention: Float) -> Hypothesis:
        """Return one that has the same past and goes on with a piece, in the same row for now."""
        child = Hypothesis(self.row, self.tokens.copy(), self.total, self.history)
        child.append(token, log_probability, attention)
        return child

    def steps_shared_with(self, older: Hypothesis) -> int:
        """Return how many decoder steps it has in common with one of the same beam that is a piece shorter.

        Both have gone through as many steps as this has pieces: the first read the start, none the last piece.
        """
        past: History = self.history[0] if self.history else ()
        other, shared = older.history, len(self.tokens)
        while past and other and past is not other:  # mostly they part a piece or two ago
            past, other, shared = past[0], other[0], shared - 1
        return shared

    def retrace(self) -> tuple[list[float], list[Float]]:
        """Return, of all steps, the log-probabilities and the attention, (S,) each."""
        log_probabilities: list[float] = []
        attention: list[Float] = []
        history = self.history
        while history:
            history, log_probability, seen = history
            log_probabilities.append(log_probability)
            attention.append(seen)
        return log_probabilities[::-1], attention[::-1]

    def score(self, length_penalty: float) -> float:
        """Return what hypotheses of different lengths are compared by."""
        length: float = len(self.tokens) ** length_penalty
        return self.total / length

    def cut_repetition(self, period: int, repetitions: int) -> None:
        """End with the first of several equal blocks."""
        del self.tokens[len(self.tokens) - period * (repetitions - 1) :]
        self.total = sum(self.retrace()[0][: len(self.tokens)])
        self.finish, self.repetitions = Finish.REPETITION, repetitions


def repeated_block(tokens: list[int], least: int) -> tuple[int, int]:
    """Return the length of the block that is repeated at the end, and how often; (0, 0) if there is none.

    It is repeated at least so often, and fills at least `MIN_REPEATED` pieces.

    >>> repeated_block([9] + [1, 2] * 6, 4)
    (2, 6)
    """
    last = tokens[-1]
    if last not in tokens[-1 - MAX_PERIOD : -1]:
        return 0, 0
    for period in range(1, min(MAX_PERIOD, len(tokens) // least) + 1):
        if tokens[-1 - period] != last:
            continue
        repetitions = max(least, -(-MIN_REPEATED // period))
        tail = tokens[-period * repetitions :]
        if len(tail) == period * repetitions and tail[period:] == tail[:-period]:
            return period, repetitions
    return 0, 0


def most_repetitions(tokens: list[int]) -> int:
    """Return how often any block occurs in a row, at most.

    >>> most_repetitions([5, 7, 7, 7, 5])
    3
    """
    most = 1
    for period in range(1, min(MAX_PERIOD, len(tokens) // 2) + 1):
        run = 0  # of pieces that equal the one a period before
        for token, before in zip(tokens[period:], tokens, strict=False):
            run = run + 1 if token == before else 0
            most = max(most, run // period + 1)
    return most


def num_candidates(search: Search) -> int:
    """Return how many continuations of each hypothesis a beam looks at: enough, for only one of them is the end."""
    return search.beam_size + 1


def expand(
    live: list[Hypothesis], step: Step, search: Search, width: int
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """Return the best continuations of a beam: those that go on, best first, and those that ended.

    Each of the `beam_size` best continuations either goes on or ends; the places of those that end are
    filled from the next best. A continuation stands in its parent's row until it is given another.

    Args:
        width: Source positions whose attention is kept.
    """
    count, beam_size = num_candidates(search), search.beam_size
    top, top_log_probabilities = step.top_rows
    costs = [-parent.total - value for parent in live for value in top_log_probabilities[parent.row][:count]]
    going: list[Hypothesis] = []
    ended: list[Hypothesis] = []
    best_first = sorted(range(len(costs)), key=costs.__getitem__)  # of equals, the first
    for order, candidate in enumerate(best_first):
        place, rank = divmod(candidate, count)
        parent = live[place]
        token = top[parent.row][rank]
        if token == EOS_ID and order >= beam_size:
            continue
        child = parent.child(token, top_log_probabilities[parent.row][rank], step.seen(parent.row, width))
        if token == EOS_ID:
            child.finish = Finish.STOP
            ended.append(child)
            continue
        going.append(child)
        if len(going) == beam_size:
            break
    return going, ended

"""Search: how hypotheses grow, by greedy or beam search, and how endless repetition is stopped.

Plain Python over the few best tokens of each row; the engine does what touches the whole vocabulary. A beam shares the
running batch with greedy sentences, because each of its hypotheses is a row like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dragoman.engine.cache import Float
from dragoman.engine.model_runner import Step
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import Finish, Search

MAX_PERIOD = 16  # tokens of the longest block whose repetition is noticed
MAX_REPEATS = 4  # of a block in a row, unless the source repeats itself as often
MIN_REPEATED = 12  # tokens in all; a model may still find its way out of fewer

# A linked list of steps: the steps before, the token's log-probability, its attention. Empty before the first.
History = tuple["History", float, Float] | tuple[()]


@dataclass(eq=False, slots=True)
class Hypothesis:
    """A translation being written.

    Attributes:
        row: Its decoder row.
        tokens: The tokens written, including the end token once it is reached.
        total: Sum of their log-probabilities.
        history: Its steps. Hypotheses with the same past share it.
        finish: Why it ended; None while it goes on.
        repetitions: How often its last block was repeated, if that ended it.
    """

    row: int = -1
    tokens: list[int] = field(default_factory=list)
    total: float = 0.0
    history: History = ()
    finish: Finish | None = None
    repetitions: int = 0

    def append(self, token: int, log_probability: float, attention: Float) -> None:
        """Append a token; `attention` is that of its step, (S,)."""
        log_probability = min(log_probability, 0.0)  # rounding may lift a certainty above 0
        self.tokens.append(token)
        self.total += log_probability
        self.history = (self.history, log_probability, attention)

    def child(self, token: int, log_probability: float, attention: Float) -> Hypothesis:
        """Return a copy that is one token longer, in the same row until it is given another."""
        child = Hypothesis(self.row, self.tokens.copy(), self.total, self.history)
        child.append(token, log_probability, attention)
        return child

    def steps_shared_with(self, older: Hypothesis) -> int:
        """Return how many decoder steps it shares with a hypothesis of the same beam that is one token shorter.

        Both have gone through as many steps as this one has tokens: the first step read the start token, and none has
        read the last one.
        """
        past: History = self.history[0] if self.history else ()
        other = older.history
        shared = len(self.tokens)
        while past and other and past is not other:  # they usually part a token or two ago
            past = past[0]
            other = other[0]
            shared -= 1
        return shared

    def retrace(self) -> tuple[list[float], list[Float]]:
        """Return the log-probabilities and the attention of all steps, (S,) each."""
        log_probabilities: list[float] = []
        attention: list[Float] = []
        history = self.history
        while history:
            history, log_probability, row = history
            log_probabilities.append(log_probability)
            attention.append(row)
        return log_probabilities[::-1], attention[::-1]

    def score(self, length_penalty: float) -> float:
        """Return the score that ranks hypotheses of different lengths."""
        length: float = len(self.tokens) ** length_penalty
        return self.total / length

    def cut_repetition(self, period: int, repetitions: int) -> None:
        """Cut repeated blocks off after the first one, and end here."""
        del self.tokens[len(self.tokens) - period * (repetitions - 1) :]
        self.total = sum(self.retrace()[0][: len(self.tokens)])
        self.finish = Finish.REPETITION
        self.repetitions = repetitions


def repeated_block(tokens: list[int], min_repeats: int) -> tuple[int, int]:
    """Find a block that is repeated at the end, and return its length and how often it occurs; (0, 0) if there is none.

    A block counts if it occurs at least `min_repeats` times in a row and fills at least `MIN_REPEATED` tokens.

    >>> repeated_block([9] + [1, 2] * 6, 4)
    (2, 6)
    """
    last = tokens[-1]
    if last not in tokens[-1 - MAX_PERIOD : -1]:
        return 0, 0
    for period in range(1, min(MAX_PERIOD, len(tokens) // min_repeats) + 1):
        if tokens[-1 - period] != last:
            continue
        repetitions = max(min_repeats, -(-MIN_REPEATED // period))
        tail = tokens[-period * repetitions :]
        if len(tail) == period * repetitions and tail[period:] == tail[:-period]:
            return period, repetitions
    return 0, 0


def most_repetitions(tokens: list[int]) -> int:
    """Return how often a block occurs in a row, for the block that occurs most often.

    >>> most_repetitions([5, 7, 7, 7, 5])
    3
    """
    most = 1
    for period in range(1, min(MAX_PERIOD, len(tokens) // 2) + 1):
        run = 0  # tokens in a row that equal the one a period earlier
        for token, before in zip(tokens[period:], tokens, strict=False):
            run = run + 1 if token == before else 0
            most = max(most, run // period + 1)
    return most


def num_candidates(search: Search) -> int:
    """Return how many continuations of each hypothesis a beam considers.

    One more than the beam is enough: at most one of them is the end token.
    """
    return search.beam_size + 1


def expand(
    live: list[Hypothesis], step: Step, search: Search, width: int
) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """Return the best continuations of a beam: those that go on, best first, and those that ended.

    Each of the `beam_size` best continuations either goes on or ends; the next best fill the places of those that
    end. A continuation stays in its parent's row until it is given another.

    Args:
        width: Source positions whose attention is kept.
    """
    count = num_candidates(search)
    beam_size = search.beam_size
    top, top_log_probabilities = step.top_rows
    costs = [-parent.total - value for parent in live for value in top_log_probabilities[parent.row][:count]]
    going: list[Hypothesis] = []
    ended: list[Hypothesis] = []
    best_first = sorted(range(len(costs)), key=costs.__getitem__)  # stable: of equals, the first
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

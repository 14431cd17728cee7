"""Stand-ins that tests share, each with the smallest behaviour that its name promises."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dragoman.batching.decode_pool import DecodePool
from dragoman.batching.decode_request import DecodeRequest
from dragoman.batching.queue_limits import QueueLimits
from dragoman.batching.scheduler import Scheduler
from dragoman.batching.waiting_queue import WaitingQueue
from dragoman.bundle import Bundle
from dragoman.engine.cache import close_gaps
from dragoman.engine.model_runner import Step
from dragoman.observability.metrics import Metrics
from dragoman.registry.model_registry import LoadedModel
from dragoman.text.tokenizer import EOS_ID, Tokenizer
from dragoman.translation.translator import Translator
from dragoman.types import GREEDY, Search

TAG_ID = 4
VOCABULARY = 8000


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let some time pass."""
        self.now += seconds


class FakeRunner:
    """An engine that repeats each source piece by piece, surely, and looks at the piece it repeats.

    Attributes:
        batches: For each step, the sources that shared it.
        fails_at: The step, from 0, that raises; None: none does.
        seconds: What each step takes on the clock.
    """

    def __init__(
        self, clock: FakeClock | None = None, *, seconds: float = 0.0, fails_at: int | None = None
    ) -> None:
        self.clock, self.seconds, self.fails_at = clock or FakeClock(), seconds, fails_at
        self.batches: list[list[list[int]]] = []
        self._rows: list[tuple[list[int], int]] = []  # source, pieces written

    def join(self, sources: Sequence[Sequence[int]]) -> None:
        """Give each source a row."""
        self._rows += [(list(source), 0) for source in sources]

    def step(self, tokens: Sequence[int], num_top: int) -> Step:
        """Repeat the next piece of every row."""
        if self.fails_at == len(self.batches):
            self.batches.append([])
            raise RuntimeError("the engine is out of order")
        assert len(tokens) == len(self._rows)
        self.clock.advance(self.seconds)
        self.batches.append([source for source, _ in self._rows])
        places = [min(written + 1, len(source) - 1) for source, written in self._rows]  # not the tag
        wanted = [source[place] for (source, _), place in zip(self._rows, places, strict=True)]
        attention = np.zeros((len(self._rows), max(len(source) for source, _ in self._rows)), np.float32)
        attention[np.arange(len(places)), places] = 1.0
        self._rows = [(source, written + 1) for source, written in self._rows]
        return step_of([{token: -0.5} for token in wanted], num_top=num_top, attention=attention)

    def branch(self, branches: Sequence[tuple[int, int, int]]) -> None:
        """Make rows copies of others."""
        for source, target, _ in branches:
            self._rows[target : target + 1] = [self._rows[source]]

    def leave(self, rows: Sequence[int]) -> None:
        """Give up some rows."""
        close_gaps(self._rows, rows)

    @property
    def padding_ratio(self) -> float:
        """Nothing is padded."""
        return 0.0

    def clear(self) -> None:
        """Give up all rows."""
        self._rows = []


def step_of(
    rows: list[dict[int, float]], *, num_top: int = 0, attention: npt.NDArray[np.float32] | None = None
) -> Step:
    """Return a step that gives each row some probable pieces; all others are hopeless."""
    log_probabilities = np.full((len(rows), VOCABULARY), -50.0, np.float32)
    for row, tokens in enumerate(rows):
        for token, log_probability in tokens.items():
            log_probabilities[row, token] = log_probability
    top = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :num_top]
    if attention is None:
        attention = np.zeros((len(rows), 64), np.float32)
    return Step(log_probabilities, top, np.take_along_axis(log_probabilities, top, axis=1), attention)


def make_scheduler(
    *, max_running: int = 8, max_batch_tokens: int = 2**31, max_overtaken: int = 64
) -> Scheduler:
    """Return a scheduler with a line of its own."""
    queue = WaitingQueue(QueueLimits(max_overtaken=max_overtaken))
    return Scheduler(queue, max_running=max_running, max_batch_tokens=max_batch_tokens)


def make_pool(
    metrics: Metrics, runner: FakeRunner, *, max_running: int = 8, max_waiting: int = 100
) -> DecodePool:
    """Return a loop of one worker that has not been started: tests take its steps, or start it."""
    limits = QueueLimits(max_waiting=max_waiting)
    return DecodePool([runner], limits, metrics, max_running=max_running, clock=runner.clock)


def steps(pool: DecodePool, count: int = 1) -> None:
    """Take some steps of a pool's one worker."""
    for _ in range(count):
        pool.workers[0].step()


def make_model(bundle: Bundle, tokenizer: Tokenizer, metrics: Metrics) -> LoadedModel:
    """Return a version of a model whose engine repeats the source, started."""
    pool = make_pool(metrics.of_one_engine(), FakeRunner())
    pool.start()
    translator = Translator(bundle, tokenizer, pool, metrics, max_sentence_tokens=40)
    return LoadedModel(bundle, translator, pool, loaded_at=0.0, load_seconds=0.5)


def decode_request(
    *tokens: int, max_tokens: int = 100, shift: int = 0, priority: int = 0, deadline: float = math.inf,
    search: Search = GREEDY, wants_attention: bool = True,
) -> DecodeRequest:  # fmt: skip
    """Return a sentence of some pieces, as the translator would hand it in."""
    source = [TAG_ID, *tokens, EOS_ID]
    return DecodeRequest(
        source, max_tokens=max_tokens, shift=shift, wants_attention=wants_attention, priority=priority,
        deadline=deadline, search=search,
    )  # fmt: skip

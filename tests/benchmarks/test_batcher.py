"""The peer's batcher is a good one; needs neither CTranslate2 nor a quiet machine."""

import threading
from concurrent.futures import Future

import pytest

from tests.benchmarks.batcher import DynamicBatcher, Limits, choose
from tests.benchmarks.corpus import Sentence
from tests.benchmarks.theirs import Settings, batches

PATIENCE = 10


def sentence(length: int) -> Sentence:
    """Return a sentence of some pieces."""
    return Sentence(list(range(length)), 100)


class FakeEngine:
    """An engine that repeats each sentence, once it is let go."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.began, self.goes_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, sentences: list[Sentence]) -> list[list[int]]:
        """Repeat a batch."""
        self.seen.append([len(one.ids) for one in sentences])
        self.began.release()
        assert self.goes_on.acquire(timeout=PATIENCE)
        return [one.ids for one in sentences]


@pytest.mark.parametrize(
    ("lengths", "limits", "expected"),
    [
        ([5], Limits(), [0]),
        ([5, 9, 7], Limits(), [1, 2, 0]),  # all fit: longest first
        ([5, 90, 6, 91], Limits(max_batch=2), [2, 0]),  # the oldest, and what is most like it
        ([90, 5, 91, 6], Limits(max_batch=2), [2, 0]),
        ([5, 6, 90], Limits(max_batch_tokens=20), [1, 0]),
        ([200, 5], Limits(max_batch_tokens=100), [0]),  # too large for any batch: alone
        ([5] + [50] * 8 + [6], Limits(max_batch=2), [1, 0]),  # the last is beyond the window
    ],
)
def test_choice(lengths: list[int], limits: Limits, expected: list[int]) -> None:
    """
    A batch has the oldest sentence in it, as many others as fit, and little padding.
    """
    assert expected == choose(lengths, limits)


def test_forms_while_busy() -> None:
    """
    An idle engine begins at once; what comes meanwhile shares the next batch, and the abandoned take no place.
    """
    engine = FakeEngine()
    batcher = DynamicBatcher(engine, Limits())

    first = batcher.submit([sentence(3)])
    assert engine.began.acquire(timeout=PATIENCE)
    gone = batcher.submit([sentence(9)])
    rest = batcher.submit([sentence(4), sentence(6)]) + batcher.submit([sentence(5)])
    gone[0].cancel()
    engine.goes_on.release(2)
    found: list[Future[list[int]]] = first + rest
    lengths = [len(future.result(PATIENCE)) for future in found]
    batcher.close()

    assert [[3], [6, 5, 4]] == engine.seen
    assert [3, 4, 6, 5] == lengths


def test_failure_is_told() -> None:
    """
    The callers of a batch that failed learn of it, and the next batch is translated.
    """
    outcomes = iter([ValueError("no"), None])

    def run(sentences: list[Sentence]) -> list[list[int]]:
        if error := next(outcomes):
            raise error
        return [one.ids for one in sentences]

    batcher = DynamicBatcher(run, Limits())

    with pytest.raises(ValueError, match="no"):
        batcher.submit([sentence(3)])[0].result(PATIENCE)

    assert [0, 1] == batcher.submit([sentence(2)])[0].result(PATIENCE)
    batcher.close()


def test_cuts_as_the_library_does() -> None:
    """
    Offline batches hold so many examples, or so many tokens with their padding.
    """
    sentences = [sentence(length) for length in (40, 30, 20, 10, 10)]

    assert [[0, 1], [2, 3], [4]] == list(batches(sentences, Settings(max_batch_size=2)))
    tokens = Settings(batch_type="tokens", max_batch_size=80)
    assert [[0, 1], [2, 3, 4]] == list(batches(sentences, tokens))

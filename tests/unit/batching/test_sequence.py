"""One sentence's life, step by step."""

import numpy as np
import numpy.typing as npt
import pytest

from service.batching.sequence import Result, Sequence
from service.engine.runner import FREE
from service.text.tokenizer import EOS_ID
from service.translation import Finish, Times
from tests.fakes import sequence


def live(sentence: Sequence, pieces: list[int]) -> Finish | None:
    """Feed some pieces; step i looks at source position i alone."""
    reason = None
    for step, piece in enumerate(pieces):
        assert reason is None, "the sentence was finished already"
        reason = sentence.advance(piece, -0.1 * (step + 1), attention_at(step))
    return reason


def attention_at(position: int) -> npt.NDArray[np.float32]:
    """Return a row of attention that looks at one of eight positions, of which a sentence uses the first."""
    row = np.zeros(8, np.float32)
    row[position] = 1.0
    return row


def finished(sentence: Sequence, reason: Finish) -> Result:
    """Finish a sentence and return what it hands out."""
    sentence.finish(reason, now=0.0)
    return sentence.future.result(timeout=0)


def test_stops_at_the_end() -> None:
    """
    The end finishes a sentence; it is scored but is no piece of the translation.
    """
    sentence = sequence(7, 8)

    assert Finish.STOP is live(sentence, [17, 18, EOS_ID])

    result = finished(sentence, Finish.STOP)
    assert [17, 18] == result.ids
    assert 3 == len(result.log_probabilities)
    assert (3, 4) == result.attention.shape


def test_stops_at_the_limit() -> None:
    """
    A sentence that reaches its limit keeps every piece it has written.
    """
    sentence = sequence(7, 8, max_tokens=2)

    assert Finish.LENGTH is live(sentence, [17, 18])

    result = finished(sentence, Finish.LENGTH)
    assert [17, 18] == result.ids
    assert 2 == len(result.log_probabilities)


@pytest.mark.parametrize(
    ("shift", "positions"),
    [
        (0, [0, 1, 2, 3]),
        (1, [1, 2, 3, 3]),  # the last has no step after it, and keeps its own
    ],
)
def test_attention_belongs_to_pieces(shift: int, positions: list[int]) -> None:
    """
    Row i of the attention is that of piece i: of its own step with shift 0, of the one after it with shift 1.
    """
    sentence = sequence(7, 8, shift=shift)
    live(sentence, [17, 18, 19, EOS_ID])

    result = finished(sentence, Finish.STOP)

    assert positions == result.attention.argmax(axis=1).tolist()


@pytest.mark.parametrize("shift", [0, 1])
def test_single_step(shift: int) -> None:
    """
    A translation of one step has one row of attention, whatever the shift.
    """
    sentence = sequence(7, shift=shift)
    live(sentence, [EOS_ID])

    assert (1, 3) == finished(sentence, Finish.STOP).attention.shape


def test_forced_prefix() -> None:
    """
    Forced pieces come first, then the model is free.
    """
    sentence = sequence(7)
    sentence.forced = [17, 18]

    wanted = []
    for piece in (17, 18, 19):
        wanted.append(sentence.next_forced())
        sentence.advance(piece, -0.1, attention_at(0))

    assert [17, 18, FREE] == wanted


def test_forced_whole() -> None:
    """
    A given translation is forced to its end, and is reported as given.
    """
    sentence = sequence(7)
    sentence.forced, sentence.is_forced_whole = [17], True

    assert 17 == sentence.next_forced()
    assert None is live(sentence, [17])
    assert EOS_ID == sentence.next_forced()
    assert Finish.FORCED is sentence.advance(EOS_ID, -0.1, attention_at(0))


def test_times() -> None:
    """
    A result tells waiting, encoding and decoding apart.
    """
    sentence = sequence(7)
    sentence.submitted_at, sentence.started_at, sentence.encoded_at = 1.0, 3.0, 3.5
    live(sentence, [EOS_ID])

    sentence.finish(Finish.STOP, now=7.5)

    assert Times(queue=2.0, encode=0.5, decode=4.0) == sentence.future.result(timeout=0).times


def test_abandoned_is_not_an_error() -> None:
    """
    A sentence that finishes after its client hung up is dropped quietly.
    """
    sentence = sequence(7)
    live(sentence, [EOS_ID])

    sentence.future.cancel()
    sentence.finish(Finish.STOP, now=0.0)

    assert sentence.is_abandoned

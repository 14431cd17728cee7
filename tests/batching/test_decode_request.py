"""One sentence's life, step by step."""

import numpy as np
import pytest

from dragoman.batching.decode_request import DecodeRequest, Output
from dragoman.text.tokenizer import EOS_ID
from dragoman.types import GREEDY, Finish, Search, Times
from tests.fakes import decode_request, step_of


def feed(sentence: DecodeRequest, tokens: list[int]) -> bool:
    """Let the engine prefer some pieces, one a step; step i looks at source position i alone."""
    is_done = False
    for index, token in enumerate(tokens):
        assert not is_done, "the sentence was finished already"
        sentence.live[0].row = 0
        attention = np.zeros((1, 128), np.float32)
        attention[0, index] = 1.0
        is_done = sentence.advance(step_of([{token: -0.1 * (index + 1)}], attention=attention))
    return is_done


def finished(sentence: DecodeRequest) -> Output:
    """Finish a sentence and return what it hands out."""
    sentence.finish(now=0.0)
    return sentence.future.result(timeout=0).best


def test_stops_at_the_end() -> None:
    """
    The end finishes a sentence; it is scored but is no piece of the translation.
    """
    sentence = decode_request(7, 8)

    assert feed(sentence, [17, 18, EOS_ID])

    result = finished(sentence)
    assert Finish.STOP is result.finish
    assert [17, 18] == result.tokens
    assert 3 == len(result.log_probabilities)
    assert (3, 4) == result.attention.shape


def test_stops_at_the_limit() -> None:
    """
    A sentence that reaches its limit keeps every piece it has written.
    """
    sentence = decode_request(7, 8, max_tokens=2)

    assert feed(sentence, [17, 18])

    result = finished(sentence)
    assert Finish.LENGTH is result.finish
    assert [17, 18] == result.tokens
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
    sentence = decode_request(7, 8, shift=shift)
    feed(sentence, [17, 18, 19, EOS_ID])

    result = finished(sentence)

    assert positions == result.attention.argmax(axis=1).tolist()


@pytest.mark.parametrize(("wanted", "kept"), [(True, [[1.0] * 3, [2.0] * 3]), (False, [[], []])])
@pytest.mark.parametrize("search", [GREEDY, Search(beam_size=2)])
def test_attention_is_kept_where_it_is_wanted(search: Search, wanted: bool, kept: list[list[float]]) -> None:
    """
    A sentence keeps a copy of its own, for the engine writes each step where the last one was.
    """
    sentence = decode_request(7, search=search, wants_attention=wanted)
    attention = np.empty((1, 64), np.float32)
    for value, token in ((1.0, 17), (2.0, EOS_ID)):
        attention[:] = value
        sentence.live[0].row = 0
        sentence.live = sentence.live[:1]
        sentence.advance(step_of([{token: -0.1, 18: -9.0, 19: -9.1}], num_top=3, attention=attention))

    assert kept == [step.tolist() for step in sentence.ended[0].retrace()[1]]


@pytest.mark.parametrize("shift", [0, 1])
def test_single_step(shift: int) -> None:
    """
    A translation of one step has one row of attention, whatever the shift.
    """
    sentence = decode_request(7, shift=shift)
    feed(sentence, [EOS_ID])

    assert (1, 3) == finished(sentence).attention.shape


def test_forced_prefix() -> None:
    """
    Forced pieces come first, whatever the engine prefers, and are scored; then the model is free.
    """
    sentence = decode_request(7)
    sentence.target_prefix = [17, 18]

    feed(sentence, [91, 18, 19, EOS_ID])

    result = finished(sentence)
    assert [17, 18, 19] == result.tokens
    assert [-50.0, -0.2, -0.3, -0.4] == pytest.approx(result.log_probabilities)
    assert Finish.STOP is result.finish


def test_a_prefix_as_long_as_the_limit() -> None:
    """
    It leaves no room for another piece.
    """
    sentence = decode_request(7, max_tokens=2)
    sentence.target_prefix = [17, 18]

    assert feed(sentence, [91, 91])

    result = finished(sentence)
    assert [17, 18] == result.tokens
    assert Finish.LENGTH is result.finish


def test_forced_whole() -> None:
    """
    A given translation is forced to its end, and is reported as given.
    """
    sentence = decode_request(7)
    sentence.target_prefix, sentence.is_target_forced = [17, 17, 17, 17, 17], True

    assert feed(sentence, [91] * 6)

    result = finished(sentence)
    assert Finish.FORCED is result.finish
    assert [17] * 5 == result.tokens
    assert 6 == len(result.log_probabilities)


@pytest.mark.parametrize(
    ("block", "times"), [([17], 12), ([17, 18], 6), ([17, 18, 19], 4), (list(range(21, 37)), 4)]
)
def test_repetition_is_stopped(block: list[int], times: int) -> None:
    """
    A sentence that writes the same block four times, and a dozen pieces, keeps it once and says how often it was.
    """
    sentence = decode_request(7)

    assert feed(sentence, [11, *block * times])

    result = finished(sentence)
    assert Finish.REPETITION is result.finish
    assert [11, *block] == result.tokens
    assert times == result.repetitions
    assert (len(block) + 1, 3) == result.attention.shape
    assert len(block) + 1 == len(result.log_probabilities)


def test_repetition_of_the_source() -> None:
    """
    What the source repeats, its translation may repeat as well, and once more.
    """
    laughing = decode_request(*[7] * 20)

    assert not feed(laughing, [17] * 21)
    assert feed(laughing, [17])
    assert [17] == finished(laughing).tokens


def test_repetition_in_the_prefix() -> None:
    """
    A prefix may repeat itself: it was asked for.
    """
    sentence = decode_request(7)
    sentence.target_prefix = [17] * 14

    feed(sentence, [17] * 14)
    feed(sentence, [18, EOS_ID])

    assert [17] * 14 + [18] == finished(sentence).tokens


def test_times() -> None:
    """
    A result tells waiting, encoding and decoding apart.
    """
    sentence = decode_request(7)
    sentence.submitted_at, sentence.started_at, sentence.encoded_at = 1.0, 3.0, 3.5
    feed(sentence, [EOS_ID])

    sentence.finish(now=7.5)

    assert Times(queue=2.0, encode=0.5, decode=4.0) == sentence.future.result(timeout=0).times


def test_abandoned_is_not_an_error() -> None:
    """
    A sentence that finishes after its client hung up is dropped quietly.
    """
    sentence = decode_request(7)
    feed(sentence, [EOS_ID])

    sentence.abandon()
    sentence.finish(now=0.0)

    assert sentence.is_abandoned

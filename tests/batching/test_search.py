"""How a beam grows, against an exhaustive search, and what counts as a repetition."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.batching.decode_request import DecodeRequest, Output, previous_token
from dragoman.batching.search import Hypothesis, expand, most_repetitions, repeated_block
from dragoman.engine.cache import close_gaps
from dragoman.engine.model_runner import Step
from dragoman.text.tokenizer import BOS_ID, EOS_ID
from dragoman.types import Finish, Search
from tests.fakes import decode_request, make_scheduler, step_of

LETTERS = (EOS_ID, 4, 5, 6)  # all that the model below can write


def model(written: tuple[int, ...]) -> dict[int, float]:
    """Return a made-up language model's log-probabilities of what comes next."""
    scores = np.random.default_rng([len(written), *written]).normal(0.0, 1.5, len(LETTERS))
    logs = scores - np.log(np.exp(scores).sum())
    return dict(zip(LETTERS, logs.tolist(), strict=True))


def search(sentence: DecodeRequest) -> list[Output]:
    """Run a sentence to its end through the scheduler, its rows filled by the model; best first."""
    [written] = search_together(sentence)
    return written


def search_together(*sentences: DecodeRequest) -> list[list[Output]]:
    """Run some sentences side by side; the widest beam decides how many pieces of each row are named."""
    scheduler = make_scheduler(max_running=32)
    for sentence in sentences:
        scheduler.waiting.add(sentence)
    scheduler.admit(0.0)
    while scheduler.running:
        rows = [model(tuple(hypothesis.tokens)) for hypothesis in scheduler.rows]
        num_top = max(sentence.num_top for sentence in scheduler.running)
        scheduler.advance(step_of(rows, num_top=num_top))
    for sentence in sentences:
        sentence.finish(now=0.0)
    results = [sentence.future.result(timeout=0) for sentence in sentences]
    return [[result.best, *result.alternatives] for result in results]


def every_translation(longest: int) -> dict[tuple[int, ...], float]:
    """Return each translation of at most so many pieces that reaches its end, with its total."""
    found = {}
    for length in range(longest):
        for tokens in itertools.product(LETTERS[1:], repeat=length):
            whole = (*tokens, EOS_ID)
            found[tokens] = sum(model(whole[:at])[token] for at, token in enumerate(whole))
    return found


def test_scores_are_those_of_the_model() -> None:
    """
    Every translation carries the log-probabilities of its own pieces, whatever rows it went through.
    """
    written = search(decode_request(7, max_tokens=6, search=Search(4, num_alternatives=3)))

    assert 4 == len(written)
    for one in written:
        assert Finish.STOP is one.finish
        whole = (*one.tokens, EOS_ID)
        expected = [model(whole[:at])[token] for at, token in enumerate(whole)]
        assert expected == pytest.approx(one.log_probabilities, abs=1e-5)


def test_attention_is_carried_along() -> None:
    """
    A translation's attention is that of its own past, not of what stood in its last row.
    """
    beam = decode_request(7, search=Search(2))

    def step(rows: list[dict[int, float]], seen: list[float]) -> Step:
        attention = np.zeros((len(rows), 8), np.float32)
        attention[:, 0] = seen
        return step_of(rows, num_top=4, attention=attention)

    beam.live[0].row = 0
    beam.advance(step([{11: -1.0, 12: -1.1}], [0.0]))
    beam.live[0].row, beam.live[1].row = 0, 1  # 11, 12
    beam.advance(step([{13: -9.0}, {14: -0.1, 15: -0.2}], [1.0, 2.0]))
    beam.live[0].row, beam.live[1].row = 1, 0  # 12 14, 12 15
    beam.advance(step([{EOS_ID: -0.1}, {EOS_ID: -0.1}], [4.0, 3.0]))
    beam.finish(now=0.0)

    best = beam.future.result(timeout=0).best
    assert [12, 14] == best.tokens
    assert [0.0, 2.0, 3.0] == best.attention[:, 0].tolist()


def test_wide_beams_find_what_greedy_misses() -> None:
    """
    Sums compared, a beam of 8 finds the most probable translation of all, which greedy search need not.
    """
    everything = every_translation(longest=6)

    [best] = search(decode_request(7, max_tokens=6, search=Search(8, length_penalty=0.0)))
    [greedy] = search(decode_request(7, max_tokens=6))

    assert max(everything, key=everything.__getitem__) == tuple(best.tokens)
    assert everything[tuple(best.tokens)] > sum(greedy.log_probabilities)


def test_alternatives_are_ranked() -> None:
    """
    The n best come best first, each once, compared as the length penalty says.
    """
    for penalty in (0.0, 1.0, 2.0):
        written = search(decode_request(7, max_tokens=8, search=Search(8, 7, penalty)))

        complete = [one.log_probabilities for one in written if one.finish is Finish.STOP]
        scores = [sum(logs) / len(logs) ** penalty for logs in complete]
        assert sorted(scores, reverse=True) == scores
        assert len(written) == len({(tuple(one.tokens), one.finish) for one in written}) > 4


def test_a_cut_translation_comes_last() -> None:
    """
    A translation that reached its end is preferred to one that was stopped.
    """
    step = step_of([{11: -0.1, EOS_ID: -4.0}], num_top=4)
    sentence = decode_request(7, max_tokens=1, search=Search(2, num_alternatives=1))
    sentence.live[0].row = 0

    assert sentence.advance(step)
    sentence.finish(now=0.0)

    result = sentence.future.result(timeout=0)
    assert Finish.STOP is result.best.finish
    assert [Finish.LENGTH] == [other.finish for other in result.alternatives]


def test_an_improbable_end_is_not_taken() -> None:
    """
    The end counts only among the best continuations, as many as the beam has hypotheses.
    """
    going, ended = expand(
        [Hypothesis(row=0)],
        step_of([{11: -0.1, 12: -0.2, EOS_ID: -0.3, 13: -0.4}], num_top=4),
        Search(2),
        width=0,
    )

    assert [[11], [12]] == [hypothesis.tokens for hypothesis in going]
    assert [] == ended


def test_equals_keep_their_order() -> None:
    """
    Of equally probable continuations, those of the first hypothesis come first, and of one those named first.
    """
    live = [Hypothesis(row=1, total=-1.0), Hypothesis(row=0, total=-2.0), Hypothesis(row=2, total=-1.0)]
    rows = [{21: -0.5, 22: -0.5}, {11: -1.5, 12: -1.5}, {31: -1.5, 32: -1.0}]

    going, _ = expand(live, step_of(rows, num_top=5), Search(4), width=0)

    assert [[32], [11], [12], [21]] == [hypothesis.tokens for hypothesis in going]


def test_the_impossible_comes_last() -> None:
    """
    What cannot be (minus infinity) is taken only where nothing else is left, and then in order.
    """
    nothing = -math.inf
    live = [Hypothesis(row=0), Hypothesis(row=1, total=-3.0)]
    top = np.array([[11, 12, 13], [21, 22, 23]])
    values = np.array([[-1.0, nothing, nothing], [nothing, nothing, nothing]], np.float32)

    going, _ = expand(live, Step(values, top, values, attention=values), Search(2), width=0)

    assert [([11], -1.0), ([12], nothing)] == [(hypothesis.tokens, hypothesis.total) for hypothesis in going]


def test_a_certainty_above_zero() -> None:
    """
    A log-probability that rounding lifted above 0 goes first, as it was computed, but is counted as 0.
    """
    going, _ = expand([Hypothesis(row=0)], step_of([{11: 0.0, 12: 1e-7}], num_top=3), Search(2), width=0)

    assert [([12], 0.0), ([11], 0.0)] == [(hypothesis.tokens, hypothesis.total) for hypothesis in going]


def test_beams_of_different_sizes_share_steps() -> None:
    """
    Whatever runs beside it, a sentence becomes what it becomes alone: greedy, or with a beam of any size.
    """
    kinds = [Search(1), Search(8, 7), Search(2, 1), Search(4, 3), Search(3, 2, length_penalty=0.5)]

    together = search_together(*(decode_request(7, max_tokens=6, search=kind) for kind in kinds))

    for kind, written in zip(kinds, together, strict=True):
        alone = search(decode_request(7, max_tokens=6, search=kind))
        assert [(one.tokens, one.log_probabilities) for one in alone] == [
            (one.tokens, one.log_probabilities) for one in written
        ]


@given(st.lists(st.sampled_from([Search(1), Search(2), Search(3), Search(8)]), min_size=1, max_size=5))
def test_a_row_has_read_the_past_of_its_hypothesis(kinds: list[Search]) -> None:
    """
    Rows that become copies of others take over the steps they lack, and then stand where their hypotheses do.
    """
    scheduler = make_scheduler(max_running=32)
    for kind in kinds:
        scheduler.waiting.add(decode_request(7, max_tokens=7, search=kind))
    scheduler.admit(0.0)
    read: list[list[int]] = [[] for _ in scheduler.rows]  # what an engine keeps of each row
    while scheduler.running:
        read = [[*past, previous_token(now)] for past, now in zip(read, scheduler.rows, strict=True)]
        rows = [model(tuple(hypothesis.tokens)) for hypothesis in scheduler.rows]
        num_top = max(sentence.num_top for sentence in scheduler.running)

        outcome = scheduler.advance(step_of(rows, num_top=num_top))

        for source, target, steps in outcome.branches:
            read[target : target + 1] = [[*(read[target][:steps] if steps else []), *read[source][steps:]]]
        close_gaps(read, outcome.left)
        assert [[BOS_ID, *hypothesis.tokens[:-1]] for hypothesis in scheduler.rows] == read


def test_children_share_their_past_only() -> None:
    """
    Hypotheses with the same past go on without each other, and each retraces its own steps in order.
    """
    parent, seen = Hypothesis(row=3), [np.zeros(8, np.float32) for _ in range(3)]
    parent.append(11, -1.0, seen[0])
    first, second = parent.child(12, -2.0, seen[1]), parent.child(13, -3.0, seen[1])
    second.row = 1
    second.append(14, -4.0, seen[2])

    for one, log_probabilities, steps in (
        (parent, [-1.0], seen[:1]),
        (first, [-1.0, -2.0], seen[:2]),
        (second, [-1.0, -3.0, -4.0], seen),
    ):
        found = one.retrace()
        assert log_probabilities == found[0]
        assert all(step is kept for step, kept in zip(steps, found[1], strict=True))
    assert [[11], [11, 12], [11, 13, 14]] == [one.tokens for one in (parent, first, second)]


def test_prefix_of_a_beam() -> None:
    """
    A beam writes its prefix in one row and branches after it.
    """
    sentence = decode_request(7, max_tokens=6, search=Search(4, num_alternatives=3))
    sentence.target_prefix = [4, 5]

    written = search(sentence)

    assert all([4, 5] == one.tokens[:2] for one in written)
    assert len(written) > 1


@given(st.lists(st.integers(1, 3), max_size=12), st.lists(st.integers(1, 9), min_size=1, max_size=16))
def test_repeated_block(before: list[int], block: list[int]) -> None:
    """
    A block that stands a dozen times at the end is found, itself or one that it consists of.
    """
    tokens = [*before, *block * 12]

    period, repetitions = repeated_block(tokens, 4)

    assert 0 < period <= len(block)
    assert repetitions >= 4
    assert period * repetitions >= 12
    assert tokens[-period * repetitions :] == tokens[-period:] * repetitions


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_most_repetitions(tokens: list[int]) -> None:
    """
    Counting agrees with looking at every block at every place.
    """
    counts = [1]
    for period in range(1, len(tokens) // 2 + 1):
        for start in range(len(tokens) - period + 1):
            block, count = tokens[start : start + period], 1
            while tokens[start + count * period : start + (count + 1) * period] == block:
                count += 1
            counts.append(count)

    assert max(counts) == most_repetitions(tokens)

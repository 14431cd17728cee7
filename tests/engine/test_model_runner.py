"""The decoder's rows on the embedded bundle: whatever moves in memory, a row says what it would say alone."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dragoman import bundle
from dragoman.config import DEFAULT_BUNDLE
from dragoman.engine import model_runner as engine
from dragoman.engine.cache import Float, close_gaps
from dragoman.engine.model_runner import ModelRunner
from dragoman.engine.sessions import Binding, Sessions, open_sessions
from dragoman.text.tokenizer import BOS_ID, EOS_ID

SHAPE = bundle.load(DEFAULT_BUNDLE).manifest.shape


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    """Return the graphs of the embedded bundle."""
    return open_sessions(bundle.load(DEFAULT_BUNDLE), threads=1)


def sentence(chooser: random.Random) -> list[int]:
    """Return random pieces, with the tag of a language and the end."""
    length = chooser.choice((1, 5, 31, 47, 63, 90))
    return [4, *(chooser.randrange(300, SHAPE["vocabulary"]) for _ in range(length)), EOS_ID]


def alone(sessions: Sessions, source: list[int], pieces: list[int]) -> list[Float]:
    """Return what a sentence with no neighbour says at each step, given the pieces before."""
    runner = ModelRunner(sessions, SHAPE)
    runner.join([source])
    return [runner.step([piece], num_top=0).log_probabilities[0].copy() for piece in pieces]


@pytest.mark.parametrize("kept", [engine.MAX_BINDINGS, 2])
def test_rows_come_and_go(sessions: Sessions, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """
    Rows join, leave and grow, caches move and shrink, beams and greedy take turns: not one bit changes.
    """
    monkeypatch.setattr(engine, "MAX_BINDINGS", kept)
    chooser, runner = random.Random(6), ModelRunner(sessions, SHAPE)
    rows: list[tuple[list[int], list[int], list[Float]]] = []  # source, pieces read, what was said
    done: list[tuple[list[int], list[int], list[Float]]] = []
    for _ in range(60):
        joining = [sentence(chooser) for _ in range(chooser.choice((0, 0, 1, 3)))]
        runner.join(joining)
        rows += [(source, [], []) for source in joining]
        if not rows:
            continue
        for _, read, _ in rows:
            read.append(chooser.randrange(300, SHAPE["vocabulary"]) if read else BOS_ID)
        step = runner.step([read[-1] for _, read, _ in rows], num_top=chooser.choice((0, 0, 3)))
        for row, (_, _, said) in enumerate(rows):
            said.append(step.log_probabilities[row].copy())
        gone = [row for row in range(len(rows)) if chooser.random() < 0.2]
        done += [rows[row] for row in gone]
        runner.leave(gone)
        close_gaps(rows, gone)

    assert len(done) > 30
    for source, read, said in done:
        for one, other in zip(alone(sessions, source, read), said, strict=True):
            assert np.array_equal(one, other)


def test_what_lies_where_it_lay_is_not_told_again(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Sentences that come and go in the room that is there cost the runtime no new addresses.
    """
    runner, told = ModelRunner(sessions, SHAPE), []
    binding = sessions.decoder.io_binding

    def tell() -> Binding:
        told.append(binding())
        return told[-1]

    monkeypatch.setattr(sessions.decoder, "io_binding", tell)

    for _ in range(4):
        for count in (1, 2):
            runner.join([[4, 300, EOS_ID]] * count)
            runner.step([BOS_ID] * count)
            runner.leave(range(count))

    assert 2 == len(told)

"""Known answers: a few translations from when a model was exported, asked for again before it serves.

Checksums tell that a bundle is what somebody wrote; this tells that what was written is a model. The engine reads each
known source, is made to write the known translation, and must find it as probable as at the export. It compares
probabilities and not choices: other processors round otherwise, and where two tokens are equally good choose otherwise. A
bundle without known answers must at least tell one token from another.

Axes: R rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragoman.bundle import Bundle, KnownAnswer
from dragoman.engine.model_runner import ModelRunner
from dragoman.errors import BundleError
from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNKNOWN_ID

# Of a token's natural-log probability, on average over an answer. Kernels for AVX-512 VNNI, AVX2 and SSE4.2 differ by less than
# 1e-6 in int8; one bit of 2,000 weights, of nine million, makes 0.02.
MAX_DIFFERENCE = 0.05
_LEAST_SPREAD = 1e-3  # between the most and the least probable token, of a model that says anything at all


def check(runner: ModelRunner, bundle: Bundle) -> None:
    """Check a model that was just loaded.

    Raises:
        BundleError: It does not answer as it did when it was exported, or does not compute.
    """
    answers = bundle.manifest.known_answers
    try:
        if answers:
            _compare(
                answers,
                scores(runner, [answer.source for answer in answers], [answer.target for answer in answers]),
            )
        else:
            _check_spread(runner)
    except ValueError as error:
        raise BundleError(f"bundle {bundle.folder}: {error}") from None


def translate(runner: ModelRunner, sources: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
    """Return the most probable token after the other, the end included, of some sources."""
    runner.join(sources)
    written: list[list[int]] = [[] for _ in sources]
    before = [BOS_ID] * len(sources)
    for _ in range(max_tokens):
        before = runner.step(before).best_rows[0]
        for tokens, token in zip(written, before, strict=True):
            if not tokens or tokens[-1] != EOS_ID:
                tokens.append(token)
    runner.leave(range(len(sources)))
    return written


def scores(
    runner: ModelRunner, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> list[float]:
    """Return the mean natural-log probability of a token of each target.

    Raises:
        ValueError: A probability is not a number.
    """
    runner.join(sources)
    sums = np.zeros(len(targets))  # (R,)
    before = [BOS_ID] * len(targets)
    for place in range(max(map(len, targets))):
        log_probabilities = runner.step(before).log_probabilities  # (R, V)
        before = [target[place] if place < len(target) else PAD_ID for target in targets]
        is_there = np.array([place < len(target) for target in targets])  # (R,)
        sums += np.where(is_there, log_probabilities[np.arange(len(before)), before], 0.0)
    runner.leave(range(len(targets)))
    if not np.isfinite(sums).all():
        raise ValueError("the model computes what is not a number")
    return [float(total) / len(target) for total, target in zip(sums, targets, strict=True)]


def _compare(answers: Sequence[KnownAnswer], found: Sequence[float]) -> None:
    for answer, score in zip(answers, found, strict=True):
        if not math.isclose(score, answer.score, abs_tol=MAX_DIFFERENCE):
            said = f"a mean log-probability of {score:.3f} instead of {answer.score:.3f}, the limit is {MAX_DIFFERENCE} off"
            raise ValueError(
                f"the known translation of {answer.text!r} has {said}: this is not the model that was exported"
            )


def _check_spread(runner: ModelRunner) -> None:
    runner.join([[PAD_ID, UNKNOWN_ID, EOS_ID]])
    spread = np.ptp(runner.step([BOS_ID]).log_probabilities)
    runner.leave([0])
    if not spread > _LEAST_SPREAD:  # nor is it a number then
        raise ValueError(
            f"the model finds all tokens equally probable, or not a number (spread {spread:.3g})"
        )

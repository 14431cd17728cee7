"""Placeholders lead to the same characters on both sides, and each original comes back once."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.text.masking import attended_place, mask, unmask
from dragoman.text.spans import Span
from dragoman.text.tokenizer import Decoded

SENTENCE = "Run ls -l now, or {0}."
PROTECTED = [Span(4, 9), Span(18, 21)]


def decoded(text: str) -> Decoded:
    """Return a translation whose tokens are words, signs and placeholders."""
    return Decoded(text, [Span(*one.span()) for one in re.finditer(r"\{\d+\}|\w+|[^\w\s]", text)])


def test_names() -> None:
    """
    A placeholder is never one that the sentence holds itself.
    """
    masked = mask(SENTENCE, PROTECTED)
    assert masked is not None
    assert ("Run {1} now, or {2}.", ["ls -l", "{0}"]) == (masked.text, list(masked.originals.values()))


def test_ways_back() -> None:
    """
    Each character that the model reads leads to where it stands in the sentence.
    """
    masked = mask(SENTENCE, PROTECTED)
    assert masked is not None
    for index, (start, end) in enumerate(zip(masked.starts, masked.ends, strict=True)):
        assert SENTENCE[start:end] in (masked.text[index], "ls -l", "{0}")


@pytest.mark.parametrize(
    ("written", "text", "lost", "extra"),
    [
        ("Ou {2}, lancez {1} !", "Ou {0}, lancez ls -l !", 0, 0),
        ("Lancez {1} ou {2} ou {1}.", "Lancez ls -l ou {0} ou .", 0, 1),
        ("Lancez {1} ici.", "Lancez {0} ls -l ici.", 1, 0),
        ("", "ls -l{0}", 2, 0),
    ],
)
def test_unmask(written: str, text: str, lost: int, extra: int) -> None:
    """
    Originals stand where the model wrote them; a lost one where it attended to it, one too many is taken out.
    """
    masked = mask(SENTENCE, PROTECTED)
    assert masked is not None
    done = unmask(decoded(written), masked, lambda span: 0 if not written else 6)
    assert (text, lost, extra) == (done.decoded.text, len(done.lost), done.extra)


@settings(max_examples=100)
@given(st.permutations(["{1}", "{2}", "mot", "là", ",", "{1}"]), st.integers(0, 6), st.integers(0, 40))
def test_spans(words: list[str], count: int, place: int) -> None:
    """
    Whatever the model writes, each original stands there once, and tokens stay in order and within the text.
    """
    masked = mask("Run ls -l now or 北京.", [Span(4, 9), Span(17, 19)])
    assert masked is not None
    text = " ".join(words[:count]).replace("{1}", "{0}").replace("{2}", "{1}")
    done = unmask(
        decoded(text),
        masked,
        lambda _: ([0, *(span.end for span in decoded(text).spans)])[place % (1 + len(decoded(text).spans))],
    )
    assert (1, 1) == (done.decoded.text.count("ls -l"), done.decoded.text.count("北京"))
    for span, before in zip(done.decoded.spans, decoded(text).spans, strict=True):
        assert 0 <= span.start <= span.end <= len(done.decoded.text)
        if before.of(text) in ("mot", "là", ","):
            assert before.of(text) in span.of(done.decoded.text)


def test_attended_place() -> None:
    """
    A lost stretch belongs behind the target word that attends to it most; at the end if nothing is known.
    """
    attention = np.array([[0, 0.1, 0.1, 0], [0, 0.2, 0.7, 0], [0, 0, 0, 1]], np.float32)
    written = Decoded("on y va", [Span(0, 2), Span(3, 4), Span(5, 7)])
    sources = [Span(0, 3), Span(4, 9)]
    assert 4 == attended_place(written, sources, attention, Span(4, 9))
    assert 7 == attended_place(written, sources, attention[:0], Span(4, 9))

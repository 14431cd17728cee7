"""Putting translated sentences where their sources stood: offsets of flags, and what is held in memory."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dragoman.text.masking import Unmasked
from dragoman.text.preprocessing import PreparedSentence
from dragoman.text.spans import Span
from dragoman.text.tokenizer import Decoded
from dragoman.translation.text_assembler import Part, TextAssembler
from dragoman.types import Finish, FlagKind, Options, TranslatedSentence

PLAIN = Options("en", "fr")


class FakePostprocessor:
    """Says of a result, which is a text here, only where it stands."""

    def restore(self, _: PreparedSentence, written: str, options: Options, prefix: None) -> Unmasked:
        """Return the text."""
        return Unmasked(Decoded(written, []))

    def describe(
        self,
        sentence: PreparedSentence,
        result: Any,
        options: Options,
        target: Decoded,
        words: None,
        *,
        at: int,
    ) -> TranslatedSentence:
        """Return it with something large, as attention is."""
        span = Span(at, at + len(target.text))
        attention = np.ones((3, 3), np.float32)
        return TranslatedSentence(sentence.span, span, Finish.STOP, 0.0, None, [], [], attention)


def assembled(
    text: str, parts: list[PreparedSentence], *translated: str, keeps: bool = True
) -> tuple[list[Part], TextAssembler]:
    """Put translations where the parts of a text stood."""
    postprocessor: Any = FakePostprocessor()
    assembler = TextAssembler(postprocessor, text, parts, PLAIN, None, keeps_details=keeps)
    results: list[Any] = [SimpleNamespace(best=one, alternatives=[]) for one in translated]
    return [assembler.add(result) for result in results], assembler


def test_flags_behind_an_empty_part() -> None:
    """
    If nothing came of the first part of a sentence, what is wrong with the second is still pointed at.
    """
    parts = [
        PreparedSentence(Span(0, 3), "One", [9], [], num_parts=2),
        PreparedSentence(Span(4, 7), "two", [9], []),
    ]

    done, _ = assembled("One two", parts, "", "deux 77")

    text = "".join(part.text for part in done)
    [wrong] = [flag for flag in done[-1].flags if flag.kind is FlagKind.NUMBER_MISMATCH]
    assert " deux 77" == text
    assert wrong.target_span is not None
    assert "77" == wrong.target_span.of(text)


@pytest.mark.parametrize("keeps", [False, True])
def test_details_are_let_go(keeps: bool) -> None:
    """
    Of a streamed text no sentence that is done is held in memory but for where it stood; what is handed out is whole.
    """
    parts = [
        PreparedSentence(Span(0, 3), "One", [9], [], num_parts=2),
        PreparedSentence(Span(4, 7), "two", [9], []),
    ]

    done, assembler = assembled("One two", parts, "un", "deux", keeps=keeps)

    assert [9, 9] == [part.sentence.attention.size for part in done if part.sentence]
    assert [9 * keeps] * 2 == [sentence.attention.size for sentence in assembler.done]
    assert [Span(0, 2), Span(3, 7)] == [sentence.target_span for sentence in assembler.done]

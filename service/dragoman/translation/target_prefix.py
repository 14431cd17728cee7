"""The target prefix: what the caller wants every translation to begin with."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.errors import InvalidRequest, OverLimit
from dragoman.text.preprocessing import PreparedSentence, Preprocessor
from dragoman.text.spans import Span
from dragoman.types import Options

FIELD = "decoding.target_prefix"


def prepare(
    preprocessor: Preprocessor,
    options: Options,
    texts: Sequence[Sequence[PreparedSentence]],
    places: Sequence[int] | None,
    max_target_tokens: int,
) -> PreparedSentence | None:
    """Return the prefix as tokens, or None if there is none.

    Args:
        texts: The sentences of each text to be translated.
        places: Where the texts stand in the request, for errors; by default one after the other.
        max_target_tokens: Limit on the tokens of a translation, unless the options have one.

    Raises:
        InvalidRequest: A text is not one sentence.
        OverLimit: The prefix is longer than a translation may be.
    """
    if not options.prefix:
        return None
    for index, sentences in zip(places or range(len(texts)), texts, strict=True):
        if len(sentences) != 1:
            raise InvalidRequest(
                f"a target prefix needs texts of one sentence; contents[{index}] has {len(sentences)}",
                field=FIELD, reason="PREFIX_NEEDS_ONE_SENTENCE", limit=1, actual=len(sentences),
            )  # fmt: skip
    prefix = preprocessor.prepare(options.prefix, Span(0, len(options.prefix)))
    limit = options.max_target_tokens or max_target_tokens
    if len(prefix.tokens) > limit:
        raise OverLimit(
            f"tokens in {FIELD}", field=FIELD, limit=limit, actual=len(prefix.tokens), reason="INVALID_OPTION"
        )  # fmt: skip
    return prefix

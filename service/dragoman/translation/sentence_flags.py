"""The flags of a sentence: what its texts show, and what the model did, in the caller's offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dragoman.alignment.links import uncovered
from dragoman.text.masking import Unmasked
from dragoman.text.spans import Span
from dragoman.types import Finish, Flag, FlagKind, TranslatedSentence


def sentence_flags(parts: Sequence[TranslatedSentence], text_flags: Sequence[Flag], text: str) -> list[Flag]:
    """Return all flags of a sentence, in the order of the text.

    Args:
        parts: The parts that it was split into, or the sentence itself.
        text_flags: Found by comparing its texts; their spans count from its beginning.
        text: The whole source that it stands in.
    """
    source = Span(parts[0].source_span.start, parts[-1].source_span.end)
    target = Span(parts[0].target_span.start, parts[-1].target_span.end)
    flags = [
        replace(
            flag,
            source_span=flag.source_span and flag.source_span.moved(source.start),
            target_span=flag.target_span and flag.target_span.moved(target.start),
        )
        for flag in text_flags
    ]
    for part in parts:
        flags += _part_flags(part, text)
    if len(parts) > 1:
        flags.append(Flag(FlagKind.SENTENCE_SPLIT, source, target, len(parts)))
    return sorted(flags, key=lambda flag: (flag.target_span or target, flag.source_span or source))


def lost_flags(restored: Unmasked, start: int, target: Span) -> list[Flag]:
    """Return the flags of protected stretches that the model lost, and that stand where its attention went."""
    kind = FlagKind.PLACEHOLDER_MISMATCH
    lost = [Flag(kind, span.moved(start), target, 0.0) for span in restored.lost]
    return lost + [Flag(kind, None, target, float(restored.extra))] * (restored.extra > 0)


def _part_flags(part: TranslatedSentence, text: str) -> Iterator[Flag]:
    """Yield the flags that follow from how the model ended a part, and what of it the model attended to."""
    spans = part.source_span, part.target_span
    if part.finish is Finish.LENGTH:
        yield Flag(FlagKind.TARGET_CUT, *spans, part.num_target_tokens)
    if part.finish is Finish.REPETITION:
        yield Flag(FlagKind.REPETITION, *spans, part.repetitions)
    if part.words:
        for span, attention in uncovered(part.words, text):
            yield Flag(FlagKind.UNCOVERED_SOURCE, span, None, attention)

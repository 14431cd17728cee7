"""The text assembler: translated sentences, put where their sources stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dragoman.batching.decode_request import DecodeResult
from dragoman.text.preprocessing import PreparedSentence
from dragoman.text.spans import Span
from dragoman.text.words import split_words
from dragoman.translation.postprocessing import Postprocessor
from dragoman.translation.quality_flags import quality_flags
from dragoman.translation.sentence_flags import lost_flags, sentence_flags
from dragoman.types import Flag, Options, TranslatedSentence


@dataclass(frozen=True)
class Part:
    """A sentence's share of the translation of a text, as a stream hands it out.

    Attributes:
        sentence: None for a text without sentences.
        text: The translation with the white space before it and, if it is the last one, whatever follows it.
        flags: Those of the sentence. If it was split into parts, the last part has those of the whole.
    """

    sentence: TranslatedSentence | None
    text: str
    flags: list[Flag]
    is_last: bool


class TextAssembler:
    """Assembles the translation of one text, sentence by sentence, in order.

    Attributes:
        text: The source.
        done: The sentences translated so far.
    """

    def __init__(
        self,
        postprocessor: Postprocessor,
        text: str,
        sentences: Sequence[PreparedSentence],
        options: Options,
        prefix: PreparedSentence | None,
        *,
        keeps_details: bool = True,
    ) -> None:
        """Begin a text.

        Args:
            keeps_details: Whether `done` keeps words, tokens and attention; a stream hands them out and forgets them.
        """
        self._postprocessor = postprocessor
        self.text = text
        self._sentences = sentences
        self._options = options
        self._prefix = prefix
        self._keeps_details = keeps_details
        self.done: list[TranslatedSentence] = []
        self._source_end = 0  # of the last sentence
        self._target_length = 0  # of the translation so far
        self._first_part = 0  # index of the first part of the present sentence
        self._written: list[str] = []  # the translation of the present sentence, from its first part on
        self._lost: list[Flag] = []  # what the model lost of it that is protected

    @property
    def size_of_next(self) -> int:
        """Return how many code points of the source `add` will examine: the whole sentence, with its last part."""
        index = len(self.done)
        first = self._first_part if self._is_last_part(index) else index
        return self._sentences[index].span.end - self._sentences[first].span.start

    def add(self, result: DecodeResult) -> Part:
        """Append the translation of the next sentence."""
        index = len(self.done)
        sentence = self._sentences[index]
        gap = self.text[self._source_end : sentence.span.start]
        start = self._target_length + len(gap)
        translated, target_text = self._translated(sentence, result, start)
        self.done.append(translated)
        self._written += [gap if index > self._first_part else "", target_text]
        self._source_end = sentence.span.end
        self._target_length = start + len(target_text)
        is_last = len(self.done) == len(self._sentences)
        rest = self.text[self._source_end :] if is_last else ""
        flags = self._finish_sentence() if self._is_last_part(index) else []
        return Part(translated, gap + target_text + rest, flags, is_last)

    def _translated(
        self, sentence: PreparedSentence, result: DecodeResult, start: int
    ) -> tuple[TranslatedSentence, str]:
        """Return a sentence with its alternatives, and the text of its translation, which begins at `start`."""
        options = self._options
        restored = self._postprocessor.restore(sentence, result.best, options, self._prefix)
        target = restored.decoded
        self._lost += lost_flags(restored, sentence.span.start, Span(start, start + len(target.text)))
        words = (split_words(sentence.text), split_words(target.text)) if options.alignment else None
        translated = self._postprocessor.describe(sentence, result, options, target, words, at=start)
        if result.alternatives:
            others = self._postprocessor.alternatives(sentence, result, options, target, self._prefix)
            translated = replace(translated, alternatives=others)
        return translated, target.text

    def _is_last_part(self, index: int) -> bool:
        return index - self._first_part + 1 == self._sentences[self._first_part].num_parts

    def _finish_sentence(self) -> list[Flag]:
        """Return the flags of the sentence whose parts are done, and begin the next one."""
        first = self._first_part
        parts = self.done[first:]
        source = self.text[parts[0].source_span.start : parts[-1].source_span.end]
        flags = sentence_flags(parts, quality_flags(source, "".join(self._written)), self.text)
        if not self._keeps_details:
            self.done[first:] = [part.without_details() for part in parts]
        self._first_part = len(self.done)
        flags += self._lost
        self._written = []
        self._lost = []
        return flags

"""The tokenizer: from a normalised sentence to tokens and back, with the span of every token. Shared with training.

It is built on SentencePiece with byte fallback: a character without a piece of its own is spelled in bytes, so none is
lost.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import sentencepiece

from dragoman.text.spans import Span

SPACE = "\u2581"  # how SentencePiece writes a space inside a piece
PAD_ID, UNKNOWN_ID, BOS_ID, EOS_ID = 0, 1, 2, 3
# Marks inside a text: Unicode noncharacters, which are meant for a program's own use. A model that knows them has a
# control piece for each.
PLACEHOLDERS = "".join(map(chr, range(0xFDD0, 0xFDDA)))  # each stands for something to be copied
TERM_BEGIN, TERM_END = "\ufdda", "\ufddb"  # around the translation to be used for the word before
MARK_PIECES = {
    **{mark: f"<p{number}>" for number, mark in enumerate(PLACEHOLDERS)},
    TERM_BEGIN: "<term>",
    TERM_END: "</term>",
}
_APART = re.compile(f"([{SPACE}])")  # what SentencePiece would not read as it is
_MARKED_APART = re.compile(f"([{SPACE}{''.join(MARK_PIECES)}])")


def language_tag(language: str) -> str:
    """Return the language tag: the control symbol that asks for a target language.

    >>> language_tag("fr")
    '<2fr>'
    """
    return f"<2{language}>"


class Encoded(NamedTuple):
    """Tokens, each with the span of its characters. The bytes of one character share its span."""

    tokens: list[int]
    spans: list[Span]


class Decoded(NamedTuple):
    """A text, and the span of each token that it was decoded from."""

    text: str
    spans: list[Span]


class Tokenizer:
    """The vocabulary of all languages. It is immutable and safe to share between threads."""

    def __init__(self, model_bytes: bytes) -> None:
        """Load a SentencePiece model.

        Raises:
            ValueError: The bytes are not such a model, or it reserves other ids.
        """
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
        except RuntimeError as error:
            raise ValueError(f"not a SentencePiece model: {error}") from error
        if (self._processor.pad_id(), self._processor.bos_id(), self._processor.eos_id()) != (
            PAD_ID,
            BOS_ID,
            EOS_ID,
        ):
            raise ValueError(
                "the reserved piece ids of the SentencePiece model are not 0 (pad), 2 (bos), 3 (eos)"
            )
        self.vocabulary_size: int = self._processor.get_piece_size()
        self._pieces: list[str] = [self._processor.id_to_piece(id_) for id_ in range(self.vocabulary_size)]
        self._byte_of = {
            id_: int(piece[3:5], 16) for id_, piece in enumerate(self._pieces) if self._processor.is_byte(id_)
        }
        self._id_of_byte = {byte: id_ for id_, byte in self._byte_of.items()}
        controls = {id_ for id_ in range(self.vocabulary_size) if self._processor.is_control(id_)}
        id_of = {self._pieces[id_]: id_ for id_ in controls}
        self._id_of_mark = {mark: id_of[piece] for mark, piece in MARK_PIECES.items() if piece in id_of}
        self._mark_of = {id_: mark for mark, id_ in self._id_of_mark.items()}
        self._text = [
            "" if id_ in controls else piece.replace(SPACE, " ") for id_, piece in enumerate(self._pieces)
        ]
        self._text[UNKNOWN_ID] = "\ufffd"  # text is never encoded as this, but a model might write it
        self.languages = {
            piece[2:-1]: id_
            for id_, piece in enumerate(self._pieces)
            if id_ in controls and piece.startswith("<2")
        }

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Load a SentencePiece model from disk; errors as for the constructor."""
        return cls(path.read_bytes())

    @property
    def has_marks(self) -> bool:
        """Tell whether there is a piece for each placeholder and each mark of a term."""
        return self._id_of_mark.keys() == MARK_PIECES.keys()

    def piece(self, id_: int) -> str:
        """Return the piece of a token as SentencePiece writes it, for debugging."""
        return self._pieces[id_]

    def tag_id(self, language: str) -> int:
        """Return the token that asks for a target language; raise `KeyError` for an unknown one."""
        return self.languages[language]

    def encode_batch(
        self, texts: list[str], num_threads: int = 1, *, marked: bool = False
    ) -> list[list[int]]:
        """Tokenize many normalised texts at once, without spans, as training needs them."""
        encoded: list[list[int]] = self._processor.encode(
            [f" {text}" for text in texts], num_threads=num_threads
        )
        apart = _MARKED_APART if marked else _APART
        for index, text in enumerate(texts):
            if not text or apart.search(text):
                encoded[index] = self.encode_ids(text, marked=marked)
        return encoded

    def encode(self, text: str, *, marked: bool = False) -> Encoded:
        """Split a normalised sentence into pieces.

        Args:
            marked: Placeholders and marks of terms in it are control pieces, if there are any; a text of a user never
                yields one.
        """
        ids = self.encode_ids(text, marked=marked)
        return Encoded(ids, self._spans(ids, text))

    def encode_ids(self, text: str, *, marked: bool = False) -> list[int]:
        """Return the ids alone of a normalised sentence, in a quarter of the time."""
        # The first word begins like every other one, with a space. A literal U+2581 would be read as a
        # space too: it is spelled in bytes.
        if not text:
            return []
        ids: list[int] = []
        for part in (_MARKED_APART if marked else _APART).split(f" {text}"):
            if part == SPACE:
                ids += [self._id_of_byte[byte] for byte in SPACE.encode()]
            elif marked and part in self._id_of_mark:
                ids.append(self._id_of_mark[part])
            else:
                ids += self._processor.encode(part)
        return ids

    def _spans(self, ids: list[int], text: str) -> list[Span]:
        """Return the span of each token: its letters, without the space before them."""
        spans: list[Span] = []
        position = 0
        pending = 0  # bytes of the current character still to come
        for id_ in ids:
            if id_ in self._byte_of:
                pending = (pending or len(text[position].encode())) - 1
                spans.append(Span(position, position + 1))
                position += pending == 0
                continue
            start = position
            for character in self._mark_of.get(id_, self._pieces[id_]):
                if character != SPACE:
                    position += 1
                elif position < len(text) and text[position] == " ":
                    position += 1
                    start += position - start == 1
            spans.append(Span(start, position))
        return spans

    def decode_text(self, ids: list[int], *, marked: bool = False) -> str:
        """Return the text alone, in a tenth of the time of `decode`."""
        if marked or not self._byte_of.keys().isdisjoint(ids):
            return self.decode(ids, marked=marked).text
        return "".join([self._text[id_] for id_ in ids]).lstrip(" ")

    def decode(self, ids: list[int], *, goes_on: bool = False, marked: bool = False) -> Decoded:
        """Join pieces to text. Control symbols vanish; bytes that are no UTF-8 become U+FFFD.

        Args:
            goes_on: Something stands before it: a space at the beginning is one.
            marked: Placeholders and marks of terms are written.
        """
        text = ""
        spans: list[Span] = []
        run: list[int] = []  # bytes of characters that are spelled out
        for id_ in [*ids, EOS_ID]:
            byte = self._byte_of.get(id_)
            if byte is not None:
                run.append(byte)
                continue
            if run:
                spelled, run_spans = _spell(run, len(text))
                text += spelled
                spans += run_spans
                run = []
            piece = self._mark_of[id_] if marked and id_ in self._mark_of else self._text[id_]
            if not text and not goes_on:
                piece = piece.lstrip(" ")
            start = len(text) + len(piece) - len(piece.lstrip(" "))
            text += piece
            spans.append(Span(min(start, len(text)), len(text)))
        return Decoded(text, spans[:-1])


def _spell(run: list[int], position: int) -> tuple[str, list[Span]]:
    """Return the text of a run of bytes, and for each byte the span of its character; the first stands at `position`."""
    spans: list[Span] = []
    decoded = bytes(run).decode(errors="replace")
    lengths = [len(character.encode()) for character in decoded]
    if decoded.encode() == bytes(run):
        for length in lengths:
            spans += [Span(position, position + 1)] * length
            position += 1
    else:  # broken bytes: all of them share what was made of them
        spans = [Span(position, position + len(decoded))] * len(run)
    return decoded, spans

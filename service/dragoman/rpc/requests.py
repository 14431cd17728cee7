"""Valid requests as plain types: what validation makes of a message, and handlers work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dragoman.errors import DragomanError, InvalidRequest, OverLimit
from dragoman.text.spans import Span
from dragoman.types import Markup, Options


@dataclass(frozen=True)
class Output:
    """The details that a reply is to have.

    Attributes:
        is_soft: Whether the attention matrix is wanted, and with it the tokens.
        offset_unit: A `pb.OffsetUnit`.
    """

    is_soft: bool
    tokens: bool
    offset_unit: int


@dataclass(frozen=True)
class Translate:
    """A valid call of Translate.

    Attributes:
        texts: All texts, good and bad.
        errors: What is wrong with the bad ones, by their place.
    """

    options: Options
    output: Output
    texts: Sequence[str]
    errors: dict[int, DragomanError]

    @property
    def places(self) -> list[int]:
        """Return the places of the good texts."""
        return [place for place in range(len(self.texts)) if place not in self.errors]

    @property
    def good_texts(self) -> list[str]:
        """Return the texts to translate."""
        return [self.texts[place] for place in self.places]


@dataclass(frozen=True)
class Detect:
    """A valid call of DetectLanguage.

    Attributes:
        texts: All texts, good and bad.
        errors: What is wrong with the bad ones, by their place.
    """

    texts: Sequence[str]
    errors: dict[int, DragomanError]
    markup: Markup

    @property
    def good_texts(self) -> list[str]:
        """Return the texts to look at."""
        return [text for place, text in enumerate(self.texts) if place not in self.errors]


@dataclass(frozen=True)
class Pair:
    """A pair to align.

    Attributes:
        field: Its path in the request, for errors.
        source_words: The caller's own words; None if it gave none. Likewise `target_words`.
    """

    field: str
    source: str
    target: str
    source_words: list[Span] | None
    target_words: list[Span] | None


@dataclass(frozen=True)
class Align:
    """A valid call of Align.

    Attributes:
        sources: The source texts of all pairs, good and bad.
        pairs: For each pair, what to align or what is wrong with it.
        code_points: Of all texts together.
    """

    options: Options
    output: Output
    sources: list[str]
    pairs: list[Pair | InvalidRequest]
    code_points: int


@dataclass(frozen=True)
class StreamOptions:
    """The options of all texts of a stream."""

    options: Options
    output: Output


@dataclass(frozen=True)
class StreamText:
    """A text of a stream.

    Attributes:
        num_bytes: Of the message that brought it.
        error: What is wrong with it, if anything.
    """

    id: str
    content: str
    num_bytes: int
    error: OverLimit | None

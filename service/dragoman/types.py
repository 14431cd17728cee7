"""The plain types of an answer: what the engine makes, the edge packs and the client unpacks."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dragoman.alignment.links import AlignedWords
from dragoman.text.spans import Span

NO_ATTENTION: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)


class Finish(enum.Enum):
    """Why a sentence ended."""

    STOP = "stop"  # the model wrote its end
    LENGTH = "length"  # it did not, within the limit
    REPETITION = "repetition"  # it wrote the same again and again
    FORCED = "forced"  # it was given


class FlagKind(enum.Enum):
    """A doubt about a translation."""

    TARGET_CUT = "target_cut"  # value: the limit, in tokens
    SENTENCE_SPLIT = "sentence_split"  # value: number of parts
    REPETITION = "repetition"  # value: how often
    NUMBER_MISMATCH = "number_mismatch"  # one span: where it was lost, or where it was made up
    URL_MISMATCH = "url_mismatch"  # likewise, and mail addresses
    PLACEHOLDER_MISMATCH = "placeholder_mismatch"  # likewise
    UNTRANSLATED_COPY = "untranslated_copy"  # value: share of the words
    UNCOVERED_SOURCE = "uncovered_source"  # value: attention received, of an even share
    LENGTH_OUTLIER = "length_outlier"  # value: length of the translation by that of the source
    OTHER = "other"  # one that a newer server knows and this client does not


@dataclass(frozen=True)
class Flag:
    """A doubt, and what it is about."""

    kind: FlagKind
    source_span: Span | None  # None: nothing there corresponds
    target_span: Span | None
    value: float


@dataclass(frozen=True)
class Search:
    """How the best translation is looked for.

    Attributes:
        beam_size: Hypotheses kept at each step; 1 is greedy.
        num_alternatives: How many more translations are wanted, best first.
        length_penalty: Exponent of the length by which a sum of log-probabilities is divided to be compared.
    """

    beam_size: int = 1
    num_alternatives: int = 0
    length_penalty: float = 1.0


GREEDY = Search()
MAX_BEAM_SIZE = 8  # of the contract; a server may be configured for less


@dataclass(frozen=True)
class Options:
    """What a caller may ask for.

    Attributes:
        prefix: What the translation must begin with; the source is then one sentence.
        max_target_tokens: 0 means the default, which follows the source's length.
        both_directions: Whether words are linked by what the model attends to either way, for twice the work; of
            aligned pairs only.
        is_bulk: Whether others may join first.
        caller: Who asks; callers take turns.
        deadline: On the loop's clock (`time.monotonic`): after it nobody wants the result.
        hold: Told how many bytes the attention may take; raises MemoryFull if there is no room for them.
    """

    source: str
    target: str
    max_target_tokens: int = 0
    alignment: bool = False  # words and links, attention and tokens
    tokens: bool = False
    both_directions: bool = False
    is_bulk: bool = False
    deadline: float = math.inf
    search: Search = GREEDY
    prefix: str = ""
    caller: str = ""
    hold: Callable[[int], None] = field(default=lambda _: None, compare=False)

    @property
    def pair(self) -> str:
        """Return the direction, as metrics and people write it."""
        return f"{self.source}-{self.target}"

    @property
    def reversed(self) -> Options:
        """Return the same options for the other direction."""
        return replace(self, source=self.target, target=self.source)

    @property
    def wants_token_spans(self) -> bool:
        """Tell whether it matters where each piece stands."""
        return self.alignment or self.tokens


@dataclass(frozen=True)
class Token:
    """A piece of the model, where it stands, and for target pieces how probable it was."""

    piece: str
    span: Span
    log_probability: float | None = None


@dataclass(frozen=True)
class Times:
    """Where a sentence's time went, in seconds."""

    queue: float = 0.0
    encode: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True)
class Alternative:
    """Another translation of a sentence."""

    text: str
    score: float
    words: AlignedWords | None  # target spans count from its own start


@dataclass(frozen=True)
class TranslatedSentence:
    """One sentence, both sides; spans point into the whole source and the whole reply."""

    source_span: Span
    target_span: Span
    finish: Finish
    score: float  # mean natural-log probability per target token, end included
    words: AlignedWords | None  # if asked for
    source_tokens: list[Token]  # tag and end included; if asked for
    target_tokens: list[Token]  # end included, if it was reached; if asked for
    attention: npt.NDArray[np.float32]  # (target tokens, source tokens); if words were asked for
    num_source_tokens: int = 0
    num_target_tokens: int = 0
    num_alternative_tokens: int = 0  # of all alternatives together
    times: Times = Times()
    repetitions: int = 0  # that made it end
    alternatives: list[Alternative] = field(default_factory=list)

    @property
    def num_returned_tokens(self) -> int:
        """Return the target tokens of all hypotheses."""
        return self.num_target_tokens + self.num_alternative_tokens

    def without_details(self) -> TranslatedSentence:
        """Return where it stands and what it cost, without what takes memory."""
        return replace(
            self, words=None, source_tokens=[], target_tokens=[], attention=NO_ATTENTION, alternatives=[]
        )


@dataclass(frozen=True)
class Translation:
    """One text, translated."""

    text: str
    sentences: list[TranslatedSentence]
    flags: list[Flag] = field(default_factory=list)

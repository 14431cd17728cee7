"""Plain types of requests and results, which translation produces, the edge packs and the client unpacks."""

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

    STOP = "stop"  # the model wrote the end token
    LENGTH = "length"  # it reached the limit of tokens before
    REPETITION = "repetition"  # it repeated itself
    FORCED = "forced"  # the target was given


class FlagKind(enum.Enum):
    """A reason to doubt a translation."""

    TARGET_CUT = "target_cut"  # value: the limit, in tokens
    SENTENCE_SPLIT = "sentence_split"  # value: number of parts
    REPETITION = "repetition"  # value: how often
    NUMBER_MISMATCH = "number_mismatch"  # one span: where it is missing, or where it was added
    URL_MISMATCH = "url_mismatch"  # likewise, and mail addresses
    PLACEHOLDER_MISMATCH = "placeholder_mismatch"  # likewise
    UNTRANSLATED_COPY = "untranslated_copy"  # value: share of the words
    UNCOVERED_SOURCE = "uncovered_source"  # value: attention received, relative to an even share
    LENGTH_OUTLIER = "length_outlier"  # value: length of the translation, relative to the source
    SOURCE_IS_TARGET_LANGUAGE = "source_is_target_language"  # returned as it is; value: confidence
    WRONG_SOURCE_LANGUAGE = "wrong_source_language"  # value: how sure it is another language
    MARKUP_MISMATCH = "markup_mismatch"  # tags around words that nothing stands for
    OTHER = "other"  # known to a newer server, but not to this client


@dataclass(frozen=True)
class Flag:
    """A quality flag, with the spans that it concerns."""

    kind: FlagKind
    source_span: Span | None  # None: nothing corresponds
    target_span: Span | None
    value: float


class Markup(enum.Enum):
    """What texts hold besides text."""

    NONE = "text/plain"
    HTML = "text/html"
    XML = "application/xml"


@dataclass(frozen=True)
class Search:
    """How to search for translations.

    Attributes:
        beam_size: Hypotheses that are kept at each step; 1 is greedy search.
        num_alternatives: How many translations to return besides the best.
        length_penalty: Hypotheses are ranked by their log-probability divided by length to the power of this.
    """

    beam_size: int = 1
    num_alternatives: int = 0
    length_penalty: float = 1.0


GREEDY = Search()
MAX_BEAM_SIZE = 8  # in the contract; a server may allow less


@dataclass(frozen=True)
class Options:
    """The options of a call.

    Attributes:
        source: Language code; empty if it is to be detected.
        prefix: What every translation must begin with; each source is then one sentence.
        max_target_tokens: 0 means the default, which depends on the length of the source.
        both_directions: Whether words are linked by what the model attends to either way, for twice the work; of
            aligned pairs only.
        is_bulk: Whether interactive calls go first.
        caller: Who asks, if known; callers take turns.
        protect: Whether addresses, code, placeholders and the like pass around the model; not with a prefix.
        deadline: On the clock of `time.monotonic`; nobody needs the result after it.
        hold: Holds the bytes that attention may take; raises MemoryFull if there is no room for them.
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
    markup: Markup = Markup.NONE
    caller: str = ""
    protect: bool = True
    hold: Callable[[int], None] = field(default=lambda _: None, compare=False)

    @property
    def pair(self) -> str:
        """Return the direction as metrics name it, such as `en-fr`."""
        return f"{self.source}-{self.target}"

    @property
    def reversed(self) -> Options:
        """Return the same options for the other direction."""
        return replace(self, source=self.target, target=self.source)

    @property
    def wants_token_spans(self) -> bool:
        """Tell whether the span of each token is needed."""
        return self.alignment or self.tokens


@dataclass(frozen=True)
class Token:
    """A token's piece with its span and, in a target, its log-probability."""

    piece: str
    span: Span
    log_probability: float | None = None


@dataclass(frozen=True)
class Times:
    """The time that a sentence spent in each stage, in seconds."""

    queue: float = 0.0
    encode: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True)
class Alternative:
    """Another translation of a sentence."""

    text: str
    score: float
    words: AlignedWords | None  # target spans count from its own beginning


@dataclass(frozen=True)
class TranslatedSentence:
    """One sentence with its translation. Spans point into the whole source and the whole reply."""

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
    repetitions: int = 0  # of the last block, if that ended it
    alternatives: list[Alternative] = field(default_factory=list)

    @property
    def num_returned_tokens(self) -> int:
        """Return the number of target tokens in the best translation and its alternatives."""
        return self.num_target_tokens + self.num_alternative_tokens

    def without_details(self) -> TranslatedSentence:
        """Return a copy that has only spans and costs, and takes little memory."""
        return replace(
            self, words=None, source_tokens=[], target_tokens=[], attention=NO_ATTENTION, alternatives=[]
        )


@dataclass(frozen=True)
class Translation:
    """A translated text."""

    text: str
    sentences: list[TranslatedSentence]
    flags: list[Flag] = field(default_factory=list)
    source: str = ""
    confidence: float | None = None

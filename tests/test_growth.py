"""What a longer text costs, in every stage: as many times as much as it is longer, whatever it is made of.

Costs are compared with one another, never with a clock: the lines of our own code that run, which are the same on every
machine, and processor time, which also sees what regular expressions and the tokenizer do. Of the latter a large text
is set against as many small ones as are as long, and only a doubt that lasts through larger and larger texts counts.
"""

import gc
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

import dragoman
from dragoman.batching.decode_request import DecodeResult, Output
from dragoman.bundle import Bundle
from dragoman.cli import terminal
from dragoman.client.bulk import Bulk, Texts
from dragoman.client.sync import TextStream
from dragoman.errors import InvalidRequest
from dragoman.markup.html_reader import parse_html
from dragoman.markup.projection import project
from dragoman.markup.xml_reader import parse_xml
from dragoman.rpc import to_proto
from dragoman.text.normalize import normalize, normalize_with_offsets
from dragoman.text.preprocessing import PreparedSentence, Preprocessor
from dragoman.text.sentences import split_sentences
from dragoman.text.token_estimate import TokenCountEstimator
from dragoman.text.tokenizer import Tokenizer
from dragoman.text.words import find_addresses, split_words
from dragoman.translation.postprocessing import Postprocessor
from dragoman.translation.quality_flags import quality_flags
from dragoman.translation.text_assembler import TextAssembler
from dragoman.types import Finish, Options, Times, Translation
from dragoman.v1 import translation_pb2 as pb
from tests.shapes import shapes, text

Work = Callable[[str], object]

OURS = str(Path(dragoman.__file__).parent)
STAGES = (
    "sentences",
    "normalization",
    "tokens",
    "words",
    "preprocessing",
    "protection",
    "markup",
    "fidelity",
    "alignment",
    "offsets",
    "bulk",
)
SIZES = {
    "tokens": 300,
    "preprocessing": 300,
    "protection": 300,
    "alignment": 80,
}  # code points to begin with, where a stage is slow
SIZE = 1000  # of the others
# Not by lines of code: most of the work is numpy's; it has threads of its own; whether a short text is cut makes all the difference.
UNCOUNTED = {"alignment", "bulk", "protection"}
LONGER = 8  # times; so many times as much is linear, its square is not
SUSPECT = 1.5  # of the cost of small texts; a text that needs cutting costs the logarithm of its length, too
TOO_MUCH = 2.5  # the same, at the largest size
LARGEST = 32_000  # code points
CONSTANT = 500  # lines of code that any text may cost
TRIES = 5  # a machine may stand still in one of them


class Stages:
    """What happens to a text between a file or a request and the reply, each stage by itself."""

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer, file: Path) -> None:
        self._tokenizer, self._file = tokenizer, file
        self._preprocessor = Preprocessor(tokenizer, max_sentence_tokens=40)
        self._postprocessor = Postprocessor(tokenizer, bundle.manifest.alignment)

    def sentences(self, text: str) -> None:
        """Split, by the rules of two languages."""
        split_sentences(text, "en")
        split_sentences(text, "fr")

    def normalization(self, text: str) -> None:
        """Normalise, with and without the way back."""
        normalize(text)
        normalize_with_offsets(text)

    def tokens(self, text: str) -> None:
        """Cut into pieces and join these again."""
        encoded = self._tokenizer.encode(normalize(text))
        self._tokenizer.decode(encoded.tokens)
        self._tokenizer.decode_text(encoded.tokens)

    def words(self, text: str) -> None:
        """Find words and addresses, and guess how many pieces they will have."""
        split_words(text)
        find_addresses(text)
        TokenCountEstimator().sentences([text])

    def preprocessing(self, text: str) -> None:
        """Cut into sentences that the model takes."""
        self._preprocessor.split(text, "en", with_spans=False)

    def protection(self, text: str) -> None:
        """Find what must not change, and cut into sentences around it."""
        self._preprocessor.split(text, "en", with_spans=True, protect=True)

    def markup(self, text: str) -> None:
        """Read as HTML and as XML, and carry all tags to a translation that is the source."""
        for parse in (parse_html, parse_xml):
            with suppress(InvalidRequest):  # most are no XML
                for segment in parse(text).segments:
                    words = split_words(segment.text)
                    links = [(index, index) for index in range(len(words))]
                    project(segment.tags, segment.text, segment.text, words, words, links, segment.escape)

    def fidelity(self, text: str) -> None:
        """Compare with a copy, with a text of which no word is the same, and with one that ends where it began."""
        quality_flags(text, text)
        quality_flags(text, text.upper())
        quality_flags(text, text[::-1])

    def alignment(self, text: str) -> None:
        """Put every sentence back, aligned, with its flags."""
        options = Options("en", "fr", alignment=True)
        sentences = self._preprocessor.split(text, "en", with_spans=True)
        assembler = TextAssembler(self._postprocessor, text, sentences, options, None)
        for sentence in sentences:
            assembler.add(_echo(sentence))

    def offsets(self, text: str) -> None:
        """Write the place of every word in the units that are not ours."""
        words = split_words(text)
        for unit in (pb.OFFSET_UNIT_UTF8_BYTE, pb.OFFSET_UNIT_UTF16_CODE_UNIT):
            offsets = to_proto.offsets(text, unit)
            for word in words:
                offsets(word)

    def bulk(self, text: str) -> None:
        """Read a file line by line, as one stream that answers at once."""
        self._file.write_text(text, "utf-8", newline="\n")
        for line in Bulk(EchoStream, terminal.Source(self._file).lines()):
            terminal.num_bytes(line.text)


class EchoStream(TextStream):
    """Answers each text with itself."""

    def __init__(self, texts: Texts) -> None:
        """Begin."""
        self._texts = texts

    def __iter__(self) -> Iterator[tuple[str, Translation]]:
        for id_, content in self._texts:
            yield id_, Translation(content, [])

    def cancel(self) -> None:
        """Do nothing: it is over when it is no longer asked."""


def _echo(sentence: PreparedSentence) -> DecodeResult:
    """Return the sentence as its own translation, each piece aligned with itself."""
    steps = len(sentence.tokens) + 1
    attention = list(np.eye(steps, steps + 1, 1, dtype=np.float32))
    return DecodeResult(Output(sentence.tokens, [-0.5] * steps, attention, Finish.STOP), [], Times())


@pytest.fixture(scope="module")
def stages(default_bundle: Bundle, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Return the stages, with the embedded tokenizer."""
    return Stages(default_bundle, tokenizer, tmp_path_factory.mktemp("growth") / "lines.txt")


def lines_run(work: Work, text: str) -> int:
    """Return how many lines of our own code some work takes."""
    total = 0
    is_ours: dict[CodeType, bool] = {}

    def count(_: FrameType, event: str, __: Any) -> Any:
        nonlocal total
        total += event == "line"
        return count

    def enter(frame: FrameType, _: str, __: Any) -> Any:
        code = frame.f_code
        if code not in is_ours:
            is_ours[code] = code.co_filename.startswith(OURS)
        return count if is_ours[code] else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work(text)
    finally:
        sys.settrace(before)
    return total


def seconds(work: Work, text: str, times: int = 1) -> float:
    """Return the processor time that some work takes, of all threads; no garbage is collected, as it would be at random."""
    gc.disable()
    try:
        began = time.process_time()
        for _ in range(times):
            work(text)
        return time.process_time() - began
    finally:
        gc.enable()


def growth(work: Work, shape: tuple[str, str], size: int) -> float:
    """Return what a text costs, as a share of what `LONGER` texts cost that are together as long: 1 where time is linear."""
    small, large = text(*shape, size), text(*shape, LONGER * size)
    least = math.inf
    for _ in range(TRIES):
        many = seconds(work, small, LONGER)
        least = min(least, seconds(work, large) / many)
        if least < SUSPECT:
            break
    return least


def growth_at_last(work: Work, shape: tuple[str, str], size: int) -> float:
    """Return the growth at the first size where it is beyond suspicion, or at the largest."""
    while (found := growth(work, shape, size)) >= SUSPECT and LONGER * size < LARGEST:
        size = min(4 * size, LARGEST // LONGER)
    return found


def test_shapes() -> None:
    """
    There are more than a hundred shapes, all different and of the length that was asked for.
    """
    found = [text(*shape, 500) for shape in shapes()]

    assert 105 == len(set(found))
    assert {500} == {len(one) for one in found}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in UNCOUNTED])
def test_steps_grow_with_the_text(stages: Stages, stage: str) -> None:
    """
    A text twice as long runs less than three times as many lines of our code; the square would be four times as many.
    """
    work: Work = getattr(stages, stage)
    steps = {
        shape: (lines_run(work, text(*shape, 300)), lines_run(work, text(*shape, 600))) for shape in shapes()
    }

    assert {} == {shape: both for shape, both in steps.items() if both[1] > 3 * both[0] + CONSTANT}


@pytest.mark.parametrize("stage", STAGES)
def test_time_grows_with_the_text(stages: Stages, stage: str) -> None:
    """
    A long text takes about as much processor time as many short ones that are together as long.
    """
    work: Work = getattr(stages, stage)
    found = ((growth_at_last(work, shape, SIZES.get(stage, SIZE)), shape) for shape in shapes())

    assert [] == list(islice((each for each in found if each[0] > TOO_MUCH), 3))  # enough to know

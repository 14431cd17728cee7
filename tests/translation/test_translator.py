"""The path of a text, with an engine that repeats what it reads: the translation is the normalised source."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.bundle import Bundle
from dragoman.engine.model_runner import Step
from dragoman.errors import DeadlinePassed, InvalidRequest, OverLimit, QueueFull
from dragoman.observability.metrics import Metrics
from dragoman.text.normalize import normalize
from dragoman.text.spans import Span
from dragoman.text.tokenizer import Tokenizer
from dragoman.translation.quality_flags import quality_flags
from dragoman.translation.text_assembler import Part
from dragoman.translation.translator import Translator
from dragoman.translation.usage import Usage
from dragoman.types import (
    Finish,
    Flag,
    FlagKind,
    Options,
    Search,
    Translation,
)
from tests.fakes import FakeRunner, make_pool, step_of

STUCK = (501, 502)

PLAIN = Options("en", "fr")
ALIGNED = Options("en", "fr", alignment=True)
PARTS = [
    "One.",
    "Two is more.",
    " ",
    "\n",
    "\r\n\r\n",
    "\t",
    "\u00a0",
    "e\u0301",
    "🎉 yes",
    "\u200b",
    "Is it?",
    "<2fr>",
]


async def one(translator: Translator, text: str, options: Options = PLAIN) -> Translation:
    """Translate a single text."""
    [done] = await translator.translate([text], options)
    return done


@pytest.mark.parametrize("text", ["", " ", "\n", " \t\r\n\u00a0\u3000 ", "\u200b", "\ufeff\u200b\n\u00ad"])
async def test_blank(translator: Translator, text: str) -> None:
    """
    An empty, blank or invisible text translates to itself, without any sentence.
    """
    assert Translation(text, []) == await one(translator, text)


@pytest.mark.parametrize(
    "text",
    [
        "One.  Two.",
        "  One.\tTwo. \n",
        "One.\r\n\r\n\u00a0Two.\n",
        "Title\n\n- first\n- second\n",
        "a\x0bb",
    ],
)
async def test_gaps_byte_for_byte(translator: Translator, text: str) -> None:
    """
    White space between sentences, line breaks and borders come back as they were.
    """
    assert text == (await one(translator, text)).text


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
def test_nothing_is_lost(translator: Translator, text: str) -> None:
    """
    What lies outside the spans of sentences is the same on both sides; within them is their translation.
    """
    done = asyncio.run(one(translator, text))

    source_end = target_end = 0
    for sentence in done.sentences:
        source, target = sentence.source_span, sentence.target_span
        assert text[source_end : source.start] == done.text[target_end : target.start]
        assert normalize(source.of(text)) == target.of(done.text)
        source_end, target_end = source.end, target.end
    assert text[source_end:] == done.text[target_end:]


async def test_streams_wait_in_order(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of one caller's texts that find the line full the first is queued first, however many sentences it has.
    """
    queued: list[int] = []
    refusals = iter([True] * 3)
    submit = translator._pool.submit

    def crowded(requests: list[Any]) -> None:
        if next(refusals, False):
            raise QueueFull("full", retry_seconds=0.01)
        queued.append(len(requests))
        submit(requests)

    monkeypatch.setattr(translator._pool, "submit", crowded)

    async def stream(text: str) -> list[Part]:
        return [part async for part in translator.stream(text, PLAIN)]

    await asyncio.gather(stream("One. " * 20), stream("Two."))

    assert [20, 1] == queued


async def test_order(translator: Translator) -> None:
    """
    Replies keep the order and the number of the texts, blank ones included.
    """
    texts = ["Three.", "", "One. Two.", " "]

    done = await translator.translate(texts, PLAIN)

    assert texts == [translation.text for translation in done]
    assert [1, 0, 2, 0] == [len(translation.sentences) for translation in done]


async def test_words_point_into_both_texts(translator: Translator) -> None:
    """
    Offsets of words point into the whole texts, through normalisation and earlier sentences.
    """
    text = "🎉 Hi.\n\nIt’s a cafe\u0301…"

    done = await one(translator, text, ALIGNED)

    assert "🎉 Hi.\n\nIt's a café..." == done.text
    words = done.sentences[1].words
    assert words is not None
    assert ["It’s", "a", "cafe\u0301", "…"] == [span.of(text) for span in words.source]
    assert ["It's", "a", "café", "..."] == [span.of(done.text) for span in words.target]
    assert [(0, 0), (1, 1), (2, 2), (3, 3)] == [(link.source_word, link.target_word) for link in words.links]


async def test_words_only_on_demand(translator: Translator) -> None:
    """
    Without an alignment no words are computed.
    """
    assert (await one(translator, "One.")).sentences[0].words is None


async def test_tokens(translator: Translator) -> None:
    """
    The source has its tag and its end, the target its end; they stand at the borders and cover nothing.
    """
    text = "One. Two."

    sentence = (await one(translator, text, ALIGNED)).sentences[1]

    first, last, end = sentence.source_tokens[0], sentence.source_tokens[-1], sentence.target_tokens[-1]
    assert [("<2fr>", Span(5, 5)), ("</s>", Span(9, 9))] == [(t.piece, t.span) for t in (first, last)]
    assert ("</s>", Span(9, 9), -0.5) == (end.piece, end.span, end.log_probability)
    assert last.log_probability is None
    assert (len(sentence.target_tokens), len(sentence.source_tokens)) == sentence.attention.shape
    assert pytest.approx(-0.5) == sentence.score
    assert Finish.STOP is sentence.finish


async def test_target_cut(translator: Translator) -> None:
    """
    A translation cut at its limit says so, with the limit as value.
    """
    done = await one(translator, "One two three four five.", Options("en", "fr", max_target_tokens=2))

    [flag] = done.flags
    assert (FlagKind.TARGET_CUT, 2) == (flag.kind, flag.value)
    assert Finish.LENGTH is done.sentences[0].finish
    assert 2 == done.sentences[0].num_target_tokens


@pytest.mark.parametrize(("alternatives", "expected"), [(0, 1), (3, 4)])
async def test_attention_is_held(translator: Translator, alternatives: int, expected: int) -> None:
    """
    Whoever wants words has the attention of all hypotheses held: source pieces by the most target pieces, 4 bytes each.
    """
    held: list[int] = []
    search = Search(beam_size=4, num_alternatives=alternatives)
    wanted = replace(ALIGNED, search=search, hold=held.append, max_target_tokens=9)

    done = await one(translator, "One. Two three.", wanted)
    await one(translator, "One. Two three.", replace(wanted, alignment=False))
    [_ async for _ in translator.stream("One. Two three.", wanted)]

    pieces = sum(sentence.num_source_tokens for sentence in done.sentences)
    assert [4 * 9 * pieces * expected] * 2 == held


async def test_a_pair_of_texts_is_held(translator: Translator) -> None:
    """
    So is that of a given pair, whose size is known.
    """
    held: list[int] = []

    done = await translator.align("One two.", "Un deux.", replace(ALIGNED, hold=held.append))

    assert [4 * done.attention.size] == held


async def test_doubts_stand_in_the_texts(
    default_bundle: Bundle, tokenizer: Tokenizer, metrics: Metrics
) -> None:
    """
    What was lost or made up is shown where it stands in the whole texts, and counted.
    """

    class Forgetful(FakeRunner):
        """Writes 8 where it reads 7."""

        def step(self, pieces: Sequence[int], num_top: int) -> Step:
            """Repeat the next piece of every row, or not."""
            [seven], [eight] = tokenizer.encode_batch(["17"])[0][-1:], tokenizer.encode_batch(["18"])[0][-1:]
            self._rows = [([eight if id_ == seven else id_ for id_ in ids], at) for ids, at in self._rows]
            return super().step(pieces, num_top)

    pool = make_pool(metrics, Forgetful())
    pool.start()
    translator = Translator(default_bundle, tokenizer, pool, metrics, max_sentence_tokens=40)

    text = "One.  Room 407."
    done = await one(translator, text, PLAIN)

    pool.close()
    assert "One.  Room 408." == done.text
    lost, made_up = done.flags
    assert (FlagKind.NUMBER_MISMATCH, None) == (made_up.kind, made_up.source_span)
    assert (FlagKind.NUMBER_MISMATCH, None) == (lost.kind, lost.target_span)
    assert made_up.target_span == lost.source_span == Span(11, 14)
    value = metrics.registry.get_sample_value
    assert 2.0 == value("dragoman_fidelity_flags_total", {"flag": "number_mismatch"})


async def test_a_prefix_as_long_as_a_translation(translator: Translator) -> None:
    """
    A prefix may take all the tokens there are; one more is refused with both numbers.
    """
    size = len(translator._preprocessor.prepare("One two three", Span(0, 13)).tokens)

    done = await one(translator, "Four.", Options("en", "fr", prefix="One two three", max_target_tokens=size))
    with pytest.raises(OverLimit, match=f"{size}, the limit is {size - 1}"):
        await one(
            translator, "Four.", Options("en", "fr", prefix="One two three", max_target_tokens=size - 1)
        )

    assert "One two three" == done.text


async def test_a_prefix_names_the_text_of_the_request(translator: Translator) -> None:
    """
    The error names the text by its place in the request, whatever was left out before it.
    """
    with pytest.raises(InvalidRequest, match=r"contents\[7\] has 2"):
        await translator.translate(["One.", "One. Two."], Options("en", "fr", prefix="Le"), [4, 7])


async def test_sentence_split(translator: Translator) -> None:
    """
    A sentence longer than the model's window is translated in parts, and one flag covers it whole.
    """
    text = "First.\n\n" + "many words, " * 40 + "the end.\n\nLast."

    done = await one(translator, text)

    assert text == done.text
    copy, split = done.flags  # the engine repeats what it reads
    parts = len(done.sentences) - 2
    assert parts > 1
    assert [(FlagKind.UNTRANSLATED_COPY, 1), (FlagKind.SENTENCE_SPLIT, parts)] == [
        (flag.kind, flag.value) for flag in (copy, split)
    ]
    for flag in (copy, split):
        assert flag.source_span
        assert flag.target_span
        assert text[8:-7] == flag.source_span.of(text) == flag.target_span.of(done.text)
    assert all(len(sentence.source_tokens) <= 40 for sentence in done.sentences)


@pytest.mark.parametrize(("words", "is_aside"), [(5, False), (300, True)])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_long_checks_hold_nobody_up(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, words: int, is_aside: bool, is_streamed: bool
) -> None:
    """
    What a long sentence is checked for is looked up in another thread than the one that serves all calls.
    """
    threads: list[int] = []

    def noted(source: str, target: str) -> list[Flag]:
        threads.append(threading.get_ident())
        return quality_flags(source, target)

    monkeypatch.setattr("dragoman.translation.text_assembler.quality_flags", noted)

    if is_streamed:
        assert [part async for part in translator.stream("word " * words, PLAIN)]
    else:
        await one(translator, "word " * words)

    [thread] = threads
    assert is_aside == (thread != threading.get_ident())


@pytest.mark.parametrize("text", ["\U0001d160" * 60, "\u0958" * 60, "\u2581" * 60, "x" * 300, "🎉" * 60])
async def test_window_is_counted_in_tokens(translator: Translator, text: str) -> None:
    """
    No sentence outgrows the model's window, not even one that normalisation makes longer.
    """
    done = await one(translator, text, replace(PLAIN, protect=False))

    assert all(len(sentence.source_tokens) <= 40 for sentence in done.sentences)
    assert normalize(text) == done.text


async def test_counts(translator: Translator, metrics: Metrics) -> None:
    """
    Characters and tokens are counted by direction.
    """
    done = await one(translator, "One. Two.")

    value = metrics.registry.get_sample_value
    assert 9.0 == value("dragoman_characters_total", {"pair": "en-fr"})
    tokens = sum(sentence.num_source_tokens for sentence in done.sentences)
    assert float(tokens) == value("dragoman_source_tokens_total", {"pair": "en-fr"})
    assert 1.0 == value("dragoman_stage_seconds_count", {"stage": "split"})


async def test_align(translator: Translator) -> None:
    """
    A given pair is forced through the decoder as it is; its own words are used if there are any.
    """
    source, target = "a b c", "un deux"

    done = await translator.align(source, target, ALIGNED, [Span(0, 3), Span(4, 5)], None)

    assert Finish.FORCED is done.finish
    assert (Span(0, 5), Span(0, 7)) == (done.source_span, done.target_span)
    assert done.words is not None
    assert [Span(0, 3), Span(4, 5)] == done.words.source
    assert [Span(0, 2), Span(3, 7)] == done.words.target
    assert (len(done.target_tokens), len(done.source_tokens)) == done.attention.shape


async def test_align_both_directions(translator: Translator) -> None:
    """
    Words are linked by the mean of both directions; tokens, attention and score are those of the first.
    """
    source, target = "a b c", "un deux"

    there = await translator.align(source, target, ALIGNED)
    back = await translator.align(target, source, ALIGNED.reversed)
    both = await translator.align(source, target, replace(ALIGNED, both_directions=True))

    assert there.words is not None
    assert back.words is not None
    assert both.words is not None
    assert np.allclose((there.words.weights + back.words.weights.T) / 2, both.words.weights)
    assert (there.words.source, there.words.target) == (both.words.source, both.words.target)
    assert (there.target_tokens, there.score) == (both.target_tokens, both.score)
    assert np.array_equal(there.attention, both.attention)


async def test_align_as_far_as_it_fits(translator: Translator) -> None:
    """
    A target that is too long to be read is linked by the direction in which it is written.
    """
    source, target = "a b c d e f g h", "mot " * 39

    one = await translator.align(source, target, ALIGNED)
    both = await translator.align(source, target, replace(ALIGNED, both_directions=True))

    assert one.words is not None
    assert both.words is not None
    assert np.array_equal(one.words.weights, both.words.weights)


@pytest.mark.parametrize(("source", "target"), [("", "un"), ("one", " "), ("", ""), ("\u200b", "un")])
async def test_align_blank(translator: Translator, source: str, target: str) -> None:
    """
    A pair with a blank side has words where there are some, and no links.
    """
    done = await translator.align(source, target, ALIGNED)

    assert done.words is not None
    assert [] == done.words.links
    assert (0.0, 0) == (done.score, done.attention.size)
    assert (len(done.words.target), len(done.words.source)) == np.shape(done.words.weights)


async def test_align_is_never_split(translator: Translator) -> None:
    """
    A side that the model cannot take is refused with its path, the limit and the actual value.
    """
    with pytest.raises(OverLimit, match=r"tokens in pairs\[2\].source_text: \d+, the limit is 40") as refused:
        await translator.align("word " * 60, "mot", ALIGNED, field="pairs[2]")

    assert "pairs[2].source_text" == refused.value.field


@pytest.mark.parametrize(
    ("source", "target", "side"),
    [("One. " + "\x01 " * 4998, "Un.", "source"), ("One.", "Un. " + "\x01 " * 4998, "target")],
)
async def test_align_takes_no_more_words_than_tokens_could_be(
    translator: Translator, source: str, target: str, side: str
) -> None:
    """
    Marks that the model does not see are words without tokens: a matrix of all words would take gigabytes.
    """
    with pytest.raises(OverLimit, match=rf"words in pair.{side}_text: 5,?000, the limit is \d+") as refused:
        await translator.align(source, target, ALIGNED)

    assert (f"pair.{side}_text", "TEXT_TOO_LONG") == (refused.value.field, refused.value.reason)


async def test_others_go_on_while_a_call_is_put_together(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Between two texts of a large call, whoever else waits for the event loop has a turn.
    """
    turns, seen = 0, []

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def noting(self: Usage, text: str, options: Options) -> None:
        seen.append(turns)

    monkeypatch.setattr(Usage, "count_text", noting)
    waiting = asyncio.create_task(other())
    await translator.translate(["One."] * 5, PLAIN)
    waiting.cancel()

    assert 5 == len(set(seen))


async def test_cancelled_calls_free_their_rows(translator: Translator, metrics: Metrics) -> None:
    """
    A call that is given up leaves nothing behind in the line or in the batch.
    """
    call = asyncio.create_task(translator.translate(["One. " * 50], PLAIN))
    await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert "Two." == (await one(translator, "Two.")).text


async def test_deadline(translator: Translator) -> None:
    """
    A call whose deadline has passed is told so instead of being translated.
    """
    with pytest.raises(DeadlinePassed):
        await one(translator, "One.", replace(PLAIN, deadline=0.0))


async def test_a_lost_sentence_takes_its_neighbours_along(
    default_bundle: Bundle, tokenizer: Tokenizer, metrics: Metrics
) -> None:
    """
    When one sentence of a call cannot be had any more, the others are not decoded for nobody.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner, max_running=1)
    translator = Translator(default_bundle, tokenizer, pool, metrics, max_sentence_tokens=40)
    call = asyncio.create_task(translator.translate(["One.", "Two.", "Three."], PLAIN))
    await asyncio.sleep(0)
    queue = pool.workers[0].scheduler.waiting
    first = queue.take(lambda _: True, lambda _: True)
    assert first is not None
    queue.give_up(first)

    with pytest.raises(DeadlinePassed):
        await call
    await asyncio.sleep(0)  # the news reaches the loop
    pool.workers[0].step()

    assert [] == runner.batches


async def test_bulk_lets_others_join_first(
    default_bundle: Bundle, tokenizer: Tokenizer, metrics: Metrics
) -> None:
    """
    While one row is free, a bulk call waits for an interactive one that came after it.
    """
    runner = FakeRunner()
    pool = make_pool(metrics, runner, max_running=1)
    translator = Translator(default_bundle, tokenizer, pool, metrics, max_sentence_tokens=40)
    calls = [
        asyncio.ensure_future(one(translator, text, replace(PLAIN, is_bulk=bulk)))
        for text, bulk in (("Later.", True), ("Now.", False))
    ]
    await asyncio.sleep(0.1)  # both wait: the loop has not started

    pool.start()
    await asyncio.gather(*calls)
    pool.close()

    assert [tokenizer.encode("Now.").tokens, tokenizer.encode("Later.").tokens] == [
        list(source[1:-1]) for source in dict.fromkeys(tuple(batch[0]) for batch in runner.batches)
    ]


class StuckRunner(FakeRunner):
    """An engine that writes the same two pieces for ever."""

    def step(self, pieces: Sequence[int], num_top: int) -> Step:
        """Write the one that was not written last."""
        super().step(pieces, num_top)
        return step_of([{STUCK[piece == STUCK[0]]: -0.5} for piece in pieces], num_top=num_top)


async def test_repetition_is_stopped_and_flagged(
    default_bundle: Bundle, tokenizer: Tokenizer, metrics: Metrics
) -> None:
    """
    A translation that turns in circles keeps one round, and says how many there were.
    """
    pool = make_pool(metrics, StuckRunner())
    pool.start()
    translator = Translator(default_bundle, tokenizer, pool, metrics, max_sentence_tokens=40)

    done = await one(translator, "One.", PLAIN)

    pool.close()
    assert tokenizer.decode(list(STUCK)).text == done.text
    assert Finish.REPETITION is done.sentences[0].finish
    assert [(FlagKind.REPETITION, 6)] == [(flag.kind, flag.value) for flag in done.flags]

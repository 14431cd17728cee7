"""What must not change passes around the model, with every offset in the caller's texts; the engine repeats what it reads."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.translation.translator import Translator
from dragoman.types import Options, Translation

PLAIN = Options("en", "fr")
ALIGNED = Options("en", "fr", alignment=True)
PARTS = ["Open ", "the door. ", "北京", " 🎉 ", "`ls -l`", " {name} ", "\n", "<b>", "</b>", "DO NOT ENTER", "https://a.example/b ",
         "\\n", "- ", "1️⃣", "____", "e\u0301", "\u200b", "©", " and ", "{0}"]  # fmt: skip


async def one(translator: Translator, text: str, options: Options = PLAIN) -> Translation:
    """Translate a single text."""
    [done] = await translator.translate([text], options)
    return done


@pytest.mark.parametrize(
    "text",
    [
        "Open https://a.example/B?c=1 in {place} now.",
        "The sign 出口 means exit ©.",
        "<b>Hello.\\nHow are you?</b> 🛋️",
        "DO NOT OPEN main.py",
        "| A | B |\n|---|---|\n| one ★ two | {0} and {1} |",
    ],
)
async def test_comes_back(translator: Translator, text: str) -> None:
    """
    With an engine that copies, the text comes back character by character, whatever is protected in it.
    """
    assert text == (await one(translator, text)).text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
def test_offsets(translator: Translator, text: str) -> None:
    """
    What lies outside sentences is the same on both sides, and words and tokens lie within their sentence, in order.
    """
    done = asyncio.run(one(translator, text, ALIGNED))

    source_end = target_end = 0
    for sentence in done.sentences:
        assert (
            text[source_end : sentence.source_span.start]
            == done.text[target_end : sentence.target_span.start]
        )
        source_end, target_end = sentence.source_span.end, sentence.target_span.end
        assert sentence.words is not None
        for words, whole, side in (
            (sentence.words.source, sentence.source_span, text),
            (sentence.words.target, sentence.target_span, done.text),
        ):
            assert all(whole.start <= word.start < word.end <= whole.end and word.of(side) for word in words)
        for token in sentence.source_tokens:
            assert sentence.source_span.start <= token.span.start <= token.span.end <= source_end
        for token in sentence.target_tokens:
            assert sentence.target_span.start <= token.span.start <= token.span.end <= target_end
    assert text[source_end:] == done.text[target_end:]


async def test_streams_alike(translator: Translator) -> None:
    """
    A stream gives the text, the spans and the flags that a call gives.
    """
    text = "Open `ls` now. <b>THE SIGN 出口 SAYS EXIT</b>\\nGo to {place} 🎉"
    whole = await one(translator, text)
    parts = [part async for part in translator.stream(text, PLAIN)]
    assert whole.text == "".join(part.text for part in parts)
    assert whole.flags == [flag for part in parts for flag in part.flags]
    assert [one.target_span for one in whole.sentences] == [
        part.sentence.target_span for part in parts if part.sentence
    ]


async def test_off(translator: Translator) -> None:
    """
    Without protection, and beside a prefix, the model reads the text as it stands.
    """
    text = "<b>Open it</b> \\n NOW"
    for options in (replace(PLAIN, protect=False), replace(PLAIN, prefix="Bon")):
        [sentence] = (await one(translator, text, options)).sentences
        assert text == sentence.source_span.of(text)
    assert 2 == len((await one(translator, text)).sentences)


async def test_attention_is_held(translator: Translator) -> None:
    """
    The attention by which placeholders are put back is counted against the memory of calls; without any there is none.
    """
    held: list[int] = []
    options = replace(PLAIN, hold=held.append)

    await one(translator, "Open the door.", options)
    assert [] == held
    await one(translator, "Open {name} now.", options)
    assert 1 == len(held)
    assert held[0] > 0

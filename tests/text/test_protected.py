"""What must not change is found, in time linear in the text, and cut into segments that tile it."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.text.protected import find_protected
from dragoman.text.segments import find_segments

PARTS = [
    "Open the door.", " ", "\n", "https://a.example/b?c=1", "me@b.example", "`ls -l`", "{name}", "%s", "🎉", "1️⃣", "👩🏽‍🚀",
    "© ", "北京", "<b>", "</b>", "**", "- ", "| ", "\\n", "____", ":)", "#tag ", "@you ", "a/b.txt ", "\ufdd0", "}}",
    "<!-- x -->", "```\nx = 1\n```", "&amp;", "1.2.3 ", "550e8400-e29b-41d4-a716-446655440000 ", "É", "e\u0301", "\u200b",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Write to me@b.example, or see www.a.example/x.", ["me@b.example", "www.a.example/x"]),
        ("Open budget_2025.xlsx and /etc/hosts.", ["budget_2025.xlsx", "/etc/hosts"]),
        ("Type `ls -la` in {place}, %1$s or {{ it }}.", ["`ls -la`", "{place}", "%1$s", "{{ it }}"]),
        ("Thanks 🎉 #TeamNorth @karim77 :)", ["🎉", "#TeamNorth", "@karim77", ":)"]),
        ("The sign 出口 means exit ©.", ["出口", "©"]),
        ("Water is H₂O.", ["H₂O"]),
        ("Part PT-2025-000418, version 1.2.3", ["PT-2025-000418", "1.2.3"]),
        ("Call +1 415 555 0119 or 07700 900 461.", ["+1 415 555 0119", "07700 900 461"]),
        ("One\\nTwo", ["\\n"]),
        ("- Name: ______", ["- ", "______"]),
        ("1\n00:01:02,100 --> 00:01:05,900\nHello", ["1\n", "00:01:02,100 --> 00:01:05,900"]),
    ],
)
def test_found(text: str, found: list[str]) -> None:
    """
    Each kind is found, whole and without the punctuation of the sentence around it.
    """
    assert found == [one.span.of(text) for one in find_protected(text)]


@pytest.mark.parametrize(
    "text",
    [
        "I paid 1,234.50 euros in 2024, 3 % more than in 1998.",
        "Mr. Stone's well-known house isn't far (5 km); ask \"him\" at 10:30!",
        "L’été dernier, on a vu… quoi ? Rien – « presque » rien.",
        "It costs €5 or 5 % & more.",
    ],
)
def test_not_found(text: str) -> None:
    """
    Plain sentences, with numbers, quotes and dashes, hold nothing that is protected.
    """
    assert [] == find_protected(text)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join) | st.text(max_size=40))
def test_tiling(text: str) -> None:
    """
    Spans are in order, disjoint, not empty, and segments likewise; each segment holds whole what is protected in it.
    """
    end = 0
    for span, _ in find_protected(text):
        assert end <= span.start < span.end <= len(text)
        end = span.end
    end = 0
    for span, protected in find_segments(text, "en", protect=True):
        assert end <= span.start < span.end <= len(text)
        assert span.of(text) == span.of(text).strip()
        inner = span.start
        for one in protected:
            assert inner <= one.start < one.end <= span.end
            inner = one.end
        end = span.end


@pytest.mark.parametrize(
    "unit",
    ["`", "{", "a.", "a_", "A-", "A1", "<a ", "/a", "\\n", "- ", "é\u1e01", "a", "1 ", "1.", "%", "\u4e00 ", "| ", "|---",
     "*a", ":(", "@a.", "a-b.", "0 00", "12\n", "\n", " ", "<!--", "```", "{{a", "a\u1e01 ", "http://", "_", "."],
)  # fmt: skip
def test_linear(unit: str) -> None:
    """
    Eight times the text takes about eight times as long, whatever it is made of; a pattern that backtracks takes 64.
    """
    times = []
    for size in (2_000, 16_000):
        text = unit * (size // len(unit))
        began = time.process_time()
        find_protected(text)
        times.append(time.process_time() - began)
    assert times[1] < 30 * times[0] + 0.1

"""The one typographic form that the model knows, and the way back from it."""

import unicodedata
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.text import normalize as normalize_module
from dragoman.text.normalize import normalize, normalize_with_offsets

# Any text that can come over the wire: every code point but the surrogates, and often the troublesome ones.
TROUBLESOME = "e\u0301\u0323\u200b\u200d\u00ad\ufeff…“’\u2011 \u00a0\t\n\x00\x1f\u1100\u1161\u11a8\u0958\U0001d160\u09be\u2581"
TEXTS = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(TROUBLESOME)))

thorough = settings(max_examples=150)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("Good morning.", "Good morning."),
        ("", ""),
        (" \t\n\u00a0\u3000", ""),
        ("  a \t b\n", "a b"),
        ("18\u00a0%", "18 %"),
        ("e\u0301te\u0301", "été"),
        ("l’été", "l'été"),
        ("“yes”, ‘no’", "\"yes\", 'no'"),
        ("wait…", "wait..."),
        ("co\u00adop\u200bera\u2060te\ufeff", "cooperate"),
        ("a\x00b\x07", "ab"),
        ("well\u2011known", "well-known"),
        ("«\u202fbonjour\u202f»", "« bonjour »"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\u1100\u1161", "가"),
    ],
)
def test_forms(text: str, normalized: str) -> None:
    """
    Accents compose, typographic marks become plain ones, white space is one space, the invisible goes.
    """
    assert normalized == normalize(text)


@thorough
@given(TEXTS)
@example("e\u200b\u0301")  # an invisible character between a letter and its accent
@example("\u1100\u00ad\u1161")
@example("a\u0301\u0323")  # marks out of their canonical order
@example("\u0301 \u0301")
@example("a" + "\u0301\u0316" * 100 + "b" + "\u0316" * 70)
@example("\u1025\u102e")  # a vowel sign of no combining class, which composes
def test_both_ways_agree(text: str) -> None:
    """
    The way with offsets gives the text of the fast way, whatever the text.
    """
    assert normalize(text) == normalize_with_offsets(text).text


def test_thousands_of_marks_are_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Marks of one letter are put in order some at a time: sorting all would hold everybody up. None is lost.
    """
    longest = []

    def normalized(form: Any, text: str) -> str:
        longest.append(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(
        normalize_module,
        "unicodedata",
        SimpleNamespace(normalize=normalized, combining=unicodedata.combining),
    )

    found = normalize("a" + "\u0301\u0316" * 1000)

    assert max(longest) <= 65
    assert {"\u0301": 999, "\u0316": 1000} == {mark: found.count(mark) for mark in "\u0301\u0316"}


@thorough
@given(TEXTS)
def test_idempotent(text: str) -> None:
    """
    A normalised text is its own normal form.
    """
    once = normalize(text)

    assert once == normalize(once)


@thorough
@given(TEXTS)
def test_offsets_lead_back(text: str) -> None:
    """
    Each character has a span of the caller's text, not empty, in range, and none begins before the one before.
    """
    normalized = normalize_with_offsets(text)

    assert len(normalized.text) == len(normalized.starts) == len(normalized.ends)
    assert sorted(normalized.starts) == normalized.starts
    assert sorted(normalized.ends) == normalized.ends
    assert all(
        0 <= start < end <= len(text) for start, end in zip(normalized.starts, normalized.ends, strict=True)
    )


@thorough
@given(TEXTS)
def test_unchanged_characters_lead_to_themselves(text: str) -> None:
    """
    A plain letter comes from a stretch that holds it.
    """
    normalized = normalize_with_offsets(text)

    for character, start, end in zip(*normalized, strict=True):
        if character.isascii() and character.isalnum():
            assert character in text[start:end]

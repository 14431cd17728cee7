"""Which language a text is written in, among those that are served."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.text.detection import MAX_CANDIDATES, SURE, LanguageDetector

SERVED = ["en", "es", "fr"]
DETECTOR = LanguageDetector()  # servers have one, too


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the station?", "en"),
        ("¿Dónde está la estación?", "es"),
        ("Où est la gare ?", "fr"),
        ("HOLA A TODOS", "es"),
        ("bonjour", "fr"),
        ("Good\nmorning,\n\nhow are you?", "en"),
        ("Das ist ein Haus, und darin wohnen wir.", None),
        ("Москва", None),
        ("日本語の文章です。", None),
        ("", None),
        (" \n", None),
        ("1234 + 5 = ?", None),
        ("😀 🎉", None),
    ],
)
def test_chooses(text: str, language: str | None) -> None:
    """
    The likeliest served language is chosen, none where another is surely written or nothing can be read.
    """
    chosen = DETECTOR.choose(text, SERVED)

    assert language == (chosen and chosen.code)
    assert chosen is None or SURE <= chosen.confidence <= 1


def test_only_what_is_served() -> None:
    """
    Among other languages another is chosen.
    """
    chosen = DETECTOR.choose("Das ist ein Haus, und darin wohnen wir.", ["de", "en"])

    assert chosen is not None
    assert "de" == chosen.code


def test_candidates() -> None:
    """
    Candidates are of all languages, likeliest first.
    """
    [first, *others] = DETECTOR.candidates("Guten Morgen, wie geht es Ihnen?")

    assert "de" == first.code
    assert [*others] == sorted(others, key=lambda language: -language.confidence)
    assert len(others) < MAX_CANDIDATES
    assert {first.code, *SERVED} <= set(DETECTOR.codes)
    assert 176 == len(DETECTOR.codes)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """
    Whatever the text, there is an answer, and probabilities are probabilities.
    """
    found = DETECTOR.candidates(text)

    assert all(0 <= language.confidence <= 1 for language in found)
    assert sum(language.confidence for language in found) <= 1.001


def test_many_threads() -> None:
    """
    Threads that ask first at the same time get the same answer.
    """
    detector = LanguageDetector()

    with ThreadPoolExecutor(8) as threads:
        chosen = list(threads.map(detector.choose, ["Where is the station?"] * 32, [SERVED] * 32))

    assert {"en"} == {language and language.code for language in chosen}

"""Language codes as callers write them."""

import pytest

from dragoman.text.languages import primary_language


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("fr-CA", "fr"),
        ("es-419", "es"),
        ("en_US", "en"),
        ("zh-Hant-TW", "zh"),
        ("de", "de"),
        ("fil-PH", "fil"),
        ("ast", "ast"),
    ],
)
def test_codes(code: str, language: str) -> None:
    """
    Script and region are accepted, with hyphen or underscore and in any case, and ignored.
    """
    assert language == primary_language(code)


@pytest.mark.parametrize(
    "code",
    ["", "xx", "e", "eng", "english", "en-", "-en", "en US", "en\n", "ｅｎ", "en-é", "fr/CA", "*", "en--US"],
)
def test_not_codes(code: str) -> None:
    """
    What is no language's shortest code, or not written as a code, is told from one that is not served.
    """
    assert primary_language(code) is None

"""Capitals and titles are read as plain sentences, and come back as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.text.letter_case import LetterCase, case_of, restore_case, to_sentence_case


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("WHERE IS THE STATION?", "Where is the station?"),
        ("Where Is The Train Station?", "Where is the train station?"),
        ("OÙ EST LA GARE ?", "Où est la gare ?"),
        ("MAY I USE THE PC?", "May I use the PC?"),
        ("NATO", "NATO"),
        ("MMXXIV", "MMXXIV"),
        ("John Smith", "John Smith"),
        ("I met Anna Maria Lopez.", "I met Anna Maria Lopez."),
        ("27 Station Road, Cambridge", "27 Station Road, Cambridge"),
    ],
)
def test_plain(text: str, plain: str) -> None:
    """
    Only what is written in capitals as a whole changes; acronyms, names and addresses stay.
    """
    assert plain == to_sentence_case(text, case_of(text))


@pytest.mark.parametrize(
    ("text", "case", "restored"),
    [
        ("Où est la gare ?", LetterCase.CAPITALS, "OÙ EST LA GARE ?"),
        ("Où est la gare de l'hôtel ?", LetterCase.TITLE, "Où est la Gare de l'Hôtel ?"),
        ("Où est la NASA ?", LetterCase.SENTENCE, "Où est la NASA ?"),
    ],
)
def test_restored(text: str, case: LetterCase, restored: str) -> None:
    """
    A translation is written as its source is.
    """
    assert restored == restore_case(text, case)


@given(st.text(max_size=30), st.sampled_from(LetterCase))
def test_lengths(text: str, case: LetterCase) -> None:
    """
    No change of case moves any offset.
    """
    assert len(text) == len(to_sentence_case(text, case)) == len(restore_case(text, case))

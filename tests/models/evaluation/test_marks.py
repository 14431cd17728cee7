"""What is measured of placeholders and terms, on sentences whose answers are known."""

import pytest

from dragoman.text.tokenizer import PLACEHOLDERS, TERM_BEGIN, TERM_END
from models.evaluation.marks import Term, given, is_kept, main, with_placeholders

FIRST, SECOND = PLACEHOLDERS[0], PLACEHOLDERS[1]


@pytest.mark.parametrize(
    ("translation", "kept"),
    [
        (f"Va a {SECOND} o a {FIRST}.", True),
        (f"Va a {FIRST}.", False),
        (f"Va a {FIRST} o a {SECOND} o a {SECOND}.", False),
        (f"Va a {FIRST} o a {SECOND} o a {PLACEHOLDERS[2]}.", False),
        ("Va.", False),
    ],
)
def test_is_kept(translation: str, kept: bool) -> None:
    """
    A translation keeps its placeholders if each is there exactly once, in any order, and no other.
    """
    assert kept == is_kept(f"Go to {FIRST} or to {SECOND}.", translation)


def test_with_placeholders() -> None:
    """
    Every sentence that is measured has at least one placeholder.
    """
    texts = with_placeholders([("We met Ana in 2019.", "Vimos a Ana en 2019.")] * 50)

    assert len(texts) > 40
    assert all(set(PLACEHOLDERS) & set(text) for text in texts)


def test_given() -> None:
    """
    A term stands right behind its word.
    """
    term = Term(("The invoice is due.", "La factura vence."), len("The invoice"), "factura")

    assert f"The invoice{TERM_BEGIN} factura{TERM_END} is due." == given(term)


def test_command_without_marks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A bundle whose tokenizer has no such pieces is refused before anything is translated.
    """
    monkeypatch.setattr("sys.argv", ["marks"])
    monkeypatch.setattr("models.evaluation.marks.tokenizer_of", lambda _: _Plain)

    with pytest.raises(SystemExit, match="no pieces for placeholders"):
        main()


class _Plain:
    has_marks = False

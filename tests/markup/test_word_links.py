"""Links between words, asked from the source's side."""

import pytest

from dragoman.markup.free_space import FreeSpace
from dragoman.markup.word_links import WordLinks
from dragoman.text.spans import Span
from dragoman.text.words import split_words

SOURCE, TARGET = "the red house here", "la maison rouge est ici"
LINKS = [(0, 0), (1, 2), (2, 1), (3, 4)]


@pytest.fixture
def links() -> WordLinks:
    """Return the links of a small pair."""
    return WordLinks(split_words(SOURCE), split_words(TARGET), LINKS)


@pytest.mark.parametrize(
    ("source", "words"),
    [("the", range(1)), ("red house", range(1, 3)), ("ed h", range(1, 3)), (" ", range(1, 1))],
)
def test_words_in(links: WordLinks, source: str, words: range) -> None:
    """
    A span has the words that it touches.
    """
    at = SOURCE.index(source)

    assert words == links.words_in(Span(at, at + len(source)))


@pytest.mark.parametrize(
    ("words", "taken", "stretch"),
    [
        (range(1, 3), [], "maison rouge"),
        (range(3), [], "la maison rouge"),
        (range(2, 4), [], "maison"),
        (range(3, 4), [], "ici"),
        (range(4), ["maison"], "rouge est ici"),
        (range(1), ["la"], None),
        (range(1, 1), [], None),
    ],
)
def test_stretch(links: WordLinks, words: range, taken: list[str], stretch: str | None) -> None:
    """
    The stretch has what is linked to the words and little else, the first of equals; a word that is linked to none is cheap.
    """
    space = FreeSpace(TARGET, Span(0, len(TARGET)))
    for word in taken:
        space.take(Span(TARGET.index(word), TARGET.index(word) + len(word)), 0)

    found = links.stretch(words, space)

    assert stretch == (found and found.of(TARGET))


def test_behind() -> None:
    """
    A place is before what the next word became, else behind what the last one did, else at the beginning.
    """
    links = WordLinks(split_words(SOURCE), split_words(TARGET), [(1, 2)])

    assert [0, TARGET.index("rouge"), TARGET.index(" est")] == [links.behind(at) for at in (0, 4, 8)]

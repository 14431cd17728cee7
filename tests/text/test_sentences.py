"""What counts as a sentence, in which languages, and what is never lost."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.text.sentences import split_sentences, split_to_fit
from dragoman.text.spans import Span, clusters, trim

LANGUAGES = st.sampled_from(["en", "es", "fr", "xx"])
FRAGMENTS = st.sampled_from(
    [
        *".!?…,;:|-–—\"'«»“”()[]¿¡ \t\n\r\v\f\x1c\x85\u00a0\u2028\u2029\u200b\u200d\u0301",
        "\r\n", "\n\n", "...", "a", "b.", "Mr.", "The ", "etc. ", "U.S. ", "J. ", "1. ", "3.14", "EE. UU. ", "M. ",
        "word ", "Word. ", "wraps here and\nthere ", "👨\u200d👩\u200d👧", "🇫🇷", "é", "日本語", "a@b.org", "\x00",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=40).map("".join), st.text(max_size=80))


def sentences(text: str, language: str) -> list[str]:
    """Return the sentences as strings."""
    return [span.of(text) for span in split_sentences(text, language)]


def assert_covers(text: str, spans: list[Span]) -> None:
    """Spans are in order, disjoint, trimmed, not empty, and leave out white space only."""
    position = 0
    for span in spans:
        assert position <= span.start < span.end <= len(text)
        assert "" == text[position : span.start].strip()
        assert span == trim(text, *span)
        position = span.end
    assert "" == text[position:].strip()


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["It was late!", "Why?", "Nobody knew.", "The end"]),
        ("en", ["Mr. Smith met Dr. J. K. Rowling at 5 p.m. in Washington, D.C.", "It rained."]),
        ("en", ["The U.S. Congress met.", "He lives in the U.S.", "The law passed."]),
        ("en", ["See e.g. Fig. 3.2, No. 5 and vol. IV.", "No.", "I won't."]),
        ("en", ["Milk, eggs, etc.", "They cost $3.50."]),
        ("en", ["Visit https://example.com/a.b?c=d!", "Write to a.b@example.org.", "Open notes.txt."]),
        ("en", ["Wait... what?", "Well…", "Then left."]),
        ("en", ['"Really?" she asked.', 'He said "stop! now" twice.', "(It was over.)", "Good."]),
        ("en", ["He left (why? Nobody knows.) and came back.", "Next."]),
        ("en", ["It was signed in 1992.", "20 states joined.", "So did I.", "Then more came."]),
        ("en", ["They like vitamin C.", "The other is vitamin D."]),
        ("en", ["hello there!", "how are you?", "i'm fine. thanks"]),
        ("en", ["As stated.[12]", "As known.²", "iPad sales rose."]),
        ("en", ["Great! 🎉"]),
        ("es", ["¡Hola!", "¿Qué tal?", "¿Y tú?", "Bien."]),
        ("es", ["El Sr. García y la Dra. López viven en EE. UU. desde 1990.", "Véase el art. 5, núm. 3."]),
        ("es", ["Vino de EE. UU.", "El presidente habló.", "Nació en 44 a. C. en Roma."]),
        ("es", ["Por p. ej. esto.", "—¡Vete! —dijo Juan.", "El 1.º de mayo, n.º 5."]),
        ("fr", ["M. Dupont et Mme Durand citent l'art. 5, p. ex. ici.", "Vraiment ?", "Oui !"]),
        ("fr", ["« Bonjour ! » dit-il.", "Il dit : « Non. »", "Puis il partit."]),
        ("fr", ["En 50 av. J.-C. César vint.", "J. Le Goff écrit.", "Ah ! mais non."]),
        ("fr", ["Il vit dans l'U.E.", "L'accord le permet, cf. Descartes, etc.", "Les autres aussi."]),
    ],
)
def test_knows_where_sentences_end(language: str, expected: list[str]) -> None:
    """
    Abbreviations, initials, numbers, addresses, asides and quotations do not end a sentence.
    """
    assert expected == sentences(" ".join(expected), language)


def test_splits_before_inverted_marks_without_white_space() -> None:
    """
    In Spanish an inverted mark begins a sentence even when the space was forgotten.
    """
    assert ["¡Hola!", "¿Qué tal?"] == sentences("¡Hola!¿Qué tal?", "es")


def test_keeps_numbers_with_their_items() -> None:
    """
    The number of a list item belongs to the item.
    """
    assert ["1. First item", "2. Second one.", "A. Third.", "IV. Last"] == sentences(
        "1. First item\n2. Second one. A. Third.\n\nIV. Last", "en"
    )


@pytest.mark.parametrize("separator", ["\n\n", "\r\n \r\n", "\u2029", "\f", "\v", "\t", "\u2028", " \n\t"])
def test_separators_end_sentences(separator: str) -> None:
    """
    Blank lines, paragraph and page breaks and tabs end a sentence whatever stands around them.
    """
    assert ["one line of text", "another one"] == sentences(f"one line of text{separator}another one", "en")


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\x85", "  \n  "])
def test_wrapped_paragraphs_go_on(line_end: str) -> None:
    """
    A line that only wraps at the margin continues its sentence.
    """
    text = (
        f"The agreement on the European{line_end}market, worth over 3.5{line_end}billion, stands. It holds."
    )

    assert [text.removesuffix(" It holds."), "It holds."] == sentences(text, "en")


@pytest.mark.parametrize(
    "lines",
    [
        ["A title of some words", "Then a text"],
        ["red wine", "white wine"],
        ["all of these things:", "one of them"],
        ["a line that stops here.", "another in lower case"],
        ['they all said "no."', "and another line"],
        ["the first of the items", "- the second of them", "b) the third of them"],
    ],
)
def test_other_line_breaks_end_sentences(lines: list[str]) -> None:
    """
    Titles, short lines, finished sentences and bullets are not parts of a wrapped paragraph.
    """
    assert lines == sentences("\n".join(lines), "en")


def test_pipes_are_text() -> None:
    """
    The text after a vertical bar is translated like the text before it.
    """
    assert ["Home | News | About us"] == sentences("Home | News | About us", "en")


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000"])
def test_blank_text_has_no_sentence(text: str) -> None:
    """
    White space alone is no sentence.
    """
    assert [] == split_sentences(text, "en")


def test_marks_alone_are_no_sentence() -> None:
    """
    Marks without a word stay with the words around them, or make one sentence of the whole text.
    """
    assert ["?! ... !"] == sentences("?! ... !", "en")
    assert ["... And so on ! ! !", "Yes"] == sentences("... And so on ! ! ! Yes", "en")


@given(TEXTS, LANGUAGES)
@example("a\n\nb\x85\x85c", "en")
@settings(max_examples=150)
def test_loses_nothing(text: str, language: str) -> None:
    """
    Every character that is not white lies in exactly one sentence, in any text.
    """
    assert_covers(text, split_sentences(text, language))


@given(TEXTS, LANGUAGES)
@settings(max_examples=150)
def test_sentences_are_short_of_nothing(text: str, language: str) -> None:
    """
    A sentence of a text that has words holds a word itself, or stands on a line of its own.
    """
    for line in re.split(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]", text):
        if re.search(r"[^\W_]", line):
            assert all(re.search(r"[^\W_]", sentence) for sentence in sentences(line, language))


@given(TEXTS, LANGUAGES, st.integers(1, 12))
@settings(max_examples=150)
def test_pieces_fit_and_lose_nothing(text: str, language: str, size: int) -> None:
    """
    Whatever the limit, all pieces obey it and together they are the sentence.
    """
    for sentence in split_sentences(text, language):
        pieces = split_to_fit(text, sentence, lambda piece: len(piece) <= size)

        shifted = [Span(start - sentence.start, end - sentence.start) for start, end in pieces]
        assert_covers(sentence.of(text), shifted)
        assert all(piece.end - piece.start <= size for piece in pieces)


def fitted(text: str, size: int) -> list[str]:
    """Return the pieces of at most `size` code points as strings."""
    return [piece.of(text) for piece in split_to_fit(text, Span(0, len(text)), lambda p: len(p) <= size)]


def test_keeps_what_fits() -> None:
    """
    A sentence that fits is left alone.
    """
    assert ["one, two; three"] == fitted("one, two; three", 15)


def test_cuts_between_clauses_first() -> None:
    """
    The clause boundary nearest the middle is preferred to any other white space.
    """
    assert ["Yes, when it rains,", "we stay at home all day"] == fitted(
        "Yes, when it rains, we stay at home all day", 30
    )
    assert ["it costs 1,000 euros,", "they said to us"] == fitted("it costs 1,000 euros, they said to us", 25)


def test_cuts_between_words_next() -> None:
    """
    Without a clause boundary, words stay whole.
    """
    assert ["alpha beta", "gamma delta"] == fitted("alpha beta gamma delta", 12)


def test_cuts_characters_last_and_keeps_them_whole() -> None:
    """
    A word that is too long is cut, but not between a letter and its accent or within a joined emoji.
    """
    assert ["abcd", "efgh"] == fitted("abcdefgh", 5)
    assert ["e\u0301", "e\u0301"] == fitted("e\u0301e\u0301", 3)
    assert ["👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"] == fitted("👨\u200d👩\u200d👧" * 2, 6)
    assert ["🇫🇷", "🇪🇸"] == fitted("🇫🇷🇪🇸", 3)


def test_cuts_within_a_character_where_nothing_else_is_left() -> None:
    """
    A limit smaller than a joined emoji is still obeyed.
    """
    assert "👨\u200d👩\u200d👧" == "".join(fitted("👨\u200d👩\u200d👧", 1))


def test_refuses_a_limit_nothing_fits() -> None:
    """
    If not even one code point fits, the limit is wrong and the caller is told where.
    """
    with pytest.raises(ValueError, match="offset 0 does not fit"):
        split_to_fit("abc", Span(0, 3), lambda piece: False)


def test_clusters_cover_the_span() -> None:
    """
    Characters as a reader sees them: accents, skin tones, flags and families count once.
    """
    text = "ae\u0301👍🏽🇫🇷🇪🇸👨\u200d👩\u200d👧각"

    found = [cluster.of(text) for cluster in clusters(text, Span(0, len(text)))]

    assert ["a", "e\u0301", "👍🏽", "🇫🇷", "🇪🇸", "👨\u200d👩\u200d👧", "각"] == found

"""What a reader takes for a word, whatever the language."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.text.words import split_words

FRAGMENTS = st.sampled_from(
    [
        *"aéZ7 \t\n\u00a0\u2028.,:;!?'’\"«»()[]-–_&@/\\|#*%€\x00\u200b\u200d\ufe0f\u0301\ufeff\u00ad",
        "l'", "qu’", "don't", "U.S.", "1,000.50", "http://", "www.", "a@b.org", "...", "日本", "ไทย", "हिन्दी",
        "👨\u200d👩\u200d👧", "👍🏽", "🇫🇷", "1\ufe0f\u20e3", "\U0001d165", "각",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(FRAGMENTS, max_size=30).map("".join), st.text(max_size=60))


def words(text: str) -> list[str]:
    """Return the words as strings."""
    return [span.of(text) for span in split_words(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["L'", "accord", "d’", "août", "n'", "est", "qu'", "une", "idée"],
        ["Jusqu'", "à", "lorsqu’", "il", "puisqu'", "on", "QUOIQU'", "ELLE", "s'", "y", "c'", "était", "J'", "ai"],
        ["jusqu'", "aujourd'hui", "quelqu'un", "presqu'île", "peut-être", "Qu'", "est-ce", "l'", "11"],
        ["dell'", "Unione", "un'", "altra", "all'", "inizio"],
    ],
)  # fmt: skip
def test_elisions_end_a_word(expected: list[str]) -> None:
    """
    French and Italian elisions are words of their own; words that merely contain an apostrophe are not cut.
    """
    text = " ".join(expected).replace("' ", "'").replace("’ ", "’")

    assert expected == words(text)


def test_elisions_before_quotations() -> None:
    """
    An elision also ends at an opening quotation mark.
    """
    assert ["l'", "«", "accord", "»", "d'", '"', "ici", '"'] == words("l'« accord » d'\"ici\"")


@pytest.mark.parametrize(
    "word", ["don't", "John's", "I’m", "c'mon", "y'all", "o'clock", "O'Neil", "all's", "rock'n'roll"]
)
def test_contractions_are_one_word(word: str) -> None:
    """
    English contractions, possessives and Irish names stay whole.
    """
    assert [word] == words(word)


@pytest.mark.parametrize(
    "word",
    [
        "1,000.50", "18.10", "1\u202f000,50", "10:30", "12/05/2024", "1990-1995", "18h10", "1.º", "n.º", "3rd",
        "state-of-the-art", "snake_case", "AT&T", "étudiant·e·s", "U.S.", "e.g.", "J.R.R.", "Ph.D.",
        "example.com", "notes.txt", "https://example.com/a?b=1&c=[2]#d", "www.example.org", "first.last+tag@example.co.uk",
    ],
)  # fmt: skip
def test_one_thing_is_one_word(word: str) -> None:
    """
    Numbers with separators, hyphenated words, initials, file names and addresses stay whole.
    """
    assert [word] == words(word)


def test_punctuation_leaves_words() -> None:
    """
    Marks around a word are words of their own; a run of one and the same mark is one.
    """
    assert ["(", "€", "18.10", ")", "?", "!!!", "...", "—", "$$$", "5", "%", "a", "|", "b"] == words(
        "(€18.10)?!!!...— $$$5% a|b"
    )
    assert ["See", "http://a.b/c", ",", "'", "this", "'", "."] == words("See http://a.b/c, 'this'.")


@pytest.mark.parametrize(
    "expected",
    [
        ["👨\u200d👩\u200d👧", "👍🏽", "🇫🇷", "🇪🇸", "1\ufe0f\u20e3", "❤\ufe0f", "😀", "😀"],
        ["e\u0301te\u0301", "हिन्दी", "العَرَبِيَّة", "한국어", "Привет"],
    ],
)
def test_characters_are_never_cut(expected: list[str]) -> None:
    """
    Joined emoji, flags and letters with combining marks belong together.
    """
    assert expected == words(" ".join(expected))


def test_emoji_need_no_spaces() -> None:
    """
    Emoji that touch are still one word each, and so are flags.
    """
    assert ["👨\u200d👩\u200d👧", "👍🏽", "🇫🇷", "🇪🇸", "ok"] == words("👨\u200d👩\u200d👧👍🏽🇫🇷🇪🇸ok")


def test_unspaced_scripts_are_cut_into_characters() -> None:
    """
    Where a script writes no spaces, each character is a word.
    """
    assert ["日", "本", "ก็"] == words("日本ก็")


def test_the_figure_everyone_knows() -> None:
    """
    Both sides of the best-known alignment are cut as its caption counts them.
    """
    assert 13 == len(words("The agreement on the European Economic Area was signed in August 1992."))
    assert 14 == len(words("L'accord sur la zone économique européenne a été signé en août 1992."))


@given(TEXTS)
@example("\u0301")
@example("l'")
@settings(max_examples=150)
def test_loses_nothing(text: str) -> None:
    """
    Words are in order, disjoint, not empty, and leave out white space only.
    """
    position = 0
    for span in split_words(text):
        assert position <= span.start < span.end <= len(text)
        assert "" == text[position : span.start].strip()
        assert not text[span.start].isspace()
        assert not text[span.end - 1].isspace()
        position = span.end
    assert "" == text[position:].strip()


@given(
    st.lists(st.sampled_from(["accord", "don't", "1,000.50", "(", "peut-être", "U.S.", "😀", "a@b.org", "?"]))
)
@settings(max_examples=100)
def test_words_between_spaces_are_left_alone(chosen: list[str]) -> None:
    """
    A text that was cut into words and joined with spaces is cut into the same words.
    """
    assert chosen == words(" ".join(chosen))

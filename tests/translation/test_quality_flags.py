"""What speaks against a translation: numbers, addresses, placeholders, copies, lengths."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.translation.quality_flags import quality_flags
from dragoman.types import FlagKind

NUMBER, URL, PLACEHOLDER = FlagKind.NUMBER_MISMATCH, FlagKind.URL_MISMATCH, FlagKind.PLACEHOLDER_MISMATCH


def found(source: str, target: str) -> list[tuple[FlagKind, str | None, str | None]]:
    """Return the doubts, with the words they are about."""
    return [
        (
            flag.kind,
            flag.source_span and flag.source_span.of(source),
            flag.target_span and flag.target_span.of(target),
        )
        for flag in quality_flags(source, target)
    ]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("It costs €18.10.", "Cela coûte 18,10 €."),
        ("1,000,000.50 people", "1\u202f000\u202f000,50 personnes"),
        ("1,000 dogs in 2019, 100 in 2020", "1.000 perros en 2019, 100 en 2020"),
        ("at 10:30 on the 2nd", "le 2 à 10 h 30"),
        ("I have 3 cats.", "J'ai trois chats."),
        ("Twelve months", "12 mois"),
        ("the 21st century", "le XXIe siècle"),
        ("el siglo XIX", "the 19th century"),
        ("Article 1", "Article premier"),
        ("It costs $5.", "Cela coûte 5 $."),
        ("See https://a.org/x?y=2.", "Voyez https://a.org/x?y=2."),
        ("Hello {name}, %s and %(count)d of ${total}", "Bonjour {name}, %s et %(count)d sur ${total}"),
        ("100% sure", "sûr à 100 %"),
        ("The European Parliament in Strasbourg", "Le Parlement européen à Strasbourg"),
        ("Marie Curie, Paris", "Marie Curie, Paris"),
        ("I do not know.", "No sé."),
        ("", ""),
    ],
)
def test_no_doubt(source: str, target: str) -> None:
    """
    What languages write differently is no mismatch: separators, currencies, words and Roman numerals for numbers.
    """
    assert [] == found(source, target)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("Room 407 is on floor 4.", "La room 407 est en jolie.", [(NUMBER, "4", None)]),
        ("It weighs 244890 g.", "Elle pèse 24490 g.", [(NUMBER, "244890", None), (NUMBER, None, "24490")]),
        ("two and 7", "2, 7 et 7", [(NUMBER, None, "7")]),
        ("for €18.10", "pour 18 h 10", [(NUMBER, "18.10", None), (NUMBER, None, "18"), (NUMBER, None, "10")]),
        ("Ask me@b.net now", "Demandez maintenant", [(URL, "me@b.net", None)]),
        ("See www.a.org/1 soon", "Voyez www.a.org/2 bientôt", [(URL, "www.a.org/1", None), (URL, None, "www.a.org/2")]),
        ("Hello {name}!", "Bonjour {nom} !", [(PLACEHOLDER, "{name}", None), (PLACEHOLDER, None, "{nom}")]),
        ("%d files in %s", "%d fichiers en", [(PLACEHOLDER, "%s", None)]),
        ("Give $1 to $2", "Donnez $2", [(PLACEHOLDER, "$1", None)]),
    ],
)  # fmt: skip
def test_mismatches(
    source: str, target: str, expected: list[tuple[FlagKind, str | None, str | None]]
) -> None:
    """
    What was lost is named in the source, what was made up in the translation.
    """
    assert expected == found(source, target)


@pytest.mark.parametrize(
    ("source", "target", "share"),
    [
        ("the cat is on the mat", "the cat is on the mat", 1.0),
        ("the cat is on the mat", "the cat is on le mat", 5 / 6),
        ("la radio del animal", "the radio of the animal", None),
        ("a cat", "a cat", None),
        ("see /usr/local/share/doc/readme.txt", "voir /usr/local/share/doc/readme.txt", None),
        ("C:\\users\\me\\final report.docx", "C:\\users\\me\\final report.docx", None),
        ("docs.example.org/guide/first-steps.html and", "docs.example.org/guide/first-steps.html et", None),
        ("my_first_file.tar.gz (new)", "my_first_file.tar.gz (nouveau)", None),
        ("Config: db.host=localhost db.port=5432 db.name=test", "Config : db.host=localhost db.port=5432 db.name=test", None),
        ("please open the file final.docx", "please open the file final.docx", 1.0),
        ("«the cat» is, on the mat!", "«the cat» is, on le mat!", 5 / 6),
    ],
)  # fmt: skip
def test_copies(source: str, target: str, share: float | None) -> None:
    """
    A sentence of which nearly all words in small letters came back is a copy; what is short or has names is none.

    Nor is one that mostly is a file name or an address, which are the same in all languages; the words around them count.
    """
    flags = [flag for flag in quality_flags(source, target) if flag.kind is FlagKind.UNTRANSLATED_COPY]

    assert ([] if share is None else [pytest.approx(share)]) == [flag.value for flag in flags]


@pytest.mark.parametrize(
    ("source", "target", "ratio"),
    [
        ("Good morning, everybody.", "", 0.0),
        ("Yes.", "oui " * 10, 10.0),
        ("Yes.", "Oui, bien sûr.", None),
        ("Oh!", " ", 1 / 3),
        ("¿", "", 0.0),
        (" ", "", None),
    ],
)
def test_lengths(source: str, target: str, ratio: float | None) -> None:
    """
    A translation far longer or shorter than its source is doubted, with the ratio; short texts may differ more, but not be gone.
    """
    flags = [flag for flag in quality_flags(source, target) if flag.kind is FlagKind.LENGTH_OUTLIER]

    assert ([] if ratio is None else [ratio]) == [flag.value for flag in flags]


@settings(max_examples=150)
@given(st.text(max_size=80), st.text(alphabet="0123 .,{}%$sna@b.c/:htps", max_size=80))
def test_any_text(source: str, target: str) -> None:
    """
    Whatever the texts, spans lie within them, and a text says nothing against itself but that it is a copy.
    """
    for flag in quality_flags(source, target):
        for span, text in ((flag.source_span, source), (flag.target_span, target)):
            assert span is None or 0 <= span.start <= span.end <= len(text)
    for text in (source, target):
        assert {flag.kind for flag in quality_flags(text, text)} <= {FlagKind.UNTRANSLATED_COPY}

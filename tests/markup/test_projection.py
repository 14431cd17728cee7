"""Tags carried to a translation: around the words that correspond, nested as they were, each exactly once."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.markup.html_reader import parse_html
from dragoman.markup.projection import Projection, project
from dragoman.text.spans import Span
from dragoman.text.words import split_words


def carried(html: str, target: str, links: list[tuple[int, int]]) -> Projection:
    """Put the tags of a segment into a translation."""
    [segment] = parse_html(html).segments
    words = split_words(segment.text), split_words(target)
    return project(segment.tags, segment.text, target, *words, links, segment.escape)


@pytest.mark.parametrize(
    ("html", "target", "links", "expected"),
    [
        ("The <b>red</b> house", "La maison rouge", [(0, 0), (1, 2), (2, 1)], "La maison <b>rouge</b>"),
        ("<b>Where is it?</b>", "Où est-il ?", [], "<b>Où est-il ?</b>"),
        ("<i>The <b>red</b> house</i>", "La maison rouge", [(1, 2), (2, 1)], "<i>La maison <b>rouge</b></i>"),
        ("a <b>b</b> <i>c</i>", "C B A", [(0, 2), (1, 1), (2, 0)], "<i>C</i> <b>B</b> A"),
        ("See <a href='x'>this page</a> now", "Voir maintenant cette page", [(0, 0), (1, 2), (2, 3), (3, 1)],
         "Voir maintenant <a href='x'>cette page</a>"),
        ("one <img src=x> two", "deux un", [(0, 1), (1, 0)], "<img src=x>deux un"),
        ("Run <code>ls -l</code> now", "Maintenant, lance ls -l", [(0, 2)], "Maintenant, lance <code>ls -l</code>"),
        ("Tom &amp; <b>Jerry</b>", "Jerry & Tom", [(0, 2), (1, 1), (2, 0)], "<b>Jerry</b> &amp; Tom"),
        ("a<b></b> c", "A C", [(0, 0), (1, 1)], "A <b></b>C"),
        ("x <b>y", "X Y", [(0, 0), (1, 1)], "X <b>Y"),
    ],
)  # fmt: skip
def test_follows_the_words(html: str, target: str, links: list[tuple[int, int]], expected: str) -> None:
    """
    A pair of tags goes around what its words became; what stands alone goes before what follows it.
    """
    assert expected == carried(html, target, links).text


def test_a_pair_without_words() -> None:
    """
    A pair whose words became nothing is kept, around nothing, and told.
    """
    projection = carried("Do <b>please</b> come", "Venez", [(0, 0), (2, 0)])

    assert [Span(3, 9)] == projection.lost
    assert "Venez" == projection.text.replace("<b></b>", "")


NESTED = st.recursive(
    st.sampled_from(["one ", "two ", "three", " & ", "<img>", "<!--c-->"]),
    lambda inner: st.tuples(st.sampled_from("bius"), st.lists(inner, max_size=4)).map(
        lambda made: f"<{made[0]}>{''.join(made[1])}</{made[0]}>"
    ),
    max_leaves=10,
)


@given(
    st.lists(NESTED, max_size=5).map("word ".join),
    st.lists(st.sampled_from(["un", "deux", "<", "."]), max_size=6),
    st.randoms(),
)
def test_always_well_formed(html: str, words: list[str], chance: random.Random) -> None:
    """
    Whatever the links, each tag comes exactly once, nested as it was, and the translation's text is untouched.
    """
    html, target = f"begin {html}", " ".join(words)
    [segment] = parse_html(html).segments
    source_words, target_words = split_words(segment.text), split_words(target)
    links = [
        (chance.randrange(len(source_words)), chance.randrange(len(target_words)))
        for _ in range(chance.randrange(8) if target_words else 0)
    ]

    projection = project(
        segment.tags, segment.text, target, source_words, target_words, links, segment.escape
    )

    text = projection.text
    assert len(target) + 1 == len(projection.places)
    assert [segment.escape(character) for character in target] == [
        text[place : place + len(segment.escape(character))]
        for place, character in zip(projection.places, target, strict=False)
    ]
    [again] = parse_html(f"z{text}").segments
    assert f"z{target}" == again.text
    assert Counter(tag.raw for tag in segment.tags) == Counter(tag.raw for tag in again.tags)
    assert _families(segment.tags) == _families(again.tags)


def _families(tags: list) -> Counter[tuple[str, ...]]:  # type: ignore[type-arg]
    """Return each tag with those around it, outermost first."""
    path: list[str] = []
    found: Counter[tuple[str, ...]] = Counter()
    for tag in tags:
        if tag.partner is not None and not tag.is_opening:
            path.pop()
            continue
        found[*path, tag.raw] += 1
        if tag.is_opening:
            path.append(tag.raw)
    return found

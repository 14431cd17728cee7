"""Markup: segments, inline tags and what is kept, with every place in the caller's document."""

from collections.abc import Callable
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidRequest
from dragoman.markup.document import MAX_DEPTH, Document
from dragoman.markup.html_reader import parse_html
from dragoman.markup.projection import project
from dragoman.markup.xml_reader import parse_xml
from dragoman.text.spans import Span
from dragoman.text.words import split_words


def texts(document: Document) -> list[str]:
    """Return what is translated."""
    return [segment.text for segment in document.segments]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>The <b>red</b> house.</p><ul><li>One</li><li>Two</li></ul>", ["The red house.", "One", "Two"]),
        ("Tom &amp; Jerry &lt;3&nbsp;&#33;", ["Tom & Jerry <3\u00a0!"]),
        ("<script>if (a < b) {}</script>text<style>p {}</style>", ["text"]),
        ("one<br>two <img src=x> three", ["one", "two  three"]),
        ("Run <code>ls -l</code> now", ["Run ls -l now"]),
        ("<pre>kept\n  as it is</pre>moved", ["moved"]),
        ('<p translate="no">Acme <b>Inc</b></p><p>buys</p>', ["buys"]),
        ('<div class="a notranslate"><div>Acme</div></div>buys', ["buys"]),
        ("<title>My page</title><p>12 %</p>", ["My page", "12 %"]),
        ("<!-- not this -->this", ["this"]),
        ("a < b and c > d", ["a < b and c > d"]),
        ("<b", ["<b"]),
        ("<p>* * *</p>", []),
        ("", []),
    ],
)
def test_segments_of_html(html: str, expected: list[str]) -> None:
    """
    Blocks, line breaks and what is not text separate segments; inline tags do not.
    """
    assert expected == texts(parse_html(html))


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (
            '<unit><source>Hi <g id="1">there</g><x id="2"/> you</source><note>Go</note></unit>',
            ["Hi there you", "Go"],
        ),
        ("Plain &lt; é <b>x</b>", ["Plain < é x"]),
        ('<?xml version="1.0"?>\n<d><![CDATA[<kept>]]><p>Say é</p></d>', ["Say é"]),
        ("<a><b><c>deep</c></b></a>", ["deep"]),
        ("<x/>", []),
        ("just text", ["just text"]),
    ],
)
def test_segments_of_xml(xml: str, expected: list[str]) -> None:
    """
    An element is inline where text stands beside it, whatever its name.
    """
    assert expected == texts(parse_xml(xml))


@pytest.mark.parametrize(
    ("xml", "complaint"),
    [
        ("<a>x</b>", r"line 1, column 7: mismatched tag"),
        ("<a>\n<b></a>", r"line 2, column 6: mismatched tag"),
        ('<!DOCTYPE d [<!ENTITY x "xxxx">]><d>&x;</d>', "entity declarations are not allowed"),
    ],
)
def test_malformed_xml(xml: str, complaint: str) -> None:
    """
    What is not well formed is refused with its place, and so are entities that could expand without bound.
    """
    with pytest.raises(InvalidRequest, match=complaint):
        parse_xml(xml)


def test_places() -> None:
    """
    A span of a segment is found again in the document, through entities and tags.
    """
    html = "<p>Tom &amp; <b>Jerry</b> run</p>"
    [segment] = parse_html(html).segments

    assert "Tom" == segment.place(Span(0, 3)).of(html)
    assert "&amp;" == segment.place(Span(4, 5)).of(html)
    assert "Jerry" == segment.place(Span(6, 11)).of(html)
    assert "Jerry</b> run" == segment.place(Span(6, 15)).of(html)


HTML = st.lists(
    st.one_of(
        st.sampled_from(
            ["<p>", "</p>", "<b>", "</b>", "<i class=x>", "</i>", "<br/>", "<br>", "<img>", "<a href='?a=1&b=2'>", "</a>",
             "<!-- x -->", "<!--", "-->", "<code>", "</code>", "<script>", "</script>", "&amp;", "&nbsp;", "&", "&#x41;", "<", ">",
             "<pre>", "</pre>", "<td translate=no>", "</td>", "<!DOCTYPE html>", "<?x?>", "<x1/>", "<![CDATA[", "]]>", "</", "\n"]
        ),
        st.text("ab cé.🙂", max_size=8),
    ),
    max_size=25,
).map("".join)  # fmt: skip


@given(HTML)
def test_nothing_is_lost(html: str) -> None:
    """
    Slices that are kept, tags and texts of segments together are the document, whatever is wrong with it.
    """
    document = parse_html(html)

    rebuilt = ""
    for part in document.parts:
        if isinstance(part, str):
            rebuilt += part
            continue
        assert len(part.text) + 1 == len(part.places)
        assert part.places == sorted(part.places)
        start = len(rebuilt)
        end = part.places[-1]
        rebuilt += html[start:end]
        assert all(tag.raw in html[start:end] for tag in part.tags)
    assert html == rebuilt


@given(st.recursive(
    st.text("ab <&>é", max_size=6).map(escape),
    lambda inner: st.tuples(st.sampled_from(["g", "p", "x"]), st.lists(inner, max_size=4)).map(
        lambda made: f"<{made[0]}>{''.join(made[1])}</{made[0]}>"
    ),
    max_leaves=12,
))  # fmt: skip
def test_nothing_is_lost_of_xml(xml: str) -> None:
    """
    The same of XML.
    """
    document = parse_xml(xml)

    rebuilt = ""
    for part in document.parts:
        rebuilt += part if isinstance(part, str) else xml[len(rebuilt) : part.places[-1]]
    assert xml == rebuilt


@pytest.mark.parametrize("parse", [parse_html, parse_xml])
def test_depth(parse: Callable[[str], Document]) -> None:
    """
    Inline tags may be nested a hundred times, which is refused beyond with the limit and what was found.
    """
    deepest, too_deep = ("x" + " <b>a" * depth + "</b>" * depth for depth in (MAX_DEPTH, MAX_DEPTH + 1))

    [segment] = parse(deepest).segments
    with pytest.raises(InvalidRequest, match="nested in one another: 101, the limit is 100") as refused:
        parse(too_deep)

    words = split_words(segment.text)
    links = [(index, index) for index in range(len(words))]
    projection = project(segment.tags, segment.text, segment.text, words, words, links, segment.escape)
    assert deepest == projection.text
    assert "MALFORMED_MARKUP" == refused.value.reason


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<b>a</b> <i <i <i", "a <i <i <i"),
        ("a &lt<b <!-- c &amp; d", "a <<b <!-- c & d"),
        ("a <b", "a <b"),
        ("<i>a</b> <u>b</i>", "a b"),
    ],
)
def test_what_never_ends(html: str, expected: str) -> None:
    """
    What begins like a tag and never ends is text; what is closed and was never opened, a tag that stands alone.
    """
    [segment] = parse_html(html).segments

    assert expected == segment.text

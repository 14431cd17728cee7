"""Markup over gRPC: every tag once, text translated across it, spans in the caller's own document."""

import re
from collections import Counter

import pytest

from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import request
from tests.rpc.test_streaming import options
from tests.servers import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = (
    "<!DOCTYPE html><p>Where is the <b>station</b>? Tom &amp; <i>Jerry</i> are here.</p>\n"
    '<ul><li>One day</li><li><a href="?a=1&amp;b=2">The red house</a></li></ul><pre>  kept  </pre>'
)
TAG = re.compile(r"<[^>]*>")


async def test_a_page(server: Running) -> None:
    """
    Tags are as in the source, blocks in its order, entities written again, and what is no text is untouched.
    """
    reply = await server.stub.Translate(request(PAGE, "plain &lt; text", mime_type="text/html"))

    page, plain = reply.translations
    assert Counter(TAG.findall(PAGE)) == Counter(TAG.findall(page.translated_text))
    assert page.translated_text.startswith("<!DOCTYPE html><p>")
    assert page.translated_text.endswith("</a></li></ul><pre>  kept  </pre>")
    assert "&amp;" in page.translated_text
    assert "&lt;" in plain.translated_text
    assert "station" not in page.translated_text


async def test_spans_point_into_the_documents(server: Running) -> None:
    """
    Sentences, words and links count the markup too, in the caller's unit.
    """
    output = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_HARD)
    reply = await server.stub.Translate(request(PAGE, mime_type="text/html", output=output))

    [page] = reply.translations
    sources = [PAGE[one.source_span.start : one.source_span.end] for one in page.sentences]
    assert ["Where is the <b>station</b>?", "Tom &amp; <i>Jerry</i> are here.", "One day"] == sources[:3]
    first = page.sentences[0]
    words = [PAGE[word.span.start : word.span.end] for word in first.source_words]
    assert ["Where", "is", "the", "station", "?"] == words
    targets = [page.translated_text[word.span.start : word.span.end] for word in first.target_words]
    assert all(word and "<" not in word for word in targets)
    assert first.links


async def test_words_only_if_they_are_wanted(server: Running) -> None:
    """
    The links that carry tags are not sent to callers who did not ask for them.
    """
    reply = await server.stub.Translate(request("The <b>red</b> house.", mime_type="text/html"))

    [sentence] = reply.translations[0].sentences
    assert not sentence.source_words
    assert not sentence.links
    assert not sentence.target_tokens


async def test_xml(server: Running) -> None:
    """
    Inline elements of XML are carried along; a text that is not well formed fails alone, with its place.
    """
    good = '<source>The <g id="1">red</g> house<x id="2"/>.</source>'
    reply = await server.stub.Translate(request(good, "<a>x</b>", mime_type="application/xml"))

    whole, bad = reply.translations
    assert Counter(TAG.findall(good)) == Counter(TAG.findall(whole.translated_text))
    assert "MALFORMED_MARKUP" == bad.error.reason
    assert "line 1, column 7" in bad.error.message


@pytest.mark.parametrize("html", ["", " ", "<p></p>", "<br>", "<script>x</script>", "<!-- a -->", "<b>"])
async def test_nothing_to_translate(server: Running, html: str) -> None:
    """
    A document without text comes back as it is.
    """
    reply = await server.stub.Translate(request(html, mime_type="text/html"))

    assert html == reply.translations[0].translated_text


async def test_a_stream(server: Running) -> None:
    """
    A stream gives the same document as a call.
    """
    reply = await server.stub.Translate(request(PAGE, mime_type="text/html"))
    first = pb.StreamTranslateRequest(id="a", content=PAGE, options=options(mime_type="text/html"))
    parts = [part async for part in server.stub.StreamTranslate(iter([first]))]

    assert reply.translations[0].translated_text == "".join(part.translated_text for part in parts)
    assert [False] * (len(parts) - 1) + [True] == [part.last for part in parts]
    spans = [one.sentence.target_span for one in parts if one.HasField("sentence")]
    assert [one.target_span for one in reply.translations[0].sentences] == spans

"""Detection over gRPC: which language a text is in, and texts without a given one."""

import pytest

from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import refused, request
from tests.rpc.test_streaming import options
from tests.servers import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGLISH, SPANISH, FRENCH = "Where is the red house?", "¿Dónde está la casa roja?", "Où est la maison rouge ?"
KINDS = pb.FlagKind


async def test_detect_language(server: Running) -> None:
    """
    Each text has its candidates, likeliest first; one that has no letters has none, one that is too long an error.
    """
    texts = [ENGLISH, SPANISH, FRENCH, "12 + 5", "x" * 20_001, "Guten Morgen, wie geht es Ihnen?"]
    reply = await server.stub.DetectLanguage(pb.DetectLanguageRequest(contents=texts))

    first = [one.languages[0].language_code if one.languages else "" for one in reply.detections]
    assert ["en", "es", "fr", "", "", "de"] == first
    assert "TEXT_TOO_LONG" == reply.detections[4].error.reason
    assert 0.9 < sum(language.confidence for language in reply.detections[0].languages) <= 1
    assert reply.metadata.request_id


async def test_detect_in_markup(server: Running) -> None:
    """
    Tags are not looked at.
    """
    html = '<p class="the house is red and the dog is here">Où est la gare ?</p>'
    reply = await server.stub.DetectLanguage(pb.DetectLanguageRequest(contents=[html], mime_type="text/html"))

    assert "fr" == reply.detections[0].languages[0].language_code


async def test_detect_nothing(server: Running) -> None:
    """
    A request without texts, or with a type that is not known, is refused.
    """
    code, info, fields, _ = await refused(server.stub.DetectLanguage(pb.DetectLanguageRequest()))
    assert ("INVALID_ARGUMENT", "EMPTY_REQUEST", ["contents"]) == (code, info.reason, fields)

    bad = pb.DetectLanguageRequest(contents=["x"], mime_type="image/png")
    assert "INVALID_OPTION" == (await refused(server.stub.DetectLanguage(bad)))[1].reason


async def test_each_text_has_its_own_language(server: Running) -> None:
    """
    Without a source language each text is translated from its own; one in the target language comes back with a flag.
    """
    reply = await server.stub.Translate(request(ENGLISH, SPANISH, FRENCH, " ", source="", target="en"))

    codes = [translation.source_language_code for translation in reply.translations]
    assert ["en", "es", "fr", ""] == codes
    unchanged, from_spanish, from_french, blank = reply.translations
    assert ENGLISH == unchanged.translated_text
    assert [KINDS.FLAG_KIND_SOURCE_IS_TARGET_LANGUAGE] == [flag.kind for flag in unchanged.flags]
    assert unchanged.source_language_confidence > 0.5
    for translation in (from_spanish, from_french):
        assert translation.translated_text
        assert translation.sentences
    assert " " == blank.translated_text
    given = await server.stub.Translate(request(SPANISH, source="es", target="en"))
    assert given.translations[0].translated_text == from_spanish.translated_text


async def test_none_of_the_served(server: Running) -> None:
    """
    A text in another language is translated from the likeliest one, and flagged.
    """
    german = "Guten Morgen, wie geht es Ihnen heute?"
    reply = await server.stub.Translate(request(german, source="", target="fr"))

    [flag, *_] = reply.translations[0].flags
    assert KINDS.FLAG_KIND_WRONG_SOURCE_LANGUAGE == flag.kind
    assert flag.value > 0.9


async def test_a_wrong_language_is_flagged(server: Running) -> None:
    """
    A given language that a text is surely not in is doubted; a short text is believed.
    """
    reply = await server.stub.Translate(
        request("La casa roja es muy grande y bonita.", ENGLISH, "Hola", source="en", target="fr")
    )

    doubted = [
        KINDS.FLAG_KIND_WRONG_SOURCE_LANGUAGE in [flag.kind for flag in one.flags]
        for one in reply.translations
    ]
    assert [True, False, False] == doubted
    assert server.value("dragoman_fidelity_flags_total", flag="wrong_source_language") >= 1


async def test_a_stream(server: Running) -> None:
    """
    Texts of a stream are detected one by one, too.
    """
    texts = [SPANISH, FRENCH]
    messages = [pb.StreamTranslateRequest(id=str(number), content=text) for number, text in enumerate(texts)]
    messages[0].options.CopyFrom(options(source="", target="en"))
    replies = [reply async for reply in server.stub.StreamTranslate(iter(messages))]

    assert {"0": "es", "1": "fr"} == {reply.id: reply.source_language_code for reply in replies}

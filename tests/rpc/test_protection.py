"""Protection over gRPC: on by default, off by a request or a setting."""

import pytest

from dragoman.v1 import translation_pb2 as pb
from tests.rpc.contract import request
from tests.servers import Running

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT = "Open https://a.example/Long/Path?x=77777 and `ls -la | grep log` in {place}, please 北京 🛋️."
KEPT = ["https://a.example/Long/Path?x=77777", "`ls -la | grep log`", "{place}", "北京", "🛋️"]


async def test_default(server: Running) -> None:
    """
    What must not change comes back once, with words and links in the texts that the caller sees.
    """
    output = pb.OutputOptions(alignment=pb.ALIGNMENT_MODE_HARD)
    [done] = (await server.stub.Translate(request(TEXT, output=output))).translations

    assert [1] * len(KEPT) == [done.translated_text.count(kept) for kept in KEPT]
    [sentence] = done.sentences
    words = [done.translated_text[word.span.start : word.span.end] for word in sentence.target_words]
    assert {"https://a.example/Long/Path?x=77777", "北", "🛋️"} <= set(words)
    assert "\ufffd" not in done.translated_text


async def test_off_by_request(server: Running) -> None:
    """
    A request that switches it off gets what the model makes of the text.
    """
    off = pb.DecodingOptions(protection=False)
    [alone] = (await server.stub.Translate(request(TEXT, decoding=off))).translations
    [kept] = (await server.stub.Translate(request(TEXT))).translations

    assert alone.translated_text != kept.translated_text


async def test_alone_or_in_a_crowd(server: Running) -> None:
    """
    Sentences with placeholders are batch-invariant as all others are.
    """
    [alone] = (await server.stub.Translate(request(TEXT))).translations
    crowd = (await server.stub.Translate(request(*[f"It is {n} {n}." for n in range(9)], TEXT))).translations

    assert alone == crowd[-1]

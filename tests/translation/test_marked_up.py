"""Documents with markup on their way through the translator; what comes back is tested over gRPC."""

import threading

import pytest

from dragoman.markup.html_reader import parse_html
from dragoman.markup.projection import Projection, project
from dragoman.translation.marked_up import stream_document, translate_documents
from dragoman.translation.translator import Translator
from dragoman.types import Options

PLAIN = Options("en", "fr")


@pytest.mark.parametrize(("words", "is_aside"), [(5, False), (300, True)])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_long_documents_hold_nobody_up(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, words: int, is_aside: bool, is_streamed: bool
) -> None:
    """
    The tags of a long document are carried in another thread than the one that serves all calls.
    """
    threads: list[int] = []

    def noted(*arguments: object) -> Projection:
        threads.append(threading.get_ident())
        return project(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("dragoman.translation.marked_up.project", noted)
    source = "<p>Some <b>words</b>" + " word" * words + "</p>"
    document = parse_html(source)

    if is_streamed:
        parts = [part async for part in stream_document(translator, document, PLAIN)]
        text = "".join(part.text for part in parts)
    else:
        [done] = await translate_documents(translator, [document], PLAIN, [0])
        text = done.text

    assert source == text  # the engine repeats what it reads
    [thread] = threads
    assert is_aside == (thread != threading.get_ident())

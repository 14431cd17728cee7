"""The asyncio client: the same calls and the same answers as the other's."""

from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

import dragoman
from dragoman import AsyncClient, Client, ServerError, client
from dragoman.types import TranslatedSentence, Translation
from tests.cli.test_main import Serving, start, stop

TEXTS = ["Good morning.", "", "The cat sleeps. It is old."]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """Return a running server."""
    started = start()
    yield started
    stop(started)


def comparable(sentence: TranslatedSentence) -> tuple[object, ...]:
    """Return what says whether two sentences are the same."""
    words = sentence.words
    links = None if words is None else words.links
    return (
        sentence.source_span,
        sentence.target_span,
        sentence.score,
        links,
        np.asarray(sentence.attention).tolist(),
    )


def same(first: list[Translation], second: list[Translation]) -> bool:
    """Tell whether two answers are the same, alignments included."""
    return [(one.text, [*map(comparable, one.sentences)]) for one in first] == [
        (one.text, [*map(comparable, one.sentences)]) for one in second
    ]


async def test_translates(serving: Serving) -> None:
    """
    Translations and their alignments are those that the other client brings.
    """
    with Client(serving.address) as client:
        expected = client.translate(TEXTS, source="en", target="fr", alignment=True)

    async with AsyncClient(serving.address) as asynchronous:
        found = await asynchronous.translate(TEXTS, source="en", target="fr", alignment=True)

    assert same(expected, found)
    assert all(sentence.words is not None for one in found for sentence in one.sentences)


async def test_aligns_and_lists(serving: Serving) -> None:
    """
    So are alignments of given pairs and the list of models.
    """
    with Client(serving.address) as client:
        [expected], models = (
            client.align([("The cat.", "Le chat.")], source="en", target="fr"),
            client.models(),
        )

    async with AsyncClient(serving.address) as asynchronous:
        [found] = await asynchronous.align([("The cat.", "Le chat.")], source="en", target="fr")
        assert models == await asynchronous.models()

    assert comparable(expected) == comparable(found)


@pytest.mark.parametrize("is_async", [False, True])
async def test_streams(serving: Serving, is_async: bool) -> None:
    """
    A stream takes texts from either kind of iterator, and each comes back under its id, whole.
    """

    async def texts() -> AsyncIterator[tuple[str, str]]:
        for number, text in enumerate(TEXTS):
            yield str(number), text

    async with AsyncClient(serving.address) as client:
        whole = await client.translate(TEXTS, source="en", target="fr")
        given = texts() if is_async else [(str(number), text) for number, text in enumerate(TEXTS)]
        found = {id_: outcome async for id_, outcome in client.stream(given, source="en", target="fr")}

    assert {"0", "1", "2"} == found.keys()
    streamed = [found[str(number)] for number in range(3)]
    assert [one.text for one in whole] == [one.text for one in streamed if isinstance(one, Translation)]


async def test_refused(serving: Serving) -> None:
    """
    A refusal is a ServerError with the contract's reason, of a call and of a stream alike.
    """
    async with AsyncClient(serving.address) as client:
        with pytest.raises(ServerError) as refused:
            await client.translate(["Hi."], source="en", target="de")
        with pytest.raises(ServerError) as broken:
            async for _ in client.stream([("a", "Hi.")], source="en", target="de"):
                pass

    for error in (refused.value, broken.value):
        assert ("NOT_FOUND", "LANGUAGE_NOT_SERVED") == (error.code, error.reason)


def test_public_names() -> None:
    """
    The package itself has what a caller needs, and says so; other names are errors.
    """
    for name in dragoman.__all__:
        assert getattr(dragoman, name) is not None
    assert dragoman.__all__ == dir(dragoman)
    assert set(client.__all__) <= set(dragoman.__all__)
    assert client.Client is Client
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        _ = dragoman.Server

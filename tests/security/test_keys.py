"""API keys and the file they stand in."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError
from dragoman.observability.metrics import METHODS
from dragoman.security import keys
from dragoman.security.keys import Key, Keyring

SECRET = keys.new_key("a")
DIGEST = keys.digest("dragoman_a_secret")


def file(*entries: Any, **top: Any) -> bytes:
    """Return the content of a key file."""
    return json.dumps({"version": 1, "keys": list(entries), **top}).encode()


def test_new_keys() -> None:
    """
    A key says whose it is and that it is ours, and has 256 random bits.
    """
    made = {keys.new_key("billing") for _ in range(100)}

    assert 100 == len(made)
    for key in made:
        scheme, id_, secret = key.split("_", 2)
        assert ("dragoman", "billing", 43) == (scheme, id_, len(secret))


def test_find() -> None:
    """
    Only the very key is found: none of another id, none cut or lengthened, and not its digest.
    """
    good = keys.new_key("a-b")
    ring = Keyring((Key("a-b", keys.digest(good)), Key("other", DIGEST)))

    assert ring.by_id["a-b"] is ring.find(good)
    for wrong in (
        "", "_", "dragoman_", "dragoman_a-b_", good[:-1], good + "x", good.upper(), " " + good,
        keys.digest(good), good.replace("a-b", "other"), keys.new_key("a-b"), "x" * 10_000, "\ud800",
    ):  # fmt: skip
        assert ring.find(wrong) is None


def test_an_empty_ring_opens_nothing() -> None:
    """
    A file without keys lets nobody in.
    """
    assert Keyring() == keys.parse(file())
    assert keys.parse(file()).find(keys.new_key("a")) is None


def test_defaults() -> None:
    """
    What an entry does not say has no limit: all methods, any number, for ever.
    """
    [key] = keys.parse(file({"id": "a", "sha256": DIGEST})).keys

    assert (METHODS, 0, 0, None) == (
        key.methods,
        key.requests_per_minute,
        key.characters_per_minute,
        key.expires,
    )


@given(
    st.lists(
        st.builds(
            Key,
            st.from_regex(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", fullmatch=True),
            st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
            st.permutations(METHODS).map(tuple) | st.just(("Align",)) | st.just(()),
            st.integers(0, 10**12),
            st.integers(0, 10**12),
            st.none() | st.just(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            st.none() | st.just(datetime(2027, 1, 2, tzinfo=UTC) + timedelta(seconds=1)),
        ),
        unique_by=lambda key: key.id,
    )
)
def test_round_trip(made: list[Key]) -> None:
    """
    What is written is read as it was.
    """
    read = keys.parse(keys.serialise(made)).keys

    def plain(key: Key) -> tuple[object, ...]:
        return (*(vars(key) | {"methods": set(key.methods)}).values(),)

    assert [plain(key) for key in made] == [plain(key) for key in read]


ENTRY = {"id": "a", "sha256": DIGEST}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "0 bytes that are not JSON"),
        (b"\xff\xfe", "not JSON"),
        (file(ENTRY)[:-5], "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 10_000, "not JSON"),
        (b"[]", "an object with `version` and `keys`"),
        (b'{"keys": []}', "an object with `version` and `keys`"),
        (file(version=2), "version '2': this server reads version 1"),
        (file(version="x" * 500), "version of 500 characters"),
        (file({"id": SECRET, "sha256": DIGEST}), "id of 54 characters: must be"),
        (file({**ENTRY, SECRET: 1}), "of 54 characters is unknown"),
        (file({**ENTRY, "methods": [SECRET]}), "of 54 characters is no method"),
        (file({**ENTRY, "expires": SECRET}), "of 54 characters is no date"),
        (file({"id": "a", "sha256": SECRET}), "sha256 must be 64"),
        (file(keys={}), "`keys` must be a list"),
        (file(3), "key number 1: must be an object with `id` and `sha256`"),
        (file({"id": "a"}), "must be an object with `id` and `sha256`"),
        (file({"id": "a", "sha256": DIGEST, "quota": 3}), "'quota' is unknown"),
        (file({"id": "A b", "sha256": DIGEST}), "id 'A b': must be"),
        (file({"id": "-a", "sha256": DIGEST}), "id '-a': must be"),
        (file({"id": "a_b", "sha256": DIGEST}), "id 'a_b': must be"),
        (file({"id": "", "sha256": DIGEST}), "id '': must be"),
        (file({"id": "a", "sha256": "x"}), "key a: sha256 must be 64"),
        (file({"id": "a", "sha256": DIGEST.upper()}), "key a: sha256 must be 64"),
        (file({"id": "a", "sha256": None}), "sha256 must be of type str"),
        (file({**ENTRY, "methods": ["Fly"]}), "'Fly' is no method; there are Translate"),
        (file({**ENTRY, "methods": "Align"}), "methods must be of type list"),
        (file({**ENTRY, "requests_per_minute": -1}), "requests_per_minute=-1: must be between 0"),
        (file({**ENTRY, "requests_per_minute": True}), "requests_per_minute must be of type int"),
        (file({**ENTRY, "characters_per_minute": 1.5}), "characters_per_minute must be of type int"),
        (file({**ENTRY, "characters_per_minute": 10**13}), "must be between 0"),
        (file({**ENTRY, "expires": "soon"}), "'soon' is no date"),
        (file(ENTRY, ENTRY), "two keys have the id a"),
    ],
)
def test_refused(content: bytes, complaint: str) -> None:
    """
    A file that is not wholly understood is refused in one line, which shows no digest, and no key.
    """
    with pytest.raises(ConfigError, match=complaint) as refused:
        keys.parse(content)

    assert "\n" not in str(refused.value)
    assert DIGEST not in str(refused.value)
    assert SECRET[-43:] not in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["version", "keys", "id", "sha256", "methods"]), x)).map(lambda found: json.dumps(found).encode()))  # fmt: skip
def test_any_bytes(content: bytes) -> None:
    """
    Whatever the file holds, it is read or refused.
    """
    with suppress(ConfigError):
        keys.parse(content)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2031-12-31", datetime(2031, 12, 31, tzinfo=UTC)),
        ("2031-12-31T18:00Z", datetime(2031, 12, 31, 18, tzinfo=UTC)),
        ("2031-12-31T18:00+02:00", datetime(2031, 12, 31, 16, tzinfo=UTC)),
    ],
)
def test_moments(said: str, meant: datetime) -> None:
    """
    A date is its first moment, in UTC unless another zone is given.
    """
    assert meant == keys.moment("expires", said)

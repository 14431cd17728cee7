"""Which versions serve: a table of what is offered and what is wanted."""

from dataclasses import replace
from itertools import pairwise

import pytest

from dragoman.bundle import Bundle
from dragoman.errors import ConfigError
from dragoman.registry.versions import newness, select
from tests.bundles import renamed

ORDERED = [
    "0.9",
    "1",
    "1.9-rc1",
    "1.9",
    "1.9.1",
    "1.10",
    "2-beta",
    "2-rc1",
    "2-rc2",
    "2-rc10",
    "2",
    "002.0.1",
    "2024-05-01",
]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ORDERED)))
def test_newness(older: str, newer: str) -> None:
    """
    Numbers count as numbers, and what precedes a release comes before it.
    """
    assert newness(older) < newness(newer)


@pytest.mark.parametrize("version", ["v", "-", "--", "1-", "²", "١", "+", "_.-", "9" * 5000])
def test_any_version_has_a_place(version: str) -> None:
    """
    Whatever a manifest may call a version can be compared.
    """
    assert newness(version) < newness(f"{version}.1")
    assert newness(version) == newness(version)


@pytest.mark.parametrize(
    ("candidates", "keep", "default", "selected"),
    [
        ("a@1", 1, "", "a@1"),
        ("a@1 a@2 a@10", 1, "", "a@10"),
        ("a@1 a@2 a@10", 2, "", "a@10 a@2"),
        ("a@1 a@2", 9, "a", "a@2 a@1"),
        ("a@1 a@2 b@3 c@1 c@4", 1, "b", "b@3 a@2 c@4"),
        ("b@1 a@1 b@2", 2, "a", "a@1 b@2 b@1"),
        ("", 1, "", ""),
        ("", 1, "a", ""),
    ],
)
def test_select(default_bundle: Bundle, candidates: str, keep: int, default: str, selected: str) -> None:
    """
    The newest versions of each name serve, the default name first.
    """
    found = select(bundles(default_bundle, candidates), keep, default)

    assert selected.split() == [bundle.full_name for bundle in found]


@pytest.mark.parametrize(
    ("candidates", "default", "said"),
    [
        ("a@1 b@1", "", "models a, b: default_model must say which answers who names none"),
        ("a@1 b@1", "c", "default_model=c: there is no such model; there are a, b"),
    ],
)
def test_no_default(default_bundle: Bundle, candidates: str, default: str, said: str) -> None:
    """
    Of several names one must be the default; which one is never guessed.
    """
    with pytest.raises(ConfigError, match=said):
        select(bundles(default_bundle, candidates), 1, default)


def bundles(like: Bundle, names: str) -> list[Bundle]:
    """Return bundles of some full names."""
    return [replace(like, manifest=renamed(like.manifest, name)) for name in names.split()]

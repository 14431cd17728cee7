"""The version policy: which bundles serve, of all that are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from dragoman.bundle import Bundle
from dragoman.errors import ConfigError


def newness(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return the sort key of a version. Numbers are compared as numbers, so 1.10 comes after 1.9.

    As in semantic versioning, `2-rc1` comes before `2`, and `2` before `2.1`.
    """
    parts = re.findall(r"\d+|-[^\W\d_]+|\D", version)
    return (*map(_rank, parts), (1, 0, ""))


def _rank(part: str) -> tuple[int, int, str]:
    if part.isdecimal():
        digits = part.lstrip("0")
        return 3, len(digits), digits
    is_before = part.startswith("-") and len(part) > 1
    return (0 if is_before else 2), 0, part


def select(bundles: Sequence[Bundle], keep: int, default: str) -> list[Bundle]:
    """Return the bundles that serve: the default name first, then by name, newest versions first.

    Args:
        bundles: No two have the same name and version.
        keep: How many versions of each name to keep.
        default: The name for calls that name none; may be empty if there is only one.

    Raises:
        ConfigError: The default is not among the names, or there are several names and no default.
    """
    names = sorted({bundle.manifest.name for bundle in bundles})
    if len(names) > 1 and not default:
        raise ConfigError(f"models {', '.join(names)}: default_model must say which answers who names none")
    if names and default and default not in names:
        raise ConfigError(f"default_model={default}: there is no such model; there are {', '.join(names)}")
    newest_first = sorted(bundles, key=lambda bundle: newness(bundle.manifest.version), reverse=True)
    ordered = sorted(newest_first, key=lambda b: (b.manifest.name != default, b.manifest.name))
    by_name = groupby(ordered, key=lambda bundle: bundle.manifest.name)
    return [bundle for _, versions in by_name for bundle in list(versions)[:keep]]

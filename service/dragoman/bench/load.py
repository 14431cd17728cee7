"""The offered load: texts, arrival times, and the bounds of a measurement.

First stop of a measurement: *load* -> generator -> report -> plot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Any

from dragoman.errors import ConfigError, quoted

MAX_CALLS = 2_000_000  # of an open loop: about 200 bytes of memory each
_BUILT_IN = Path(__file__).with_name("texts.tsv")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Text:
    """One text, and from which language into which it goes."""

    source: str
    target: str
    content: str


def read_texts(lines: Iterable[str], *, name: str, source: str = "en", target: str = "fr") -> list[Text]:
    """Read one text a line, or `source<TAB>target<TAB>text`; blank lines are left out.

    Args:
        name: What to call the lines when one of them is wrong.
        source: Language of lines that do not say it.
        target: Likewise.

    Raises:
        ConfigError: A line has two columns, no language where one belongs, or there is no text at all.
    """
    texts = []
    for number, line in enumerate(lines, start=1):
        columns = line.strip("\r\n").split("\t", 2)
        if len(columns) == 2:
            raise ConfigError(
                f"{name}: line {number} has 2 columns; 1 (text) or 3 (source, target, text) make sense"
            )
        for code in columns[:-1]:
            if not _LANGUAGE.fullmatch(code):
                raise ConfigError(f"{name}: line {number}: {quoted(code)} is not a language code")
        if columns[-1].strip():
            texts.append(Text(*columns) if len(columns) == 3 else Text(source, target, columns[0]))
    if not texts:
        raise ConfigError(f"{name}: 0 texts; at least 1 is needed")
    return texts


def built_in_texts() -> tuple[Text, ...]:
    """Return forty texts of our own, from one word to four sentences, ten in each direction."""
    with open(_BUILT_IN, encoding="utf-8") as lines:
        return tuple(read_texts(lines, name=_BUILT_IN.name))


def _bounded(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one measurement asks of a server: either `rate` (open loop) or `callers` (closed loop).

    An open loop sends at times that were drawn beforehand, whether or not the server keeps up, as strangers do.
    In a closed loop each caller sends when its last call came back, so that a slow server is asked less.
    """

    rate: float | None = _bounded(None, 0.01, 10_000)  # calls a second, on average
    callers: int | None = _bounded(None, 1, 10_000)
    seconds: float = _bounded(10.0, 0.1, 86_400)  # that count
    warm_up_seconds: float = _bounded(2.0, 0, 3_600)  # that do not count, before the others
    seed: int = _bounded(0, 0, 2**63 - 1)
    deadline_seconds: float = _bounded(10.0, 0.01, 3_600)  # of each call
    beam_size: int = _bounded(0, 0, 64)  # 0: as the server likes
    alignment: bool = False
    texts: tuple[Text, ...] = field(default_factory=built_in_texts)

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.callers is None):
            given = "neither" if self.rate is None else "both"
            raise ConfigError(f"give a rate (open loop) or callers (closed loop); given: {given}")
        for item in fields(self):
            value, limits = getattr(self, item.name), item.metadata
            if limits and value is not None and not limits["low"] <= value <= limits["high"]:
                bounds = f"between {limits['low']:,} and {limits['high']:,}"
                raise ConfigError(f"{item.name}={value:,}: must be {bounds}")
        if self.rate is not None and self.rate * self.total_seconds > MAX_CALLS:
            calls = f"rate={self.rate:,} for {self.total_seconds:,} seconds: {self.rate * self.total_seconds:,.0f} calls"
            raise ConfigError(f"{calls}, the limit is {MAX_CALLS:,}")
        if not self.texts:
            raise ConfigError("0 texts; at least 1 is needed")

    @property
    def total_seconds(self) -> float:
        """Return for how long calls are sent, warm-up included."""
        return self.warm_up_seconds + self.seconds

    def arrivals(self) -> Iterator[float]:
        """Yield when the calls of an open loop are due: a Poisson process, the same for the same seed."""
        assert self.rate is not None, "a closed loop has no schedule. This is a bug."
        random = Random(f"arrivals {self.seed}")
        due = random.expovariate(self.rate)
        while due < self.total_seconds:
            yield due
            due += random.expovariate(self.rate)

    def order(self) -> Iterator[int]:
        """Yield indices of texts without end: every text once, shuffled, then every text again."""
        random = Random(f"order {self.seed}")
        indices = list(range(len(self.texts)))
        while True:
            random.shuffle(indices)
            yield from indices

    def __str__(self) -> str:
        how = f"open loop, {self.rate:,g} calls/s" if self.rate else f"closed loop, {self.callers:,} callers"
        extras = [f"beam {self.beam_size}"] * (self.beam_size > 0) + ["with alignment"] * self.alignment
        return ", ".join([how, f"{len(self.texts):,} texts", *extras])

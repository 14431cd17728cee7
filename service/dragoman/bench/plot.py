"""Draw latencies over percentiles, one curve for each server or load that is compared.

Last stop of a measurement: load -> generator -> report -> *plot*. Both axes are logarithmic. To the right, each further
nine takes as much room (50, 90, 99, 99.9), so that the rare slow calls are as easy to read as the usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dragoman.alignment.svg import (
    BORDER,
    CARD,
    FONT,
    INK,
    MARGIN,
    MUTED,
    SMALL,
    card,
    heading,
    px,
    text,
    text_width,
    xml,
)
from dragoman.bench.report import curve

_WIDTH, _HEIGHT = 720.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 76.0, 84.0, 64.0, 62.0  # room around the axes
_LEGEND_ROW = 20
_LABEL_WIDTH = 70  # of "10,000 ms"
_PERCENTILES = (50, 75, 90, 95, 99, 99.5, 99.9)
_COLOURS = ("#2c3b94", "#f0720a", "#0e8a7d", "#b3267a", "#6b7280", "#8a6d00")
_DASHES = ("", ' stroke-dasharray="7 4"', ' stroke-dasharray="2 4"')  # when the colours are used up
_MAX_TICKS = 12
_LEAST = 1e-6  # seconds; a logarithm needs more than nothing


@dataclass(frozen=True)
class _Axes:
    """Where a percentile and a latency lie. `low` and `high` are the seconds at both ends."""

    low: float
    high: float
    top: float

    def x(self, per_cent: float) -> float:
        nines = math.log(100 / (100 - per_cent) / 2) / math.log(500)  # 0 at p50, 1 at p99.9
        return _LEFT + nines * (_WIDTH - _LEFT - _RIGHT)

    def y(self, seconds: float) -> float:
        share = math.log(seconds / self.low) / math.log(self.high / self.low)
        return self.bottom - share * (self.bottom - self.top)

    @property
    def bottom(self) -> float:
        return self.top + _HEIGHT - _TOP - _BOTTOM


def percentile_svg(latencies: Mapping[str, Sequence[float]], *, title: str = "") -> str:
    """Draw the latencies of some measurements as a stand-alone figure: the same input gives the same bytes.

    Args:
        latencies: Seconds, in any order, by the name that the legend gives them; a single one needs no legend.

    Raises:
        ValueError: There is nothing to draw.
    """
    curves = {name: curve([max(value, _LEAST) for value in values]) for name, values in latencies.items()}
    if not curves or not all(curves.values()):
        raise ValueError("a curve without a single latency cannot be drawn")
    seconds = [value for points in curves.values() for _, value in points]
    named = len(curves) > 1
    axes = _Axes(*_ends(min(seconds), max(seconds)), _TOP + (_LEGEND_ROW * len(curves) + 4) * named)
    title = title or "Latency percentiles"
    width = max(_WIDTH, 2 * MARGIN + text_width(title) * 1.15)
    parts = [*card(width, axes.bottom + _BOTTOM, title), heading(title)]
    parts += _grid(axes)
    for number, (name, points) in enumerate(curves.items()):
        parts += _curve(axes, number, name, points)
    parts += _ends_of_curves(axes, [points[-1] for points in curves.values()])
    if named:
        parts += _legend(curves)
    return "\n".join([*parts, "</svg>", ""])


def _ends(low: float, high: float) -> tuple[float, float]:
    """Return the ticks just outside the values, so that nothing touches the frame."""
    below = max(tick for tick in _ticks(low / 10, low) if tick < low)
    above = min(tick for tick in _ticks(high, high * 10) if tick > high)
    return below, above


def _ticks(low: float, high: float) -> Iterator[float]:
    """Yield 1, 2 and 5 times each power of ten in this range, and its neighbours."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (float(f"{factor}e{power}") for factor in (1, 2, 5))  # one number, however it is reached


def _grid(axes: _Axes) -> Iterator[str]:
    small = f'font-size="{SMALL}" fill="{MUTED}"'
    middle, end = f'{small} text-anchor="middle"', f'{small} text-anchor="end"'
    left, right = axes.x(_PERCENTILES[0]), axes.x(_PERCENTILES[-1])
    ticks = [tick for tick in _ticks(axes.low, axes.high) if axes.low <= tick <= axes.high]
    if len(ticks) > _MAX_TICKS:  # powers of ten only
        ticks = [tick for tick in ticks if math.log10(tick).is_integer()]
    lines = "".join(f"M{px(axes.x(p))} {px(axes.top)}V{px(axes.bottom)}" for p in _PERCENTILES)
    for tick in ticks:
        lines += f"M{px(left)} {px(axes.y(tick))}H{px(right)}"
        yield text(left - 10, axes.y(tick) + SMALL * 0.35, f"{tick * 1000:,.10g} ms", end)
    yield f'<path stroke="{BORDER}" stroke-width="1" fill="none" d="{lines}"/>'
    for p in _PERCENTILES:
        yield text(axes.x(p), axes.bottom + 18, f"p{p:g}", middle)
    yield text((left + right) / 2, axes.bottom + 40, "percentile of the calls that were answered", middle)


def _curve(axes: _Axes, number: int, name: str, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    path = "L".join(f"{px(axes.x(per_cent))} {px(axes.y(seconds))}" for per_cent, seconds in points)
    yield (
        f'<path stroke="{_colour(number)}" stroke-width="2.5" stroke-linejoin="round" stroke-linecap="round"'
        f'{_dash(number)} fill="none" d="M{path}"><title>{xml(name)}</title></path>'
    )
    x, y = axes.x(points[-1][0]), axes.y(points[-1][1])
    yield (
        f'<circle cx="{px(x)}" cy="{px(y)}" r="4.5" fill="{_colour(number)}"'
        f' stroke="{CARD}" stroke-width="2"/>'
    )


def _ends_of_curves(axes: _Axes, ends: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Write the last value of each curve beside it, the labels moved apart where they would touch."""
    written: list[tuple[float, float]] = []
    for number in sorted(range(len(ends)), key=lambda n: ends[n][1]):
        per_cent, seconds = ends[number]
        x, baseline = axes.x(per_cent), axes.y(seconds) + SMALL * 0.35
        near = [above for other, above in written if abs(other - x) < _LABEL_WIDTH]
        baseline = min([baseline, *(above - SMALL - 2 for above in near)])
        written.append((x, baseline))
        style = f'font-size="{SMALL}" font-weight="600" fill="{_colour(number)}"'
        label = f"{seconds * 1000:,.{0 if seconds >= 0.1 else 1}f} ms"
        yield text(x + 9, baseline, label, style)


def _legend(names: Sequence[str] | Mapping[str, object]) -> Iterator[str]:
    for number, name in enumerate(names):
        y = MARGIN + FONT + 6 + _LEGEND_ROW * (number + 1)
        yield (
            f'<path stroke="{_colour(number)}" stroke-width="2.5"{_dash(number)} fill="none"'
            f' d="M{MARGIN} {y - 4}h26"/>'
        )
        yield text(MARGIN + 36, y, name, f'font-size="{FONT - 2}" fill="{INK}"')


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _dash(number: int) -> str:
    return _DASHES[number // len(_COLOURS) % len(_DASHES)]

"""Lines over logarithmic axes, as SVG: two engines, ours in full and the other dashed, a colour for each series."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dragoman.alignment.svg import BORDER, FONT, MARGIN, MUTED, SMALL, card, heading, px, text

COLOURS = ("#1d2476", "#f0720a", "#2a8c6b", "#8a3fa0")
WIDTH, HEIGHT, LEFT, BETWEEN = 330, 250, 52, 78
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line: `series` gives the colour, `is_dashed` says that it is the other engine's."""

    series: str
    points: Points
    is_dashed: bool


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]


def figure(title: str, panels: Sequence[Panel]) -> str:
    """Draw panels side by side; the same input gives the same bytes."""
    width = 2 * MARGIN + LEFT + len(panels) * WIDTH + (len(panels) - 1) * BETWEEN
    top = MARGIN + 2 * FONT + 46
    parts = [*card(width, top + HEIGHT + 78, title), heading(title)]
    for place, panel in enumerate(panels):
        parts += _panel(panel, MARGIN + LEFT + place * (WIDTH + BETWEEN), top)
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """A logarithmic axis from pixel `start` to pixel `end`."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low, high = math.log(min(values) * 0.93), math.log(max(values) * 1.07)
        self._scale, self._start = (end - start) / (high - self._low), start
        self._ends = min(values), max(values)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self._start + self._scale * (math.log(value) - self._low)

    def ticks(self) -> list[float]:
        """Return round values between the ends: 1, 2, 5, 10 ..."""
        low, high = (math.floor(math.log10(value)) for value in self._ends)
        rounds = (step * 10.0**power for power in range(low, high + 1) for step in (1, 2, 5))
        return [value for value in rounds if self._ends[0] * 0.93 <= value <= self._ends[1] * 1.07]


def _panel(panel: Panel, left: float, top: float) -> Iterator[str]:
    xs = sorted({x for line in panel.lines for x, _ in line.points})
    x_axis = _Axis(xs, left, left + WIDTH)
    y_axis = _Axis([y for line in panel.lines for _, y in line.points], top + HEIGHT, top)
    small = f'font-size="{SMALL}" fill="{MUTED}"'
    yield text(left, top - 30, panel.title, f'font-size="{FONT - 1}" font-weight="600"')
    yield text(left, top - 12, panel.y_label, small)
    for value in y_axis.ticks():
        y = y_axis(value)
        yield f'<path d="M{px(left)} {px(y)}h{WIDTH}" stroke="{BORDER}" stroke-width="1"/>'
        yield text(left - 8, y + 4, f"{value:g}", f'{small} text-anchor="end"')
    for value in xs:
        yield text(x_axis(value), top + HEIGHT + 16, f"{value:g}", f'{small} text-anchor="middle"')
    yield text(left + WIDTH, top + HEIGHT + 34, panel.x_label, f'{small} text-anchor="end"')
    names = list(dict.fromkeys(line.series for line in panel.lines))
    for line in panel.lines:
        yield from _line(line, COLOURS[names.index(line.series) % len(COLOURS)], x_axis, y_axis)
    yield from _legend(names, left, top + HEIGHT + 58)


def _line(line: Line, colour: str, x_axis: _Axis, y_axis: _Axis) -> Iterator[str]:
    places = [(x_axis(x), y_axis(y)) for x, y in line.points]
    path = "M" + "L".join(f"{px(x)} {px(y)}" for x, y in places)
    dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dashes}/>'
    fill = "#ffffff" if line.is_dashed else colour
    for x, y in places:
        yield f'<circle cx="{px(x)}" cy="{px(y)}" r="3" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'


def _legend(names: Sequence[str], left: float, y: float) -> Iterator[str]:
    """Name the colours; the figure's title says what is dashed."""
    step = WIDTH / max(len(names), 3)
    for place, name in enumerate(names):
        x = left + place * step
        yield f'<path d="M{px(x)} {px(y - 4)}h18" stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="3"/>'
        yield text(x + 24, y, name, f'font-size="{SMALL}"')

"""The learning curve, cross-entropy over tokens seen: `python -m models.evaluation.learning_curve METRICS --svg FILE`.

Fits L(D) = E + A D^-a, a power law down to what no training takes away (Hestness et al., 2017; Kaplan et al.,
2020), to the development cross-entropies of a run, and says what it predicts for more tokens. A prediction comes
with the range that the fits give which leave out one point each: few points, or points close together, leave E open.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dragoman.alignment.svg import BORDER, INK, MUTED, SMALL, card, heading, px, text
from models.corpora.packing import DataError
from models.paths import runs_folder

LEAST_POINTS = 5  # three numbers are fitted, also without one of the points
_STEPS = 4000  # between no floor at all and the lowest point
_WIDTH, _HEIGHT = 720.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 32.0, 60.0, 62.0
_GRID = 0.25  # nats between two lines
_CURVE, _POINT = "#2c3b94", "#f0720a"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
Point = tuple[float, float]  # tokens, nats


@dataclass(frozen=True)
class Fit:
    """L(D) = floor + scale (D / 1,000,000)^-exponent, in nats per target piece."""

    floor: float
    scale: float
    exponent: float

    def at(self, tokens: float) -> float:
        """Return the cross-entropy after so many tokens."""
        return float(self.floor + self.scale * (tokens / 1e6) ** -self.exponent)

    def error(self, points: Sequence[Point]) -> float:
        """Return the root mean square distance to some points."""
        return float(np.sqrt(np.mean([(self.at(tokens) - nats) ** 2 for tokens, nats in points])))


def fit(points: Sequence[Point]) -> Fit:
    """Return the curve nearest to some points.

    For a given floor the rest is a straight line between logarithms; the best of many floors is taken.
    """
    tokens, nats = np.array(points, np.float64).T
    floors = np.linspace(0.0, nats.min(), _STEPS, endpoint=False)
    x, y = np.log(tokens / 1e6), np.log(nats - floors[:, None])  # (points,), (floors, points)
    apart = x - x.mean()
    slopes = (y @ apart) / (apart @ apart)
    scales = np.exp(y.mean(axis=1) - slopes * x.mean())
    curves = floors[:, None] + scales[:, None] * np.exp(slopes[:, None] * x)  # (floors, points)
    best = int(((curves - nats) ** 2).sum(axis=1).argmin())
    return Fit(float(floors[best]), float(scales[best]), float(-slopes[best]))


@dataclass(frozen=True)
class Prediction:
    """What a run will come to: nats after so many tokens, and the least and most that fits without one point say."""

    tokens: float
    nats: float
    least: float
    most: float


def predict(points: Sequence[Point], tokens: Sequence[float]) -> list[Prediction]:
    """Continue the curve through some points."""
    whole = fit(points)
    parts = [fit([*points[:i], *points[i + 1 :]]) for i in range(len(points))]
    found = []
    for wanted in tokens:
        nats = [part.at(wanted) for part in (whole, *parts)]
        found.append(Prediction(wanted, nats[0], min(nats), max(nats)))
    return found


def read(path: Path) -> list[Point]:
    """Return the evaluations in a metrics file, as training writes them.

    Raises:
        DataError: It cannot be read.
    """
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return sorted(
            (record["tokens"], record["entropy"])
            for record in records
            if "entropy" in record and record["tokens"] > 0
        )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the metrics of a training: {error}") from error


@dataclass(frozen=True)
class _Axes:
    """Where tokens (logarithmic) and nats lie."""

    first: float
    last: float
    bottom: float
    top: float

    def x(self, tokens: float) -> float:
        share = np.log(tokens / self.first) / np.log(self.last / self.first)
        return float(_LEFT + 10 + share * (_WIDTH - _LEFT - _RIGHT - 20))

    def y(self, nats: float) -> float:
        return float(_TOP + (self.top - nats) / (self.top - self.bottom) * (_HEIGHT - _TOP - _BOTTOM))


def curve_svg(points: Sequence[Point], predictions: Sequence[Prediction]) -> str:
    """Draw the evaluations, the curve and how it goes on, over the logarithm of the tokens."""
    curve = fit(points)
    shown = [*(tokens for tokens, _ in points), *(one.tokens for one in predictions)]
    first, last = min(shown), max(shown)
    least = min([curve.at(last), *(one.least for one in predictions)])
    most = max([curve.at(first), *(nats for _, nats in points), *(one.most for one in predictions)])
    axes = _Axes(first, last, _grid_line(least, np.floor), _grid_line(most, np.ceil))
    title = (
        f"Cross-entropy over tokens: {curve.floor:.2f} + {curve.scale:.2f} (D / 1 M)^-{curve.exponent:.2f}"
    )
    path = "L".join(f"{px(axes.x(d))} {px(axes.y(curve.at(d)))}" for d in np.geomspace(first, last, 100))
    parts = [*card(_WIDTH, _HEIGHT, title), heading(title), *_grid(axes)]
    parts.append(f'<path fill="none" stroke="{_CURVE}" stroke-width="2" d="M{path}"/>')
    for tokens, nats in points:
        parts.append(f'<circle cx="{px(axes.x(tokens))}" cy="{px(axes.y(nats))}" r="4" fill="{_POINT}"/>')
    for one in predictions:
        x, low, high = (px(length) for length in (axes.x(one.tokens), axes.y(one.least), axes.y(one.most)))
        parts.append(f'<path stroke="{_CURVE}" stroke-width="2" d="M{x} {low}V{high}"/>')
        label = f"{_short(one.tokens)}: {one.nats:.2f}"
        anchor = "end" if one.tokens == last else "start"  # on the side where no evaluation lies
        attributes = f'font-size="{SMALL}" fill="{INK}" text-anchor="{anchor}"'
        parts.append(text(axes.x(one.tokens), axes.y(one.most) - 8, label, attributes))
    return "\n".join([*parts, "</svg>", ""])


def _grid_line(nats: float, rounded: Callable[[float], float]) -> float:
    return float(rounded(nats / _GRID) * _GRID)


def _grid(axes: _Axes) -> Iterator[str]:
    small = f'font-size="{SMALL}" fill="{MUTED}"'
    for nats in np.arange(axes.bottom, axes.top + _GRID / 2, _GRID):
        yield f'<path stroke="{BORDER}" d="M{px(_LEFT)} {px(axes.y(nats))}H{px(_WIDTH - _RIGHT)}"/>'
        yield text(_LEFT - 8, axes.y(nats) + SMALL * 0.35, f"{nats:.2f}", f'{small} text-anchor="end"')
    for tokens in _ticks(axes.first, axes.last):
        yield text(axes.x(tokens), _HEIGHT - _BOTTOM + 18, _short(tokens), f'{small} text-anchor="middle"')
    yield text(_LEFT, _HEIGHT - 20, "nats per target piece, over target tokens seen", small)


def _ticks(first: float, last: float) -> Iterator[float]:
    """Return 1, 2 and 5 times each power of ten between two numbers of tokens."""
    for power in range(3, 13):
        yield from (
            float(f"{factor}e{power}") for factor in (1, 2, 5) if first <= float(f"{factor}e{power}") <= last
        )


def _short(tokens: float) -> str:
    size, unit = next((one for one in _UNITS if tokens >= one[0]), (1.0, ""))
    return f"{tokens / size:.3g} {unit}"


def main() -> None:
    """Read the command line, fit and tell."""
    parser = argparse.ArgumentParser(description="Fit a curve to a training's cross-entropies.")
    parser.add_argument(
        "metrics",
        type=Path,
        nargs="?",
        default=runs_folder() / "tiny" / "metrics.jsonl",
        help="a metrics.jsonl",
    )
    parser.add_argument(
        "--predict", type=float, nargs="+", default=[3e7, 1e8, 1e9], metavar="TOKENS", help="how it goes on"
    )
    parser.add_argument("--svg", type=Path, help="draw it")
    arguments = parser.parse_args()
    try:
        points = read(arguments.metrics)
        if min(arguments.predict) <= 0:
            raise DataError("--predict: want a positive number of tokens")
        if len({tokens for tokens, _ in points}) < LEAST_POINTS:
            raise DataError(f"{arguments.metrics}: {len(points)} evaluations, a curve needs {LEAST_POINTS}")
        predictions = predict(points, arguments.predict)
        if arguments.svg:
            arguments.svg.write_text(curve_svg(points, predictions), encoding="utf-8")
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    curve = fit(points)
    table = Table("tokens", "nats", "curve", "without one", title=f"{curve}, error {curve.error(points):.4f}")
    for tokens, nats in points:
        table.add_row(f"{tokens:,.0f}", f"{nats:.4f}", f"{curve.at(tokens):.4f}", "")
    for one in predictions:
        table.add_row(f"{one.tokens:,.0f}", "", f"{one.nats:.4f}", f"{one.least:.3f} to {one.most:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()

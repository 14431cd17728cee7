"""Drawings of an alignment: a grid for terminals and a heat map in SVG.

Source words are at the top, target words on the left, and a cell is darker the more attention it received. Links are
pairs of indices (source word, target word); `weights[t][s]` is in [0, 1] and may be left out.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from math import sqrt

from rich.cells import cell_len

from dragoman.alignment.svg import CARD, FONT, MARGIN, MUTED, SMALL, card, heading, px, text, text_width, xml
from dragoman.text.spans import Span, clusters

Weights = Sequence[Sequence[float]]
Links = Collection[tuple[int, int]]

_SHADES = ((0.7, "█"), (0.4, "▓"), (0.2, "▒"), (0.05, "░"))
_BLANK = "·"
_CELL = 3  # terminal columns a cell takes
_MAX_HEADER_ROWS = 12
_MIN_LABEL = 8  # terminal columns that a target word may always take
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BOLD_YELLOW, _BLUE, _DIM, _RESET = "\x1b[1;33m", "\x1b[34m", "\x1b[2m", "\x1b[0m"


def terminal_grid(
    source_words: Sequence[str],
    target_words: Sequence[str],
    weights: Weights,
    links: Links,
    *,
    width: int,
    colour: bool,
) -> str:
    """Draw an alignment in block characters, with links in brackets.

    If the columns do not fit into `width` (at least 20), the links are listed instead.

    Raises:
        ValueError: The weights or links do not belong to these words.
    """
    weights = _checked(source_words, target_words, weights, links)
    source = [_printable(word) for word in source_words]
    target = [_printable(word) for word in target_words]
    label = min(max(map(cell_len, target), default=0), max(_MIN_LABEL, width // 3))
    if not source or label + 1 + _CELL * len(source) > width:
        return "\n".join(_link_list(source, target, links, width, label))
    linked = set(links)
    lines = [" " * (label + 1) + row for row in _header(source)]
    for t, word in enumerate(target):
        cells = (_cell(weights[t][s], (s, t) in linked, colour) for s in range(len(source)))
        lines.append(f"{_aligned_right(_clip(word, label), label)} {''.join(cells)}")
    legend = "  ".join(f"{shade} ≥ {least:g}" for least, shade in reversed(_SHADES)) + "  [ ] link"
    if cell_len(legend) <= width:
        lines += "", legend
    return "\n".join(line.rstrip() for line in lines)


def _header(words: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the header: each word from top to bottom above its column, down to the grid."""
    columns = []
    for word in words:
        letters = [cluster.of(word) for cluster in clusters(word, Span(0, len(word)))]
        if len(letters) > _MAX_HEADER_ROWS:
            letters[_MAX_HEADER_ROWS - 1 :] = "⋮"
        columns.append(letters)
    height = max(map(len, columns), default=0)
    for row in range(height):
        missing = (height - len(letters) for letters in columns)
        cells = (
            letters[row - gap] if row >= gap else "" for letters, gap in zip(columns, missing, strict=True)
        )
        yield "".join(f" {cell}{' ' * (_CELL - 1 - cell_len(cell))}" for cell in cells)


def _cell(weight: float, linked: bool, colour: bool) -> str:
    shade = next((shade for least, shade in _SHADES if weight >= least), _BLANK)
    if linked:
        return f"{_BOLD_YELLOW}[{shade}]{_RESET}" if colour else f"[{shade}]"
    if shade == _BLANK:
        return f"{_DIM} {shade} {_RESET}" if colour else f" {shade} "
    return f"{_BLUE}{shade * _CELL}{_RESET}" if colour else shade * _CELL


def _link_list(
    source: Sequence[str], target: Sequence[str], links: Links, width: int, label: int
) -> Iterator[str]:
    """Yield a line for each target word with its source words, wrapped to the width."""
    room = max(1, width - label - 3)
    for t, word in enumerate(target):
        line, arrow = "", f"{_aligned_right(_clip(word, label), label)} ←"
        for s in sorted(s for s, linked_to in set(links) if linked_to == t):
            wrapped = _clip(source[s], room)
            if line and cell_len(line) + 1 + cell_len(wrapped) > room:
                yield f"{arrow} {line}"
                line, arrow = "", " " * (label + 2)
            line = f"{line} {wrapped}".lstrip()
        yield f"{arrow} {line or _BLANK}"


def _checked(source: Sequence[str], target: Sequence[str], weights: Weights, links: Links) -> Weights:
    """Return a weight in [0, 1] for each cell; without weights, a link counts as 1."""
    if any(not (0 <= s < len(source) and 0 <= t < len(target)) for s, t in links):
        raise ValueError(f"a link points outside {len(source)} source and {len(target)} target words")
    if not weights:
        full = set(links)
        return [[float((s, t) in full) for s in range(len(source))] for t in range(len(target))]
    if len(weights) != len(target) or any(len(row) != len(source) for row in weights):
        raise ValueError(f"weights are not a matrix of {len(target)} rows and {len(source)} columns")
    return [[min(1.0, max(0.0, float(weight))) for weight in row] for row in weights]  # not a number: 0


def _printable(text: str) -> str:
    """Replace characters that would move the cursor, end the line or change the writing direction."""
    return _UNPRINTABLE.sub("\ufffd", text)


def _clip(text: str, cells: int) -> str:
    """Shorten a text to some terminal columns, with an ellipsis."""
    if cell_len(text) <= cells:
        return text
    kept = ""
    for cluster in clusters(text, Span(0, len(text))):
        if cell_len(kept + cluster.of(text)) > cells - 1:
            break
        kept += cluster.of(text)
    return kept + "…"


def _aligned_right(text: str, cells: int) -> str:
    return " " * (cells - cell_len(text)) + text


# The figure. Lengths are in CSS pixels.
_SIDE = 28  # of a cell
_MAX_LABEL_CELLS = 26
_LINK = "#f0720a"
_RAMP = (  # equal steps of lightness in OKLCH, hue 262 to 272: dark means much in print as well
    (0xF2, 0xF7, 0xFF), (0xCC, 0xDC, 0xFA), (0xA9, 0xC1, 0xF2), (0x88, 0xA5, 0xE8), (0x6C, 0x8A, 0xD9),
    (0x53, 0x6F, 0xC6), (0x3E, 0x55, 0xAF), (0x2C, 0x3B, 0x94), (0x1D, 0x24, 0x76),
)  # fmt: skip


def heatmap_svg(
    source_words: Sequence[str],
    target_words: Sequence[str],
    weights: Weights,
    links: Links,
    *,
    title: str = "",
) -> str:
    """Draw an alignment as a stand-alone SVG file. The same input gives the same bytes.

    Raises:
        ValueError: The weights or links do not belong to these words.
    """
    weights = _checked(source_words, target_words, weights, links)
    source = [_clip(word, _MAX_LABEL_CELLS) for word in map(_printable, source_words)]
    target = [_clip(word, _MAX_LABEL_CELLS) for word in map(_printable, target_words)]
    slant = sqrt(0.5)  # source words climb at 45 degrees
    climb = max((text_width(word) * slant for word in source), default=0) + FONT
    left = MARGIN + max(map(text_width, target), default=0) + 10
    top = MARGIN + (FONT + 16 if title else 0) + climb
    columns, rows = _SIDE * len(source), _SIDE * len(target)
    right = max((s * _SIDE + _SIDE / 2 + text_width(w) * slant for s, w in enumerate(source)), default=0)
    width = max(left + max(columns, right) + MARGIN, 2 * MARGIN + text_width(title) * 1.15, 260)
    height = top + rows + 22 + SMALL + MARGIN
    parts = card(width, height, title or "Word alignment")
    if title:
        parts.append(heading(title))
    parts += _labels(source, target, left, top)
    parts += _cells(source_words, target_words, weights, links, left, top)
    parts += _legend(left, top + rows + 22, bool(links))
    return "\n".join([*parts, "</svg>", ""])


def _labels(source: Sequence[str], target: Sequence[str], left: float, top: float) -> Iterator[str]:
    for s, word in enumerate(source):
        x, y = left + (s + 0.5) * _SIDE + 2, top - 8
        yield text(x, y, word, f'font-size="{FONT}" transform="rotate(-45 {px(x)} {px(y)})"')
    for t, word in enumerate(target):
        y = top + (t + 0.5) * _SIDE + FONT * 0.35
        yield text(left - 10, y, word, f'font-size="{FONT}" text-anchor="end"')


def _cells(
    source: Sequence[str], target: Sequence[str], weights: Weights, links: Links, left: float, top: float
) -> Iterator[str]:
    """Draw the empty grid, the cells that received attention, and the outlines of the links."""
    columns, rows = _SIDE * len(source), _SIDE * len(target)
    yield (
        f'<rect x="{px(left)}" y="{px(top)}" width="{columns}" height="{rows}" fill="{_shade(0)}"/>'
        f'<path stroke="{CARD}" stroke-width="2" d="'
        + "".join(f"M{px(left + s * _SIDE)} {px(top)}v{rows}" for s in range(len(source) + 1))
        + "".join(f"M{px(left)} {px(top + t * _SIDE)}h{columns}" for t in range(len(target) + 1))
        + '"/>'
    )
    linked = set(links)
    for t, row in enumerate(weights):
        for s, weight in enumerate(row):
            if weight >= 0.005 or (s, t) in linked:
                yield (
                    f'<rect x="{px(left + s * _SIDE + 1)}" y="{px(top + t * _SIDE + 1)}" width="{_SIDE - 2}"'
                    f' height="{_SIDE - 2}" rx="3" fill="{_shade(weight)}">'
                    f"<title>{xml(source[s])} → {xml(target[t])}: {weight:.2f}</title></rect>"
                )
    for s, t in sorted(linked):
        yield _outline(left + s * _SIDE + 2, top + t * _SIDE + 2, _SIDE - 4)


def _legend(left: float, top: float, with_links: bool) -> Iterator[str]:
    small = f'font-size="{SMALL}" fill="{MUTED}"'
    baseline, x = top + SMALL - 2, left
    yield text(x, baseline, "attention 0", small)
    x += 67
    for step in range(17):
        yield f'<rect x="{px(x + 5 * step)}" y="{px(top)}" width="5.5" height="10" fill="{_shade(step / 16)}"/>'
    yield text(x + 91, baseline, "1", small)
    if with_links:
        yield _outline(x + 118, top - 1, 12)
        yield text(x + 136, baseline, "link", small)


def _outline(x: float, y: float, side: float) -> str:
    return (
        f'<rect x="{px(x)}" y="{px(y)}" width="{px(side)}" height="{px(side)}" rx="3"'
        f' fill="none" stroke="{_LINK}" stroke-width="2.5" pointer-events="none"/>'
    )


def _shade(weight: float) -> str:
    """Interpolate between the colours of the ramp."""
    place = weight * (len(_RAMP) - 1)
    below = min(int(place), len(_RAMP) - 2)
    mixed = (
        low + (high - low) * (place - below) for low, high in zip(*_RAMP[below : below + 2], strict=True)
    )
    return "#" + "".join(f"{round(channel):02x}" for channel in mixed)

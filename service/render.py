"""Draw which source words a translation looked at: a grid for terminals, a figure in SVG.

Last stop of an alignment, after the translation is done. The figure is the familiar one: source
words on top, target words on the left, a cell the darker the more attention it got. Links are
pairs of indices (source word, target word); `weights[t][s]` lies in [0, 1] and may be left out.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from html import escape
from math import sqrt

from rich.cells import cell_len

from service.text.spans import Span, clusters

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

    Where the columns do not fit into `width` (20 or more), the links are listed instead.

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
    """Write the words from top to bottom, each above its column, ending just above the grid."""
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
    """Write one target word a line, then the source words it comes from, wrapped to the width."""
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
    """Return one weight per cell within [0, 1]; without weights, links count as 1."""
    if any(not (0 <= s < len(source) and 0 <= t < len(target)) for s, t in links):
        raise ValueError(f"a link points outside {len(source)} source and {len(target)} target words")
    if not weights:
        full = set(links)
        return [[float((s, t) in full) for s in range(len(source))] for t in range(len(target))]
    if len(weights) != len(target) or any(len(row) != len(source) for row in weights):
        raise ValueError(f"weights are not a matrix of {len(target)} rows and {len(source)} columns")
    return [[min(1.0, max(0.0, float(weight))) for weight in row] for row in weights]  # not a number: 0


def _printable(text: str) -> str:
    """Replace what would move the cursor, end the line or turn the direction of writing."""
    return _UNPRINTABLE.sub("\ufffd", text)


def _clip(text: str, cells: int) -> str:
    """Shorten a text to so many terminal columns, with an ellipsis."""
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
_FONT = 14
_SMALL = 11
_MARGIN = 24
_MAX_LABEL_CELLS = 26
_FAMILY = "'Inter', 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', 'DejaVu Sans', sans-serif"
_CARD, _BORDER, _INK, _MUTED, _LINK = "#ffffff", "#d5d9e3", "#1f2430", "#6b7280", "#f0720a"
_RAMP = (  # equal steps of lightness in OKLCH, hue 262 to 272: dark means much in print as well
    (0xF2, 0xF7, 0xFF), (0xCC, 0xDC, 0xFA), (0xA9, 0xC1, 0xF2), (0x88, 0xA5, 0xE8), (0x6C, 0x8A, 0xD9),
    (0x53, 0x6F, 0xC6), (0x3E, 0x55, 0xAF), (0x2C, 0x3B, 0x94), (0x1D, 0x24, 0x76),
)  # fmt: skip
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW, _BROAD = frozenset("fijlrtI.,:;!|'’()[]- ·"), frozenset("mwMW@%—…œæŒÆ")


def heatmap_svg(
    source_words: Sequence[str],
    target_words: Sequence[str],
    weights: Weights,
    links: Links,
    *,
    title: str = "",
) -> str:
    """Draw an alignment as a stand-alone figure: the same input gives the same bytes.

    Raises:
        ValueError: The weights or links do not belong to these words.
    """
    weights = _checked(source_words, target_words, weights, links)
    source = [_clip(word, _MAX_LABEL_CELLS) for word in map(_printable, source_words)]
    target = [_clip(word, _MAX_LABEL_CELLS) for word in map(_printable, target_words)]
    slant = sqrt(0.5)  # source words climb at 45 degrees
    climb = max((_text_width(word) * slant for word in source), default=0) + _FONT
    left = _MARGIN + max(map(_text_width, target), default=0) + 10
    top = _MARGIN + (_FONT + 16 if title else 0) + climb
    columns, rows = _SIDE * len(source), _SIDE * len(target)
    right = max((s * _SIDE + _SIDE / 2 + _text_width(w) * slant for s, w in enumerate(source)), default=0)
    width = max(left + max(columns, right) + _MARGIN, 2 * _MARGIN + _text_width(title) * 1.15, 260)
    height = top + rows + 22 + _SMALL + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_px(width)}" height="{_px(height)}"'
        f' viewBox="0 0 {_px(width)} {_px(height)}" role="img" font-family="{_FAMILY}">',
        f"<title>{_xml(title or 'Word alignment')}</title>",
        f'<rect x="0.5" y="0.5" width="{_px(width - 1)}" height="{_px(height - 1)}" rx="12"'
        f' fill="{_CARD}" stroke="{_BORDER}"/>',
    ]
    if title:
        parts.append(_text(_MARGIN, _MARGIN + _FONT, title, f'font-size="{_FONT + 1}" font-weight="600"'))
    parts += _labels(source, target, left, top)
    parts += _cells(source_words, target_words, weights, links, left, top)
    parts += _legend(left, top + rows + 22, bool(links))
    return "\n".join([*parts, "</svg>", ""])


def _labels(source: Sequence[str], target: Sequence[str], left: float, top: float) -> Iterator[str]:
    for s, word in enumerate(source):
        x, y = left + (s + 0.5) * _SIDE + 2, top - 8
        yield _text(x, y, word, f'font-size="{_FONT}" transform="rotate(-45 {_px(x)} {_px(y)})"')
    for t, word in enumerate(target):
        y = top + (t + 0.5) * _SIDE + _FONT * 0.35
        yield _text(left - 10, y, word, f'font-size="{_FONT}" text-anchor="end"')


def _cells(
    source: Sequence[str], target: Sequence[str], weights: Weights, links: Links, left: float, top: float
) -> Iterator[str]:
    """Draw the empty grid, the cells that got any attention, and the outlines of the links."""
    columns, rows = _SIDE * len(source), _SIDE * len(target)
    yield (
        f'<rect x="{_px(left)}" y="{_px(top)}" width="{columns}" height="{rows}" fill="{_shade(0)}"/>'
        f'<path stroke="{_CARD}" stroke-width="2" d="'
        + "".join(f"M{_px(left + s * _SIDE)} {_px(top)}v{rows}" for s in range(len(source) + 1))
        + "".join(f"M{_px(left)} {_px(top + t * _SIDE)}h{columns}" for t in range(len(target) + 1))
        + '"/>'
    )
    linked = set(links)
    for t, row in enumerate(weights):
        for s, weight in enumerate(row):
            if weight >= 0.005 or (s, t) in linked:
                yield (
                    f'<rect x="{_px(left + s * _SIDE + 1)}" y="{_px(top + t * _SIDE + 1)}" width="{_SIDE - 2}"'
                    f' height="{_SIDE - 2}" rx="3" fill="{_shade(weight)}">'
                    f"<title>{_xml(source[s])} → {_xml(target[t])}: {weight:.2f}</title></rect>"
                )
    for s, t in sorted(linked):
        yield _outline(left + s * _SIDE + 2, top + t * _SIDE + 2, _SIDE - 4)


def _legend(left: float, top: float, with_links: bool) -> Iterator[str]:
    small = f'font-size="{_SMALL}" fill="{_MUTED}"'
    baseline, x = top + _SMALL - 2, left
    yield _text(x, baseline, "attention 0", small)
    x += 67
    for step in range(17):
        yield f'<rect x="{_px(x + 5 * step)}" y="{_px(top)}" width="5.5" height="10" fill="{_shade(step / 16)}"/>'
    yield _text(x + 91, baseline, "1", small)
    if with_links:
        yield _outline(x + 118, top - 1, 12)
        yield _text(x + 136, baseline, "link", small)


def _outline(x: float, y: float, side: float) -> str:
    return (
        f'<rect x="{_px(x)}" y="{_px(y)}" width="{_px(side)}" height="{_px(side)}" rx="3"'
        f' fill="none" stroke="{_LINK}" stroke-width="2.5" pointer-events="none"/>'
    )


def _text(x: float, y: float, text: str, attributes: str) -> str:
    fill = "" if "fill=" in attributes else f' fill="{_INK}"'
    return f'<text x="{_px(x)}" y="{_px(y)}" {attributes}{fill}>{_xml(text)}</text>'


def _xml(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text), quote=False)


def _px(length: float) -> str:
    """Write a length with one decimal at most, so that equal figures have equal bytes."""
    return f"{length:.1f}".removesuffix(".0")


def _shade(weight: float) -> str:
    """Interpolate between the colours of the ramp."""
    place = weight * (len(_RAMP) - 1)
    below = min(int(place), len(_RAMP) - 2)
    mixed = (
        low + (high - low) * (place - below) for low, high in zip(*_RAMP[below : below + 2], strict=True)
    )
    return "#" + "".join(f"{round(channel):02x}" for channel in mixed)


def _text_width(text: str) -> float:
    """Estimate the width of a label without a font: a little too much rather than too little."""
    return _FONT * sum(map(_em, text))


def _em(character: str) -> float:
    if character in _NARROW:
        return 0.38
    if character in _BROAD or character.isupper():
        return 0.9 if character in _BROAD else 0.72
    return 0.6 if cell_len(character) == 1 else cell_len(character) * 0.55

"""SVG building blocks of our figures: card, text and colours. Lengths are in CSS pixels."""

import re
from html import escape

from rich.cells import cell_len

FONT, SMALL = 14, 11
MARGIN = 24
CARD, BORDER, INK, MUTED = "#ffffff", "#d5d9e3", "#1f2430", "#6b7280"
_FAMILY = "'Inter', 'Segoe UI', 'Helvetica Neue', Arial, 'Noto Sans', 'DejaVu Sans', sans-serif"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW, _BROAD = frozenset("fijlrtI.,:;!|'’()[]- ·"), frozenset("mwMW@%—…œæŒÆ")


def card(width: float, height: float, title: str) -> list[str]:
    """Return the opening of a figure: a white card that screen readers call `title`. The caller appends `</svg>`."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{px(width)}" height="{px(height)}"'
        f' viewBox="0 0 {px(width)} {px(height)}" role="img" font-family="{_FAMILY}">',
        f"<title>{xml(title)}</title>",
        f'<rect x="0.5" y="0.5" width="{px(width - 1)}" height="{px(height - 1)}" rx="12"'
        f' fill="{CARD}" stroke="{BORDER}"/>',
    ]


def heading(title: str) -> str:
    """Return the first line of a card."""
    return text(MARGIN, MARGIN + FONT, title, f'font-size="{FONT + 1}" font-weight="600"')


def text(x: float, y: float, written: str, attributes: str) -> str:
    """Return a text with its baseline at y, in the colour `INK` unless the attributes have another."""
    fill = "" if "fill=" in attributes else f' fill="{INK}"'
    return f'<text x="{px(x)}" y="{px(y)}" {attributes}{fill}>{xml(written)}</text>'


def xml(written: str) -> str:
    """Escape a text, and replace characters that XML does not allow."""
    return escape(_NO_XML.sub("\ufffd", written), quote=False)


def px(length: float) -> str:
    """Format a length with at most one decimal, so that equal figures have equal bytes."""
    return f"{length:.1f}".removesuffix(".0")


def text_width(written: str) -> float:
    """Estimate the width of a label without knowing the font, rather too wide than too narrow."""
    return FONT * sum(map(_em, written))


def _em(character: str) -> float:
    if character in _NARROW:
        return 0.38
    if character in _BROAD or character.isupper():
        return 0.9 if character in _BROAD else 0.72
    return 0.6 if cell_len(character) == 1 else cell_len(character) * 0.55

"""Things that no language changes: signs, names, addresses, code, words in other scripts.

For *typed* and *marked*. Made by chance instead of found: what is to be copied must be new each time.
"""

from __future__ import annotations

import random
import string

# No signs of currencies: translations move or spell them, and who learns to copy them says "50 €50 €".
SIGNS = "©®™§½¼¾★☆✓✗→←↑↓°±×÷≤≥≠≈∞µ•◆■▲●♪♥†‡¶№‰²³"
SMILEYS = (
    ":)",
    ":-)",
    ";)",
    ":D",
    ":(",
    ":-(",
    "<3",
    ":P",
    "xD",
    "^^",
    ":/",
    ":'(",
    "\\o/",
    ":*",
    "=)",
    "-_-",
    "(:",
)
FOREIGN = (
    (0x0430, 0x044F), (0x03B1, 0x03C9), (0x05D0, 0x05EA), (0x0627, 0x063A), (0x4E00, 0x5FFF), (0x3042, 0x3093),
    (0x30A2, 0x30F3), (0xAC00, 0xC4FF), (0x0E01, 0x0E2E), (0x0905, 0x0939), (0x0531, 0x0556), (0x10D0, 0x10F0),
)  # fmt: skip
_EXTENDED = "ąćčďęěğıłńňōőřśşšťūůűýźżžþðøæåșțā"
_LATIN = "aeiouaeiourtnslmkdpbvgz"
_TOP = ("com", "org", "net", "example", "io", "eu", "fr", "es")
_ENDINGS = ("txt", "pdf", "docx", "xlsx", "png", "jpg", "csv", "py", "html", "mp4", "zip", "json")
_MARKUP = ("b", "i", "em", "strong", "a", "span", "u", "code")


def _word(chance: random.Random, least: int = 3, most: int = 9) -> str:
    return "".join(chance.choice(_LATIN) for _ in range(chance.randint(least, most)))


def _digits(chance: random.Random, least: int = 1, most: int = 5) -> str:
    return "".join(chance.choice(string.digits) for _ in range(chance.randint(least, most)))


def foreign_word(chance: random.Random) -> str:
    """Return some letters of another script."""
    first, last = chance.choice(FOREIGN)
    return "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 7)))


def foreign_text(chance: random.Random) -> str:
    """Return some words of one other script."""
    first, last = chance.choice(FOREIGN)
    words = (
        "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 7)))
        for _ in range(chance.randint(1, 5))
    )
    return " ".join(words) + chance.choice(("", ".", "?", "!"))


def foreign_name(chance: random.Random) -> str:
    """Return a name with letters that Western European languages lack."""

    def part() -> str:
        letters = list(_word(chance, 4, 8))
        letters[chance.randrange(len(letters))] = chance.choice(_EXTENDED)
        return "".join(letters).capitalize()

    return part() if chance.random() < 0.5 else f"{part()} {part()}"


def code(chance: random.Random) -> str:
    """Return something that programs read: an address, a path, a placeholder, an identifier, markup."""
    made = (
        lambda: f"{_word(chance)}@{_word(chance)}.{chance.choice(_TOP)}",
        lambda: (
            f"https://{_word(chance)}.{chance.choice(_TOP)}/{_word(chance)}/{_word(chance)}-{_digits(chance)}"
        ),
        lambda: f"www.{_word(chance)}.{chance.choice(_TOP)}",
        lambda: f"{_word(chance)}_{_word(chance)}.{chance.choice(_ENDINGS)}",
        lambda: f"/{_word(chance)}/{_word(chance)}.{chance.choice(_ENDINGS)}",
        lambda: f"C:\\{_word(chance).capitalize()}\\{_word(chance)}",
        lambda: f"`{_word(chance)} --{_word(chance)}`",
        lambda: f"`{_word(chance)}_{_word(chance)}()`",
        lambda: "{" + _word(chance) + "}",
        lambda: "{{" + _word(chance) + "}}",
        lambda: "%" + chance.choice("sdif"),
        lambda: f"%({_word(chance)})s",
        lambda: "${" + _word(chance) + "}",
        lambda: f"<{chance.choice(_MARKUP)}>",
        lambda: f"#{_word(chance).capitalize()}{_digits(chance)}",
        lambda: f"@{_word(chance)}_{_word(chance, 1, 3)}",
        lambda: (
            f"+{_digits(chance, 2, 2)} {_digits(chance, 2, 3)} {_digits(chance, 2, 3)} {_digits(chance, 2, 4)}"
        ),
        lambda: f"{_digits(chance, 1, 2)}.{_digits(chance, 1, 2)}.{_digits(chance, 1, 2)}",
        lambda: "-".join(f"{chance.getrandbits(16):04x}" for _ in range(chance.randint(2, 5))),
        lambda: f"{_word(chance, 2, 3).upper()}-{_digits(chance, 2, 6)}",
    )
    return chance.choice(made)()


def roman(number: int) -> str:
    """Return a number as the Romans wrote it.

    >>> roman(1949)
    'MCMXLIX'
    """
    steps = (
        (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
        (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
    )  # fmt: skip
    written = ""
    for value, letters in steps:
        written += letters * (number // value)
        number %= value
    return written


def thing(chance: random.Random) -> str:
    """Return anything that is the same in all languages."""
    kind = chance.random()
    if kind < 0.25:
        return chance.choice(SIGNS)
    if kind < 0.45:
        return foreign_word(chance)
    if kind < 0.6:
        return foreign_name(chance)
    if kind < 0.7:
        return chance.choice(SMILEYS)
    if kind < 0.75:
        return roman(chance.randint(1, 2100))
    return code(chance)

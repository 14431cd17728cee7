"""Upper bounds of the values in a manifest: anything above is a mistake that would only fail later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Room for the largest translation models there are, and for ten times that; 2^31 - 1 for sizes that training adds.
MAX_SHAPE = {
    "vocabulary": 2**20, "width": 2**14, "feed_forward": 2**17, "heads": 256,
    "encoder_layers": 256, "decoder_layers": 256, "max_positions": 2**16,
}  # fmt: skip
MAX_NUMBER = 2**31 - 1
MAX_PARAMETERS = 10**12
MAX_NAME = 128  # characters: names are labels of metrics and stand in the log of every call
MAX_PAIRS = 10_000
MAX_FILES = 64
MAX_ANSWERS, MAX_ANSWER_TOKENS = 64, 256


def check_bounds(manifest: dict[str, Any]) -> None:
    """Check the values of a manifest whose types are right.

    Raises:
        ValueError: With the value and its limit.
    """
    for name, value, limit in _bounds(manifest):
        if value > limit:
            raise ValueError(f"{name}: {value:,}, the limit is {limit:,}")


def _bounds(manifest: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Yield each value with the most that it may be."""
    shape, alignment = manifest["shape"], manifest["alignment"]
    for name, value in shape.items():
        yield f"shape.{name}", value, MAX_SHAPE.get(name, MAX_NUMBER)
    yield "alignment.layer", alignment["layer"], shape["decoder_layers"] - 1
    yield "alignment.head", alignment["head"], shape["heads"] - 1
    yield "num_parameters", manifest["num_parameters"], MAX_PARAMETERS
    for name in ("name", "version", "precision"):
        yield f"characters of {name}", len(manifest[name]), MAX_NAME
    yield "pairs", len(manifest["pairs"]), MAX_PAIRS
    for pair in manifest["pairs"]:
        yield f"characters of the pair {pair[0][:20]}-{pair[1][:20]}", max(map(len, pair)), MAX_NAME
    yield "files", len(manifest["files"]), MAX_FILES
    yield from _answer_bounds(manifest.get("known_answers", []), shape)


def _answer_bounds(answers: list[dict[str, Any]], shape: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    yield "known_answers", len(answers), MAX_ANSWERS
    for number, answer in enumerate(answers):
        for side in ("source", "target"):
            name = f"known_answers[{number}].{side}"
            yield f"tokens of {name}", len(answer[side]), min(MAX_ANSWER_TOKENS, shape["max_positions"])
            yield f"a token of {name}", max(answer[side]), shape["vocabulary"] - 1

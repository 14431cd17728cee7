"""The manifest: what a bundle says about itself, its types and its limits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from dragoman.bundle.bounds import check_bounds
from dragoman.errors import BundleError

FORMAT_VERSION = 4
SIZES = {"vocabulary", "width", "heads", "decoder_layers", "max_positions"}  # what serving needs of `shape`


@dataclass(frozen=True)
class AlignmentHead:
    """Which cross-attention head says where a piece comes from, and how to read it.

    Attributes:
        shift: 0: the weights of the step that wrote a piece; 1: of the step after it.
        threshold: Attention, summed over a source word, from which on two words are linked.
        is_guided: Whether word alignments taught it; another head's attention is a weaker hint.
    """

    layer: int
    head: int
    shift: int
    threshold: float
    is_guided: bool


@dataclass(frozen=True)
class KnownAnswer:
    """A translation that the model gave when it was exported; `dragoman.engine.known_answers` asks for it again.

    Attributes:
        text: Of the source, for people: what is compared are the tokens.
        source: Tokens, tag and end included.
        target: Tokens, end included.
        score: Mean natural-log probability of a token of the target.
    """

    text: str
    source: list[int]
    target: list[int]
    score: float


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself."""

    format_version: int
    name: str
    version: str
    pairs: list[list[str]]  # [source, target]
    precision: str  # of the weights: "int8" or "fp32"
    shape: dict[str, int]
    num_parameters: int
    alignment: AlignmentHead
    created: str  # ISO 8601, UTC
    training: dict[str, Any]  # configuration, tokens seen, data summary
    scores: dict[str, Any]  # {set: {direction: {"bleu": .., "chrf": ..}}}
    files: dict[str, str]  # name -> SHA-256
    checks: dict[str, Any] = field(default_factory=dict)  # for the card: alignment error, odd inputs
    known_answers: list[KnownAnswer] = field(default_factory=list)

    @property
    def max_target_tokens(self) -> int:
        """Return how many tokens a translation may have, the end not counted."""
        return self.shape["max_positions"] - 1


def parse(content: Any) -> Manifest:
    """Return the manifest that a JSON value is.

    Raises:
        BundleError: It is of another format.
        ValueError: Something is missing, unknown, of the wrong kind, or beyond any model.
    """
    found_version = content.get("format_version") if isinstance(content, dict) else None
    if found_version != FORMAT_VERSION:
        raise BundleError(f"format {found_version!r}, this server reads format {FORMAT_VERSION}")
    wanted, found = {item.name for item in fields(Manifest)}, {*content, *_OPTIONAL}
    if wanted != found:
        raise ValueError(f"unknown or missing: {', '.join(map(repr, sorted(wanted ^ found)))}")
    for name, is_valid in _RULES.items():
        if name in content and not is_valid(content[name]):
            raise ValueError(f"{name} is not what it should be")
    check_bounds(content)
    answers = [KnownAnswer(**answer) for answer in content.get("known_answers", [])]
    head = AlignmentHead(**content["alignment"])
    return Manifest(**content | {"alignment": head, "known_answers": answers})


def _is_name(value: Any) -> bool:
    """Tell whether a value can stand on one side of `name@version`."""
    return isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value) is not None


def _is_table(value: Any, kind: type) -> bool:
    """Tell whether a value is an object whose values are all of one kind."""
    return isinstance(value, dict) and all(type(item) is kind for item in value.values())


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_name, pair)) for pair in value
    )  # fmt: skip


def _is_shape(value: Any) -> bool:
    return (
        _is_table(value, int)
        and value.keys() >= SIZES
        and min(value.values()) > 0
        and value["width"] % value["heads"] == 0
    )


def _is_head(value: Any) -> bool:
    names = [item.name for item in fields(AlignmentHead)]
    if not isinstance(value, dict) or sorted(value) != sorted(names):
        return False
    whole = {name: value[name] for name in ("layer", "head", "shift")}
    threshold = value["threshold"]
    return (
        type(value["is_guided"]) is bool
        and _is_table(whole, int)
        and min(whole.values()) >= 0
        and whole["shift"] <= 1
        and type(threshold) in (int, float)
        and 0 <= threshold <= 1
    )


def _are_answers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_answer, value))


def _is_answer(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and sorted(value) == sorted(item.name for item in fields(KnownAnswer))
        and isinstance(value["text"], str)
        and all(_are_tokens(value[side]) for side in ("source", "target"))
        and type(value["score"]) in (int, float)
        and -math.inf < value["score"] <= 0
    )


def _are_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(type(token) is int and token >= 0 for token in value)
    )


_OPTIONAL = ("checks", "known_answers")  # which older bundles of this format lack
_RULES: dict[str, Callable[[Any], bool]] = {
    "name": _is_name,
    "version": _is_name,
    "pairs": _are_pairs,
    "precision": _is_name,
    "shape": _is_shape,
    "num_parameters": lambda value: type(value) is int,
    "alignment": _is_head,
    "created": lambda value: isinstance(value, str),
    "training": lambda value: isinstance(value, dict),
    "scores": lambda value: isinstance(value, dict),
    "files": lambda value: _is_table(value, str),
    "checks": lambda value: isinstance(value, dict),
    "known_answers": _are_answers,
}

"""The training configuration: one TOML file, typed, unknown names and impossible values refused."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dragoman.convert.architecture import Shape
from models.network.transformer import GuidedHead

_Kind = TypeVar("_Kind", Shape, "Data", "Training", GuidedHead)

SECTIONS = {"model", "data", "training", "alignment"}
PRECISIONS = ("auto", "bf16", "fp32")
PADDED_TO = 8  # lengths of a batch are rounded up to this


class SettingsError(Exception):
    """The configuration file is missing or wrong; the message names the line's key."""


@dataclass(frozen=True)
class Data:
    """What is read, and how much at once."""

    batch_tokens: int
    max_tokens: int
    seed: int
    weights: dict[str, float]


@dataclass(frozen=True)
class Training:
    """How the weights move; each value's reason stands in the TOML file."""

    matrix_rate: float
    vector_rate: float
    warmup_updates: int
    label_smoothing: float
    gradient_clip: float
    average_decay: float
    update_tokens: list[list[int]]
    total_tokens: int
    cooldown: float
    precision: str
    minutes_between_checkpoints: float
    minutes_between_evaluations: float


@dataclass(frozen=True)
class Settings:
    """Everything that makes one run differ from another."""

    model: Shape
    data: Data
    training: Training
    guided: tuple[GuidedHead, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, as they go into checkpoints and manifests."""
        return asdict(self)


def read(path: Path, overrides: list[str] | None = None) -> Settings:
    """Read a configuration, then apply overrides like `training.total_tokens=1000`.

    Raises:
        SettingsError: No such file, not TOML, a name too many or too few, a value that cannot be.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingsError(f"{path}: {error}") from error
    for override in overrides or []:
        _override(table, override)
    if unknown := set(table) - SECTIONS:
        raise SettingsError(f"{path}: unknown section {', '.join(sorted(unknown))}")
    settings = Settings(
        _section(path, "model", Shape, table.get("model")),
        _section(path, "data", Data, table.get("data")),
        _section(path, "training", Training, table.get("training")),
        tuple(
            _section(path, "alignment", GuidedHead, guide)
            for guide in _guided(path, table.get("alignment", {}))
        ),
    )
    for contradiction in _contradictions(settings):
        raise SettingsError(f"{path}: {contradiction}")
    return settings


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    section, dot, name = key.partition(".")
    known = table.get(section)
    if not (equals and dot and isinstance(known, dict) and name in known):
        raise SettingsError(f"--set {override}: no such setting (want section.name=value)")
    try:
        known[name] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"--set {override}: {error}") from error


def _section(path: Path, name: str, kind: type[_Kind], given: Any) -> _Kind:
    """Build one section; every field is given, none is unknown, each has its type."""
    known = {field.name for field in fields(kind)}
    found = set(given) if isinstance(given, dict) else set()
    if known != found:
        raise SettingsError(
            f"{path}: section [{name}]: unknown or missing: {', '.join(sorted(known ^ found))}"
        )
    for key, wanted in get_type_hints(kind).items():
        if not _fits(given[key], wanted):
            shown = getattr(wanted, "__name__", str(wanted)) if get_origin(wanted) is None else str(wanted)
            raise SettingsError(f"{path}: {name}.{key} = {given[key]!r}: want {shown}")
    return kind(**given)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_fits(item, get_args(kind)[1]) for item in value.values())
    if isinstance(value, bool):  # which Python counts among the integers
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _guided(path: Path, section: Any) -> list[Any]:
    guided = section.get("guided", []) if isinstance(section, dict) else None
    if not isinstance(guided, list) or set(section) - {"guided"}:
        raise SettingsError(f"{path}: section [alignment]: want guided = [{{ layer = ..., ... }}] alone")
    return guided


def _contradictions(settings: Settings) -> Iterator[str]:
    """Say what no training could work with."""
    model, data, training = settings.model, settings.data, settings.training
    padded = -(-data.max_tokens // PADDED_TO) * PADDED_TO
    if min(model.to_dict().values()) < 1:
        yield "section [model]: every size must be at least 1"
    if model.width % 2 or model.width < 4 or model.width % model.heads:
        yield f"model.width = {model.width}: want an even multiple of the {model.heads} heads"
    if not 0 < padded <= min(model.max_positions, data.batch_tokens):
        yield (
            f"data.max_tokens = {data.max_tokens}: padded to {padded}, it must fit into "
            f"model.max_positions = {model.max_positions} and data.batch_tokens = {data.batch_tokens}"
        )
    if not data.weights or min(data.weights.values()) <= 0:
        yield "section [data.weights]: want corpora with positive weights"
    steps = training.update_tokens
    if not all(len(step) == 2 for step in steps) or not any(step[0] == 0 for step in steps):
        yield "training.update_tokens: want [[0, size], [since, size], ...]"
    if training.precision not in PRECISIONS:
        yield f"training.precision = {training.precision!r}: want one of {', '.join(PRECISIONS)}"
    for guide in settings.guided:
        if not (0 <= guide.layer < model.decoder_layers and 0 <= guide.head < model.heads):
            yield f"alignment.guided: there is no head {guide.head} in decoder layer {guide.layer}"
        if guide.shift not in (0, 1):
            yield f"alignment.guided: shift = {guide.shift}: want 0 or 1"

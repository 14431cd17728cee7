"""The bundle: a directory that training writes and serving reads, and all that passes between them.

    manifest.json    what the model is, and the SHA-256 of every other file
    encoder.onnx     source pieces -> keys and values of every cross-attention
    decoder.onnx     one step of the decoder
    weights.bin      the weights of both graphs
    tokenizer.model  the SentencePiece model
    MODEL_CARD.md    for people

Loading checks everything first: a bundle that is not exactly what was written, or has values that no model has, is
refused whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dragoman import files
from dragoman.bundle.bounds import check_bounds
from dragoman.errors import BundleError, quoted
from dragoman.files import ReadLimits

FORMAT_VERSION = 4
LIMITS = ReadLimits(max_bytes=4 * 2**30, max_seconds=60.0)  # of one file of a bundle
MANIFEST = "manifest.json"
ENCODER, DECODER, WEIGHTS, TOKENIZER, CARD = (
    "encoder.onnx",
    "decoder.onnx",
    "weights.bin",
    "tokenizer.model",
    "MODEL_CARD.md",
)
REQUIRED = {ENCODER, DECODER, WEIGHTS, TOKENIZER, CARD}
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

    @property
    def max_target_tokens(self) -> int:
        """Return how many tokens a translation may have, the end not counted."""
        return self.shape["max_positions"] - 1


@dataclass(frozen=True)
class Bundle:
    """A checked bundle: every file is what its manifest says."""

    folder: Path
    manifest: Manifest
    checksum: str  # SHA-256 of the manifest, which covers every file
    limits: ReadLimits = LIMITS

    @property
    def full_name(self) -> str:
        """Return `name@version`."""
        return f"{self.manifest.name}@{self.manifest.version}"

    @property
    def languages(self) -> list[str]:
        """Return the languages of all pairs, sorted."""
        return sorted({language for pair in self.manifest.pairs for language in pair})

    def path(self, name: str) -> Path:
        """Return the path of one file."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return the content of one file, which is checked again: what was checked is what is used.

        Raises:
            BundleError: It cannot be read any more, or has changed.
        """
        try:
            content = files.read(self.path(name), self.limits)
        except OSError as error:
            raise BundleError(f"bundle {self.folder}: {name}: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != self.manifest.files[name]:
            raise BundleError(f"bundle {self.folder}: {name} has changed since it was checked")
        return content


def sha256(path: Path, limits: ReadLimits = LIMITS) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: As `files.read` does.
    """
    digest = hashlib.sha256()
    for block in files.blocks(path, limits):
        digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a directory whose other files are complete; their checksums are filled in."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    content = asdict(manifest) | {"files": files}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path, limits: ReadLimits = LIMITS) -> Bundle:
    """Check a bundle and return it.

    Args:
        limits: Of each of its files.

    Raises:
        BundleError: Missing, truncated, altered, or written by a newer version; one line says which.
    """
    try:
        content = files.read(folder / MANIFEST)
        manifest = _parse(json.loads(files.utf8(content)))
        for name in sorted(REQUIRED | set(manifest.files)):
            _check(folder, name, manifest.files.get(name), limits)
    except OSError as error:
        raise BundleError(f"bundle {folder}: {error.filename or folder}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # includes what is no JSON or no UTF-8
        raise BundleError(f"bundle {folder}: {MANIFEST} is not valid: {error}") from None
    except BundleError as error:
        raise BundleError(f"bundle {folder}: {error}") from None
    return Bundle(folder, manifest, hashlib.sha256(content).hexdigest(), limits)


def _parse(content: Any) -> Manifest:
    found_version = content.get("format_version") if isinstance(content, dict) else None
    if found_version != FORMAT_VERSION:
        raise BundleError(f"format {found_version!r}, this server reads format {FORMAT_VERSION}")
    wanted, found = {item.name for item in fields(Manifest)}, {*content, "checks"}  # which not all have
    if wanted != found:
        raise ValueError(f"unknown or missing: {', '.join(map(repr, sorted(wanted ^ found)))}")
    for name, is_valid in _RULES.items():
        if name in content and not is_valid(content[name]):
            raise ValueError(f"{name} is not what it should be")
    check_bounds(content)
    return Manifest(**content | {"alignment": AlignmentHead(**content["alignment"])})


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
}


def _check(folder: Path, name: str, expected: str | None, limits: ReadLimits) -> None:
    if expected is None:
        raise BundleError(f"{MANIFEST} does not list {name}")
    if Path(name).name != name or name in ("", ".."):
        raise BundleError(f"{quoted(name)} is not a file of the bundle itself")
    if sha256(folder / name, limits) != expected:
        raise BundleError(f"{name} is truncated or altered (SHA-256 differs from {MANIFEST})")

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
from dataclasses import asdict, dataclass
from pathlib import Path

from dragoman import files
from dragoman.bundle.manifest import Manifest, parse
from dragoman.errors import BundleError, quoted
from dragoman.files import ReadLimits

LIMITS = ReadLimits(max_bytes=4 * 2**30, max_seconds=60.0)  # of one file of a bundle
MANIFEST = "manifest.json"
ENCODER, DECODER, WEIGHTS, TOKENIZER, CARD = (
    "encoder.onnx",
    "decoder.onnx",
    "weights.bin",
    "tokenizer.model",
    "MODEL_CARD.md",
)
_NUMBERS = re.compile(r"\[\n[\s\d.,-]+\]")  # a list of numbers, one a line; it is written in one
REQUIRED = {ENCODER, DECODER, WEIGHTS, TOKENIZER, CARD}


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
    content = json.dumps(asdict(manifest) | {"files": files}, indent=2, ensure_ascii=False)
    flat = _NUMBERS.sub(
        lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), content
    )
    (folder / MANIFEST).write_text(flat + "\n", encoding="utf-8")


def load(folder: Path, limits: ReadLimits = LIMITS) -> Bundle:
    """Check a bundle and return it.

    Args:
        limits: Of each of its files.

    Raises:
        BundleError: Missing, truncated, altered, or written by a newer version; one line says which.
    """
    try:
        content = files.read(folder / MANIFEST)
        manifest = parse(json.loads(files.utf8(content)))
        for name in sorted(REQUIRED | set(manifest.files)):
            _check(folder, name, manifest.files.get(name), limits)
    except OSError as error:
        raise BundleError(f"bundle {folder}: {error.filename or folder}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # includes what is no JSON or no UTF-8
        raise BundleError(f"bundle {folder}: {MANIFEST} is not valid: {error}") from None
    except BundleError as error:
        raise BundleError(f"bundle {folder}: {error}") from None
    return Bundle(folder, manifest, hashlib.sha256(content).hexdigest(), limits)


def _check(folder: Path, name: str, expected: str | None, limits: ReadLimits) -> None:
    if expected is None:
        raise BundleError(f"{MANIFEST} does not list {name}")
    if Path(name).name != name or name in ("", ".."):
        raise BundleError(f"{quoted(name)} is not a file of the bundle itself")
    if sha256(folder / name, limits) != expected:
        raise BundleError(f"{name} is truncated or altered (SHA-256 differs from {MANIFEST})")

"""The bundle: the directory that training writes and serving reads, and all that passes between them."""

from dragoman.bundle.loading import (
    CARD,
    DECODER,
    ENCODER,
    MANIFEST,
    REQUIRED,
    TOKENIZER,
    WEIGHTS,
    Bundle,
    load,
    sha256,
    write_manifest,
)
from dragoman.bundle.manifest import FORMAT_VERSION, AlignmentHead, KnownAnswer, Manifest

__all__ = [
    "CARD",
    "DECODER",
    "ENCODER",
    "FORMAT_VERSION",
    "MANIFEST",
    "REQUIRED",
    "TOKENIZER",
    "WEIGHTS",
    "AlignmentHead",
    "Bundle",
    "KnownAnswer",
    "Manifest",
    "load",
    "sha256",
    "write_manifest",
]

"""The bundle: the directory that training writes and serving reads, and all that passes between them."""

from dragoman.bundle.loading import (
    CARD,
    DECODER,
    ENCODER,
    FORMAT_VERSION,
    MANIFEST,
    REQUIRED,
    TOKENIZER,
    WEIGHTS,
    AlignmentHead,
    Bundle,
    Manifest,
    load,
    sha256,
    write_manifest,
)

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
    "Manifest",
    "load",
    "sha256",
    "write_manifest",
]

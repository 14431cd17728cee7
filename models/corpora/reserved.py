"""Pieces that no text can spell, behind those of the shared tokenizer.

Placeholders, marks of terms, and some to spare, so that the next kind of mark needs no new table of embeddings. Every
number that there was keeps its meaning: corpora stay packed, and weights gain rows (`widened`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from sentencepiece import sentencepiece_model_pb2
from torch import Tensor

from dragoman.text.tokenizer import MARK_PIECES

SPARE = 4  # to a multiple of 8, in which products are computed
NAMES = (*MARK_PIECES.values(), *(f"<spare{number}>" for number in range(SPARE)))
TABLE = "embedding.weight"


def _serialised() -> bytes:
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined] # which a descriptor defines at run time
    for name in NAMES:
        proto.pieces.add(piece=name, score=0.0, type=proto.SentencePiece.CONTROL)
    return bytes(proto.SerializePartialToString())


PIECES = _serialised()  # behind a model's bytes: repeated fields of two messages in a row are joined


def extended(model: bytes) -> bytes:
    """Return a serialised tokenizer with the reserved pieces behind its own; of one that has them, itself."""
    return model.removesuffix(PIECES) + PIECES


def widened(weights: dict[str, Tensor], vocabulary: int, seed: int = 1) -> dict[str, Tensor]:
    """Return weights for a larger vocabulary, if it is larger by the reserved pieces; others as they are.

    A new row is the mean of all others, so that nothing writes it by mistake, and a random part as long as a usual row,
    which tells it from its like.
    """
    table = weights[TABLE].float()
    if vocabulary - len(table) != len(NAMES):
        return weights
    noise = torch.randn(len(NAMES), table.shape[1], generator=torch.Generator().manual_seed(seed))
    length = table.norm(dim=1).mean()
    rows = table.mean(0) + torch.nn.functional.normalize(noise, dim=1) * length
    return weights | {TABLE: torch.cat([table, rows])}


def extend(path: Path) -> None:
    """Put the reserved pieces behind those of a tokenizer, if it has none; the file is whole at any time."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(extended(path.read_bytes()))
    temporary.replace(path)

"""A user's own sentence pairs: read, checked line by line, split, and packed like any corpus.

First stop of *finetune*; the counterpart of *data*, whose shards are cleaned before they come.
"""

from __future__ import annotations

from pathlib import Path

from dragoman.text.normalize import normalize
from dragoman.text.tokenizer import Tokenizer
from models.corpora.packing import MAX_TOKENS, DataError, Packed, is_packed, is_usable, mark, save_pairs
from models.paths import packed_folder, tokenizer_path

Pairs = list[tuple[str, str]]  # source, target; normalised

MAX_COMPLAINTS = 5  # lines named in one error; whoever has more has another problem


def read_tsv(path: Path) -> Pairs:
    """Return the pairs of a file: UTF-8, no header, `source<TAB>target` on every line.

    Raises:
        DataError: It cannot be read, or has lines that are no pair; they are named by number.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    pairs, complaints = [], []
    for number, line in enumerate(lines, 1):
        pair = _pair(line)
        if isinstance(pair, str):
            complaints.append(f"line {number}: {pair}")
        else:
            pairs.append(pair)
    if complaints:
        more = len(complaints) - MAX_COMPLAINTS
        shown = complaints[:MAX_COMPLAINTS] + ([f"and {more} more"] if more > 0 else [])
        raise DataError(f"{path}: {'; '.join(shown)}")
    return pairs


def _pair(line: bytes) -> tuple[str, str] | str:
    """Return the two sides of a line, or what is wrong with it."""
    try:
        sides = line.decode().split("\t")
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start + 1})"
    if len(sides) != 2:
        return f"{len(sides) - 1} tabs, want one between source and target"
    source, target = map(normalize, sides)
    return (source, target) if source and target else "a side is empty"


def split(pairs: Pairs, held_out: int, path: Path) -> tuple[Pairs, Pairs]:
    """Return what is trained on and the last lines; a pair of these is not in the first part either.

    Raises:
        DataError: Nothing is left to train on.
    """
    if not 0 < held_out < len(pairs):
        raise DataError(
            f"{path}: {len(pairs)} pairs, and --held-out {held_out} of them: want fewer, and some"
        )
    last = pairs[-held_out:]
    known = set(last)
    first = [pair for pair in pairs[:-held_out] if pair not in known]
    if not first:
        raise DataError(f"{path}: every pair is among the last {held_out}, nothing is left to train on")
    return first, last


def pack(pairs: Pairs, target: str, corpus: str, tokenizer: Tokenizer) -> int:
    """Write the pairs where training looks for a corpus; return how many it can use.

    Raises:
        DataError: None of them.
    """
    columns = tuple(zip(*pairs, strict=True))
    english, other = columns[::-1] if target == "en" else columns
    packed = [
        (first, second)
        for first, second in zip(
            *(tokenizer.encode_batch(list(side)) for side in (english, other)), strict=True
        )
        if is_usable(len(first), len(second), MAX_TOKENS)
    ]
    if not packed:
        raise DataError(f"{corpus}: no pair can be used, all are too long or of too different lengths")
    folder = packed_folder()
    mark(folder, tokenizer_path())
    if not _are_there(folder / corpus, packed):
        for old in ("links", "links_offsets"):  # of other pairs
            (folder / corpus / f"{old}.npy").unlink(missing_ok=True)
        save_pairs(folder / corpus, packed)
    return len(packed)


def _are_there(folder: Path, pairs: list[tuple[list[int], list[int]]]) -> bool:
    """Tell whether just these pairs are there already, perhaps with links."""
    if not is_packed(folder):
        return False
    there = Packed.open(folder)
    return len(there) == len(pairs) and all(there.pair(index) == pair for index, pair in enumerate(pairs))

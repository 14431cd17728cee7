"""Sentence pairs: from compressed text shards to memory-mapped arrays of pieces.

Second stop of training, after *tokenizer*: `python -m models.corpora.packing` packs every corpus once; `models.corpora.batches` draws from what
it leaves.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dragoman.text.normalize import normalize
from dragoman.text.tokenizer import Tokenizer
from models.corpora import reserved
from models.paths import data_folder, packed_folder, tokenizer_path

Int = npt.NDArray[np.int64]
NO_LINKS = np.zeros((0, 2), np.uint8)
MAX_TOKENS = 126  # longer sides are never packed: a training that wants them would have to pack anew
MAX_RATIO = 3.0  # a pair whose sides differ more in length is almost always misaligned
_SHARD_NAME = re.compile(r"(?P<corpus>[\w-]+\.(?:en-[a-z]{2}|es-fr))\.\d+\.tsv\.xz")
CAPITALS_LOST = ("newscommentary.en-es.",)  # a release in which three names of ten are written "Barack obama"
_WORD = re.compile(r"[^\W\d_]+")
_ENDS = re.compile(r"[.?!:]")
_INSIDE_NAMES = (" ", "-", ". ", "'", "\u2019")
_FINGERPRINT = "tokenizer.sha256"


def languages_of(name: str) -> tuple[str, str, bool]:
    """Return both languages of a packed corpus, and whether its pairs are for both directions.

    >>> languages_of("tatoeba.en-fr"), languages_of("typed.fr2en")
    (('en', 'fr', True), ('fr', 'en', False))
    """
    pair = name.rpartition(".")[2]
    return pair[:2], pair[-2:], pair[2:3] == "-"


class DataError(Exception):
    """Training data is missing or broken; the message names the file."""


def open_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer that every run shares.

    Raises:
        DataError: There is none yet, or the file is something else.
    """
    try:
        return Tokenizer.from_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}, run `python -m models.corpora.tokenizer`") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def shards(folder: Path) -> dict[str, list[Path]]:
    """Return the shards of every corpus, `{"tatoeba.en-fr": [...]}`, both in sorted order.

    Raises:
        DataError: There is no such folder, no shard in it, or one whose name says no language pair.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.tsv.xz")):
        match = _SHARD_NAME.fullmatch(path.name)
        if match is None:
            raise DataError(f"{path}: want a name like corpus.en-fr.00.tsv.xz")
        found.setdefault(match["corpus"], []).append(path)
    if not found:
        raise DataError(f"{folder}: no *.tsv.xz shard there (set DRAGOMAN_DATA to the data folder)")
    return found


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the normalised (English, other) pairs of one shard, those of `CAPITALS_LOST` with capitals.

    Raises:
        DataError: The file is truncated, not xz, not UTF-8, or has a line without a tab.
    """
    try:
        with lzma.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                english, tab, other = line.rstrip("\n").partition("\t")
                if not tab:
                    raise DataError(f"{path}, line {number}: no tab between the two sentences")
                pair = normalize(english), normalize(other)
                yield with_capitals(*pair) if path.name.startswith(CAPITALS_LOST) else pair
    except (lzma.LZMAError, EOFError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: corrupt or unreadable shard ({error})") from error


def with_capitals(english: str, other: str) -> tuple[str, str]:
    """Return a pair with the capitals that names lost behind another capital, as English has them.

    >>> with_capitals("We heard Barack Obama.", "Hemos oído a Barack obama.")
    ('We heard Barack Obama.', 'Hemos oído a Barack Obama.')
    """
    there = list(_in_place(english))
    # What begins a sentence may be any word: "No display" has no name for "Israel no".
    inside = [word for gap, word, capital in there if _is_inside(gap, capital) and word[0].isupper()]
    small = {word for _, word, _ in there if word.islower()}
    inside.sort(key=str.isupper, reverse=True)  # "BAY" only if there is no "Bay"
    names = {word.lower(): word for word in inside}
    parts, end, capital = [], 0, False
    for gap, word, _ in _in_place(other):
        end += len(gap) + len(word)
        if capital and gap in _INSIDE_NAMES and word not in small:
            word = names.get(word, word)
        parts += [gap, word]
        capital = word[0].isupper()
    return english, "".join(parts) + other[end:]


def _in_place(text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield each word with what stands between it and the one before, and whether that has a capital."""
    end, capital = 0, False
    for match in _WORD.finditer(text):
        yield text[end : match.start()], match.group(), capital
        end, capital = match.end(), match.group()[0].isupper()


def _is_inside(gap: str, capital: bool) -> bool:
    """Tell whether a word goes on with the sentence of the one before: behind "of " or "Mr. ", not "so. "."""
    return bool(gap) and ((gap == ". " and capital) or not _ENDS.search(gap))


@dataclass(frozen=True)
class Packed:
    """One corpus as arrays: tokens of pair i are `tokens[offsets[i] : offsets[i + 1]]` on each side."""

    english: npt.NDArray[np.uint16]
    english_offsets: Int
    other: npt.NDArray[np.uint16]
    other_offsets: Int
    links: npt.NDArray[np.uint8]  # (n, 2): English piece, other piece
    links_offsets: Int | None  # None: not aligned yet

    def __len__(self) -> int:
        return len(self.english_offsets) - 1

    def pair(self, index: int) -> tuple[list[int], list[int]]:
        """Return the pieces of one pair: English, other."""
        return (
            self.english[self.english_offsets[index] : self.english_offsets[index + 1]].tolist(),
            self.other[self.other_offsets[index] : self.other_offsets[index + 1]].tolist(),
        )

    def links_of(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the links of one pair, (n, 2); none if the corpus was not aligned."""
        if self.links_offsets is None:
            return NO_LINKS
        return self.links[self.links_offsets[index] : self.links_offsets[index + 1]]

    @classmethod
    def open(cls, folder: Path) -> Packed:
        """Map the arrays of one corpus.

        Raises:
            DataError: The folder was not written to its end, or not at all.
        """

        def load(name: str) -> Any:
            return np.load(folder / f"{name}.npy", mmap_mode="r")

        try:
            aligned = (folder / "links_offsets.npy").exists()
            packed = cls(
                load("english"), load("english_offsets"), load("other"), load("other_offsets"),
                load("links").reshape(-1, 2) if aligned else NO_LINKS,
                load("links_offsets") // 2 if aligned else None,
            )  # fmt: skip
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{folder}: no packed corpus there, run `python -m models.corpora.packing`, `models.corpora.derive` and `models.corpora.selection` ({error})"
            ) from error
        packed._check(folder)
        return packed

    def _check(self, folder: Path) -> None:
        sides: list[tuple[Int, npt.NDArray[Any]]] = [
            (self.english_offsets, self.english),
            (self.other_offsets, self.other),
        ]
        if self.links_offsets is not None:
            sides.append((self.links_offsets, self.links))
        if any(len(offsets) != len(self) + 1 or offsets[-1] != len(flat) for offsets, flat in sides):
            raise DataError(f"{folder}: its arrays do not belong together, delete it and pack anew")


def save_ragged(folder: Path, name: str, rows: Sequence[Sequence[int]], dtype: type[np.generic]) -> None:
    """Write rows of unequal length as one flat array and its offsets, the offsets last."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = np.fromiter((token for row in rows for token in row), dtype, int(offsets[-1]))
    save_array(folder / f"{name}.npy", flat)
    save_array(folder / f"{name}_offsets.npy", offsets)


def save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write one array; the file appears under its name only when it is whole."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, array)
    temporary.replace(path)


def pack(source: Path, target: Path, tokenizer: Tokenizer, max_tokens: int, threads: int) -> None:
    """Tokenise every corpus of `source` into `target/<corpus>.<pair>/`; finished ones are kept."""
    for name, paths in shards(source).items():
        folder = target / name
        if is_packed(folder):
            continue
        pairs = [
            pair
            for path in paths
            for pair in _tokenised(path, tokenizer, threads)
            if is_usable(len(pair[0]), len(pair[1]), max_tokens)
        ]
        save_pairs(folder, pairs)
        tokens = sum(len(other) for _, other in pairs)
        print(f"{name}: {len(pairs):,} pairs, {tokens:,} tokens", flush=True)


def is_packed(folder: Path) -> bool:
    """Tell whether a corpus was packed to its end: its last array is there."""
    return (folder / "other_offsets.npy").exists()


def save_pairs(folder: Path, pairs: Sequence[tuple[list[int], list[int]]]) -> None:
    """Write the pieces of (English, other) pairs as one packed corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    save_ragged(folder, "english", [english for english, _ in pairs], np.uint16)
    save_ragged(folder, "other", [other for _, other in pairs], np.uint16)


def save_texts(
    folder: Path,
    texts: Iterable[tuple[str, str]],
    tokenizer: Tokenizer,
    threads: int,
    *,
    marked: bool = False,
) -> None:
    """Pack pairs of texts that were made of others, as a model will be given them; nothing at all is no corpus.

    Args:
        marked: Placeholders and marks of terms in them are pieces of their own.
    """
    pairs = list(texts)
    first, second = (
        tokenizer.encode_batch([normalize(pair[side]) for pair in pairs], threads, marked=marked)
        for side in (0, 1)
    )
    usable = [
        pair for pair in zip(first, second, strict=True) if is_usable(len(pair[0]), len(pair[1]), MAX_TOKENS)
    ]
    if usable:
        save_pairs(folder, usable)
        print(f"{folder.name}: {len(usable):,} pairs", flush=True)


def _tokenised(path: Path, tokenizer: Tokenizer, threads: int) -> Iterator[tuple[list[int], list[int]]]:
    pairs = list(read_pairs(path))
    english = tokenizer.encode_batch([first for first, _ in pairs], threads)
    other = tokenizer.encode_batch([second for _, second in pairs], threads)
    return zip(english, other, strict=True)


def is_usable(english: int, other: int, max_tokens: int) -> bool:
    """Tell whether two sides of so many pieces are worth training on."""
    short, long = sorted((english, other))
    return 0 < short and long <= max_tokens and long <= MAX_RATIO * short + 5


def check_size(tokenizer: Path, vocabulary: int) -> Tokenizer:
    """Return the tokenizer that every run shares, if it has as many pieces as a network is to know.

    Raises:
        DataError: It has others, there is none, or the file is something else.
    """
    opened = open_tokenizer(tokenizer)
    if opened.vocabulary_size != vocabulary:
        raise DataError(
            f"{tokenizer}: {opened.vocabulary_size} pieces, the network is to know {vocabulary}: "
            "change model.vocabulary, or set DRAGOMAN_RUNS to another folder"
        )
    return opened


def fingerprint(tokenizer: Path) -> str:
    """Return what tells a tokenizer from any other, whose numbers mean other pieces.

    The reserved pieces behind all others do not count: what was packed or trained without them stays true.
    """
    return hashlib.sha256(tokenizer.read_bytes().removesuffix(reserved.PIECES)).hexdigest()


def mark(packed: Path, tokenizer: Path) -> None:
    """Note in a folder of packed corpora which tokenizer its numbers belong to."""
    packed.mkdir(parents=True, exist_ok=True)
    (packed / _FINGERPRINT).write_text(fingerprint(tokenizer))


def check_mark(packed: Path, tokenizer: Path) -> None:
    """Make sure that the pieces of a folder are this tokenizer's, as far as the folder says.

    Raises:
        DataError: It was packed with another tokenizer, whose numbers mean other pieces.
    """
    path = packed / _FINGERPRINT
    if path.exists() and path.read_text() != fingerprint(tokenizer):
        raise DataError(f"{packed}: packed with another tokenizer than {tokenizer}, delete it and pack anew")


def main() -> None:
    """Pack the training data; paths from DRAGOMAN_DATA and DRAGOMAN_RUNS."""
    packed = packed_folder()
    try:
        tokenizer = open_tokenizer(tokenizer_path())
        check_mark(packed, tokenizer_path())
        mark(packed, tokenizer_path())
        pack(data_folder() / "train", packed, tokenizer, MAX_TOKENS, os.cpu_count() or 1)
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()

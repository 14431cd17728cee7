"""Pairs of Spanish and French, joined on equal English sides: `python -m models.corpora.joined`.

After *packing*, beside *derive*. No corpus here pairs the two directly, but many an English sentence has a translation
in each. They are packed as `joined.es-fr`; a training draws both directions of it as it does of the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from pathlib import Path

from dragoman.text.tokenizer import Tokenizer
from models.corpora.packing import (
    DataError,
    check_mark,
    is_packed,
    open_tokenizer,
    read_pairs,
    save_texts,
    shards,
)
from models.paths import data_folder, packed_folder, tokenizer_path

Pair = tuple[str, str]  # Spanish, French
NAME, LEFT, RIGHT = "joined.es-fr", "en-es", "en-fr"
OF_EACH = 2  # translations of one English text: "Yes." has hundreds, which differ by their context
_KEPT = re.compile(r"[^\w%$€£+<>=/#@&*]+")  # what else differs between two editions of a text


def key(english: str) -> str:
    """Return what two editions of an English text have in common: no case, spaces, or marks between words.

    >>> key("Don't panic !") == key("don't panic")
    True
    """
    mark = "?" if english.rstrip().endswith("?") else ""
    return _KEPT.sub("", english).casefold() + mark


def joined(left: Iterable[Pair], right: Iterable[Pair]) -> Iterator[Pair]:
    """Yield the other sides of the pairs whose English sides are equal, without those that are one text."""
    translations: dict[str, list[str]] = {}
    for english, other in left:
        translations.setdefault(key(english), []).append(other)
    translations.pop("", None)
    found: dict[str, list[str]] = {}
    for english, other in right:
        if (same := key(english)) in translations:
            found.setdefault(same, []).append(other)
    for same, others in found.items():
        of_left, of_right = (islice(dict.fromkeys(side), OF_EACH) for side in (translations[same], others))
        yield from (pair for pair in product(of_left, of_right) if pair[0] != pair[1])


def texts(found: Mapping[str, Sequence[Path]], pair: str) -> Iterator[Pair]:
    """Read all texts of a language pair."""
    return chain.from_iterable(
        read_pairs(path) for name, paths in found.items() if name.endswith(f".{pair}") for path in paths
    )


def join(folder: Path, packed: Path, tokenizer: Tokenizer, threads: int) -> None:
    """Pack what the shards of a folder have in common; what is there already is kept.

    Raises:
        DataError: There is no shard at all, or one is broken.
    """
    found = shards(folder)
    if NAME not in found and not is_packed(packed / NAME):
        save_texts(packed / NAME, joined(texts(found, LEFT), texts(found, RIGHT)), tokenizer, threads)


def main() -> None:
    """Join the training data; paths from DRAGOMAN_DATA and DRAGOMAN_RUNS."""
    packed = packed_folder()
    try:
        tokenizer = open_tokenizer(tokenizer_path())
        check_mark(packed, tokenizer_path())
        join(data_folder() / "train", packed, tokenizer, os.cpu_count() or 1)
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()

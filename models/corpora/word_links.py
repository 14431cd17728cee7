"""Word links for guided attention: eflomal on the training pairs, projected to pieces.

Optional, beside packing: `python -m models.corpora.word_links`. A training that starts, or resumes, afterwards finds
the links and teaches its guided heads with them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dragoman.text.tokenizer import SPACE, Tokenizer
from models.corpora.packing import DataError, Packed, check_mark, open_tokenizer, save_ragged
from models.paths import packed_folder, tokenizer_path

Links = set[tuple[int, int]]
_NEIGHBOURS = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]


class Words:
    """Group pieces into words: a piece with a space before it begins one, and so does any symbol."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._text = [
            tokenizer.piece(id_).replace(SPACE, "").lower() for id_ in range(tokenizer.vocabulary_size)
        ]
        alone = [not (text.isalpha() or text.isdigit()) for text in self._text]
        self._begins = [
            tokenizer.piece(id_).startswith(SPACE) or alone[id_] for id_ in range(tokenizer.vocabulary_size)
        ]
        self._alone = alone

    def group(self, ids: list[int]) -> list[list[int]]:
        """Return, for each word, the positions of its pieces."""
        words: list[list[int]] = []
        for position, id_ in enumerate(ids):
            if not words or self._begins[id_] or (position and self._alone[ids[position - 1]]):
                words.append([])
            words[-1].append(position)
        return words

    def line(self, ids: list[int]) -> str:
        """Return the words of a sentence as eflomal reads them: lower case, one space between."""
        return " ".join("".join(self._text[ids[p]] for p in word) or "_" for word in self.group(ids))


def symmetrise(forward: Links, reverse: Links) -> Links:
    """Merge two directions by grow-diag (Koehn et al., 2003): the links both find, and their neighbours."""
    links, union = forward & reverse, forward | reverse
    sources, targets = {s for s, _ in links}, {t for _, t in links}
    waiting = list(links)
    while waiting:
        source, target = waiting.pop()
        for ds, dt in _NEIGHBOURS:
            near = (source + ds, target + dt)
            if near in union and near not in links and (near[0] not in sources or near[1] not in targets):
                links.add(near)
                sources.add(near[0])
                targets.add(near[1])
                waiting.append(near)
    return links


def project(links: Links, source: list[list[int]], target: list[list[int]]) -> list[int]:
    """Return flat (source piece, target piece) pairs: every piece of a word with every one of its partner."""
    return [
        p for s, t in sorted(links) for a in source[s] for b in target[t] if max(a, b) < 256 for p in (a, b)
    ]


def align(pair: str, folder: Path, tokenizer: Tokenizer, max_pairs: int, iterations: float) -> None:
    """Align every packed corpus of a language pair in one go, and write the links beside the pieces.

    Raises:
        DataError: Not every sentence came back aligned.
    """
    names = sorted(path.name for path in folder.glob(f"*.{pair}"))
    corpora = {name: Packed.open(folder / name) for name in names}
    words = Words(tokenizer)
    found = by_eflomal(
        (words.line(ids) for corpus in corpora.values() for ids, _ in _pairs(corpus, max_pairs)),
        (words.line(ids) for corpus in corpora.values() for _, ids in _pairs(corpus, max_pairs)),
        iterations,
    )
    for name, corpus in corpora.items():
        rows = [
            project(links, words.group(english), words.group(other))
            for (english, other), links in zip(_pairs(corpus, max_pairs), found, strict=False)
        ]
        if len(rows) != min(max_pairs, len(corpus)):
            raise DataError(f"{name}: eflomal aligned {len(rows):,} of {len(corpus):,} pairs")
        rows += [[]] * (len(corpus) - len(rows))
        save_ragged(folder / name, "links", rows, np.uint8)
        print(f"{name}: {sum(map(len, rows)) // 2:,} links", flush=True)


def by_eflomal(english: Iterable[str], other: Iterable[str], iterations: float = 1.0) -> Iterator[Links]:
    """Align sentences, words separated by spaces; yield the links of each pair, both directions merged.

    Args:
        iterations: Relative to eflomal's own choice.

    Raises:
        DataError: eflomal is not installed.
    """
    try:
        import eflomal
    except ImportError:
        raise DataError("eflomal is missing: pip install -e '.[links]', which compiles it") from None
    with tempfile.TemporaryDirectory() as scratch:
        forward, reverse = Path(scratch, "forward"), Path(scratch, "reverse")
        eflomal.Aligner(rel_iterations=iterations, n_samplers=1).align(
            english, other, links_filename_fwd=str(forward), links_filename_rev=str(reverse)
        )
        with forward.open() as forward_lines, reverse.open() as reverse_lines:
            for one_way, back in zip(forward_lines, reverse_lines, strict=True):
                yield symmetrise(parse(one_way), parse(back))


def _pairs(corpus: Packed, last: int) -> Iterator[tuple[list[int], list[int]]]:
    for pair in range(min(last, len(corpus))):
        yield corpus.pair(pair)


def parse(line: str) -> Links:
    """Read links written as `0-0 1-2`: source word, target word."""
    return {(int(s), int(t)) for s, _, t in (link.partition("-") for link in line.split())}


def main() -> None:
    """Align all packed pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--max-pairs", type=int, default=10**9, help="of each corpus (default: all)")
    parser.add_argument("--iterations", type=float, default=1.0, help="relative to eflomal's own choice")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        tokenizer = open_tokenizer(tokenizer_path())
        packed = packed_folder()
        check_mark(packed, tokenizer_path())
        pairs = sorted({path.name.rpartition(".")[2] for path in packed.glob("*.en-??")})
        if not pairs:
            raise DataError(f"{packed}: no packed corpus there, run `python -m models.corpora.packing`")
        for pair in pairs:
            align(pair, packed, tokenizer, arguments.max_pairs, arguments.iterations)
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()

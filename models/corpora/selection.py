"""Selection of general prose from narrow corpora: `python -m models.corpora.selection`.

After *data*, beside *links*. A parliament mostly speaks of its own business, and a training of some days sees a tenth
of it at most: better the tenth that speaks of the world. Of `europarl.en-fr` the pairs most like news, the web and
encyclopedias are packed again as `europarl-near.en-fr`, so that `[data.weights]` can tell them from the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dragoman.text.tokenizer import BOS_ID
from models.corpora.packing import DataError, Packed, check_mark, is_packed, save_pairs, save_ragged
from models.paths import packed_folder, tokenizer_path

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

GENERAL = ("news.en-fr", "news.en-es", "encyclopedia.en-es", "web.en-fr", "web.en-es")
NARROW = ("europarl.en-fr", "hansards.en-fr", "newscommentary.en-es")
PART = 0.15  # of a narrow corpus
LARGEST = 400_000  # pieces of a general corpus: none shall outvote the others
NEAR = "-near"
_SHIFT = 16  # pieces are 16-bit numbers: two make a key


class Bigrams:
    """A bigram model with Witten-Bell interpolation (Witten and Bell, 1991)."""

    def __init__(self, keys: Int) -> None:
        """Count the bigrams of a text, as `bigrams` returns them."""
        self._keys, self._counts = np.unique(keys, return_counts=True)
        befores, pieces = self._keys >> _SHIFT, keys & ((1 << _SHIFT) - 1)
        self._seen = np.bincount(befores, self._counts, 1 << _SHIFT)  # how often it has a follower
        self._followers = np.maximum(np.bincount(befores, minlength=1 << _SHIFT), 1)  # how many others
        often = np.bincount(pieces, minlength=1 << _SHIFT) + 0.5
        self._unigrams = often / often.sum()

    def log_probabilities(self, keys: Int) -> Float:
        """Return the logarithm of p(piece | piece before) for each bigram."""
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        counts = np.where(self._keys[places] == keys, self._counts[places], 0)
        befores, pieces = keys >> _SHIFT, keys & ((1 << _SHIFT) - 1)
        backing = self._followers[befores] * self._unigrams[pieces]
        probabilities: Float = (counts + backing) / (self._seen[befores] + self._followers[befores])
        return np.log(probabilities)


def bigrams(corpus: Packed) -> Int:
    """Return a key for each English piece, made of it and the one before."""
    pieces, starts = corpus.english.astype(np.int64), corpus.english_offsets[:-1]
    keys = np.concatenate(([BOS_ID], pieces[:-1])) << _SHIFT | pieces
    keys[starts] = BOS_ID << _SHIFT | pieces[starts]
    return keys


def distances(corpus: Packed, general: Int) -> Float:
    """Return how much less each pair's English is like general prose than like its own corpus, in nats a piece.

    The difference of two cross-entropies, under models of texts of about the same size (Moore and Lewis, 2010). The
    corpus has two models, of different pairs: none is judged by one that has seen it.
    """
    keys, lengths = bigrams(corpus), np.diff(corpus.english_offsets)
    step = max(2, -(-len(keys) // len(general)))
    place = np.repeat(np.arange(len(corpus)) % step, lengths)
    first, second = (Bigrams(keys[place == number]) for number in (0, 1))
    own = np.where(place == 0, second.log_probabilities(keys), first.log_probabilities(keys))
    means: Float = (
        np.add.reduceat(own - Bigrams(general).log_probabilities(keys), corpus.english_offsets[:-1]) / lengths
    )
    return means


def select(corpus: Packed, general: Int, part: float) -> Int:
    """Return the numbers of the pairs that are nearest to general prose, in their order.

    Args:
        general: Bigrams of general prose.
        part: Of the corpus, more than 0 and at most 1.
    """
    kept = max(1, round(part * len(corpus)))
    return np.sort(np.argsort(distances(corpus, general), kind="stable")[:kept])


def near(name: str) -> str:
    """Return what the selected pairs of a corpus are called: `europarl.en-fr` gives `europarl-near.en-fr`."""
    corpus, _, pair = name.rpartition(".")
    return f"{corpus}{NEAR}.{pair}"


def origin(name: str) -> str:
    """Return the corpus that pairs were selected from, or the name itself."""
    return name.replace(f"{NEAR}.", ".")


def _save(folder: Path, corpus: Packed, pairs: Int) -> None:
    """Pack some pairs of a corpus by themselves, with their links."""
    chosen = pairs.tolist()
    folder.mkdir(exist_ok=True)
    if corpus.links_offsets is not None:  # first, since the pairs say that all is there
        save_ragged(folder, "links", [corpus.links_of(pair).ravel().tolist() for pair in chosen], np.uint8)
    save_pairs(folder, [corpus.pair(pair) for pair in chosen])
    print(f"{folder.name}: {len(chosen):,} pairs", flush=True)


def select_all(packed: Path, corpora: Sequence[str], general: Sequence[str], part: float) -> None:
    """Select from each corpus in a folder of packed ones; what is there already is kept.

    Raises:
        DataError: A corpus is not packed, or has too few pairs to tell anything.
    """
    missing = [name for name in corpora if not is_packed(packed / near(name))]
    for name in corpora:
        if name not in missing:
            print(f"{near(name)}: kept", flush=True)
    if not missing:
        return
    alike = np.concatenate([bigrams(_open(packed / name))[:LARGEST] for name in general])
    for name in missing:
        corpus = _open(packed / name)
        _save(packed / near(name), corpus, select(corpus, alike, part))


def _open(folder: Path) -> Packed:
    corpus = Packed.open(folder)
    if len(corpus) < 2:
        raise DataError(f"{folder}: {len(corpus)} pairs, want 2 at least to compare with")
    return corpus


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Select the pairs that are most like general prose.")
    parser.add_argument(
        "corpora", nargs="*", help=f"packed corpora (default: those of {', '.join(NARROW)} that are there)"
    )
    parser.add_argument(
        "--general", nargs="+", help=f"what they shall be like (default: those of {', '.join(GENERAL)})"
    )
    parser.add_argument("--part", type=float, default=PART, help="of each corpus (default: %(default)s)")
    arguments = parser.parse_args()
    if not 0 < arguments.part <= 1:
        parser.error(f"--part {arguments.part}: want more than 0 and at most 1")
    return arguments


def main() -> None:
    """Select from the packed corpora under DRAGOMAN_RUNS."""
    arguments, packed = _arguments(), packed_folder()
    corpora, general = (
        given or [name for name in usual if (packed / name).is_dir()]
        for given, usual in ((arguments.corpora, NARROW), (arguments.general, GENERAL))
    )
    try:
        check_mark(packed, tokenizer_path())
        if general:
            select_all(packed, corpora, general, arguments.part)
        elif corpora:
            raise DataError(f"{packed}: no usual general corpus there, say what to compare with (--general)")
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()

"""What narrow corpora hold of general prose: `python -m models.selection`.

After *data*, beside *links*. A parliament mostly speaks of its own business, and a training of some days sees a tenth
of it at most: better the tenth that speaks of the world. Of `europarl.en-fr` the pairs most like news and
encyclopedias are packed again as `europarl-near.en-fr`, so that `[data.weights]` can tell them from the rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.data import DataError, Packed, check_mark, save_pairs, save_ragged
from models.paths import runs_folder, tokenizer_path
from service.text.tokenizer import BOS_ID

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

GENERAL = ("news.en-fr", "news.en-es", "encyclopedia.en-es", "web.en-fr", "web.en-es")
NARROW = ("europarl.en-fr", "hansards.en-fr", "newscommentary.en-es")
PART = 0.15  # of a narrow corpus
NEAR = "-near"
_SHIFT = 16  # pieces are 16-bit numbers: two make a key


class Bigrams:
    """A bigram model with Witten-Bell interpolation (Witten and Bell, 1991)."""

    def __init__(self, keys: Int) -> None:
        """Count the bigrams of a text, as `bigrams` returns them."""
        self._keys, self._counts = np.unique(keys, return_counts=True)
        befores, pieces = self._keys >> _SHIFT, keys & ((1 << _SHIFT) - 1)
        self._seen = np.bincount(befores, self._counts, 1 << _SHIFT)  # how often a piece has a follower
        self._followers = np.maximum(
            np.bincount(befores, minlength=1 << _SHIFT), 1
        )  # how many different ones
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


def bigrams(corpus: Packed, step: int = 1) -> Int:
    """Return a key for each English piece of every `step`-th pair, made of it and the one before."""
    pieces, offsets = corpus.english.astype(np.int64), corpus.english_offsets
    keys = np.concatenate(([BOS_ID], pieces[:-1])) << _SHIFT | pieces
    keys[offsets[:-1]] = BOS_ID << _SHIFT | pieces[offsets[:-1]]
    chosen = np.arange(len(corpus)) % step == 0
    return keys[np.repeat(chosen, np.diff(offsets))]


def distances(corpus: Packed, general: Int) -> Float:
    """Return how much less each pair's English is like general prose than like its own corpus, in nats a piece.

    The difference of two cross-entropies, under models of texts of the same size (Moore and Lewis, 2010).
    """
    keys = bigrams(corpus)
    own = bigrams(corpus, max(1, len(keys) // len(general)))
    gained = Bigrams(own).log_probabilities(keys) - Bigrams(general).log_probabilities(keys)
    means: Float = np.add.reduceat(gained, corpus.english_offsets[:-1]) / np.diff(corpus.english_offsets)
    return means


def select(corpus: Packed, general: Int, part: float) -> Int:
    """Return the numbers of the pairs that are nearest to general prose, in their order."""
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
    save_pairs(folder, [corpus.pair(pair) for pair in chosen])
    if corpus.links_offsets is not None:
        save_ragged(folder, "links", [corpus.links_of(pair).ravel().tolist() for pair in chosen], np.uint8)
    print(f"{folder.name}: {len(chosen):,} pairs", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Select the pairs that are most like general prose.")
    parser.add_argument(
        "corpora", nargs="*", help=f"packed corpora (default: those of {', '.join(NARROW)} that are there)"
    )
    parser.add_argument(
        "--general", nargs="+", help=f"what they shall be like (default: those of {', '.join(GENERAL)})"
    )
    parser.add_argument("--part", type=float, default=PART, help="of each corpus (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Select from the packed corpora under DRAGOMAN_RUNS; what is there already is kept."""
    arguments, packed = _arguments(), runs_folder() / "packed"
    corpora, alike = (
        given or [name for name in usual if (packed / name).is_dir()]
        for given, usual in ((arguments.corpora, NARROW), (arguments.general, GENERAL))
    )
    missing = [name for name in corpora if not (packed / near(name) / "other_offsets.npy").exists()]
    if not missing or not alike:
        return
    try:
        check_mark(packed, tokenizer_path())
        general = np.concatenate([bigrams(Packed.open(packed / name)) for name in alike])
        for name in missing:
            corpus = Packed.open(packed / name)
            _save(packed / near(name), corpus, select(corpus, general, arguments.part))
    except (DataError, OSError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()

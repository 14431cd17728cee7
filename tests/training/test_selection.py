"""Pairs of narrow corpora that are most like general prose."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models import tokenizer
from models.data import Packed, pack, save_ragged
from models.selection import Bigrams, bigrams, near, origin, select
from tests.training.toy import Toy, run_module, write_shard

HOMELY = ["house garden", "garden window table", "house window", "table bread house", "bread table garden"]
WILD = ["river mountain fish", "fish river", "mountain stone river", "stone fish mountain", "river stone"]


def _packed(toy: Toy, folder: Path, **corpora: list[str]) -> Path:
    for name, texts in corpora.items():
        write_shard(folder / "train" / f"{name}.en-fr.00.tsv.xz", [(text, text) for text in texts])
    pack(folder / "train", folder / "packed", toy.tokenizer, 60, 1)
    (folder / "tokenizer.model").symlink_to(toy.runs / "tokenizer.model")
    return folder / "packed"


@given(st.lists(st.integers(0, 5), min_size=2, max_size=60))
def test_probabilities(pieces: list[int]) -> None:
    """
    Behind any piece, seen or not, the probabilities of all pieces sum to one, and what was seen is likelier.
    """
    keys = np.array(pieces[:-1], np.int64) << 16 | np.array(pieces[1:], np.int64)
    model = Bigrams(keys)

    for before in range(7):
        assert np.isclose(1, np.exp(model.log_probabilities(before << 16 | np.arange(1 << 16))).sum())
    unseen = pieces[0] << 16 | 6
    assert model.log_probabilities(keys[:1]) > model.log_probabilities(np.array([unseen]))


def test_sentences_begin_anew(toy: Toy, tmp_path: Path) -> None:
    """
    No bigram reaches over the end of a sentence, and a sample is of whole ones.
    """
    corpus = Packed.open(_packed(toy, tmp_path, x=["house garden", "river", "fish stone"]) / "x.en-fr")

    every, sample = bigrams(corpus), bigrams(corpus, 2)

    first = [int(corpus.english[start]) for start in corpus.english_offsets[:-1]]
    assert all(bigram in every for bigram in (2 << 16 | np.array(first)))
    kept = np.r_[0 : corpus.english_offsets[1], corpus.english_offsets[2] : corpus.english_offsets[3]]
    assert list(every[kept]) == list(sample)


def test_the_nearest_are_chosen(toy: Toy, tmp_path: Path) -> None:
    """
    Of a corpus about the wild, the sentences about a home go along with texts about homes.
    """
    mixed = [text for few, many in zip(HOMELY[:3], WILD[:3], strict=True) for text in (many, few, many, many)]
    packed = _packed(toy, tmp_path, general=HOMELY * 4, narrow=mixed * 3)
    corpus = Packed.open(packed / "narrow.en-fr")

    chosen = select(corpus, bigrams(Packed.open(packed / "general.en-fr")), 0.25)

    assert [place for place, text in enumerate(mixed * 3) if text in HOMELY] == chosen.tolist()


def test_program(toy: Toy, tmp_path: Path) -> None:
    """
    `python -m models.selection` packs what it chose beside the corpora, links and all, and keeps it the next time.
    """
    packed = _packed(toy, tmp_path, general=HOMELY * 4, narrow=[*WILD, HOMELY[0]] * 4)
    save_ragged(packed / "narrow.en-fr", "links", [[0, 1]] * 24, np.uint8)
    arguments = ("narrow.en-fr", "--general", "general.en-fr", "--part", "0.15")

    first = run_module("models.selection", *arguments, environ={"DRAGOMAN_RUNS": tmp_path})
    again = run_module("models.selection", *arguments, environ={"DRAGOMAN_RUNS": tmp_path})

    assert "narrow-near.en-fr: 4 pairs\n" == first.stdout, first.stderr
    assert (0, "") == (again.returncode, again.stdout)
    chosen = Packed.open(packed / "narrow-near.en-fr")
    assert [HOMELY[0]] * 4 == [toy.tokenizer.decode(chosen.pair(i)[0]).text for i in range(4)]
    assert [[0, 1]] == chosen.links_of(3).tolist()


def test_what_is_not_there(toy: Toy, tmp_path: Path) -> None:
    """
    Without the usual corpora nothing is selected; a corpus that was asked for is missed by its name.
    """
    _packed(toy, tmp_path, general=HOMELY)

    usual = run_module("models.selection", environ={"DRAGOMAN_RUNS": tmp_path})
    asked = run_module(
        "models.selection", "other.en-fr", "--general", "general.en-fr", environ={"DRAGOMAN_RUNS": tmp_path}
    )

    assert (0, "", "") == (usual.returncode, usual.stdout, usual.stderr)
    assert 1 == asked.returncode
    assert "other.en-fr: no packed corpus there" in asked.stderr


def test_tokenizer_counts_them_to_their_corpus(tmp_path: Path) -> None:
    """
    The weight of selected pairs is that of the corpus they came from, which has the shards.
    """
    write_shard(tmp_path / "x.en-fr.00.tsv.xz", [("house", "maison")] * 100)
    write_shard(tmp_path / "y.en-fr.00.tsv.xz", [("tree", "arbre")] * 100)

    lines = tokenizer.sample(tmp_path, {"x.en-fr": 1.0, near("x.en-fr"): 2.0, "y.en-fr": 1.0}, 40)

    assert "x.en-fr" == origin(near("x.en-fr")) == origin("x.en-fr")
    assert (30, 10) == (lines.count("house"), lines.count("tree"))

"""Pairs of narrow corpora that are most like general prose."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.text.tokenizer import BOS_ID
from models.corpora import tokenizer
from models.corpora.packing import Packed, pack, save_ragged
from models.corpora.selection import Bigrams, bigrams, near, origin, select
from tests.models.toy import CONFIG, Toy, run_module, sentences, write_shard

HOMELY = ["house garden", "garden window table", "house window", "table bread house", "bread table garden"]
WILD = ["river mountain fish", "fish river", "mountain stone river", "stone fish mountain", "river stone"]


def _packed(toy: Toy, folder: Path, **corpora: list[str]) -> Path:
    """Pack corpora in whose other language every sentence says "river" first."""
    for name, texts in corpora.items():
        write_shard(
            folder / "train" / f"{name}.en-fr.00.tsv.xz", [(text, f"rivière {text}") for text in texts]
        )
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
    No bigram reaches over the end of a sentence: the first piece of each has the beginning before it.
    """
    corpus = Packed.open(_packed(toy, tmp_path, x=["house garden", "river", "fish stone"]) / "x.en-fr")

    befores = bigrams(corpus) >> 16

    starts = corpus.english_offsets[:-1]
    assert [BOS_ID] * 3 == befores[starts].tolist()
    assert 3 == np.count_nonzero(befores == BOS_ID)
    assert corpus.english[0] == befores[1]


def test_the_nearest_are_chosen(toy: Toy, tmp_path: Path) -> None:
    """
    Of a corpus about the wild, the sentences about a home go along with texts about homes.
    """
    mixed = [text for few, many in zip(HOMELY[:3], WILD[:3], strict=True) for text in (many, few, many, many)]
    packed = _packed(toy, tmp_path, general=HOMELY * 4, narrow=mixed * 3)
    corpus = Packed.open(packed / "narrow.en-fr")

    chosen = select(corpus, bigrams(Packed.open(packed / "general.en-fr")), 0.25)

    assert [place for place, text in enumerate(mixed * 3) if text in HOMELY] == chosen.tolist()


def test_none_is_judged_by_a_model_that_has_seen_it(toy: Toy, tmp_path: Path) -> None:
    """
    Of pairs all alike in kind, those that the corpus's own model was counted on are chosen as often as the others.
    """
    texts = [english for english, _ in sentences(1500, "fr", seed=3)]
    packed = _packed(
        toy, tmp_path, general=[english for english, _ in sentences(300, "fr", seed=4)], narrow=texts
    )
    corpus, general = (Packed.open(packed / f"{name}.en-fr") for name in ("narrow", "general"))

    chosen = select(corpus, bigrams(general), 0.2)

    step = -(-len(bigrams(corpus)) // len(bigrams(general)))
    parts = np.bincount(chosen % step, minlength=step) / len(chosen)
    assert step >= 4
    assert all(0.6 / step < part < 1.5 / step for part in parts)


def test_program(toy: Toy, tmp_path: Path) -> None:
    """
    `python -m models.corpora.selection` packs what it chose beside the corpora, links and all, and keeps it the next time.
    """
    packed = _packed(toy, tmp_path, general=HOMELY * 4, narrow=[*WILD, HOMELY[0]] * 4)
    save_ragged(packed / "narrow.en-fr", "links", [[0, place] for place in range(24)], np.uint8)
    arguments = ("narrow.en-fr", "--general", "general.en-fr", "--part", "0.15")

    first = run_module("models.corpora.selection", *arguments, environ={"DRAGOMAN_RUNS": tmp_path})
    again = run_module("models.corpora.selection", *arguments, environ={"DRAGOMAN_RUNS": tmp_path})

    assert "narrow-near.en-fr: 4 pairs\n" == first.stdout, first.stderr
    assert (0, "narrow-near.en-fr: kept\n") == (again.returncode, again.stdout)
    chosen = Packed.open(packed / "narrow-near.en-fr")
    for number, place in enumerate((5, 11, 17, 23)):
        english, other = (toy.tokenizer.decode(ids).text for ids in chosen.pair(number))
        assert (HOMELY[0], f"rivière {HOMELY[0]}") == (english, other)
        assert [[0, place]] == chosen.links_of(number).tolist()


def test_without_the_usual_corpora(toy: Toy, tmp_path: Path) -> None:
    """
    Where none of the usual corpora is packed there is nothing to select.
    """
    _packed(toy, tmp_path, mine=HOMELY)

    result = run_module("models.corpora.selection", environ={"DRAGOMAN_RUNS": tmp_path})

    assert (0, "", "") == (result.returncode, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("other.en-fr", "--general", "mine.en-fr"), "other.en-fr: no packed corpus there"),
        (("mine.en-fr",), "no usual general corpus there"),
        (("mine.en-fr", "--general", "single.en-fr"), "single.en-fr: 1 pairs, want 2 at least"),
        (("mine.en-fr", "--general", "mine.en-fr", "--part", "15"), "--part 15.0: want more than 0"),
        (("mine.en-fr", "--general", "mine.en-fr", "--part", "nan"), "--part nan: want more than 0"),
    ],
)
def test_errors_are_one_clear_line(toy: Toy, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """
    What cannot be selected is said in one line that names it.
    """
    _packed(toy, tmp_path, mine=HOMELY, single=HOMELY[:1])

    result = run_module("models.corpora.selection", *arguments, environ={"DRAGOMAN_RUNS": tmp_path})

    assert 0 != result.returncode
    assert said in result.stderr.splitlines()[-1]


def test_tokenizer_counts_them_to_their_corpus(tmp_path: Path) -> None:
    """
    The weight of selected pairs is that of the corpus they came from, which has the shards.
    """
    write_shard(tmp_path / "x.en-fr.00.tsv.xz", [("house", "maison")] * 100)
    write_shard(tmp_path / "y.en-fr.00.tsv.xz", [("tree", "arbre")] * 100)

    lines = tokenizer.sample(tmp_path, {"x.en-fr": 1.0, near("x.en-fr"): 2.0, "y.en-fr": 1.0}, 40)

    assert "x.en-fr" == origin(near("x.en-fr")) == origin("x.en-fr")
    assert (30, 10) == (lines.count("house"), lines.count("tree"))


def test_tokenizer_is_kept(toy: Toy, tmp_path: Path) -> None:
    """
    The tokenizer that corpora and checkpoints belong to is never made anew, and one of another size is an error.
    """
    config = tmp_path / "toy.toml"
    config.write_text(CONFIG)
    (tmp_path / "tokenizer.model").write_bytes((toy.runs / "tokenizer.model").read_bytes())
    environ = {"DRAGOMAN_RUNS": tmp_path, "DRAGOMAN_DATA": tmp_path / "no data are read"}

    kept = run_module("models.corpora.tokenizer", config, environ=environ)
    config.write_text(CONFIG.replace("vocabulary = 416", "vocabulary = 500"))
    other = run_module("models.corpora.tokenizer", config, environ=environ)

    assert (0, f"{tmp_path / 'tokenizer.model'}: kept\n") == (kept.returncode, kept.stdout)
    assert 1 == other.returncode
    assert "416 pieces, the network is to know 500" in other.stderr
    assert (toy.runs / "tokenizer.model").read_bytes() == (tmp_path / "tokenizer.model").read_bytes()

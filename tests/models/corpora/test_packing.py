"""Packing: from shards to arrays, and what is said when a shard is broken."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import itertools

from dragoman.text.normalize import normalize
from models.corpora.packing import (
    DataError,
    Packed,
    check_mark,
    mark,
    open_tokenizer,
    pack,
    read_pairs,
    save_ragged,
    shards,
    with_capitals,
)
from tests.models.toy import Toy, run_module, sentences, write_shard


def test_keeps_pairs_in_order(toy: Toy, tmp_path: Path) -> None:
    """
    Packed pairs are those of the shards, shard after shard, and decode to their normalised text.
    """
    pairs = [
        ("house  tree", "maison arbre"),
        ("bread\u200b", "pain"),
        ("\u201cnight\u201d", "\u2018nuit\u2019"),
    ]
    write_shard(tmp_path / "train" / "x.en-fr.01.tsv.xz", pairs[2:])
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", pairs[:2])

    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 60, 1)

    packed = Packed.open(tmp_path / "packed" / "x.en-fr")
    read = [tuple(toy.tokenizer.decode(ids).text for ids in packed.pair(i)) for i in range(len(packed))]
    assert [(normalize(english), normalize(french)) for english, french in pairs] == read


def test_filters_by_length(toy: Toy, tmp_path: Path) -> None:
    """
    Empty, too long and badly matched pairs are left out; their neighbours keep their places.
    """
    long = " ".join(["house"] * 50)
    pairs = [("house", "maison"), ("", "maison"), (long, long), ("tree", "arbre " * 30), ("tree", "arbre")]
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", pairs)

    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 20, 1)

    packed = Packed.open(tmp_path / "packed" / "x.en-fr")
    assert 2 == len(packed)
    assert ["house", "tree"] == [toy.tokenizer.decode(packed.pair(i)[0]).text for i in range(2)]


def test_ragged_rows_of_any_length(tmp_path: Path) -> None:
    """
    Rows of unequal length, empty ones too, come back through their offsets.
    """
    rows = [[1, 2, 3], [], [4], []]

    save_ragged(tmp_path, "english", rows, np.uint16)

    flat, offsets = np.load(tmp_path / "english.npy"), np.load(tmp_path / "english_offsets.npy")
    assert rows == [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def test_corpus_without_links_is_not_corrupt(toy: Toy, tmp_path: Path) -> None:
    """
    A corpus that was aligned, but where no word found a partner, opens and has no links.
    """
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", [("house", "maison"), ("tree", "arbre")])
    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 20, 1)
    folder = tmp_path / "packed" / "x.en-fr"

    save_ragged(folder, "links", [[], []], np.uint8)

    assert [0, 0] == [len(Packed.open(folder).links_of(i)) for i in range(2)]


def test_finished_corpora_are_kept(toy: Toy, tmp_path: Path) -> None:
    """
    Packing again leaves finished corpora alone and adds the new ones.
    """
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", [("house", "maison")])
    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 20, 1)
    before = (tmp_path / "packed" / "x.en-fr" / "english.npy").stat().st_mtime_ns
    write_shard(tmp_path / "train" / "y.en-es.00.tsv.xz", [("house", "casa")])

    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 20, 1)

    assert before == (tmp_path / "packed" / "x.en-fr" / "english.npy").stat().st_mtime_ns
    assert 1 == len(Packed.open(tmp_path / "packed" / "y.en-es"))


def test_a_truncated_shard_is_named_on_one_line(toy: Toy, tmp_path: Path) -> None:
    """
    `python -m models.corpora.packing` on a truncated shard: one line that names it, exit code 1, no traceback.
    """
    good = write_shard(tmp_path / "data" / "train" / "x.en-fr.00.tsv.xz", sentences(500, "fr", seed=1))
    good.write_bytes(good.read_bytes()[:-100])
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "tokenizer.model").symlink_to(toy.runs / "tokenizer.model")

    result = run_module(
        "models.corpora.packing", environ={"DRAGOMAN_DATA": tmp_path / "data", "DRAGOMAN_RUNS": runs}
    )

    assert 1 == result.returncode
    assert result.stderr.startswith("error: ")
    assert str(good) in result.stderr
    assert 1 == len(result.stderr.splitlines())
    with pytest.raises(DataError):
        Packed.open(runs / "packed" / "x.en-fr")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"not xz at all", "corrupt"), (b"", "corrupt"), (None, "corrupt")],
    ids=["something else", "empty", "missing"],
)
def test_broken_shards_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """
    A shard that cannot be read is an error with its name.
    """
    path = tmp_path / "x.en-fr.00.tsv.xz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=said) as caught:
        list(read_pairs(path))

    assert str(path) in str(caught.value)


def test_a_line_without_tab_is_named(tmp_path: Path) -> None:
    """
    A line without a tab is an error with the file and the number of the line.
    """
    path = write_shard(tmp_path / "x.en-fr.00.tsv.xz", [("house", "maison"), ("one\nalone", "seul")])

    with pytest.raises(DataError, match="line 2: no tab"):
        list(read_pairs(path))


def test_lost_capitals_come_back(tmp_path: Path) -> None:
    """
    Behind a capital a name is written as in English, in the one corpus that lost them; other words stay as they are.
    """
    pair = (
        "President Barack Obama and John McCain saw the bush in Saudi Arabia.",
        "El presidente Barack obama y John mccain vieron el arbusto, obama en Arabia saudí.",
    )
    paths = [tmp_path / f"{name}.en-es.00.tsv.xz" for name in ("newscommentary", "news")]
    for path in paths:
        path.write_bytes(lzma.compress("\t".join(pair).encode()))

    (restored,), (kept,) = (list(read_pairs(path)) for path in paths)

    assert pair == kept
    assert pair[0] == restored[0]
    assert "El presidente Barack Obama y John McCain vieron el arbusto, obama en Arabia saudí." == restored[1]


@pytest.mark.parametrize(
    ("english", "other"),
    [
        ("No display helps Israel.", "Con Israel no ayuda nada."),
        ("We saw it. Social protection helps Chile.", "En Chile social y caro."),
        ("Real growth in the UK: Real is a word.", "El PBI real crece."),
        ("The bush in Texas is no Bush.", "En Texas bush no es."),
    ],
)
def test_other_words_get_no_capital(english: str, other: str) -> None:
    """
    The word that begins an English sentence, or comes in small letters too, is no name.
    """
    assert (english, other) == with_capitals(english, other)


def test_spelling_of_lost_capitals_is_settled() -> None:
    """
    Of two spellings the one that is not all capitals is taken, wherever it stands.
    """
    english = "NEW YORK - In BAY AREA I write at the Bay of Biscay."

    assert "En Bahía Bay." == with_capitals(english, "En Bahía bay.")[1]


@pytest.mark.parametrize(
    ("english", "other"),
    [
        ("We saw Kim Jong Il.", "Vimos a Kim Jong Il."),
        ("We saw Jean-Marie O'Brien.", "Vimos a Jean-Marie O'Brien."),
        ("We saw Mr. J. Smith.", "Vimos al Sr. J. Smith."),
    ],
)
def test_capitals_of_a_whole_name(english: str, other: str) -> None:
    """
    One that came back is a capital for the next; a pair that lost none is left alone.
    """
    words = other.split(" ")
    lost = " ".join([*words[:-1], words[-1].lower()])  # the first of a name kept its own
    if "Kim" in lost:
        lost = lost.replace("Jong", "jong")

    assert (english, other) == with_capitals(english, other)
    assert other == with_capitals(english, lost)[1]


@pytest.mark.parametrize("name", ["x.tsv.xz", "x.en-fr.tsv.xz", "x.frfr.00.tsv.xz"])
def test_a_shard_names_its_language_pair(tmp_path: Path, name: str) -> None:
    """
    A shard whose name says no language pair is refused, not packed as something else.
    """
    write_shard(tmp_path / name, [("house", "maison")])

    with pytest.raises(DataError, match="want a name like"):
        shards(tmp_path)


def test_a_missing_folder_says_which_setting(tmp_path: Path) -> None:
    """
    Without the data folder the error names the setting that points to it.
    """
    with pytest.raises(DataError, match="DRAGOMAN_DATA"):
        shards(tmp_path / "nowhere")


def test_arrays_that_do_not_belong_together_are_refused(toy: Toy, tmp_path: Path) -> None:
    """
    A truncated array, or links of another packing, are errors and not wrong training data.
    """
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", sentences(50, "fr", seed=1))
    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 60, 1)
    folder = tmp_path / "packed" / "x.en-fr"
    save_ragged(folder, "links", [[0, 0]], np.uint8)

    with pytest.raises(DataError, match="do not belong together"):
        Packed.open(folder)
    (folder / "other.npy").write_bytes((folder / "other.npy").read_bytes()[:-10])
    with pytest.raises(DataError, match="packed corpus"):
        Packed.open(folder)


def test_another_tokenizer_is_noticed(toy: Toy, tmp_path: Path) -> None:
    """
    Corpora packed with one tokenizer are not read with another, whose numbers mean other pieces.
    """
    ours, other = toy.runs / "tokenizer.model", tmp_path / "tokenizer.model"
    other.write_bytes(ours.read_bytes() + b" ")
    mark(tmp_path / "packed", ours)

    check_mark(tmp_path / "packed", ours)
    check_mark(tmp_path / "not packed yet", other)

    with pytest.raises(DataError, match="another tokenizer"):
        check_mark(tmp_path / "packed", other)
    assert hashlib.sha256(ours.read_bytes()).hexdigest() == next((tmp_path / "packed").iterdir()).read_text()


def test_a_missing_or_foreign_tokenizer_is_named(tmp_path: Path) -> None:
    """
    No tokenizer, or a file that is none, is an error that names it.
    """
    path = tmp_path / "tokenizer.model"
    with pytest.raises(DataError, match=r"models\.corpora\.tokenizer"):
        open_tokenizer(path)
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"tokenizer\.model"):
        open_tokenizer(path)

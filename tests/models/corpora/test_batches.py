"""The stream of batches: what is drawn, how it is padded, and that it is always the same."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from torch.utils.data import DataLoader

from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID
from models.corpora.batches import Batches, Plan, collate
from models.corpora.packing import DataError, Packed, pack, save_ragged
from models.training.train import Stream
from tests.models.toy import Toy, sentences, write_shard

WEIGHTS = {"toy.en-fr": 3.0, "toy.en-es": 1.0}


def batches(toy: Toy, **changes: Any) -> Batches:
    """Return the toy stream, with some arguments of its own."""
    folder, weights = changes.pop("folder", toy.packed), changes.pop("weights", WEIGHTS)
    return Batches(
        folder, toy.tokenizer, weights, **{"batch_tokens": 600, "max_tokens": 40, "seed": 1} | changes
    )


def first(stream: Batches, count: int, position: int = 0) -> list[tuple[int, Plan]]:
    """Return the next plans of a stream."""
    return list(itertools.islice(stream.plans(position), count))


@pytest.mark.parametrize("multiple", [1, 8])
def test_respects_the_token_budget(toy: Toy, multiple: int) -> None:
    """
    No batch has more padded target positions than configured, whatever lengths are rounded to.
    """
    stream = batches(toy, multiple=multiple)

    sizes = [stream.collate(plan).target_out.size for _, plan in first(stream, 300)]

    assert 600 >= max(sizes)
    assert 300 < np.mean(sizes)


def test_passes_over_long_pairs(toy: Toy) -> None:
    """
    A side with tag and end longer than `max_tokens` is never drawn.
    """
    stream = batches(toy, max_tokens=12, multiple=1)

    assert 12 >= max(stream.collate(plan).source.shape[1] for _, plan in first(stream, 300))


def test_shares_are_of_tokens(toy: Toy) -> None:
    """
    Corpora get their weights' shares of the target tokens, and both directions the same.
    """
    stream = batches(toy)
    counts: Counter[str] = Counter()
    for _, plan in first(stream, 1500):
        for name, pair, back in plan:
            sides = stream._corpora[name].pair(pair)
            counts[name] += len(sides[1]) + 1
            counts["back" if back else "forth"] += 1

    share = counts["toy.en-fr"] / (counts["toy.en-fr"] + counts["toy.en-es"])

    assert share == pytest.approx(0.75, abs=0.02)
    assert counts["back"] / (counts["back"] + counts["forth"]) == pytest.approx(0.5, abs=0.02)


def test_every_pair_once_an_epoch(toy: Toy) -> None:
    """
    A corpus is gone through before any of its pairs comes again.
    """
    stream = batches(toy, weights={"toy.en-fr": 1.0})
    size = len(Packed.open(toy.packed / "toy.en-fr"))
    pool, random = 0, np.random.default_rng(0)

    _, pairs, *_ = stream._draw(pool, random)

    assert set(range(size)) == set(Counter(pairs.tolist()))
    assert 1 >= max(Counter(pairs.tolist()).values()) - min(Counter(pairs.tolist()).values())


def test_a_small_corpus_does_not_crowd_a_batch(toy: Toy) -> None:
    """
    However few pairs there are, no batch holds one of them twice.
    """
    stream = batches(toy, weights={"toy.en-fr": 1.0})

    plans = [plan for _, plan in first(stream, 100)]

    assert all(len(plan) == len({pair for _, pair, _ in plan}) for plan in plans)


def test_is_a_function_of_seed_and_position(toy: Toy) -> None:
    """
    A new stream that starts at a position goes on exactly as the old one did; another seed does not.
    """
    whole = first(batches(toy), 700)  # more than one pool

    for stopped in (1, 100, 699):
        position = whole[stopped - 1][0]
        assert whole[stopped : stopped + 5] == first(batches(toy), 5, position)[: 700 - stopped]
    assert whole[:3] != first(batches(toy, seed=2), 3)


def test_ranks_share_one_stream(toy: Toy) -> None:
    """
    Two ranks take the batches of one in turn, and their positions are those of the one.
    """
    alone = first(batches(toy), 20)

    left, right = (first(batches(toy, rank=rank, world=2), 10) for rank in range(2))

    assert [plan for _, plan in alone] == [plan for pair in zip(left, right, strict=True) for _, plan in pair]
    assert [position for position, _ in alone[1::2]] == [position for position, _ in left]
    assert [position for position, _ in left] == [position for position, _ in right]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_loader_processes_keep_the_order(toy: Toy) -> None:
    """
    Two loader processes deliver the same batches in the same order as none.
    """

    def delivered(workers: int) -> list[tuple[int, bytes]]:
        loader = DataLoader(Stream(batches(toy), 5), batch_size=None, num_workers=workers)
        return [(pos, batch.source.tobytes()) for pos, batch in itertools.islice(loader, 11)]

    assert delivered(0) == delivered(2)


def test_what_a_batch_holds(toy: Toy) -> None:
    """
    The source begins with the tag of the wanted language and ends with the end; the target is shifted.
    """
    stream = batches(toy, multiple=1)
    english, french = Packed.open(toy.packed / "toy.en-fr").pair(3)

    forth = stream.collate([("toy.en-fr", 3, False)])
    back = stream.collate([("toy.en-fr", 3, True)])

    assert [toy.tokenizer.tag_id("fr"), *english, EOS_ID] == forth.source[0].tolist()
    assert [BOS_ID, *french] == forth.target_in[0].tolist()
    assert [*french, EOS_ID] == forth.target_out[0].tolist()
    assert [toy.tokenizer.tag_id("en"), *french, EOS_ID] == back.source[0].tolist()
    assert [*english, EOS_ID] == back.target_out[0].tolist()


def test_padding_is_not_kept() -> None:
    """
    The kept positions are the pieces and ends of all rows, flat.
    """
    batch = collate([[5, 9, EOS_ID], [5, EOS_ID]], [[9, 9], []], multiple=4)

    assert (2, 4) == batch.source.shape == batch.target_out.shape
    assert [0, 1, 2, 4] == batch.kept.tolist()
    assert [PAD_ID] * 3 == batch.target_out[1, 1:].tolist()


def dense_links(stream: Batches, plan: Plan) -> Any:
    """Return the links of a batch as (B, T, S)."""
    batch = stream.collate(plan)
    assert batch.links is not None
    assert batch.shares is not None
    dense = np.zeros((*batch.target_out.shape, batch.source.shape[1]), np.float32)
    dense.ravel()[batch.links] = batch.shares
    return dense


def test_links_follow_the_direction(toy: Toy, tmp_path: Path) -> None:
    """
    Links stand one place after the tag, are mirrored for the reverse direction, and share a piece evenly.
    """
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", sentences(2, "fr", seed=3))
    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 60, 1)
    save_ragged(tmp_path / "packed" / "x.en-fr", "links", [[0, 1, 2, 1], []], np.uint8)
    stream = batches(toy, folder=tmp_path / "packed", weights={"x.en-fr": 1.0}, multiple=1)
    plan = [("x.en-fr", 1, False), ("x.en-fr", 0, False)]

    forth = dense_links(stream, plan)
    back = dense_links(stream, [(name, pair, True) for name, pair, _ in plan])

    assert {(1, 1, 1): 0.5, (1, 1, 3): 0.5} == {tuple(map(int, at)): forth[*at] for at in np.argwhere(forth)}
    assert {(1, 0, 2): 1.0, (1, 2, 2): 1.0} == {tuple(map(int, at)): back[*at] for at in np.argwhere(back)}


def test_batches_without_links_say_so(toy: Toy) -> None:
    """
    Where no pair of a batch is aligned, nothing is computed for its links.
    """
    stream = batches(toy)

    assert stream.collate(first(stream, 1)[0][1]).links is None


def test_unusable_corpora_are_named(toy: Toy, tmp_path: Path) -> None:
    """
    A corpus that is not packed, has no pair, or only pairs that are too long is an error, not a loop.
    """
    write_shard(tmp_path / "train" / "x.en-fr.00.tsv.xz", [("", "")])
    pack(tmp_path / "train", tmp_path / "packed", toy.tokenizer, 60, 1)

    with pytest.raises(DataError, match=r"nothing\.en-fr"):
        batches(toy, weights={"nothing.en-fr": 1.0})
    with pytest.raises(DataError, match="not one usable pair"):
        batches(toy, folder=tmp_path / "packed", weights={"x.en-fr": 1.0})
    with pytest.raises(DataError, match="0 batches"):
        first(batches(toy, max_tokens=2), 1)

"""Export: the bundle computes what the network computes, and no bundle is lost when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch")

import torch

from dragoman import bundle
from dragoman.bundle import Bundle
from dragoman.convert.quantization import LARGEST_WEIGHT
from dragoman.engine.model_runner import ModelRunner
from dragoman.engine.sessions import open_sessions
from dragoman.registry.loading import open_engine
from dragoman.text.tokenizer import BOS_ID, EOS_ID
from models.convert.export import add_results, averaged_network, exchange, trained_pairs
from models.corpora.batches import collate
from models.corpora.packing import DataError
from models.training.checkpoint import CheckpointError
from models.training.validation import greedy
from tests.models.toy import SHAPE, Toy, random_state, write_bundle

LIMIT = 20


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """Return a checkpoint of random weights, some louder, or the network repeats what it reads."""
    return random_state(11, louder={"output.weight": 6, "down.weight": 6})


@pytest.fixture(scope="module")
def exported(
    state: dict[str, Any], toy: Toy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Bundle]]:
    """Return the checkpoint as a bundle, in both precisions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGOMAN_RUNS", str(toy.runs))
        folder = tmp_path_factory.mktemp("bundles")
        yield {
            precision: write_bundle(state, toy, folder / precision, precision)
            for precision in ("fp32", "int8")
        }


@pytest.fixture(scope="module")
def sentences() -> list[list[int]]:
    """Return sixty random sentences of 1 to 30 pieces, with tag and end."""
    random = np.random.default_rng(3)
    tags = (4, 5, 6)
    return [
        [tags[n % 3], *random.integers(10, SHAPE.vocabulary, random.integers(1, 31)).tolist(), EOS_ID]
        for n in range(60)
    ]


def open_runner(loaded: Bundle) -> ModelRunner:
    """Return rows for a bundle."""
    return ModelRunner(open_sessions(loaded, threads=1), loaded.manifest.shape)


def follow(runner: ModelRunner, source: list[int], target: list[int]) -> tuple[list[float], list[Any]]:
    """Force a translation; return the log-probability of each piece and the attention of each step."""
    runner.join([source])
    found, attention = [], []
    for before, piece in zip([BOS_ID, *target], [*target, EOS_ID], strict=True):
        step = runner.step([before])
        found.append(float(step.log_probabilities[0, piece]))
        attention.append(step.seen(0, len(source)))
    runner.leave([0])
    return found, attention


def test_greedy_pieces_are_the_same(
    state: dict[str, Any], exported: dict[str, Bundle], sentences: list[list[int]]
) -> None:
    """
    On dozens of sentences the float bundle chooses exactly the pieces that torch chooses.
    """
    network = averaged_network(state)
    expected = [ids[:LIMIT] for ids in greedy(network, sentences)]
    runner = open_runner(exported["fp32"])
    runner.join(sentences)

    chosen = [[BOS_ID] * len(sentences)]
    for _ in range(LIMIT):
        chosen.append(runner.step(chosen[-1]).best_rows[0])

    rows = [list(row) for row in zip(*chosen[1:], strict=True)]
    found = [row[: row.index(EOS_ID)] if EOS_ID in row else row for row in rows]
    assert expected == found
    assert len({tuple(row) for row in found}) > 30  # and it says something


@torch.no_grad()
def test_forced_decoding_is_the_same(
    state: dict[str, Any], exported: dict[str, Bundle], sentences: list[list[int]]
) -> None:
    """
    Forced along a given translation, log-probabilities and attention are torch's to within 1e-4.
    """
    network = averaged_network(state)
    runner = open_runner(exported["fp32"])
    for source, target in zip(sentences[:12], sentences[12:24], strict=True):
        pieces = target[1:-1]
        batch = collate([source], [pieces], multiple=1)
        hidden, attention = network(torch.from_numpy(batch.source), torch.from_numpy(batch.target_in))
        expected = network.logits(hidden[0]).log_softmax(-1)
        wanted = expected.gather(1, torch.tensor([*pieces, EOS_ID])[:, None])[:, 0]

        found, seen = follow(runner, source, pieces)

        assert np.allclose(wanted.numpy(), found, atol=1e-4)
        for row, weights in enumerate(seen):
            assert np.allclose(attention[1][0, row].exp().numpy(), weights[: len(source)], atol=1e-4)


def test_the_manifest_says_it_all(exported: dict[str, Bundle], state: dict[str, Any]) -> None:
    """
    The manifest has the shape, the head to read, the pairs, the training and a checksum for each file.
    """
    for precision, written in exported.items():
        manifest = written.manifest
        pairs = trained_pairs(["toy.en-fr", "toy.en-es"])
        assert 4 == len(pairs)
        assert ("toy@7", precision, pairs) == (written.full_name, manifest.precision, manifest.pairs)
        assert SHAPE.to_dict() == manifest.shape
        assert (1, 1, 1, 0.25, True) == tuple(asdict(manifest.alignment).values())
        assert (1234, 5, 0.5) == tuple(
            manifest.training[key] for key in ("target_tokens", "updates", "hours")
        )
        assert state["config"] == manifest.training["config"]
        assert sum(value.numel() for value in state["weights"].values()) == manifest.num_parameters
        assert bundle.REQUIRED == set(manifest.files)
        assert 2 * len(manifest.pairs) == len(manifest.known_answers)
        open_engine(written, num_runners=1, threads=1)  # which gives them
        assert "toy@7" in written.path(bundle.CARD).read_text()


def test_pairs_of_corpora() -> None:
    """
    A bundle serves Spanish with French directly if a corpus for both directions taught it; one for reading slips does not.
    """
    assert ["es", "fr"] in trained_pairs(["toy.en-fr", "joined.es-fr"])
    assert ["fr", "es"] in trained_pairs(["joined.es-fr"])
    assert 4 == len(trained_pairs(["toy.en-fr", "typed.es2fr"]))


def test_without_guided_heads_the_last_layer_is_read(toy: Toy, state: dict[str, Any], tmp_path: Path) -> None:
    """
    A network without guided heads is read at the first head of its last layer, at the writing step.
    """
    written = write_bundle(state | {"guided": []}, toy, tmp_path / "plain")

    assert (1, 0, 0, 0.25, False) == tuple(asdict(written.manifest.alignment).values())


def initializers(written: Bundle) -> dict[str, dict[str, onnx.TensorProto]]:
    """Return the external tensors of both graphs."""
    return {
        name: {
            tensor.name: tensor
            for tensor in onnx.load(written.path(name), load_external_data=False).graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        }
        for name in (bundle.ENCODER, bundle.DECODER)
    }


def test_the_embedding_table_lies_there_once(exported: dict[str, Bundle]) -> None:
    """
    Both graphs and the output projection read one table; no two names share or repeat bytes.
    """
    cells = SHAPE.vocabulary * SHAPE.width
    for precision, written in exported.items():
        encoder, decoder = initializers(written).values()
        places: dict[str, dict[str, str]] = {}
        for tensor in [*encoder.values(), *decoder.values()]:
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert places.setdefault(tensor.name, place) == place
        spans = sorted((int(p["offset"]), int(p["offset"]) + int(p["length"])) for p in places.values())
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert spans[-1][1] == written.path(bundle.WEIGHTS).stat().st_size
        tables = {
            name for graph in (encoder, decoder) for name, t in graph.items() if np.prod(t.dims) == cells
        }
        assert {"embedding" if precision == "fp32" else "embedding.int8"} == tables


def test_int8_weights_keep_to_seven_bits(exported: dict[str, Bundle]) -> None:
    """
    Every matrix is in int8 within -63 ... 63, so that no processor's 16-bit sums overflow.
    """
    written = exported["int8"]
    content = written.path(bundle.WEIGHTS).read_bytes()
    tensors = {name: t for graph in initializers(written).values() for name, t in graph.items()}

    floats = {
        name for name, t in tensors.items() if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2
    }
    for tensor in tensors.values():
        if tensor.data_type == onnx.TensorProto.INT8:
            place = {entry.key: entry.value for entry in tensor.external_data}
            values = np.frombuffer(content, np.int8, int(place["length"]), int(place["offset"]))
            assert np.abs(values.astype(int)).max() <= LARGEST_WEIGHT
    assert {"positions", "embedding.factor"} == floats


def test_int8_ranges_are_fixed(exported: dict[str, Bundle], tmp_path: Path) -> None:
    """
    The optimised graphs multiply integers, and none of them looks at its batch to find a range.
    """
    for name in (bundle.ENCODER, bundle.DECODER):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / name)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(exported["int8"].path(name), options, providers=["CPUExecutionProvider"])
        kinds = {node.op_type for node in onnx.load(tmp_path / name, load_external_data=False).graph.node}

        assert kinds & {"QLinearMatMul", "MatMulIntegerToFloat", "QGemm"}
        assert not kinds & {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger"}


@torch.no_grad()
def test_int8_keeps_the_source_in_eight_bits(exported: dict[str, Bundle]) -> None:
    """
    Keys and values of the source pass from graph to graph as they are kept: in 8 bits, in float in a float bundle.
    """
    kinds = {"int8": "tensor(int8)", "fp32": "tensor(float)"}
    for precision, kind in kinds.items():
        sessions = open_sessions(exported[precision], threads=1)
        handed = [*sessions.encoder.get_outputs(), *sessions.decoder.get_inputs()]
        assert {kind} == {node.type for node in handed if node.name.startswith("cross_")}


def test_int8_says_nearly_the_same(
    state: dict[str, Any], exported: dict[str, Bundle], sentences: list[list[int]]
) -> None:
    """
    The int8 bundle's log-probabilities go with those of the float one.
    """
    exact, rounded = (open_runner(exported[precision]) for precision in ("fp32", "int8"))
    pairs = list(zip(sentences[:10], sentences[10:20], strict=True))

    expected, found = (
        [p for source, target in pairs for p in follow(runner, source, target[1:-1])[0]]
        for runner in (exact, rounded)
    )

    assert np.corrcoef(expected, found)[0, 1] > 0.98


def test_a_failed_export_keeps_the_old_bundle(
    toy: Toy, state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever goes wrong, the bundle that was there is still there, whole, and nothing lies beside it.
    """
    before = write_bundle(state, toy, tmp_path / "bundle").checksum
    broken = state["average"] | {"decoder_norm.weight": torch.full((SHAPE.width,), torch.nan)}
    other = {**state["average"], "embedding.weight": torch.zeros(10, SHAPE.width)}

    for weights, said in ((broken, "not finite"), (other, "do not belong together")):
        with pytest.raises(CheckpointError, match=said):
            write_bundle(state | {"average": weights}, toy, tmp_path / "bundle")
    cut = {name: v[:400] if name == "embedding.weight" else v for name, v in state["average"].items()}
    smaller = state | {"shape": state["shape"] | {"vocabulary": 400}, "weights": cut, "average": cut}
    with pytest.raises(DataError, match="the network is to know 400"):
        write_bundle(smaller, toy, tmp_path / "bundle")
    monkeypatch.setattr(bundle, "write_manifest", fail)
    with pytest.raises(OSError, match="full"):
        write_bundle(state, toy, tmp_path / "bundle")

    assert before == bundle.load(tmp_path / "bundle").checksum
    assert [tmp_path / "bundle"] == list(tmp_path.iterdir())


def fail(*_: object) -> None:
    """Stand for a disk that is full."""
    raise OSError("the disk is full")


def test_an_exchange_that_fails_is_undone(tmp_path: Path) -> None:
    """
    When the new directory cannot be moved in, the old one returns to its place.
    """
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").write_text("old")

    with pytest.raises(OSError, match="nowhere"):
        exchange(tmp_path / "nowhere", tmp_path / "target", tmp_path / "old")

    assert "old" == (tmp_path / "target" / "file").read_text()


def test_exporting_again_replaces(toy: Toy, state: dict[str, Any], tmp_path: Path) -> None:
    """
    A new export takes the place of the old bundle, files of which the new one does not know included.
    """
    write_bundle(state, toy, tmp_path / "bundle")
    (tmp_path / "bundle" / "notes.txt").write_text("mine")

    write_bundle(state, toy, tmp_path / "bundle")

    assert bundle.REQUIRED | {bundle.MANIFEST} == {path.name for path in (tmp_path / "bundle").iterdir()}


def test_scores_reach_manifest_and_card(toy: Toy, state: dict[str, Any], tmp_path: Path) -> None:
    """
    What is measured afterwards stands in both, each beside the others, and the bundle is still whole.
    """
    write_bundle(state, toy, tmp_path / "bundle")
    failed = {"pair": "en-fr", "text": "a|b\n<c>", "translation": "*d*"}

    add_results(tmp_path / "bundle", scores={"set": {"en-fr": {"bleu": 1.0, "chrf": 2.0}}})
    add_results(tmp_path / "bundle", scores={"set": {"en-fr": {"bleu": 12.34, "chrf": 45.6}}})
    add_results(tmp_path / "bundle", scores={"other": {"fr-en": {"bleu": 7.0, "chrf": 30.0}}})
    add_results(
        tmp_path / "bundle", checks={"alignment": {"gold": {"fr-en": {"aer": 9.9, "low": 8.0, "high": 12.0}}}}
    )
    add_results(
        tmp_path / "bundle",
        checks={"cases": {"names": {"held": 3, "of": 4}, "emoji": {"held": 1, "of": 4, "example": failed}}},
    )

    measured = bundle.load(tmp_path / "bundle")
    card = measured.path(bundle.CARD).read_text()
    assert 12.34 == measured.manifest.scores["set"]["en-fr"]["bleu"]
    assert 7.0 == measured.manifest.scores["other"]["fr-en"]["bleu"]
    assert {"alignment", "cases"} == measured.manifest.checks.keys()
    assert "| set | en-fr | 12.3 | 45.6 |" in card
    assert "| gold | fr-en | 9.9 | 8.0 to 12.0 |" in card
    worst_first = r"| emoji | 1 of 4 | en-fr: “a\|b &lt;c&gt;” → “\*d\*” |" + "\n| names | 3 of 4 |  |"
    assert worst_first in card


def test_card_says_what_training_took(toy: Toy, state: dict[str, Any], tmp_path: Path) -> None:
    """
    Energy is hours times what the processor is said to take, and the card says that nobody measured it.
    """
    write_bundle(state | {"seconds": 7200.0}, toy, tmp_path / "bundle")

    card = bundle.load(tmp_path / "bundle").path(bundle.CARD).read_text()

    assert "2.0 hours, some 0.02 kWh if what trained took 10 W, which nobody measured." in card

"""Weights come back from a bundle: those of float graphs as they were, those in 8 bits to within their rounding."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from models.checkpoint import described, load_average
from models.export import export
from models.quantize import LARGEST_WEIGHT
from models.transformer import Transformer
from service.errors import BundleError
from tests.training.toy import GUIDED, SHAPE, Toy


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """Return a checkpoint of random weights."""
    torch.manual_seed(5)
    weights = Transformer(SHAPE, GUIDED).state_dict()
    guided = [asdict(guide) for guide in GUIDED]
    data = {"weights": {"toy.en-fr": 1.0, "toy.en-es": 1.0}, "max_tokens": 40, "seed": 1}
    return {
        "shape": SHAPE.to_dict(), "guided": guided, "config": {"data": data, "guided": guided},
        "weights": weights, "average": weights, "optimisers": [],
        "position": 9, "tokens": 1234, "updates": 5, "seconds": 1800.0, "warmed_from": 0,
    }  # fmt: skip


def exported(
    state: dict[str, Any], toy: Toy, folder: Path, precision: str, patch: pytest.MonkeyPatch
) -> Path:
    """Write the checkpoint as a bundle."""
    patch.setenv("DRAGOMAN_RUNS", str(toy.runs))
    tokenizer = toy.runs / "tokenizer.model"
    export(state, tokenizer, folder, precision=precision, name="toy", version="7", threshold=0.25)
    return folder


def test_float_weights_are_what_they_were(
    state: dict[str, Any], toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Joined, turned and scaled for the graphs, every weight comes back; only queries were rounded by a scale.
    """
    folder = exported(state, toy, tmp_path / "bundle", "fp32", monkeypatch)

    weights = load_average(folder)

    assert state["average"].keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.allclose(state["average"][name], weight, rtol=1e-6, atol=0), name
    assert {"shape": state["shape"], "guided": state["guided"]} == described(folder)


def test_rounded_weights_are_near(
    state: dict[str, Any], toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A weight in 8 bits is off by half a step at most, and a step is a part of the largest beside it.
    """
    folder = exported(state, toy, tmp_path / "bundle", "int8", monkeypatch)

    weights = load_average(folder)

    assert state["average"].keys() == weights.keys()
    for name, weight in weights.items():
        trained = state["average"][name]
        step = trained.abs().amax(-1, keepdim=True) / LARGEST_WEIGHT if trained.dim() == 2 else 0.0
        assert bool(((trained - weight).abs() <= 0.5001 * step).all()), name


def test_a_bundle_that_is_not_whole_is_refused(
    state: dict[str, Any], toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Weights are taken from a checked bundle or from none.
    """
    folder = exported(state, toy, tmp_path / "bundle", "fp32", monkeypatch)
    with (folder / "weights.bin").open("r+b") as file:
        file.write(b"\xff\xff")

    with pytest.raises(BundleError, match=r"weights\.bin"):
        load_average(folder)

"""Weights come back from a bundle: those of float graphs as they were, those in 8 bits to within their rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from dragoman.convert.equalization import equalize
from dragoman.convert.quantization import LARGEST_WEIGHT
from dragoman.errors import BundleError
from models.convert.export import averaged_network, calibration_batches, named_weights
from models.training.checkpoint import described, load_average
from tests.models.toy import Toy, random_state, write_bundle


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    """Return a checkpoint of random weights."""
    return random_state(5)


@pytest.fixture(autouse=True)
def corpora(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the export find the toy's corpora."""
    monkeypatch.setenv("DRAGOMAN_RUNS", str(toy.runs))


def test_float_weights_are_what_they_were(state: dict[str, Any], toy: Toy, tmp_path: Path) -> None:
    """
    Joined, turned and scaled for the graphs, every weight comes back; only queries were rounded by a scale.
    """
    folder = write_bundle(state, toy, tmp_path / "bundle", "fp32").folder

    weights = load_average(folder)

    assert state["average"].keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.allclose(state["average"][name], weight, rtol=1e-6, atol=0), name
    assert {"shape": state["shape"], "guided": state["guided"]} == described(folder)


def test_rounded_weights_are_near(state: dict[str, Any], toy: Toy, tmp_path: Path) -> None:
    """
    Weights in 8 bits are those of a network that computes the same, off by half a step on average at most, where a
    step is a part of the largest beside it.
    """
    folder = write_bundle(state, toy, tmp_path / "bundle", "int8").folder

    weights = load_average(folder)

    batches = calibration_batches(state["config"], toy.tokenizer)
    network = averaged_network(state)
    equalized = equalize(named_weights(network), network.shape, batches)
    balanced = {name: torch.from_numpy(weight) for name, weight in equalized.items()}
    assert balanced.keys() == weights.keys()
    for name, weight in weights.items():
        trained = balanced[name]
        step = trained.abs().amax(-1, keepdim=True) / LARGEST_WEIGHT if trained.dim() == 2 else 1e-5
        assert bool(((trained - weight).abs() / step).mean() <= 0.5), name


def test_a_bundle_that_is_not_whole_is_refused(state: dict[str, Any], toy: Toy, tmp_path: Path) -> None:
    """
    Weights are taken from a checked bundle or from none.
    """
    folder = write_bundle(state, toy, tmp_path / "bundle", "fp32").folder
    with (folder / "weights.bin").open("r+b") as file:
        file.write(b"\xff\xff")

    with pytest.raises(BundleError, match=r"weights\.bin"):
        load_average(folder)

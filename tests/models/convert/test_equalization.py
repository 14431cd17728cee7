"""Channels evened out before rounding: nothing changes but how wide they are."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from models.convert import equalization as balancing
from models.convert.equalization import NARROWEST, STRENGTH, Seam, balance
from models.network.transformer import Transformer, network_from
from tests.models.toy import SHAPE, random_state

BATCHES = [
    (torch.randint(10, SHAPE.vocabulary, (6, 9)), torch.randint(10, SHAPE.vocabulary, (6, 7)))
    for _ in range(3)
]


@pytest.fixture
def network() -> Transformer:
    """Return a network of random weights, in which some channels are thirty times as wide as others."""
    state = random_state(3)
    made = network_from(state | {"weights": state["average"]})
    wide = torch.ones(SHAPE.width)
    wide[::5] = 30
    with torch.no_grad():
        for layer in range(SHAPE.decoder_layers):
            for maker, reader in (("key", "query"), ("value", "output")):
                made.get_parameter(f"decoder.{layer}.cross.{maker}.weight").mul_(wide[:, None])
                read = wide[:, None] if reader == "query" else wide
                made.get_parameter(f"decoder.{layer}.cross.{reader}.weight").div_(read)
    return made.eval()


@torch.no_grad()
def test_computes_the_same(network: Transformer) -> None:
    """
    The states before the output, and where the guided heads look, are those of before; so is the network given.
    """
    before = {name: value.clone() for name, value in network.state_dict().items()}

    balanced = balance(network, BATCHES)

    for source, target in BATCHES:
        wanted, got = network(source, target), balanced(source, target)
        assert torch.allclose(wanted[0], got[0], rtol=1e-4, atol=1e-5)
        for one, other in zip(wanted[1], got[1], strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@torch.no_grad()
def test_channels_come_nearer(network: Transformer) -> None:
    """
    Keys and values, which have one range for all channels, differ less in width than before.
    """

    def spread(of: Transformer, name: str) -> float:
        width = balancing._widths(of, BATCHES)[name].out
        return float(width.max() / width.min())

    balanced = balance(network, BATCHES)

    for name in ("decoder.0.cross.key", "decoder.1.cross.value"):
        assert spread(balanced, name) < spread(network, name) / 3


@torch.no_grad()
def test_a_seam() -> None:
    """
    A wide channel is divided and what reads it multiplied, by the root of how much wider it is; the product stays.
    """
    maker, reader = torch.tensor([[16.0], [1.0]]), torch.tensor([[1.0, 1.0]])
    product = reader @ maker

    Seam(torch.tensor([16.0, 1.0]), maker, [reader]).even_out()

    assert 0.5 == STRENGTH
    assert torch.equal(torch.tensor([[8.0], [2.0]]), maker)
    assert torch.equal(torch.tensor([[2.0, 0.5]]), reader)
    assert torch.equal(product, reader @ maker)


@torch.no_grad()
def test_a_silent_channel() -> None:
    """
    A channel that never spoke is turned up by a bounded factor: it may speak yet.
    """
    maker, reader = torch.ones(2, 3), torch.ones(4, 2)

    Seam(torch.tensor([5.0, 0.0]), maker, [reader]).even_out()

    assert float(maker.max() / maker.min()) == pytest.approx(NARROWEST**-STRENGTH)

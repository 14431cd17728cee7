"""The network: what it may see, and that its loss is the textbook's."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

from dragoman.text.tokenizer import BOS_ID, EOS_ID, PAD_ID
from models.corpora.batches import collate
from models.network.transformer import (
    Attention,
    SmoothedCrossEntropy,
    Transformer,
    attend,
    losses,
    network_from,
)
from models.training import settings
from tests.models.toy import GUIDED, ROOT, SHAPE

SOURCES = [[4, 50, 60, 70, EOS_ID], [5, 80, 90, EOS_ID], [6, 100, 110, 120, 130, 140, EOS_ID]]
TARGETS = [[200, 210, 220], [230], [240, 250, 260, 270]]


@pytest.fixture
def network() -> Transformer:
    """Return a toy network with random weights."""
    torch.manual_seed(3)
    return Transformer(SHAPE, GUIDED).eval()


@torch.no_grad()
def test_the_future_changes_nothing(network: Transformer) -> None:
    """
    The state at a target position depends on the pieces up to it alone.
    """
    source = torch.tensor([SOURCES[2]])
    one, other = torch.tensor([[BOS_ID, 200, 210, 220]]), torch.tensor([[BOS_ID, 200, 300, 310]])

    before, after = network(source, one)[0], network(source, other)[0]

    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


@torch.no_grad()
def test_padding_changes_nothing(network: Transformer) -> None:
    """
    A sentence has the same states alone, in company, and padded further.
    """
    together = collate(SOURCES, TARGETS, multiple=8)
    hidden, attention = network(torch.from_numpy(together.source), torch.from_numpy(together.target_in))

    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone, own = network(torch.tensor([source]), torch.tensor([[BOS_ID, *target]]))
        assert torch.allclose(alone[0], hidden[row, : len(target) + 1], atol=1e-5)
        padded = attention[1].exp()[row, : len(target) + 1]
        assert torch.allclose(own[1].exp()[0], padded[:, : len(source)], atol=1e-6)
        assert 0 == padded[:, len(source) :].max() if padded.shape[1] > len(source) else True


@torch.no_grad()
def test_every_source_piece_is_seen(network: Transformer) -> None:
    """
    Encoding looks both ways: a change in the last piece reaches the first state.
    """
    one, _ = network.encode(torch.tensor([[4, 50, 60, EOS_ID]]))
    other, _ = network.encode(torch.tensor([[4, 50, 61, EOS_ID]]))

    assert not torch.allclose(one[:, 0], other[:, 0])


def test_one_embedding_table(network: Transformer) -> None:
    """
    Source, target and output projection share one table, and it learns from all three.
    """
    tables = [name for name, p in network.named_parameters() if SHAPE.vocabulary in p.shape]
    batch = collate([[4, 50, EOS_ID]], [[200]], multiple=1)

    losses(network, *batch.tensors("cpu"), 0.0).total.backward()

    assert ["embedding.weight"] == tables
    gradient = network.embedding.weight.grad
    assert gradient is not None
    assert all(gradient[piece].abs().max() > 0 for piece in (50, 200, 399))
    hidden = torch.randn(3, SHAPE.width)
    assert torch.equal(hidden @ network.embedding.weight.T, network.logits(hidden))


@torch.no_grad()
def test_guided_heads_tell_the_attention_used(network: Transformer) -> None:
    """
    The log weights that attention returns of a head are those it mixes values with.
    """
    attention = network.get_submodule("decoder.1.cross")
    assert isinstance(attention, Attention)
    x, memory = torch.randn(2, 3, SHAPE.width), torch.randn(2, 5, SHAPE.width)
    mask = torch.zeros(2, 1, 1, 5)
    mask[1, ..., 3:] = -1e9
    values = attention.value(memory).unflatten(-1, (SHAPE.heads, -1))  # (B, S, H, K)

    found, seen = attention(x, memory, mask, guided=tuple(range(SHAPE.heads)))
    mixed = torch.cat([weights.exp() @ values[:, :, head] for head, weights in enumerate(seen)], -1)

    assert torch.allclose(found, attention.output(mixed), atol=1e-6)


@pytest.mark.parametrize("rows", [5, 64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_textbooks(monkeypatch: pytest.MonkeyPatch, rows: int, smoothing: float) -> None:
    """
    Value and gradients are those of projection and `cross_entropy`, in however many parts it computes.
    """
    monkeypatch.setattr(SmoothedCrossEntropy, "ROWS", rows)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(13, 8, generator=generator, dtype=torch.float64).requires_grad_()
    table = torch.randn(50, 8, generator=generator, dtype=torch.float64).requires_grad_()
    wanted = torch.randint(50, (13,), generator=generator)

    smoothed, plain = SmoothedCrossEntropy.apply(hidden, table, wanted, smoothing)
    (3 * smoothed).backward()
    logits = hidden @ table.T
    expected = F.cross_entropy(logits, wanted, label_smoothing=smoothing, reduction="sum")
    gradients = torch.autograd.grad(3 * expected, [hidden, table])

    assert smoothed.item() == pytest.approx(expected.item(), rel=1e-5)
    assert plain.item() == pytest.approx(F.cross_entropy(logits, wanted, reduction="sum").item(), rel=1e-5)
    for tensor, gradient in zip((hidden, table), gradients, strict=True):
        assert tensor.grad is not None
        assert torch.allclose(tensor.grad, gradient, rtol=1e-4, atol=1e-5)


def test_loss_in_half_precision_is_close(network: Transformer) -> None:
    """
    Under autocast to bf16 the losses and gradients are those of float32 but for rounding.
    """
    batch = collate(SOURCES, TARGETS, multiple=8).tensors("cpu")
    exact = losses(network, *batch, 0.1)
    exact.total.backward()
    expected = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()

    with torch.autocast("cpu", torch.bfloat16):
        rounded = losses(network, *batch, 0.1)
    rounded.total.backward()

    assert rounded.total.item() == pytest.approx(exact.total.item(), rel=0.02)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert torch.cosine_similarity(parameter.grad.flatten(), expected[name].flatten(), 0) > 0.98


@pytest.mark.parametrize("causal", [False, True])
def test_attention_by_hand_is_the_librarys(causal: bool) -> None:
    """
    What replaces `scaled_dot_product_attention` in bfloat16 mixes the same values, and hands back the same gradients.
    """
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 4, 7, 8, generator=generator).requires_grad_() for _ in range(3))
    padding = torch.zeros(2, 1, 1, 7).masked_fill(torch.arange(7) > 4, -1e9)
    mask = None if causal else padding

    found = attend(q, k, v, attn_mask=mask, is_causal=causal)
    gradients = torch.autograd.grad(found.square().sum(), (q, k, v))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    wanted = torch.autograd.grad(expected.square().sum(), (q, k, v))

    assert torch.allclose(found, expected, atol=1e-6)
    for gradient, other in zip(gradients, wanted, strict=True):
        assert torch.allclose(gradient, other, atol=1e-5)


@torch.no_grad()
def test_links_teach_the_right_step(network: Transformer) -> None:
    """
    A head with shift 0 learns from the step that writes a piece, one with shift 1 from the step after.
    """
    links = [np.array([[1, 0], [2, 2]], np.uint8), np.zeros((0, 2), np.uint8), np.array([[0, 3]], np.uint8)]
    batch = collate(SOURCES, TARGETS, links, multiple=8)
    source, target_in, *_ = batch.tensors("cpu")
    _, (now, after) = network(source, target_in)

    found = losses(network, *batch.tensors("cpu"), 0.1).alignment

    expected = -0.3 * (now[0, 0, 2] + now[0, 2, 3] + now[2, 3, 1])
    expected -= 0.1 * (after[0, 1, 2] + after[0, 3, 3] + after[2, 4, 1])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@torch.no_grad()
def test_an_untrained_network_knows_nothing(network: Transformer) -> None:
    """
    Before training every piece is about equally probable: the loss starts near log V.
    """
    batch = collate(SOURCES, TARGETS, multiple=1)

    mean = losses(network, *batch.tensors("cpu"), 0.0).cross_entropy.item() / len(batch.kept)

    assert mean == pytest.approx(math.log(SHAPE.vocabulary), abs=2.0)
    assert PAD_ID not in batch.target_out.flatten()[batch.kept]


@pytest.mark.parametrize(("name", "least", "most"), [("tiny", 8.5e6, 9.5e6), ("base", 26e6, 32e6)])
def test_sizes_are_those_promised(name: str, least: float, most: float) -> None:
    """
    The small model has about 9 million parameters, the good one 26 to 32.
    """
    shape = settings.read(ROOT / "models" / "configs" / f"{name}.toml").model
    with torch.device("meta"):
        network = Transformer(shape)

    assert least < sum(parameter.numel() for parameter in network.parameters()) < most


def test_rebuilt_from_a_checkpoint(network: Transformer) -> None:
    """
    Shape, guided heads and weights are all that a network is.
    """
    guided = [{"layer": g.layer, "head": g.head, "shift": g.shift, "weight": g.weight} for g in GUIDED]
    state = {"shape": SHAPE.to_dict(), "guided": guided, "weights": network.state_dict()}

    rebuilt = network_from(state)

    assert GUIDED == rebuilt.guided
    for name, value in network.state_dict().items():
        assert torch.equal(value, rebuilt.state_dict()[name])

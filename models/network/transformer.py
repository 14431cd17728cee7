"""The network, whole: a pre-norm Transformer encoder-decoder (Vaswani et al., 2017).

RMSNorm before each sublayer, ReLU feed-forward, sinusoidal positions, no biases, one embedding table for
source, target and output. Chosen so that every layer has a counterpart in CTranslate2's TransformerSpec.

Axes: B sentences, S source positions, T target positions, D width, H heads, K = D / H, F feed-forward,
V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dragoman.convert.architecture import EPSILON, Shape, sinusoids
from dragoman.text.tokenizer import PAD_ID


@dataclass(frozen=True)
class GuidedHead:
    """A cross-attention head that word alignments teach.

    Attributes:
        shift: 0: the step that writes a piece looks at its source; 1: the step after it does.
    """

    layer: int
    head: int
    shift: int
    weight: float


def attend(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
    """Do what `F.scaled_dot_product_attention` does.

    For processors with bfloat16 products, where the backward pass of the original is six times slower.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, S)
    if is_causal:
        attn_mask = torch.full(scores.shape[-2:], -1e9, dtype=scores.dtype).triu(1)
    if attn_mask is not None:
        scores = scores + attn_mask.to(scores.dtype)
    return scores.softmax(-1, dtype=scores.dtype) @ v


def _log_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Return the log of the weights, (B, T, S), with which a head mixes values."""
    scores = (q @ k.transpose(1, 2)).float() * q.shape[-1] ** -0.5
    return (scores if mask is None else scores + mask[:, 0]).log_softmax(-1)


class Attention(nn.Module):
    """Multi-head attention; self-attention when `memory` is the input itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None,
        causal: bool = False,
        guided: tuple[int, ...] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """Return what is added to the residual stream, (B, T, D), and some heads' log attention, (B, T, S) each."""
        q = self._split(self.query(x))  # (B, H, T, K)
        k = self._split(self.key(memory))  # (B, H, S, K)
        v = self._split(self.value(memory))  # (B, H, S, K)
        by_hand = q.dtype == torch.bfloat16 and q.device.type == "cpu"
        mix = attend if by_hand else F.scaled_dot_product_attention
        mixed = mix(q, k, v, attn_mask=mask, is_causal=causal)
        seen = [_log_weights(q[:, head], k[:, head], mask) for head in guided]
        return self.output(mixed.transpose(1, 2).flatten(2)), seen

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)))  # (B, T, D)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each normalised before and added after."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.attention = Attention(shape.width, shape.heads)
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.feed_forward = FeedForward(shape.width, shape.feed_forward)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, mask)[0]  # (B, S, D)
        return x + self.feed_forward(self.feed_forward_norm(x))


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention, feed-forward."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.attention = Attention(shape.width, shape.heads)
        self.cross_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.cross = Attention(shape.width, shape.heads)
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.feed_forward = FeedForward(shape.width, shape.feed_forward)

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor, guided: tuple[int, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, None, causal=True)[0]  # (B, T, D)
        found, alignments = self.cross(self.cross_norm(x), memory, mask, guided=guided)
        x = x + found
        return x + self.feed_forward(self.feed_forward_norm(x)), alignments


class Transformer(nn.Module):
    """Sentences in, logits over the next piece out."""

    def __init__(self, shape: Shape, guided: tuple[GuidedHead, ...] = ()) -> None:
        super().__init__()
        self.shape, self.guided = shape, guided
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.encoder = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.encoder_layers))
        self.encoder_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        self.decoder = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.decoder_layers))
        self.decoder_norm = nn.RMSNorm(shape.width, eps=EPSILON)
        positions = torch.from_numpy(sinusoids(shape.max_positions, shape.width))
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=self.shape.width**-0.5)  # rows of norm 1
        depth = self.shape.encoder_layers + self.shape.decoder_layers
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and "embedding" not in name:
                nn.init.xavier_uniform_(parameter)
                if name.endswith(("output.weight", "down.weight")):  # what is added to the residual stream
                    parameter.data /= math.sqrt(2 * depth)

    def embed(self, ids: Tensor) -> Tensor:
        """Return (B, T, D): scaled embeddings plus positions."""
        scaled = self.embedding(ids) * math.sqrt(self.shape.width)
        return scaled + self.positions[: ids.shape[1]].to(scaled.dtype)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return the memory, (B, S, D), and its additive padding mask, (B, 1, 1, S)."""
        x = self.embed(source)
        mask = torch.zeros_like(source, dtype=x.dtype).masked_fill(source == PAD_ID, -1e9)[:, None, None]
        for layer in self.encoder:
            x = layer(x, mask)
        return self.encoder_norm(x), mask

    def decode(self, memory: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last hidden states, (B, T, D), and the guided heads' log attention, (B, T, S) each."""
        x = self.embed(target)
        alignments: list[Tensor] = []
        for index, layer in enumerate(self.decoder):
            heads = tuple(guide.head for guide in self.guided if guide.layer == index)
            x, found = layer(x, memory, mask, heads)
            alignments += found
        return self.decoder_norm(x), alignments

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the scores of the next piece, (..., V); the embedding is the output projection."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last hidden states, (B, T, D), and the guided heads' log attention, by teacher forcing."""
        memory, mask = self.encode(source)
        return self.decode(memory, mask, target)


@dataclass(frozen=True)
class Losses:
    """Sums over a batch, so that batches of unequal size add up."""

    total: Tensor  # what is minimised
    cross_entropy: Tensor  # unsmoothed, in nats
    alignment: Tensor  # guided heads' cross-entropy, weighted


class SmoothedCrossEntropy(torch.autograd.Function):
    """Output projection and label-smoothed cross-entropy in one, some rows at a time.

    The (N, V) logits are the largest thing in a training step; here only `ROWS` of them exist at once, and
    their gradient is made on the spot.
    """

    ROWS = 1024

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, wanted: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of the smoothed and of the plain cross-entropy of (N, D) states for (N,) pieces."""
        size = table.shape[0]
        by_hidden, by_table = torch.empty_like(hidden), torch.zeros_like(table)
        smoothed = plain = torch.zeros((), device=hidden.device)
        rows = SmoothedCrossEntropy.ROWS if hidden.device.type == "cpu" else len(hidden)
        for part, ids, gradient in zip(
            hidden.split(rows), wanted.split(rows), by_hidden.split(rows), strict=True
        ):
            product = F.linear(part, table)  # (n, V), in the precision of products
            logits = product.float()
            log_z = logits.logsumexp(1, keepdim=True)
            cross_entropy = (log_z - logits.gather(1, ids[:, None])).sum()
            uniform = (log_z[:, 0] - logits.mean(1)).sum()
            plain = plain + cross_entropy
            smoothed = smoothed + (1 - smoothing) * cross_entropy + smoothing * uniform
            by_logits = logits.sub_(log_z).exp_().sub_(smoothing / size)  # (n, V)
            by_logits.scatter_add_(1, ids[:, None], torch.full_like(log_z, smoothing - 1))
            by_logits = by_logits.to(product.dtype)
            gradient.copy_(by_logits @ table)
            by_table += by_logits.T @ part
        ctx.save_for_backward(by_hidden, by_table)
        ctx.mark_non_differentiable(plain)
        return smoothed, plain

    @staticmethod
    def backward(ctx: Any, smoothed: Tensor, plain: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_hidden, by_table = ctx.saved_tensors
        return by_hidden * smoothed, by_table * smoothed, None, None


def losses(
    network: Transformer, source: Tensor, target_in: Tensor, target_out: Tensor,
    kept: Tensor, links: Tensor | None, shares: Tensor | None, smoothing: float,
) -> Losses:  # fmt: skip
    """Score one batch: label-smoothed cross-entropy plus the guided heads' (Chen et al., 2016).

    Args:
        kept: (N,): flat indices of the target positions that are not padding.
        links: (L,): flat indices into (B, T, S) of target pieces and the source pieces they come from.
        shares: (L,): what each link counts.
    """
    hidden, alignments = network(source, target_in)
    hidden, wanted = hidden.flatten(0, 1)[kept], target_out.flatten()[kept]  # (N, D), (N,)
    smoothed, cross_entropy = SmoothedCrossEntropy.apply(hidden, network.embedding.weight, wanted, smoothing)
    alignment = torch.zeros((), device=source.device)
    if links is not None and shares is not None:
        order = sorted(network.guided, key=lambda guide: guide.layer)
        for guide, log_weights in zip(order, alignments, strict=True):
            places = links + guide.shift * source.shape[1]  # the step after: one row of (T, S) on
            alignment = alignment - guide.weight * (shares * log_weights.flatten()[places]).sum()
    return Losses(smoothed + alignment, cross_entropy.detach(), alignment.detach())


def network_from(state: dict[str, Any]) -> Transformer:
    """Rebuild a network from a checkpoint's `shape`, `guided` and `weights`."""
    network = Transformer(Shape(**state["shape"]), tuple(GuidedHead(**guide) for guide in state["guided"]))
    network.load_state_dict(state["weights"])
    return network

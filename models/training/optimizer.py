"""Muon: momentum whose matrix steps are made orthogonal (Jordan et al., 2024).

`torch.optim.Muon` computes in bfloat16, which processors without native bfloat16 products emulate some
fifty times slower than float32. This one computes in the precision it is given and treats all matrices
of one shape as one batched product.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
# Quintic iteration whose fixed points surround 1: five rounds bring singular values into about [0.7, 1.2].
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(matrices: Tensor, dtype: torch.dtype, rounds: int = 5) -> Tensor:
    """Return (N, rows, columns) with singular values near 1, by a Newton-Schulz iteration."""
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT  # (N, rows, rows)
        x = torch.baddbmm(x, _B * gram + _C * (gram @ gram), x, beta=_A)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Steps for weight matrices; vectors and embeddings belong to AdamW."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, dtype: torch.dtype) -> None:
        super().__init__(parameters, {"lr": lr})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update to every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                directions = orthogonalise(torch.stack([self._push(p) for p in parameters]), self._dtype)
                rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                torch._foreach_add_(parameters, list(directions.unbind()), alpha=-rate)

    def _push(self, parameter: Tensor) -> Tensor:
        """Fold the gradient into the momentum and return the Nesterov direction."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None, "every matrix takes part in every loss. This is a bug."
        state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        return parameter.grad.lerp(state["momentum"], MOMENTUM)

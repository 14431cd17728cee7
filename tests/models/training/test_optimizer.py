"""Muon: orthogonal steps that lead downhill."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from models.training.optimizer import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 32, 128), (2, 128, 32)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    """
    Whatever the scale and form of the matrices, their singular values end in [0.6, 1.3].
    """
    matrices = 1e-3 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
    smallest = torch.linalg.svdvals(matrices) / matrices.norm(dim=(1, 2))[:, None]

    values = torch.linalg.svdvals(orthogonalise(matrices, torch.float32))

    values = values[smallest > 2e-3]  # what was almost singular takes more rounds
    assert 0.6 < values.min()
    assert values.max() < 1.3


def test_directions_are_kept() -> None:
    """
    Only the singular values change: the step still points where the gradient does.
    """
    matrix = torch.randn(1, 16, 48, generator=torch.Generator().manual_seed(2))
    u, s, v = torch.linalg.svd(matrix[0], full_matrices=False)

    found = orthogonalise(matrix, torch.float32)[0]

    turned = u.T @ found @ v.T
    assert torch.allclose(turned, turned.diagonal().diag(), atol=1e-4)
    assert bool((turned.diagonal() > 0).all())
    assert s.max() / s.min() > turned.diagonal().max() / turned.diagonal().min()


def test_nothing_stays_nothing() -> None:
    """
    A gradient of zeros gives a step of zeros, not of NaN.
    """
    assert 0 == orthogonalise(torch.zeros(1, 4, 4), torch.float32).abs().max()


def test_finds_the_bottom_of_a_bowl() -> None:
    """
    Muon reduces a badly conditioned quadratic to a hundredth, on matrices of two shapes at once.
    """
    generator = torch.Generator().manual_seed(3)
    goals = [torch.randn(8, 24, generator=generator), torch.randn(24, 8, generator=generator)]
    stretch = torch.logspace(-1, 1, 8)[:, None]
    matrices = [torch.zeros_like(goal).requires_grad_() for goal in goals]
    optimiser = Muon(matrices, 0.2, torch.float32)

    def loss() -> torch.Tensor:
        first, second = (m - g for m, g in zip(matrices, goals, strict=True))
        return (stretch * first**2).sum() + (stretch.T * second**2).sum()

    start = loss().item()
    for step in range(100):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - step / 100)
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    assert loss().item() < start / 100


def test_goes_on_from_its_state() -> None:
    """
    An optimiser that loads the state of another makes the same steps.
    """
    start = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))

    def run(steps: int, matrix: torch.Tensor, optimiser: Muon) -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            (matrix**3).sum().backward()
            optimiser.step()

    whole = start.clone().requires_grad_()
    run(6, whole, Muon([whole], 0.01, torch.float32))
    part = start.clone().requires_grad_()
    first = Muon([part], 0.01, torch.float32)
    run(3, part, first)
    second = Muon([part], 0.01, torch.float32)
    second.load_state_dict(first.state_dict())
    run(3, part, second)

    assert torch.equal(whole, part)

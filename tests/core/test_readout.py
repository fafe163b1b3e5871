"""Readouts against closed forms."""

import pytest
import torch

from spikesim.errors import UserError
from spikesim.readout import READOUTS, readout


def test_mean_and_last() -> None:
    y = torch.randn(6, 4, 3)
    torch.testing.assert_close(readout(y, "mean"), y.sum(0) / 6)
    assert torch.equal(readout(y, "last"), y[5])


@pytest.mark.parametrize("tau", [1.0, 2.0, 7.5])
def test_membrane_is_the_exponential_sum(tau: float) -> None:
    y = torch.randn(9, 4, 3, dtype=torch.float64)
    k = 1 / tau
    weights = torch.tensor([k * (1 - k) ** (8 - t) for t in range(9)], dtype=torch.float64)
    torch.testing.assert_close(
        readout(y, "membrane", tau=tau), torch.einsum("t,tbk->bk", weights, y)
    )


def test_rate_counts_spikes() -> None:
    y = torch.tensor([[1.5, 2.0, 0.9]]).expand(4, 1, 3)
    assert readout(y, "rate").tolist() == [[0.5, 1.0, 0.0]]


@pytest.mark.parametrize("kind", READOUTS)
def test_gradient_reaches_the_values(kind: str) -> None:
    y = torch.tensor([1.5, 1.4, 1.6]).repeat(5, 2, 1).requires_grad_()
    readout(y, kind).square().sum().backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()
    assert y.grad.abs().sum() > 0


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'membrane'"):
        readout(torch.zeros(2, 1, 1), "membran")
    with pytest.raises(UserError, match=r"\[T, B, K\]"):
        readout(torch.zeros(2, 1), "mean")
    with pytest.raises(UserError, match="tau"):
        readout(torch.zeros(2, 1, 1), "membrane", tau=0.5)

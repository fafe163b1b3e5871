"""Markov trains against their closed forms."""

import math

import pytest
import torch

from spikesim.encoders import Markov
from spikesim.errors import UserError

SIGMAS = 4.0


@pytest.mark.parametrize("correlation", [-0.25, 0.0, 0.3, 0.8])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_rate_transitions_and_correlations(correlation: float, p: float) -> None:
    steps, trains = 400, 1000
    generator = torch.Generator().manual_seed(0)
    x = Markov(steps, correlation)(torch.full((trains,), p), generator).double()
    # Every step has the rate, the first one too; the variance of a mean is that of a chain.
    spread = math.sqrt(p * (1 - p))
    longer = math.sqrt((1 + correlation) / (1 - correlation) / (steps * trains))
    assert x.mean().item() == pytest.approx(p, abs=SIGMAS * spread * longer)
    assert x[0].mean().item() == pytest.approx(p, abs=SIGMAS * spread / math.sqrt(trains))
    for before, expected in ((0, p * (1 - correlation)), (1, 1 - (1 - p) * (1 - correlation))):
        after = x[1:][x[:-1] == before]
        error = math.sqrt(expected * (1 - expected) / len(after))
        assert after.mean().item() == pytest.approx(expected, abs=SIGMAS * error)
    for k in (1, 2, 5):
        lagged = ((x[k:] - p) * (x[:-k] - p)).mean() / spread**2
        assert lagged.item() == pytest.approx(correlation**k, abs=SIGMAS * 3 * longer)


def test_silent_certain_and_alternating_trains() -> None:
    ends = Markov(50, 0.4)(torch.tensor([0.0, 1.0]))
    assert ends.mean(0).tolist() == [0.0, 1.0]
    turns = Markov(50, -1.0)(torch.full((20,), 0.5)).diff(dim=0).abs()
    assert turns.min() == 1.0


def test_a_draw_is_a_function_of_its_generator() -> None:
    x = torch.full((3, 5), 0.3)
    draws = [Markov(20, 0.5)(x, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_impossible_chains_are_refused() -> None:
    with pytest.raises(UserError, match=r"correlation must be >= -1 and < 1, got 1\.0"):
        Markov(5, 1.0)
    with pytest.raises(UserError, match=r"correlation -0.5 is too far below 0"):
        Markov(5, -0.5)(torch.tensor([0.5, 0.9]))
    Markov(5, -0.1)(torch.tensor([0.1, 0.9]))

"""A recurrent layer against a loop of plain torch, spikes and gradients."""

import pytest
import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.neurons import LIF, Izhikevich, LIFDelta
from spikesim.recurrent import Recurrent

T, B, N = 12, 3, 7


def layer() -> Recurrent:
    made = Recurrent(LIF(tau=3.0, v_threshold=0.4), nn.Linear(N, N)).double()
    nn.init.normal_(made.lateral.weight, std=0.6)
    return made


def by_hand(made: Recurrent, x: Tensor) -> Tensor:
    """LIF with a hard reset to 0, written out."""
    v, s, spikes = torch.zeros(B, N).double(), torch.zeros(B, N).double(), []
    for now in x:
        u = v + (now + made.lateral(s) - v) / 3.0
        s = made.neuron.spike(u - 0.4)
        v = (1.0 - s) * u
        spikes.append(s)
    return torch.stack(spikes)


def test_spikes_and_gradients_are_those_of_a_plain_loop() -> None:
    made, x = layer(), torch.randn(T, B, N).double()
    weights = torch.randn(T, B, N).double()
    found, expected = made(x), by_hand(made, x)
    assert 0.1 < expected.mean() < 0.6
    assert torch.equal(found, expected)
    gradients = [
        torch.autograd.grad((y * weights).sum(), list(made.lateral.parameters()))
        for y in (found, expected)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0.1
        torch.testing.assert_close(mine, theirs)


def test_a_run_goes_on_where_it_ended() -> None:
    made, x = layer(), torch.randn(T, B, N).double()
    first, state = made.run(x[:5])
    assert torch.equal(torch.cat([first, made.run(x[5:], state)[0]]), made(x))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="LIFDelta takes the inputs delta, current"):
        Recurrent(LIFDelta(), nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"gives \[1, 3\], a step of the input is \[1, 2\]"):
        Recurrent(Izhikevich(), nn.Linear(2, 3))(torch.zeros(4, 1, 2))

"""Recurrent delays against sums written out, and against a layer without delays."""

import pytest
import torch
from torch import Tensor, nn

from spikesim.delays import DelayedRecurrent, WidthSchedule, parameter_groups
from spikesim.errors import UserError
from spikesim.neurons import LI, LIF, LIFExp
from spikesim.recurrent import Recurrent

KINDS = ("axon", "dendrite", "synapse")


def layer(kind: str, max_delay: int = 5, **more: object) -> DelayedRecurrent:
    made = DelayedRecurrent(LIF(), 4, max_delay=max_delay, delays=kind, **more)  # type: ignore[arg-type]
    return made.double()


def written_out(x: Tensor, kernel: Tensor, tau: float) -> Tensor:
    """A layer of leaky integrators; ``kernel [n, to, from]`` with ``n`` the steps a value takes."""
    v, out = torch.zeros_like(x[0]), []
    for t in range(len(x)):
        back = sum(out[t - n] @ kernel[n].T for n in range(1, min(t, len(kernel) - 1) + 1))
        v = v + (x[t] + back - v) / tau
        out.append(v)
    return torch.stack(out)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_the_published_sum(kind: str) -> None:
    """A spike of step t adds W h(n) to step t + n, h(n) = relu(s - |n - (1 + d)|) / s**2.

    Delays whose triangle lies inside, and s = 2, for which h adds up to 1 wherever it lies.
    """
    made = DelayedRecurrent(LI(tau=2.0), 4, max_delay=8, delays=kind, width=1.0)  # type: ignore[arg-type]
    made.double()
    nn.init.uniform_(made.delay, 2.0, 6.0)
    x = torch.randn(30, 3, 4, dtype=torch.float64)
    n = torch.arange(12, dtype=torch.float64)
    h = torch.relu(2.0 - (n - 1.0 - made.delay[..., None]).abs()) / 4.0
    kernel = (made.weight[..., None] * h).movedim(-1, 0)
    expected = written_out(x, kernel, 2.0)
    torch.testing.assert_close(made(x), expected)
    wanted = torch.autograd.grad(expected.square().sum(), (made.weight, made.delay))
    found = torch.autograd.grad(made(x).square().sum(), (made.weight, made.delay))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_spikes_come_back_a_whole_delay_later(kind: str) -> None:
    made = layer(kind).eval()
    x = 3.0 * torch.rand(40, 3, 4, dtype=torch.float64)
    spikes = made(x)
    assert 0.1 < spikes.mean().item() < 0.9
    delay = made.delay.round().expand(4, 4)
    kernel = torch.stack([made.weight * (delay == n) for n in range(6)])
    given = x.clone()
    for t in range(1, len(x)):
        for n in range(min(t, 6)):
            given[t] += spikes[t - 1 - n] @ kernel[n].T
    assert torch.equal(made.neuron(given.detach()), spikes)


@pytest.mark.parametrize("kind", KINDS)
def test_without_delays_it_is_recurrent(kind: str) -> None:
    made = layer(kind, max_delay=0).eval()
    lateral = nn.Linear(4, 4, bias=False).double()
    lateral.weight = made.weight
    x = torch.rand(30, 2, 4, dtype=torch.float64) * 3
    assert torch.equal(made(x), Recurrent(LIF(), lateral)(x))


@pytest.mark.parametrize("kind", KINDS)
def test_run_goes_on_with_what_is_under_way(kind: str) -> None:
    made = layer(kind).eval()
    x = torch.rand(30, 2, 4, dtype=torch.float64) * 3
    whole, _ = made.run(x)
    first, state = made.run(x[:13])
    second, _ = made.run(x[13:], state)
    assert torch.equal(torch.cat([first, second]), whole)


def test_width_is_learned_around_that_of_the_schedule() -> None:
    made = DelayedRecurrent(LI(), 3, max_delay=6, width=1.5, learn_width=True).double()
    plain = DelayedRecurrent(LI(), 3, max_delay=6, width=1.5).double()
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if k != "spread"})
    x = torch.randn(20, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(made(x), plain(x))
    assert len(parameter_groups(made)) == 2  # weight and spread, delay
    spread = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)

    def run(spread: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(made, {"spread": spread}, (x,))
        return out

    assert torch.autograd.gradcheck(run, (spread,))
    WidthSchedule(made, 10, start=2.0, end=0.1).set_epoch(10)
    assert float(made.width) == pytest.approx(0.1)


def test_orthogonal_weights_and_mistakes() -> None:
    weight = layer("axon").weight
    unit = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(weight @ weight.T, unit, atol=1e-6, rtol=0.0)  # made in float32
    with pytest.raises(UserError, match="inputs"):
        DelayedRecurrent(LIFExp(), 4, max_delay=3)
    with pytest.raises(UserError, match=r"expected \[T, B, 4\]"):
        layer("axon")(torch.zeros(5, 1, 3).double())

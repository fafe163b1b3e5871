"""Synapses that release at random: draws, sums and gradients."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.kernels import release as kernel
from spikesim.random import Stream, place
from spikesim.stochastic import StochasticLinear

SIGMAS = 4.0
# Sums in another order.
TOLERANCE = 1e-5
STEPS, BATCH, INPUTS, OUTPUTS = 7, 5, 11, 6


def layer(learn: bool = True, **options: object) -> StochasticLinear:
    names = ("release", "amplitude", "spread") if learn else ()
    given = {"release": 0.4, "amplitude": 1.5, "spread": 0.6, "learnable": names} | options
    made = StochasticLinear(INPUTS, OUTPUTS, **given)  # type: ignore[arg-type]
    place(made, seed=3, sample=2, step=4)
    return made


def spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).float()


def draws(seed: int, sample: int, step: int) -> tuple[Tensor, Tensor]:
    """Uniform numbers of every synapse, ``[T, B, out, in]``, by the public generator."""
    stream = Stream(torch.tensor([seed, sample, step]), 0)
    shape = (BATCH, OUTPUTS, INPUTS)
    u = [torch.stack([stream.uniform(t, k, shape) for t in range(STEPS)]) for k in (0, 1)]
    return u[0], u[1]


@pytest.fixture(params=["numba", "torch"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr(kernel, "serving", lambda *_: "torch")
    return str(request.param)


@pytest.mark.parametrize("per", ["layer", "sender", "synapse"])
def test_sums_and_straight_through_gradients_are_those_of_the_draws(backend: str, per: str) -> None:
    """Autograd through the definition, with the same numbers."""
    shape = {"layer": (), "sender": (INPUTS,), "synapse": (OUTPUTS, INPUTS)}[per]
    torch.manual_seed(1)
    made = layer(release=0.3 + 0.4 * torch.rand(shape))
    x = (torch.rand(STEPS, BATCH, INPUTS) * spikes(STEPS, BATCH, INPUTS)).requires_grad_()
    weights = torch.randn(STEPS, BATCH, OUTPUTS)
    out = made(x)
    leaves = [x, *made.parameters()]
    found = torch.autograd.grad((out * weights).sum(), leaves)
    u, jitter = draws(3, 2, 4)
    s = made.release.expand(OUTPUTS, INPUTS)
    phi = (u < s).float() - s.detach() + s  # the gradient of a draw goes to its probability
    amplitude = made.amplitude * (1 + made.spread * (2 * jitter - 1))
    terms = made.weight * phi * amplitude * x[:, :, None, :]
    expected = terms.sum(-1) + made.bias
    assert torch.allclose(out, expected, atol=TOLERANCE)
    wanted = torch.autograd.grad((expected * weights).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= TOLERANCE * max(1.0, float(b.abs().max()))


def test_expected_gradients_are_those_of_the_mean(backend: str) -> None:
    made = layer(learnable=("release", "amplitude"), gradient="expected")
    x = spikes(STEPS, BATCH, INPUTS).requires_grad_()
    weights = torch.randn(STEPS, BATCH, OUTPUTS)
    leaves = [x, *made.parameters()]
    out = made(x)
    found = torch.autograd.grad((out * weights).sum(), leaves)
    mean = nn.functional.linear(x, made.weight * made.release * made.amplitude, made.bias)
    wanted = torch.autograd.grad((mean * weights).sum(), leaves)
    assert not torch.allclose(out, mean, atol=0.1)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= TOLERANCE * max(1.0, float(b.abs().max()))


def test_backends_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = spikes(STEPS, BATCH, INPUTS)
    made = layer(False, amplitude=1.0, spread=0.0)
    nn.init.ones_(made.weight)
    place(made, seed=2**62 + 17, sample=2**32 - 2, step=9)
    first = made(x)
    monkeypatch.setattr(kernel, "serving", lambda *_: "torch")
    place(made, seed=2**62 + 17, sample=2**32 - 2, step=9)
    assert torch.equal(made(x), first)


def test_a_weight_gradient_needs_no_gradient_of_the_input(backend: str) -> None:
    """Silent inputs are left out then."""
    x, grads = spikes(STEPS, BATCH, INPUTS), []
    for given in (x, x.clone().requires_grad_()):
        torch.manual_seed(0)
        made = layer()
        made(given).square().sum().backward()
        grads.append([p.grad for p in made.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_mean_and_variance_of_an_excitation(spread: float) -> None:
    s, q, count = 0.3, 2.0, 40_000
    made = StochasticLinear(3, 1, bias=False, release=s, amplitude=q, spread=spread)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
    place(made, seed=1)
    out = made(torch.ones(count // 100, 100, 3)).detach().double().flatten()
    mean = -0.5 * s * q
    second = q * q * (1 + spread**2 / 3)  # E[Q^2] of a uniform amplitude
    variance = (1 + 4 + 0.25) * (s * second - (s * q) ** 2)
    assert out.mean().item() == pytest.approx(mean, abs=SIGMAS * math.sqrt(variance / count))
    assert out.var().item() == pytest.approx(variance, rel=SIGMAS * math.sqrt(2 / count) * 1.5)


def test_calls_samples_and_layers_fit_together(backend: str) -> None:
    x = spikes(STEPS, BATCH, INPUTS)
    made = layer(False)
    whole = made(x)
    place(made, seed=3, sample=2, step=4)
    assert torch.equal(torch.cat([made(x[:3]), made(x[3:])]), whole)
    place(made, seed=3, sample=4, step=4)
    assert torch.equal(made(x[:, 2:]), whole[:, 2:])
    pair = nn.Sequential(layer(False), layer(False))
    place(pair, seed=3)
    pair[1].load_state_dict(pair[0].state_dict())
    assert not torch.equal(pair[0](x), pair[1](x))
    assert torch.equal(whole, layer_like(made)(x))


def layer_like(made: StochasticLinear) -> StochasticLinear:
    other = layer(False)
    other.load_state_dict(made.state_dict())
    return other


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_parameters_of_half_precision_are_storage_only(backend: str, dtype: torch.dtype) -> None:
    x, made = spikes(STEPS, BATCH, INPUTS), layer(False).to(dtype)
    wide = copy.deepcopy(made).float()
    for of in (made, wide):
        place(of, seed=3)
        of(x.to(of.weight.dtype)).sum().backward()
    place(made, seed=3)
    place(wide, seed=3)
    assert torch.equal(made(x.to(dtype)), wide(x).to(dtype))
    for narrow, full in zip(made.parameters(), wide.parameters(), strict=True):
        assert narrow.grad.dtype == dtype
        assert torch.allclose(narrow.grad.float(), full.grad, rtol=0.02, atol=0.02)


def test_half_precision_is_storage_only() -> None:
    x = spikes(STEPS, BATCH, INPUTS)
    made = layer(False)
    wide = made(x)
    place(made, seed=3, sample=2, step=4)
    narrow = made(x.bfloat16())
    assert narrow.dtype == torch.bfloat16
    assert torch.equal(narrow, wide.bfloat16())


def test_released_probabilities_stay_probabilities() -> None:
    made = StochasticLinear(4, 2, release=torch.full((2, 4), 0.9), learnable=["release"])
    optimizer = torch.optim.SGD([made.raw_release], lr=100.0)
    for _ in range(5):
        optimizer.zero_grad()
        made.weight.data.fill_(1.0)
        (-made(torch.ones(3, 2, 4)).sum()).backward()
        optimizer.step()
    assert ((made.release >= 0.9) & (made.release <= 1)).all()
    assert made(torch.ones(1, 1, 4)).isfinite().all()


@pytest.mark.parametrize("shape", [(0, 2, 4), (3, 0, 4)])
def test_empty_inputs(backend: str, shape: tuple[int, ...]) -> None:
    made = StochasticLinear(4, 2)
    out = made(torch.zeros(shape))
    assert out.shape == (*shape[:2], 2)
    out.sum().backward()
    assert torch.count_nonzero(made.weight.grad) == 0


def test_errors_and_what_it_says_of_itself() -> None:
    with pytest.raises(UserError, match=r"release must be between 0 and 1, got 1\.5"):
        StochasticLinear(2, 2, release=1.5)
    with pytest.raises(UserError, match="gradient must be"):
        StochasticLinear(2, 2, gradient="none")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="does not depend on spread"):
        StochasticLinear(2, 2, spread=0.5, gradient="expected", learnable=["spread"])
    with pytest.raises(UserError, match="names no parameter"):
        StochasticLinear(2, 2, learnable=["rate"])
    with pytest.raises(UserError, match=r"input must be \[T, B, 2\], got \[3, 2\]"):
        StochasticLinear(2, 2)(torch.zeros(3, 2))
    for name in ("release", "amplitude"):
        with pytest.raises(UserError, match=rf"{name} must .* \[2\] or \[3, 2\], got shape \[3\]"):
            StochasticLinear(2, 3, **{name: torch.full((3,), 0.5)})
    with pytest.raises(UserError, match=r"spread must be one number, got shape \[2\]"):
        StochasticLinear(2, 3, spread=torch.full((2,), 0.5))
    assert "release=0.5, amplitude=1.0, spread=0.0" in repr(StochasticLinear(2, 3))

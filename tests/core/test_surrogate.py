import copy
import math
import pickle

import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.surrogate import (
    ATan,
    FastSigmoid,
    Gaussian,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Smoothed,
    Surrogate,
    Triangle,
)

AREAS = {
    ATan(): 1.0,
    ATan(alpha=0.7): 1.0,
    Sigmoid(): 1.0,
    Sigmoid(alpha=1.3): 1.0,
    FastSigmoid(): 2 / 25,
    FastSigmoid(slope=10.0): 0.2,
    Triangle(): 1.0,
    Triangle(width=0.4): 1.0,
    Rectangle(): 1.0,
    Rectangle(width=0.3): 1.0,
    Gaussian(): 1.0,
    Gaussian(sigma=1.7): 1.0,
    MultiGaussian(): 0.5 * (1 - 0.15),
    MultiGaussian(sigma=0.2, h=0.3): 0.35,
}
HEIGHTS = {
    ATan(): 1.0,
    Sigmoid(): 1.0,
    FastSigmoid(): 1.0,
    Triangle(width=0.5): 2.0,
    Rectangle(width=0.5): 2.0,
    Gaussian(sigma=0.5): 1 / (0.5 * math.sqrt(2 * math.pi)),
}


def _name(surrogate: Surrogate) -> str:
    return repr(surrogate)


every = pytest.mark.parametrize("surrogate", AREAS, ids=_name)


@every
def test_area_by_quadrature_is_the_published_one(surrogate: Surrogate) -> None:
    # u = tan(z) maps the real line to an interval, so that slow tails are integrated too.
    z = torch.linspace(-math.pi / 2, math.pi / 2, 2_000_002, dtype=torch.float64)
    middle = (z[1:] + z[:-1]) / 2
    u = torch.tan(middle)
    area = (surrogate.derivative(u) * (1 + u * u)).sum() * (z[1] - z[0])
    assert area.item() == pytest.approx(AREAS[surrogate], rel=1e-5)


@every
def test_derivative_is_that_of_the_primitive(surrogate: Surrogate) -> None:
    u = torch.linspace(-3, 3, 1201, dtype=torch.float64) + 1e-4  # not on a corner
    u.requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.primitive(u).sum(), u)
    assert torch.allclose(surrogate.derivative(u), slope, rtol=1e-10, atol=1e-12)


@every
def test_primitive_is_a_half_at_the_threshold_and_rises_by_the_area(surrogate: Surrogate) -> None:
    u = torch.tensor([-1e8, 0.0, 1e8], dtype=torch.float64)
    low, middle, high = surrogate.primitive(u).tolist()
    assert middle == pytest.approx(0.5, abs=1e-12)
    assert high - low == pytest.approx(AREAS[surrogate], abs=1e-6)


@pytest.mark.parametrize("surrogate", HEIGHTS, ids=_name)
def test_height_at_the_threshold(surrogate: Surrogate) -> None:
    assert surrogate.derivative(torch.zeros(1)).item() == pytest.approx(HEIGHTS[surrogate], 1e-6)


@every
def test_derivative_is_even_and_finite_far_away(surrogate: Surrogate) -> None:
    u = torch.tensor([1e-3, 0.2, 1.0, 30.0, 1e4, 1e30])
    assert torch.equal(surrogate.derivative(u), surrogate.derivative(-u))
    assert torch.isfinite(surrogate.derivative(u)).all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spike_is_hard_forward_and_surrogate_backward(
    surrogate: Surrogate, dtype: torch.dtype
) -> None:
    u = torch.randn(100, dtype=dtype, requires_grad=True)
    upstream = torch.randn(100, dtype=dtype)
    s = surrogate.spike(u)
    assert torch.equal(s, (u >= 0).to(dtype))
    s.backward(upstream)
    assert u.grad.dtype == dtype
    assert torch.equal(u.grad, upstream * surrogate.derivative(u.detach()))


@every
def test_surrogates_are_values(surrogate: Surrogate) -> None:
    assert copy.deepcopy(surrogate) == surrogate
    assert pickle.loads(pickle.dumps(surrogate)) == surrogate
    assert hash(surrogate) == hash(copy.copy(surrogate))


def test_multi_gaussian_has_negative_tails() -> None:
    g = MultiGaussian().derivative(torch.tensor([0.0, 2.0]))
    assert g[0] > 0 > g[1]


def test_smoothed_runs_the_primitive() -> None:
    u = torch.randn(10, dtype=torch.float64)
    assert torch.equal(Smoothed(ATan()).spike(u), ATan().primitive(u))
    assert torch.equal(Smoothed(ATan()).derivative(u), ATan().derivative(u))


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_size_that_is_not_positive_is_refused(value: float) -> None:
    with pytest.raises(UserError, match=r"alpha of ATan must be finite and > 0, got"):
        ATan(alpha=value)


def test_a_surrogate_of_ones_own_needs_two_functions() -> None:
    class Exponential(Surrogate):
        def derivative(self, u: Tensor) -> Tensor:
            return torch.exp(-u.abs())

    u = torch.tensor([-1.0, 1.0], requires_grad=True)
    Exponential().spike(u).sum().backward()
    assert u.grad.tolist() == pytest.approx([math.exp(-1), math.exp(-1)])


@pytest.mark.peers
@pytest.mark.parametrize("ours", [ATan(alpha=2.0), Sigmoid(alpha=4.0)], ids=_name)
def test_gradient_equals_that_of_spikingjelly(ours: Surrogate) -> None:
    theirs = pytest.importorskip(
        "spikingjelly.activation_based.surrogate", reason="needs SpikingJelly (extra 'peers')"
    )
    peer = theirs.ATan(alpha=2.0) if isinstance(ours, ATan) else theirs.Sigmoid(alpha=4.0)
    a = torch.linspace(-3, 3, 601, dtype=torch.float64, requires_grad=True)
    b = a.detach().clone().requires_grad_()
    ours.spike(a).sum().backward()
    peer(b).sum().backward()
    assert torch.allclose(a.grad, b.grad, rtol=1e-12, atol=1e-15)

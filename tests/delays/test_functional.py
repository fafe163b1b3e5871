"""The delayed map against the published equations, written with torch's convolution."""

import math
import shutil
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from spikesim.delays import functional
from spikesim.delays.functional import bumps

D = 9
C = D // 2
delayed = partial(functional.delayed, backend="torch")


def published(x: Tensor, weight: Tensor, delay: Tensor, width: float, rounded: bool) -> Tensor:
    """Hammouamri et al. (2024): positions P = c - d, cross-correlation, padding on the left."""
    P = C - delay
    taps = torch.arange(D, dtype=x.dtype)
    if rounded:
        P = P.round().clamp(-C, C)
        g = torch.relu(1.0 - (taps - (P + C)[..., None]).abs())
    else:
        g = torch.exp(-0.5 * ((taps - (P + C)[..., None]) / (abs(width) + 0.27)) ** 2)
    k = weight[..., None] * g / (g.sum(-1, keepdim=True) + 1e-7)
    if k.dim() == 4:
        k = k.sum(2)  # bumps
    y = F.conv1d(F.pad(x.permute(1, 2, 0), (D - 1, 0)), k)
    return y.permute(2, 0, 1)


def delays_like(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64) * (D - 1)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("own", [(), (3,)], ids=["one bump", "three bumps"])
@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_delayed_is_published_convolution(kind: str, own: tuple[int, ...], rounded: bool) -> None:
    x = torch.randn(30, 3, 4, dtype=torch.float64)
    weight = torch.randn(5, 4, *own, dtype=torch.float64)
    delay = delays_like(*{"synapse": (5, 4), "axon": (1, 4), "dendrite": (5, 1)}[kind], *own)
    found = delayed(x, weight, delay, torch.tensor(0.7).double(), max_delay=D - 1, rounded=rounded)
    expected = published(x, weight, delay.expand_as(weight), 0.7, rounded)
    # 1e-7 is what they add to a sum of at least 0.8.
    torch.testing.assert_close(found, expected, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("P", range(-C, C + 1))
def test_impulse_comes_once_after_its_delay(P: int) -> None:
    x = torch.zeros(2 * D, 1, 1)
    x[0] = 1.0
    delay = torch.tensor([[float(C - P)]])
    y = delayed(x, torch.ones(1, 1), delay, torch.tensor(3.0), max_delay=D - 1, rounded=True)
    assert y.flatten().nonzero().flatten().tolist() == [C - P]
    assert float(y[C - P]) == 1.0


@pytest.mark.parametrize("shape", ["gauss", "triangle"])
@pytest.mark.parametrize("width", [0.0, 0.23, 1.0, 12.0])
def test_kernel_sums_to_its_weight(shape: str, width: float) -> None:
    delay = torch.cat([delays_like(50), torch.tensor([0.0, 8.0, 3.5, 4.0]).double()])
    g = bumps(delay, torch.tensor(width), max_delay=D - 1, shape=shape)  # type: ignore[arg-type]
    torch.testing.assert_close(g.sum(-1), torch.ones(54).double(), rtol=1e-12, atol=0)
    assert (g >= 0).all()
    far = (torch.arange(D).flip(0) - delay[:, None]).abs() >= width + 1
    assert not (g * far).any() or shape == "gauss"


def test_triangle_of_no_width_interpolates() -> None:
    g = bumps(torch.tensor([2.25]), torch.tensor(0.0), max_delay=4, shape="triangle")
    assert g.tolist() == [[0.0, 0.25, 0.75, 0.0, 0.0]]  # from a delay of 4 to 0


def test_constant_input_does_not_see_delays() -> None:
    """So the statistics of a batch norm do not depend on them, but for the first steps."""
    x = torch.ones(40, 2, 4, dtype=torch.float64)
    weight = torch.randn(5, 4, dtype=torch.float64)
    outputs = [
        delayed(x, weight, delays_like(5, 4), torch.tensor(1.0), max_delay=D - 1)[D - 1 :]
        for _ in range(2)
    ]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", ["gauss", "triangle"])
@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_gradients_are_those_of_finite_differences(kind: str, shape: str) -> None:
    x = torch.randn(12, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    size = {"synapse": (4, 3, 2), "axon": (1, 3, 2), "dendrite": (4, 1, 2)}[kind]
    delay = delays_like(*size).requires_grad_()
    width = torch.tensor(0.61, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *given: delayed(*given, max_delay=D - 1, shape=shape), (x, weight, delay, width)
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiled_gradients_are_the_eager_ones() -> None:
    x, delay = torch.rand(20, 2, 3), torch.rand(1, 3) * (D - 1)
    factors, weight = torch.randn(20, 2, 4), torch.randn(4, 3)

    def loss(delay: Tensor) -> Tensor:
        y = delayed(x, weight, delay, torch.tensor(0.23), max_delay=D - 1)
        return (factors * y).sum()

    found = []
    for function in (loss, torch.compile(loss)):
        given = delay.clone().requires_grad_()
        function(given).backward()
        found.append(given.grad)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_gradient_of_whole_delays_vanishes_with_width() -> None:
    """A narrow bump around a whole delay lies in one step, whatever the delay does a little."""
    x = torch.randn(20, 1, 1, dtype=torch.float64)
    sizes = []
    for s in (0.5, 0.3, 0.2, 0.1):
        delay = torch.tensor([[3.0]], dtype=torch.float64, requires_grad=True)
        width = torch.tensor(s - 0.27, dtype=torch.float64)
        delayed(
            x, torch.ones(1, 1).double(), delay, width, max_delay=D - 1
        ).square().sum().backward()
        sizes.append(abs(float(delay.grad)))
    assert sizes == sorted(sizes, reverse=True)
    # Its neighbours have exp(-1 / (2 s^2)) of it, and the gradient 1 / s^2 times that.
    assert sizes[-1] < 1e4 * math.exp(-50)
    assert sizes[0] > 0.1

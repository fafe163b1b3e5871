"""Late spikes: beside torch's convolution, the published package, and differences."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim.kernels import delay
from spikesim.kernels.delay import delayed, delayed_taps

# Sums of float32 of some hundred terms, in another order; one rounding to storage.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 8e-3}
DOUBLE, FLOAT, BRAIN = TOLERANCE
# (T, B, I, O), bumps, taps, delays, dtype
CASES = [
    ((40, 3, 17, 70), 1, 1, 31, FLOAT),
    ((37, 2, 9, 33), 2, 4, 31, FLOAT),
    ((65, 1, 5, 8), 1, 6, 90, BRAIN),
    ((33, 2, 3, 8), 2, 3, 12, DOUBLE),
    ((1, 1, 1, 1), 1, 1, 1, DOUBLE),
]


def made(case: tuple[Any, ...], is_graded: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Events, taps, where these begin, and a gradient of the sums."""
    (steps, batch, inputs, outputs), bumps, count, delays, dtype = case
    x = torch.rand(steps, batch, inputs) < 0.2
    values = torch.randn(x.shape) if is_graded else torch.ones(x.shape)
    real = DOUBLE if dtype == DOUBLE else FLOAT
    taps = torch.randn(count, bumps, inputs, outputs, dtype=real)
    start = torch.randint(0, delays - count + 1, taps.shape[1:], dtype=torch.int32)
    return (x * values).to(dtype), taps, start, torch.randn(steps, batch, outputs).to(dtype)


def dense(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> Tensor:
    """The sums, by a convolution in float64."""
    kernel = taps.new_zeros(delays, *taps.shape[2:], dtype=DOUBLE)
    for k in range(taps.shape[1]):
        for j in range(taps.shape[0]):
            kernel = kernel.scatter_add(0, (start[k] + j)[None].long(), taps[j, k][None].double())
    late = F.pad(x.double().permute(1, 2, 0), (delays - 1, 0))
    return F.conv1d(late, kernel.flip(0).permute(2, 1, 0)).permute(2, 0, 1)


def near(got: Tensor, expected: Tensor, tolerance: float) -> None:
    assert got.shape == expected.shape
    assert (got.double() - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1.0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sums_and_gradients_are_those_of_a_convolution(case: tuple[Any, ...]) -> None:
    x, taps, start, grad = made(case)
    delays, dtype = case[3:]
    learned = x.requires_grad_(), taps.requires_grad_()
    y, exact = delayed_taps(x, taps, start, delays), dense(x, taps, start, delays)
    assert y.dtype == dtype
    near(y, exact, TOLERANCE[dtype])
    found = torch.autograd.grad(y, learned, grad)
    expected = torch.autograd.grad(exact, learned, grad.double())
    for got, wanted, like in zip(found, expected, learned, strict=True):
        assert got.dtype == like.dtype
        near(got, wanted.double(), TOLERANCE[dtype])


def test_same_bits_for_any_number_of_threads() -> None:
    x, taps, start, grad = made(CASES[1])
    learned = x.requires_grad_(), taps.requires_grad_()
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            y = delayed_taps(x, taps, start, 31)
            found.append([y, *torch.autograd.grad(y, learned, grad)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def synapses(*shape: int, delays: int, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    return torch.randn(*shape, dtype=dtype), torch.rand(*shape, dtype=dtype) * (delays - 1)


@pytest.mark.parametrize("bumps", [(), (2,)], ids=["one", "two"])
def test_rounded_is_exact(bumps: tuple[int, ...]) -> None:
    x = made(CASES[0], is_graded=False)[0]
    _, late = synapses(70, 17, *bumps, delays=31, dtype=FLOAT)
    # Sums of such weights are exact in any order.
    weight = torch.randint(-8, 9, late.shape).float() / 8
    y = delayed(x, weight, late, 0.23, max_delay=30, rounded=True)
    taps, start = (a.view(70, 17, -1).permute(2, 1, 0) for a in (weight, late.round().int()))
    assert torch.equal(y.double(), dense(x, taps[None], start, 31))


@pytest.mark.parametrize("shape", ["gauss", "triangle"])
def test_all_gradients_are_differences(shape: Any) -> None:
    weight, late = synapses(3, 2, 2, delays=24)
    width = torch.tensor([0.2, 0.4], dtype=DOUBLE)
    x = torch.rand(9, 2, 2, dtype=DOUBLE)
    given = [a.requires_grad_() for a in (x, weight, late, width)]
    names = {"max_delay": 23, "shape": shape, "cut": 1e-6}
    assert torch.autograd.gradcheck(lambda *a: delayed(*a, **names), given)


def test_what_is_cut_is_as_little_as_said() -> None:
    late = torch.linspace(0, 30, 301, dtype=DOUBLE)[:, None]
    x = torch.zeros(31, 1, 1, dtype=DOUBLE)
    x[0] = 1
    names: dict[str, Any] = {"width": 0.23, "max_delay": 30}
    kept, all_taps = (
        delayed(x, torch.ones_like(late), late, cut=cut, **names)[:, 0] for cut in (1e-3, 1e-300)
    )
    torch.testing.assert_close(kept.sum(0), torch.ones(301, dtype=DOUBLE))
    assert (kept != 0).sum(0).max() == 4
    assert 0 < (kept - all_taps).abs().sum(0).max() < 1.5e-3


@pytest.mark.parametrize(("width", "is_dense"), [(0.23, False), (3.0, True)])
def test_wide_bumps_are_a_convolution(
    monkeypatch: pytest.MonkeyPatch, width: float, is_dense: bool
) -> None:
    calls = []
    kernel = delayed_taps
    monkeypatch.setattr(delay, "delayed_taps", lambda *a: calls.append(a) or kernel(*a))
    weight, late = synapses(5, 4, 2, delays=31)
    x = made(((20, 2, 4, 5), 1, 1, 1, DOUBLE))[0]
    got = delayed(x, weight, late, width, max_delay=30, cut=1e-9)
    assert (not calls) is is_dense
    monkeypatch.setattr(delay, "served", lambda *_: False)
    near(delayed(x, weight, late, width, max_delay=30), got, 1e-8)
    assert len(calls) == (not is_dense)
    near(
        delayed(x, weight, late, width, max_delay=30, rounded=True),
        dense(x, weight.permute(2, 1, 0)[None], late.round().permute(2, 1, 0).int(), 31),
        1e-13,
    )


@pytest.mark.parametrize("is_rounded", [False, True])
def test_as_the_published_package(is_rounded: bool) -> None:
    modules = pytest.importorskip("DCLS.construct.modules", reason="pip install dcls")
    version = "max" if is_rounded else "gauss"
    layer = modules.Dcls1d(4, 5, 2, dilated_kernel_size=25, bias=False, version=version).double()
    _, late = synapses(5, 4, 2, delays=25)
    late = late.round() if is_rounded else late
    with torch.no_grad():
        layer.P.copy_(12 - late[None])
        layer.SIG.fill_(0.0 if is_rounded else 0.23)
    x = made(((20, 2, 4, 5), 1, 1, 1, DOUBLE))[0]
    expected = layer(F.pad(x.permute(1, 2, 0), (24, 0))).permute(2, 0, 1)
    got = delayed(x, layer.weight, late, 0.23, max_delay=24, rounded=is_rounded, cut=1e-12)
    # It adds 1e-7 to what divides.
    near(got.detach(), expected.detach(), 2e-7)


def test_operator_is_one_of_torchs() -> None:
    x, taps, start, _ = made(CASES[1])
    given = x.requires_grad_(), taps.requires_grad_(), start, 31
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.spikesim.delayed_taps, given, test_utils=checks)


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (4, 2, 3)])
@pytest.mark.parametrize("width", [0.23, 5.0])
def test_nothing_arrives_of_nothing(shape: tuple[int, ...], width: float) -> None:
    x = torch.zeros(shape, requires_grad=True)
    weight, late = (a.requires_grad_() for a in synapses(5, 3, delays=13, dtype=FLOAT))
    y = delayed(x, weight, late, width, max_delay=12)
    assert torch.equal(y, torch.zeros(*shape[:2], 5))
    found = torch.autograd.grad(y.sum(), (weight, late))
    assert all(torch.equal(a, torch.zeros(5, 3)) for a in found)

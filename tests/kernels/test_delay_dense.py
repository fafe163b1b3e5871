"""Convolutions by frequencies, beside torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim.kernels import delay_dense
from spikesim.kernels.delay_dense import convolved, cost

# (T, B, I, O, D)
SIZES = [(20, 2, 3, 4, 7), (13, 1, 1, 5, 40), (1, 3, 2, 2, 9), (30, 4, 5, 3, 2), (6, 1, 1, 1, 1)]


def in_time(x: Tensor, kernel: Tensor) -> Tensor:
    late = F.pad(x.permute(1, 2, 0), (kernel.shape[-1] - 1, 0))
    return F.conv1d(late, kernel).permute(2, 0, 1)


def made(sizes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Input, kernel, and a gradient of the result."""
    T, B, I, O, D = sizes  # noqa: E741
    x, kernel, grad = torch.randn(T, B, I), torch.randn(O, I, D), torch.randn(T, B, O)
    return x.to(dtype).requires_grad_(), kernel.double().requires_grad_(), grad.to(dtype)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("room", [1, 1 << 26], ids=["parts", "whole"])
def test_values_and_gradients(
    sizes: tuple[int, ...], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delay_dense, "ROOM", room)
    x, kernel, grad = made(sizes, torch.float64)
    got, expected = torch.ops.spikesim.convolved(x, kernel), in_time(x, kernel)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)
    pairs = (torch.autograd.grad(y, (x, kernel), grad) for y in (got, expected))
    torch.testing.assert_close(*pairs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sums_are_float32_even_under_autocast(dtype: torch.dtype) -> None:
    x, kernel, grad = made(SIZES[0], dtype)
    with torch.autocast("cpu", torch.bfloat16):
        got = torch.ops.spikesim.convolved(x, kernel.float())
    assert got.dtype == dtype
    expected = in_time(x.double(), kernel)
    torch.testing.assert_close(got, expected.to(dtype), atol=1e-5, rtol=torch.finfo(dtype).eps)
    found = torch.autograd.grad(got, (x, kernel), grad)
    assert [gradient.dtype for gradient in found] == [dtype, torch.float64]
    wanted = torch.autograd.grad(expected, (x, kernel), grad.double())
    torch.testing.assert_close(found[1], wanted[1], atol=1e-5, rtol=1e-5)


def test_operator_is_one_of_torchs() -> None:
    x, kernel, _ = made(SIZES[0], torch.float32)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.spikesim.convolved, (x, kernel), test_utils=checks)


def test_the_cheaper_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    conv1d = F.conv1d
    monkeypatch.setattr(delay_dense.F, "conv1d", lambda *a: calls.append(a) or conv1d(*a))
    for delays, is_in_time in ((5, True), (31, False)):
        x, kernel = torch.randn(50, 64, 40), torch.randn(48, 40, delays)
        assert (cost(x, 48, delays) == delays) is is_in_time
        expected = in_time(x, kernel)
        calls.clear()
        torch.testing.assert_close(convolved(x, kernel), expected, atol=1e-3, rtol=0)
        assert bool(calls) is is_in_time
    assert convolved(torch.zeros(2, 0, 3), torch.zeros(4, 3, 9)).shape == (2, 0, 4)

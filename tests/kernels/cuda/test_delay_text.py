"""Late spikes on CUDA: the text on the host, beside a dense convolution of torch's in float64."""

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from host_cuda import HostModule
from torch import Tensor

from spikesim.kernels import delay_cupy, delay_spectrum
from spikesim.kernels.call import real_dtype

# One rounding of the result to its storage, and sums of float32 of some hundred terms. The gradient
# of bfloat16 goes through products of bfloat16.
TOLERANCE = {
    torch.float64: 1e-13,
    torch.float32: 1e-5,
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
}
DOUBLE, FLOAT, HALF, BRAIN = TOLERANCE
# (T, B, I, O), bumps, taps, delays, dtype, whether values differ
CASES = [
    ((70, 2, 5, 37), 1, 1, 31, FLOAT, True),
    ((40, 3, 4, 33), 2, 4, 12, BRAIN, True),
    ((200, 1, 2, 3), 1, 11, 60, DOUBLE, False),
    ((5, 2, 1, 1), 1, 2, 200, HALF, False),
]
LARGER = [
    ((300, 4, 100, 130), 1, 4, 251, FLOAT, True),
    ((1500, 2, 33, 70), 2, 1, 31, BRAIN, False),
    ((33, 2, 3, 8), 1, 3, 40, DOUBLE, True),
    ((1, 1, 1, 1), 1, 1, 1, FLOAT, False),
]


@pytest.fixture
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches kernels on the host."""
    for module in (delay_cupy, delay_spectrum):
        text = module.cuda_text
        monkeypatch.setattr(
            module, "_module", cache(lambda *what, text=text: HostModule(text(*what)))
        )
    # So that small arrays take several parts.
    monkeypatch.setattr(delay_cupy, "_BLOCKS", 3)
    monkeypatch.setattr(delay_spectrum, "ROOM", 1)


def made(case: tuple[Any, ...], device: str = "cpu") -> list[Tensor]:
    """Events, taps, where these begin, and a gradient of the sums."""
    (steps, batch, inputs, outputs), bumps, count, delays, dtype, is_graded = case
    x = torch.rand(steps, batch, inputs) < 0.2
    values = torch.randn(x.shape) if is_graded else torch.ones(x.shape)
    taps = torch.randn(count, bumps, inputs, outputs, dtype=real_dtype(dtype))
    start = torch.randint(0, delays - count + 1, taps.shape[1:], dtype=torch.int32)
    grad = torch.randn(steps, batch, outputs)
    arrays = [(x * values).to(dtype), taps, start, grad.to(dtype)]
    return [array.to(device) for array in arrays]


def dense(x: Tensor, taps: Tensor, start: Tensor, grad: Tensor, delays: int) -> list[Tensor]:
    """The sums and both gradients, by a convolution."""
    x = x.double().requires_grad_()
    taps = taps.double().requires_grad_()
    count, bumps, *shape = taps.shape
    kernel = taps.new_zeros(delays, *shape)
    for k in range(bumps):
        for j in range(count):
            kernel = kernel.scatter_add(0, (start[k] + j)[None].long(), taps[j, k][None])
    late = F.pad(x.permute(1, 2, 0), (delays - 1, 0))
    y = F.conv1d(late, kernel.flip(0).permute(2, 1, 0)).permute(2, 0, 1)
    return [y.detach(), *torch.autograd.grad(y, (x, taps), grad.double())]


def near(got: Tensor | None, expected: Tensor, tolerance: float) -> None:
    assert got is not None
    assert got.shape == expected.shape
    assert (got.double() - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1.0)


def check(case: tuple[Any, ...], device: str) -> None:
    *_, delays, dtype, _ = case
    x, taps, start, grad = made(case, device)
    y, dx, d_taps = dense(x, taps, start, grad, delays)
    got = delay_cupy.forward(x, taps, start, delays)
    assert got.dtype == dtype
    near(got, y, TOLERANCE[dtype])
    first, second = (
        delay_cupy.backward(grad, x, taps, start, delays, True, True) for _ in range(2)
    )
    near(first[0], dx, TOLERANCE[dtype])
    # Sums of what is exact in storage, in the dtype of sums.
    near(first[1], d_taps, TOLERANCE[taps.dtype])
    for once, again in zip(first, second, strict=True):
        assert once is not None
        assert again is not None
        assert torch.equal(once, again)


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_to_a_convolution(case: tuple[Any, ...]) -> None:
    check(case, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("case", [*CASES, *LARGER], ids=str)
def test_on_the_device(case: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    check(case, "cuda")

"""The pool with four bits a window: torch's own is the oracle, ties, NaN and all."""

from itertools import product

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikesim.pool import MaxPool2d

CPU_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# (kernel, stride, padding)
WINDOWS = [(3, 2, 1), (2, 2, 0), (3, 1, 1), (3, 2, 0), ((3, 2), (2, 1), (1, 0)), (4, 3, 2)]
SIZES = [(1, 1), (5, 4), (8, 9), (16, 2)]


def maps(kind: str, shape: tuple[int, ...], dtype: torch.dtype, *, last: bool = False) -> Tensor:
    x = torch.randn(shape)
    if kind == "spikes":
        x = (x > 0.5).float()
    if kind == "counts":
        x = torch.randint(0, 4, shape).float()
    if kind == "special":
        x[torch.rand(shape) < 0.2] = float("nan")
        x[torch.rand(shape) < 0.3] = -float("inf")
    x = x.to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def run(layer: nn.Module, x: Tensor, grad: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    x = x.detach().clone().requires_grad_()
    y = layer(x)
    grad = torch.randn_like(y) if grad is None else grad
    y.backward(grad)
    return y.detach(), x.grad, grad


def same(a: Tensor, b: Tensor) -> None:
    assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
    assert torch.equal(a.isnan(), b.isnan())
    assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def fits(window: tuple, size: tuple[int, int]) -> bool:
    (kernel, _, padding) = (pair if isinstance(pair, tuple) else (pair, pair) for pair in window)
    return all(n + 2 * p >= k for n, k, p in zip(size, kernel, padding, strict=True))


@pytest.mark.parametrize("dtype", CPU_DTYPES)
@pytest.mark.parametrize("kind", ["spikes", "counts", "real", "special"])
def test_equal_to_torch(kind: str, dtype: torch.dtype) -> None:
    for window, size, last in product(WINDOWS, SIZES, (False, True)):
        if not fits(window, size):
            continue
        x = maps(kind, (2, 3, *size), dtype, last=last)
        y, of_x, grad = run(nn.MaxPool2d(*window), x)
        for ours, theirs in zip(run(MaxPool2d(*window), x, grad), (y, of_x), strict=False):
            same(ours, theirs)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(1, 3),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_window_equal_to_torch(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    size: tuple[int, int],
    channels: int,
    last: bool,
) -> None:
    assume(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
    assume(fits((kernel, stride, padding), size))
    x = maps("spikes", (2, channels, *size), torch.float32, last=last)
    y, of_x, grad = run(nn.MaxPool2d(kernel, stride, padding), x)
    ours_y, ours_of_x, _ = run(MaxPool2d(kernel, stride, padding), x, grad)
    assert torch.equal(ours_y, y)
    assert torch.equal(ours_of_x, of_x)


def test_first_of_equal_values_gets_the_gradient() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]]).view(1, 1, 2, 4)
    _, of_x, _ = run(MaxPool2d(2), x, torch.ones(1, 1, 1, 2))
    assert of_x.view(2, 4).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]


def test_gradient_of_other_layout_and_expanded() -> None:
    x = maps("spikes", (2, 4, 8, 8), torch.float32, last=True)
    for grad in (torch.randn(2, 4, 4, 4), torch.randn(1, 4, 1, 1).expand(2, 4, 4, 4)):
        expected = run(nn.MaxPool2d(2), x, grad)[1]
        assert torch.equal(run(MaxPool2d(2), x, grad)[1], expected)


def test_one_bit_a_value_is_kept_at_stride_two() -> None:
    x = maps("spikes", (4, 8, 32, 32), torch.float32).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        MaxPool2d(3, stride=2, padding=1)(x)
    assert sum(t.untyped_storage().nbytes() for t in kept) * 32 == x.nbytes


@pytest.mark.parametrize(
    ("options", "x"),
    [
        ({"kernel_size": 5}, torch.randn(2, 3, 9, 9)),
        ({"kernel_size": 2, "stride": (2, 9)}, torch.randn(2, 3, 9, 9)),
        ({"kernel_size": 2, "dilation": 2}, torch.randn(2, 3, 9, 9)),
        ({"kernel_size": 2, "ceil_mode": True}, torch.randn(2, 3, 9, 9)),
        ({"kernel_size": 2}, torch.randn(3, 9, 9)),
    ],
)
def test_other_pools_are_torchs(options: dict[str, object], x: Tensor) -> None:
    y, of_x, grad = run(nn.MaxPool2d(**options), x)
    ours_y, ours_of_x, _ = run(MaxPool2d(**options), x, grad)
    assert torch.equal(ours_y, y)
    assert torch.equal(ours_of_x, of_x)


def test_indices_are_returned_when_asked_for() -> None:
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    y, index = MaxPool2d(2, return_indices=True)(x)
    expected = nn.MaxPool2d(2, return_indices=True)(x)
    assert torch.equal(y, expected[0])
    assert torch.equal(index, expected[1])


def test_second_derivative_is_refused() -> None:
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    (of_x,) = torch.autograd.grad(MaxPool2d(2)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        of_x.sum().backward()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", CPU_DTYPES)
@pytest.mark.parametrize("kind", ["spikes", "special"])
def test_on_the_device(kind: str, dtype: torch.dtype) -> None:
    for window, size, last, channels in product(WINDOWS, SIZES, (False, True), (3, 16)):
        if not fits(window, size):
            continue
        x = maps(kind, (2, channels, *size), dtype, last=last).cuda()
        # Among several NaN, torch's CUDA kernels send the gradient elsewhere than its CPU ones.
        where = "cpu" if kind == "special" else "cuda"
        y, of_x, grad = run(nn.MaxPool2d(*window), x.to(where))
        ours_y, ours_of_x, _ = (v.to(where) for v in run(MaxPool2d(*window), x, grad.cuda()))
        assert torch.equal(ours_y.nan_to_num(7.0), y.nan_to_num(7.0))
        # Up to nine gradients in another order, in float32, then rounded once.
        step = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-6)
        torch.testing.assert_close(ours_of_x, of_x, rtol=step, atol=step)


@pytest.mark.gpu
def test_device_memory_is_a_bit_a_value() -> None:
    x = maps("spikes", (64, 64, 64, 64), torch.float32, last=True).cuda().requires_grad_()
    layer = MaxPool2d(3, stride=2, padding=1)
    layer(x)  # compiles
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    y = layer(x)
    extra = torch.cuda.max_memory_allocated() - before - y.nbytes
    assert extra <= x.nbytes / 32 + 2**20

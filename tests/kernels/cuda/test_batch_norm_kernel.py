"""Statistics of a batch, and the gradient through them, against torch in 64 bits."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from spikesim.kernels.batch_norm import (
    Running,
    add_statistics_gradient,
    inner_of,
    joined_statistics,
    joined_sums,
    statistics,
)

SHAPES = [(1, 2, 3), (4, 3, 8), (3, 2, 6, 5, 7), (5, 4, 16, 4, 4), (2, 3, 1, 9), (3, 40, 8, 33)]
MANY = [*SHAPES, (64, 32, 4), (7, 1, 64, 3)]
EPS = 1e-3
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def lying(x: Tensor, last: bool) -> Tensor:
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x


def sample(shape: tuple[int, ...], last: bool, dtype: torch.dtype) -> Tensor:
    """Means much larger than deviations."""
    places = torch.linspace(-10, 30, shape[2], dtype=torch.float64)
    x = torch.randn(shape, dtype=torch.float64) + places.view(-1, *[1] * (len(shape) - 3))
    return lying(x.to(dtype), last)


def check_gradient(
    shape: tuple[int, ...], last: bool, dtype: torch.dtype, backend: str, device: str = "cpu"
) -> None:
    dx, x = (lying(torch.randn(shape, dtype=torch.float64).to(dtype), last) for _ in range(2))
    real = torch.promote_types(dtype, torch.float32)
    values = [torch.randn(shape[2], dtype=real) for _ in range(3)]
    mean, slope, offset = (v.double().view(-1, *[1] * (len(shape) - 3)) for v in values)
    share = offset + (x.double() - mean) * slope
    expected = (dx.double() + share).to(dtype)
    dx, x = (v.to(device) for v in (dx, x))
    before, strides = x.clone(), dx.stride()
    add_statistics_gradient(dx, x, *(v.to(device) for v in values), backend=backend)
    assert dx.stride() == strides
    assert torch.equal(x, before)
    # A few roundings of the largest term, and one of the storage.
    unit = torch.finfo(dtype).eps
    largest = float(share.abs().max())
    torch.testing.assert_close(dx.cpu(), expected, rtol=unit, atol=8 * unit * max(1.0, largest))


def check_statistics(found: Sequence[Tensor], x: Tensor, eps: float = EPS) -> None:
    axes = [axis for axis in range(x.dim()) if axis != 2]
    variance, mean = torch.var_mean(x.double(), axes, correction=0)
    real = torch.promote_types(x.dtype, torch.float32)
    # In float64 the expected values are sums in another order too.
    unit = torch.finfo(real).eps * (32 if real == torch.float64 else 1)
    assert [v.dtype for v in found[:3]] == [real] * 3
    # Sums of many values in another order; from sum(x^2) the variances would be lost.
    torch.testing.assert_close(found[0].double(), mean, rtol=32 * unit, atol=32 * unit)
    torch.testing.assert_close(found[1].double(), variance, rtol=128 * unit, atol=0)
    torch.testing.assert_close(found[2].double(), (variance + eps).rsqrt(), rtol=128 * unit, atol=0)


def check_joined(x: Tensor, device: str, momentum: float | None) -> None:
    """Statistics with all that is done to them, against torch's batch norm in float64."""
    channels = x.shape[2]
    real = torch.promote_types(x.dtype, torch.float32)
    norm = torch.nn.BatchNorm1d(channels, EPS, momentum).double()
    nn.init.uniform_(norm.weight), nn.init.uniform_(norm.bias)
    ours = copy.deepcopy(norm).to(device, real)
    flat = x.double().movedim(2, -1).reshape(-1, channels)
    for _ in range(3):
        running = Running(ours.running_mean, ours.running_var, ours.num_batches_tracked, momentum)
        found = joined_statistics(x.to(device), EPS, ours.weight, ours.bias, running).cpu()
        z = norm(flat).detach()
    check_statistics(found, x)
    mean, _, inverse, scale, shift = found
    assert torch.equal(scale, ours.weight.cpu() * inverse)
    assert torch.equal(shift, ours.bias.cpu())
    unit = torch.finfo(real).eps * (32 if real == torch.float64 else 1)
    again = (flat - mean) * scale + shift
    torch.testing.assert_close(again, z, rtol=0, atol=float(256 * unit * z.abs().max()))
    for name, expected in norm.named_buffers():
        got = ours.get_buffer(name).cpu()
        torch.testing.assert_close(got.double(), expected.double(), rtol=128 * unit, atol=64 * unit)
    plain = joined_statistics(x.to(device), EPS).cpu()
    assert torch.equal(plain[:3], found[:3])
    assert torch.equal(plain[3], plain[2])
    assert not plain[4].any()


def check_sums(x: Tensor, group: int, scale_row: int, device: str = "cpu") -> None:
    """Partial sums over ``group`` neighbours of a step to gradients, slope and offset."""
    real, channels = torch.promote_types(x.dtype, torch.float32), x.shape[2]
    terms = torch.randn(2, x[0].numel(), dtype=torch.float64)
    sums = terms.view(2, -1, group).sum(2).to(device, real)
    found = torch.rand(5, channels, dtype=torch.float64)
    got = joined_sums(x.to(device), sums, scale_row, found.to(device, real)).cpu().double()
    place = torch.arange(x[0].numel()) // inner_of(x) % channels
    both = torch.zeros(2, channels, dtype=torch.float64).index_add_(1, place, terms)
    centred, plain = both[scale_row], both[1 - scale_row]
    _, _, inverse, scale, _ = found
    factor = -scale / (x.numel() // channels)
    expected = torch.stack(
        [centred * inverse, plain, factor * inverse.square() * centred, factor * plain]
    )
    for a, b in zip(got, expected, strict=True):
        most = float(b.abs().max()) + float(factor.abs().max() if b is not plain else 1)
        torch.testing.assert_close(a, b, rtol=0, atol=64 * torch.finfo(real).eps * most)


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_on_the_cpu(
    shape: tuple[int, ...], last: bool, dtype: torch.dtype, backend: str
) -> None:
    check_gradient(shape, last, dtype, backend)


def test_nothing_to_do_for_an_empty_array() -> None:
    x = torch.zeros(0, 2, 3)
    add_statistics_gradient(x, x, *torch.zeros(3, 3), backend="numba")


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_statistics_on_the_cpu_are_those_of_torchs_batch_norm(
    shape: tuple[int, ...], last: bool
) -> None:
    x = sample(shape, last, torch.float32)
    norm = torch.nn.BatchNorm1d(shape[2], momentum=1.0)
    norm(x.flatten(0, 1).flatten(2) if len(shape) > 3 else x.flatten(0, 1))
    mean, variance, inverse = statistics(x, EPS)
    torch.testing.assert_close(mean, norm.running_mean, rtol=1e-6, atol=1e-6)
    count = x.numel() // shape[2]
    torch.testing.assert_close(variance * count / (count - 1), norm.running_var, rtol=1e-5, atol=0)
    assert torch.equal(inverse, torch.rsqrt(variance + EPS))
    for dtype in (torch.float16, torch.bfloat16):
        assert [v.dtype for v in statistics(x.to(dtype), EPS)] == [torch.float32] * 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_text_on_the_host(dtype: torch.dtype, host_batch_norm: set[int]) -> None:
    for last in (False, True):
        for i, shape in enumerate(MANY):
            check_gradient(shape, last, dtype, "cupy")
            x = sample(shape, last, dtype)
            check_joined(x, "cpu", [None, 0.1][i % 2])
            for group in {1, 2 if inner_of(x) % 2 == 0 else 1}:
                check_sums(x, group, i % 2)
    assert host_batch_norm == {1, 16 // dtype.itemsize}


def test_unaligned_arrays_are_taken_value_by_value(host_batch_norm: set[int]) -> None:
    x = sample((3, 4, 8), False, torch.float32)
    shifted = torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)
    check_statistics(joined_statistics(shifted, EPS), x)
    assert host_batch_norm == {1}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "shape", [*MANY, (16, 16, 64, 32, 32), (70, 300, 17), (16, 17, 24, 17, 17), (2, 10007, 3)]
)
def test_on_the_device(shape: tuple[int, ...], last: bool, dtype: torch.dtype) -> None:
    pytest.importorskip("cupy", reason="needs CuPy")
    check_gradient(shape, last, dtype, "cupy", "cuda")
    x = sample(shape, last, dtype)
    check_joined(x, "cuda", 0.1)
    check_joined(x, "cuda", None)
    for group in {1, 64 if inner_of(x) % 64 == 0 else 1}:
        check_sums(x, group, 0, "cuda")
    check_statistics([v.cpu() for v in statistics(x.cuda(), EPS)], x)

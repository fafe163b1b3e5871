"""Convolution of few channels: its CUDA text on the host, and the layer that uses it."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from host_cuda import HostModule
from torch import Tensor, nn

from spikesim import conv
from spikesim.conv import FewChannelConv2d
from spikesim.energy import estimate
from spikesim.kernels import few_channels
from spikesim.kernels.pool import Window
from spikesim.layers import TimeDistributed, conv_bn
from spikesim.memory import pack_spikes, packed_layers
from spikesim.neurons import LIF

GUARD = 64
LAST = torch.channels_last
# One rounding of the result to its storage, and sums of float32 of up to some thousand terms.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def window(kernel: int, stride: int, padding: int) -> Window:
    return Window((kernel, kernel), (stride, stride), (padding, padding))


FLOAT, HALF, BRAIN = TOLERANCE
# (M, C, H, W), output channels, window, dtype
CASES = [
    ((1, 2, 5, 7), 32, window(3, 1, 1), FLOAT),
    ((1, 2, 5, 7), 32, window(3, 1, 1), HALF),
    ((3, 2, 9, 13), 32, window(3, 1, 1), BRAIN),
    ((3, 2, 9, 13), 8, window(3, 2, 1), BRAIN),
    ((2, 1, 17, 6), 24, window(3, 1, 0), HALF),
    ((1, 3, 7, 8), 64, window(3, 1, 2), FLOAT),
    ((2, 4, 6, 5), 32, window(3, 1, 1), BRAIN),
    ((1, 4, 9, 255), 64, window(3, 2, 1), FLOAT),
    ((1, 4, 8, 9), 16, window(3, 4, 3), FLOAT),
    ((1, 4, 6, 7), 64, window(3, 1, 1), HALF),
    ((2, 3, 6, 7), 24, window(2, 2, 0), FLOAT),
    ((2, 2, 4, 11), 16, window(1, 1, 0), BRAIN),
    ((1, 1, 1, 1), 8, window(1, 2, 3), FLOAT),
    ((1, 3, 3, 300), 8, window(3, 1, 1), HALF),
    ((2, 2, 9, 10), 16, Window((1, 3), (1, 3), (0, 2)), FLOAT),
    ((2, 2, 9, 10), 16, Window((3, 2), (2, 1), (1, 0)), BRAIN),
]
LARGER = [5, 7, (1, 4), (5, 3)]


def guarded(values: Tensor) -> Tensor:
    """The same in memory, between values that must not be read."""
    whole = torch.full((values.numel() + 2 * GUARD,), float("nan"), dtype=values.dtype)
    inside = whole.as_strided(values.shape, values.stride(), GUARD)
    return inside.copy_(values)


@pytest.fixture
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CPU maps go through the CUDA text; all it writes lies in guarded memory of NaN."""
    made: list[Tensor] = []
    empty = torch.empty

    def poisoned(shape: tuple[int, ...], **how: Any) -> Tensor:
        like = empty(shape, **how)
        whole = torch.full((like.numel() + 2 * GUARD,), float("nan"), dtype=like.dtype)
        made.append(whole)
        return whole.as_strided(like.shape, like.stride(), GUARD)

    @cache
    def module(*what: Any) -> Any:
        return HostModule(few_channels.cuda_text(*what))

    monkeypatch.setattr(few_channels, "_module", module)
    monkeypatch.setattr(few_channels, "_TILES", 8)
    monkeypatch.setattr(few_channels, "_BLOCKS", 3)
    few_channels._plan.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", poisoned)
        yield
    few_channels._plan.cache_clear()
    for whole in made:
        ends = torch.cat([whole[:GUARD], whole[-GUARD:]])
        assert ends.isnan().all(), "wrote beyond its result"


def near(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.dtype == dtype
    difference = (got.double() - expected).abs().max()
    assert difference <= TOLERANCE[dtype] * expected.abs().max()


@pytest.mark.usefixtures("on_the_host")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_to_torch(case: tuple[Any, ...]) -> None:
    shape, outputs, of, dtype = case
    x = guarded(torch.randn(shape).to(dtype).to(memory_format=LAST))
    lies = LAST if outputs == 32 else torch.contiguous_format
    weight = torch.randn(outputs, shape[1], *of.kernel).to(dtype).to(memory_format=lies)
    weight = guarded(weight)
    bias = guarded(torch.randn(outputs).to(dtype)) if outputs != 8 else None
    exact = weight.double().requires_grad_()
    wide = None if bias is None else bias.double()
    expected = F.conv2d(x.double(), exact, wide, of.stride, of.padding)
    y = few_channels.conv_forward(x, weight, bias, of)
    assert y.is_contiguous(memory_format=LAST)
    near(y, expected.detach(), dtype)
    grad = torch.randn(y.shape).to(dtype).to(memory_format=LAST)
    expected.backward(grad.double())
    first, second = (
        few_channels.conv_weight_gradient(guarded(grad), x, weight, of) for _ in range(2)
    )
    near(first, exact.grad, dtype)
    assert first.stride() == weight.stride()
    assert torch.equal(first, second)


@pytest.mark.usefixtures("on_the_host")
def test_a_not_finite_pixel_stays_where_it_is() -> None:
    x = torch.randn(1, 2, 9, 11).to(memory_format=LAST)
    x[0, 1, 4, 10] = float("nan")
    weight = torch.randn(8, 2, 3, 3)
    y = few_channels.conv_forward(x, weight, None, window(3, 1, 1))
    assert torch.equal(y.isnan(), F.conv2d(x, weight, padding=1).isnan())


class OnDevice(Tensor):
    """Says that it is on a CUDA device."""

    is_cuda = True


def is_served_there(x: Tensor, weight: Tensor, window: Window) -> bool:
    """What is said of such a map on a CUDA device."""
    return few_channels.is_served(x.as_subclass(OnDevice), weight, window)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, on_the_host: None) -> list[torch.dtype]:
    """The layer uses kernels as on a CUDA device; tells the dtypes of what they gave."""
    given: list[torch.dtype] = []
    forward = few_channels.conv_forward

    def noted(*what: Any) -> Tensor:
        y = forward(*what)
        given.append(y.dtype)
        return y

    monkeypatch.setattr(few_channels, "serving", lambda backend, device: "cupy")
    monkeypatch.setattr(conv, "is_served", is_served_there)
    monkeypatch.setattr(conv, "conv_forward", noted)
    return given


def pair(bias: bool = True) -> tuple[nn.Conv2d, FewChannelConv2d]:
    plain, ours = (kind(2, 16, 3, 2, 1, bias=bias) for kind in (nn.Conv2d, FewChannelConv2d))
    ours.load_state_dict(plain.state_dict())
    return plain, ours


@pytest.mark.parametrize("bias", [False, True])
def test_layer_learns_as_torch_does(served: list[torch.dtype], bias: bool) -> None:
    found = []
    x, grad = torch.randn(3, 2, 9, 10).to(memory_format=LAST), torch.randn(3, 16, 5, 5)
    for layer in pair(bias):
        given = x.clone().requires_grad_()
        y = layer(given)
        y.backward(grad)
        found.append([y.detach(), given.grad, *(p.grad for p in layer.parameters())])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert served == [torch.float32]


def test_autocast_casts_as_for_torch(served: list[torch.dtype]) -> None:
    gradients = []
    x, grad = torch.randn(2, 2, 9, 10).to(memory_format=LAST), torch.randn(2, 16, 5, 5)
    for layer in pair():
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        assert y.dtype == torch.bfloat16
        y.backward(grad.to(y))
        assert layer.weight.grad.dtype == torch.float32
        gradients.append(layer.weight.grad)
    near(gradients[1].bfloat16(), gradients[0].double(), torch.bfloat16)
    assert served == [torch.bfloat16]


def test_second_derivative_is_torchs(served: list[torch.dtype]) -> None:
    found = []
    x = torch.randn(1, 2, 5, 6).to(memory_format=LAST)
    for layer in pair():
        given = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(layer(given).pow(3).sum(), given, create_graph=True)
        found.append(torch.autograd.grad(first.pow(2).sum(), layer.weight)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-3)
    assert served == [torch.float32]


def is_torchs(device: str, kernel: int | tuple[int, int] = 3, **options: Any) -> bool:
    x = torch.randn(2, 2, 9, 9, device=device).to(memory_format=LAST)
    kinds = nn.Conv2d, FewChannelConv2d
    plain, ours = (kind(2, 8, kernel, padding=1, **options).to(device) for kind in kinds)
    ours.load_state_dict(plain.state_dict())
    return torch.equal(ours(x), plain(x))


@pytest.mark.parametrize("options", [{"dilation": 2}, {"groups": 2}, {"padding_mode": "circular"}])
def test_other_convolutions_are_torchs(served: list[torch.dtype], options: dict[str, Any]) -> None:
    assert is_torchs("cpu", **options)
    assert not served


@pytest.mark.parametrize("kernel", LARGER, ids=str)
def test_larger_windows_are_torchs(served: list[torch.dtype], kernel: Any) -> None:
    assert is_torchs("cpu", kernel)
    assert not served


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", LARGER, ids=str)
def test_larger_windows_are_torchs_on_the_device(
    monkeypatch: pytest.MonkeyPatch, kernel: Any
) -> None:
    monkeypatch.delattr(conv, "conv_forward")
    assert is_torchs("cuda", kernel)


def test_mixed_dtypes_are_refused_as_by_torch(served: list[torch.dtype]) -> None:
    with pytest.raises(RuntimeError):
        FewChannelConv2d(2, 8, 3)(torch.zeros(1, 2, 5, 5).to(torch.bfloat16, memory_format=LAST))
    assert not served


def stem() -> nn.Sequential:
    return nn.Sequential(conv_bn(2, 8, 3), LIF(v_threshold=0.5), conv_bn(8, 8, 3), LIF())


def test_first_layer_of_a_model() -> None:
    assert type(conv_bn(5, 8, 3)[0]) is nn.Conv2d
    assert type(conv_bn(4, 8, 3)[0]) is FewChannelConv2d
    model, x = stem(), torch.rand(3, 2, 2, 6, 6).round()
    assert packed_layers(pack_spikes(model, x)) == {"2.0": 1}
    layers = {layer.name: layer for layer in estimate(model, [x]).layers}
    assert layers["0.0"].kind == layers["2.0"].kind == "conv"
    # A sample: of 6 x 6 pixels and 3 x 3 taps, 16 x 16 are inside the map, in each of three steps.
    assert layers["0.0"].macs == 3 * 16 * 16 * 2 * 8


def test_compiles_as_one_graph() -> None:
    layer = TimeDistributed(FewChannelConv2d(2, 8, 3, padding=1))
    x = torch.randn(2, 3, 2, 6, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), layer(x))


def test_layout_is_told_by_strides() -> None:
    for shape in [(2, 1, 6, 5), (2, 3, 1, 1), (1, 1, 4, 1), (2, 2, 6, 5)]:
        assert not few_channels._is_last(torch.empty(shape))
        assert few_channels._is_last(torch.empty(shape, memory_format=LAST))


def is_served(x: Tensor, outputs: int = 8, kernel: int = 3, **how: Any) -> bool:
    weight = torch.zeros(outputs, x.shape[1], kernel, kernel, device=x.device, **how)
    return few_channels.is_served(x, weight, window(kernel, 1, 1))


@pytest.mark.gpu
def test_what_is_served() -> None:
    last = torch.zeros(2, 2, 6, 5, device="cuda").to(memory_format=LAST)
    assert is_served(last)
    assert is_served(last.bfloat16(), dtype=torch.bfloat16)
    assert not is_served(last.cpu())
    assert not is_served(last.contiguous())
    assert not is_served(last.double())
    assert not is_served(last, outputs=12)
    assert is_served(last, kernel=2)
    assert not is_served(last, kernel=5)
    assert not is_served(last[:0])
    assert not is_served(last[:, :, :, 1:])
    assert not is_served(torch.zeros(2, 1, 6, 5, device="cuda"))
    assert is_served(torch.empty(2, 1, 6, 5, device="cuda", memory_format=LAST))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", [*CASES, ((40, 2, 128, 128), 32, window(3, 1, 1), FLOAT)], ids=str)
def test_on_the_device(case: tuple[Any, ...], dtype: torch.dtype) -> None:
    shape, outputs, of, _ = case
    x = torch.empty(shape, dtype=dtype, device="cuda", memory_format=LAST).normal_()
    layer = FewChannelConv2d(shape[1], outputs, of.kernel, of.stride, of.padding).to(x)
    assert few_channels.is_served(x, layer.weight, of)
    exact = nn.Conv2d(shape[1], outputs, of.kernel, of.stride, of.padding).to(x.device)
    exact.load_state_dict(layer.state_dict())
    expected = exact.double()(x.double())
    grad = torch.randn_like(expected).to(dtype).to(memory_format=LAST)
    expected.backward(grad.double())
    gradients = []
    for _ in range(2):
        layer.zero_grad()
        y = layer(x)
        near(y, expected.detach(), dtype)
        y.backward(grad)
        for p, of_exact in zip(layer.parameters(), exact.parameters(), strict=True):
            near(p.grad, of_exact.grad, dtype)
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(*gradients)

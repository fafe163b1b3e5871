"""Products of spikes: exact whole numbers in every precision, gradients, and no needless copies."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from spikesim.attention import EXACT, SDSA, SSA
from spikesim.layers import neuron_factory
from spikesim.models.transformer import merge_heads, split_heads
from spikesim.train.device import channels_last

HALVES = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, *HALVES)
# (N, d): both orders; within 256, beyond 256, beyond 2048 and 256 in the first product
SIZES = [(64, 16), (16, 64), (20, 12), (300, 8), (8, 300), (2100, 2), (1, 1)]


def heads_of(tokens: int, channels: int, dtype: torch.dtype, layout: str) -> list[Tensor]:
    """Dense spikes as heads ``[2, 3, 2, N, d]``, so that sums become large."""
    made = []
    for _ in range(3):
        x = (torch.rand(2, 3, 2 * channels, tokens, 1) < 0.95).to(dtype)
        made.append(split_heads(channels_last(x) if layout == "channels_last" else x, 2))
    return made


def exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.detach().double() for x in (q, k, v))
    return (q @ k.mT) @ v


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["planes", "channels_last"])
def test_products_are_exact(dtype: torch.dtype, layout: str) -> None:
    for tokens, channels in SIZES:
        q, k, v = heads_of(tokens, channels, dtype, layout)
        out = SSA(0.25)(q, k, v)
        assert torch.equal(out.double(), 0.25 * exact(q, k, v)), (tokens, channels)
        small = tokens * channels <= EXACT[dtype]
        assert out.dtype == (dtype if small else torch.float32)


def test_dtypes_hold_what_they_are_said_to() -> None:
    for dtype, largest in EXACT.items():
        steps = torch.tensor([largest - 1, largest], dtype=torch.float64)
        assert torch.equal(steps.to(dtype).double(), steps)
        assert float(torch.tensor(largest + 1, dtype=torch.float64).to(dtype)) == largest


@pytest.mark.parametrize("dtype", HALVES)
def test_autocast_changes_no_number(dtype: torch.dtype) -> None:
    for tokens, channels in SIZES:
        q, k, v = heads_of(tokens, channels, torch.float32, "planes")
        with torch.autocast("cpu", dtype):
            out = SSA(0.125)(q, k, v)
        assert torch.equal(out.double(), 0.125 * exact(q, k, v))
        with torch.autocast("cpu", dtype):
            doubled = SSA(0.125)(q.double(), k.double(), v.double())
        assert doubled.dtype == torch.float64


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_scales_round_once(dtype: torch.dtype) -> None:
    q, k, v = heads_of(20, 12, dtype, "planes")
    out = SSA(0.3)(q, k, v)
    assert torch.equal(out, exact(q, k, v).to(out.dtype) * 0.3)


def leaves(parts: list[Tensor]) -> list[Tensor]:
    return [part.detach().clone().requires_grad_() for part in parts]


@pytest.mark.parametrize("layout", ["planes", "channels_last"])
@pytest.mark.parametrize("size", [(12, 5), (5, 12), (7, 7)])
@pytest.mark.parametrize("scale", [0.25, 0.3])
def test_ssa_gradients_are_those_of_autograd(
    size: tuple[int, int], layout: str, scale: float
) -> None:
    ours = leaves([x.double() for x in heads_of(*size, torch.float32, layout)])
    theirs = leaves(ours)
    weight = torch.randn(ours[0].shape, dtype=torch.float64)
    (SSA(scale)(*ours) * weight).sum().backward()
    q, k, v = theirs
    ((q @ k.mT) @ v * scale * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(SSA(scale), leaves([x[:1, :1, :1, :4] for x in ours]))


@pytest.mark.parametrize("dtype", HALVES)
def test_ssa_gradients_in_half_precision(dtype: torch.dtype) -> None:
    """Within a few roundings of the exact ones, in the dtype of the spikes."""
    ours = leaves(heads_of(64, 16, dtype, "planes"))
    theirs = leaves([x.double() for x in ours])
    weight = torch.randn(ours[0].shape).to(dtype)
    (SSA(0.25)(*ours) * weight).sum().backward()
    q, k, v = theirs
    (0.25 * (q @ k.mT) @ v * weight.double()).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert a.grad.dtype == dtype
        error = (a.grad.double() - b.grad).abs().max() / b.grad.abs().max()
        assert error < 4 * torch.finfo(dtype).eps


def stored(run: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for backward, counted once each."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run()
    return sum(kept.values())


def reference(q: Tensor, k: Tensor, v: Tensor, neuron: nn.Module) -> Tensor:
    return q * neuron((k * v).sum(-2, keepdim=True))


@pytest.mark.parametrize("layout", ["planes", "channels_last"])
def test_sdsa_equals_its_equation_with_gradients(layout: str) -> None:
    ours = leaves(heads_of(9, 4, torch.float32, layout))
    for x in ours:
        x.data.mul_(torch.rand_like(x) < 0.5)
    theirs = leaves(ours)
    sdsa = SDSA(neuron_factory()(2.0))
    found, wanted = sdsa(*ours), reference(*theirs, sdsa.neuron)
    assert torch.equal(found, wanted)
    assert 0 < found.mean() < 1
    weight = torch.randn_like(found)
    for out in (found, wanted):
        (out * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)
        assert a.grad is not None
        assert a.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", HALVES)
def test_sdsa_counts_more_tokens_than_half_precision_holds(dtype: torch.dtype) -> None:
    tokens = 2 * EXACT[dtype] + 1
    ones = torch.ones(1, 1, 1, tokens, 1, dtype=dtype)
    # The leak of 1/2 makes half of the sum the first membrane potential.
    opens = neuron_factory()(tokens / 2)
    assert SDSA(opens)(ones, ones, ones).all()
    closed = neuron_factory()(tokens / 2 + 0.25)
    assert not SDSA(closed)(ones, ones, ones).any()


def test_sdsa_keeps_spikes_and_gates_alone() -> None:
    q, k, v = leaves([(torch.rand(2, 3, 2, 50, 4) < 0.5).float() for _ in range(3)])
    per_token, per_channel = q.nbytes, q[..., :1, :].nbytes
    kept = stored(lambda: SDSA()(q, k, v))
    # the gate, and what its neuron keeps: a few values a channel and step
    assert 3 * per_token < kept < 3 * per_token + 12 * per_channel


def test_heads_are_split_and_merged_in_place() -> None:
    x = torch.rand(2, 3, 8, 4, 5)
    for given, heads in product((x, channels_last(x)), (1, 2, 8)):
        split = split_heads(given, heads)
        assert split.data_ptr() == given.data_ptr()
        assert torch.equal(split[1, 2, heads - 1, 7, 0], given[1, 2, 8 - 8 // heads, 1, 2])
        merged = merge_heads(split, given)
        assert (merged.data_ptr(), merged.stride()) == (given.data_ptr(), given.stride())
        # what a product gives lies as it likes; the map lies as the one it belongs to
        merged = merge_heads(split.contiguous(), given)
        assert torch.equal(merged, given)
        assert merged.stride() == given.stride()


@pytest.mark.parametrize("module", [SSA(0.25), SDSA(), SDSA(grid=(4, 5))])
@pytest.mark.parametrize("size", [(4, 5, 8), (4, 5, 64)])
def test_maps_keep_their_layout(module: nn.Module, size: tuple[int, int, int]) -> None:
    height, width, channels = size
    x = (torch.rand(3, 2, channels, height, width) < 0.5).float()
    outs = []
    for given in (x, channels_last(x)):
        out = module(*(split_heads(given, 2) for _ in range(3)))
        merged = merge_heads(out, given)
        assert merged.stride() == given.stride()
        if isinstance(module, SDSA) or given is x:
            assert merged.data_ptr() == out.data_ptr()  # no copy
        outs.append(merged)
    assert torch.equal(*outs)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tf32", [False, True])
def test_products_are_exact_on_the_device(
    dtype: torch.dtype, tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    # More tokens than 2048 pass what TF32 holds between the products.
    for (tokens, channels), layout in product(SIZES, ("planes", "channels_last")):
        if tf32 and max(tokens, channels) > 2048:
            continue
        q, k, v = (x.cuda() for x in heads_of(tokens, channels, dtype, layout))
        assert torch.equal(SSA(0.25)(q, k, v).double(), 0.25 * exact(q, k, v))


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["planes", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [lambda: SSA(0.25), lambda: SDSA(neuron_factory()(1.0))])
def test_device_gradients_are_those_of_the_cpu(
    make: Callable[[], nn.Module], dtype: torch.dtype, layout: str
) -> None:
    module, parts = make(), heads_of(64, 16, dtype, layout)
    for x in parts:
        x.mul_(torch.rand_like(x, dtype=torch.float32) < 0.2)  # gates near their threshold
    here = leaves([x.double() for x in parts])
    there = leaves([x.cuda() for x in parts])
    weight = torch.randn(parts[0].shape).to(dtype).double()
    (module(*here) * weight).sum().backward()
    (module(*there).double() * weight.cuda()).sum().backward()
    assert all(float(x.grad.abs().sum()) > 0 for x in here)
    for a, b in zip(there, here, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        error = (a.grad.cpu().double() - b.grad).abs().max() / b.grad.abs().max()
        # float32 products may be TF32 ones: ten bits.
        assert error < max(4 * torch.finfo(dtype).eps, 2e-3)

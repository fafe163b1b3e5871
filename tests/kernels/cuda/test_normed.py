"""Batch norm and neuron as one autograd function, its CUDA kernels run on the host."""

import copy

import pytest
import torch
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.errors import UserError
from spikesim.kernels import fused, normed
from spikesim.kernels.cupy_backend import CupyBackend
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, LIF, PLIF
from spikesim.surrogate import FastSigmoid, Smoothed

SHAPES = [(4, 3, 2, 16, 16), (5, 4, 8, 3, 3), (20, 2, 6), (3, 4, 1, 5), (2, 3, 16, 4, 2)]
NEURONS = [LIF(v_threshold=0.6), ALIF(v_threshold=0.25), CUBALIF(v_threshold=0.3)]


@pytest.fixture(autouse=True)
def joined(
    monkeypatch: pytest.MonkeyPatch, host: CupyBackend, host_batch_norm: set[int]
) -> list[int]:
    """Sends arrays of the CPU to the CUDA path; tells the channels of each call."""
    calls: list[int] = []
    run = normed.run

    def noted(how: normed.Normed, x: Tensor, *rest: object) -> Tensor:
        calls.append(x.shape[2])
        return run(how, x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(normed, "run", noted)
    monkeypatch.setattr(fused, "backend", lambda name: host)
    serving = Neuron.serving
    monkeypatch.setattr(
        Neuron, "serving", lambda self, d: "cupy" if self.backend == "auto" else serving(self, d)
    )
    return calls


def pair(channels: int, neuron: Neuron, dtype: torch.dtype, **options: object) -> SpikingSequential:
    norm = BatchNorm(channels, **options)
    if norm.weight is not None:
        nn.init.uniform_(norm.weight, 0.5, 1.5), nn.init.uniform_(norm.bias)
    real = torch.promote_types(dtype, torch.float32)
    return SpikingSequential(TimeDistributed(norm), copy.deepcopy(neuron)).to(real)


def sequence(shape: tuple[int, ...], dtype: torch.dtype, last: bool) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64) + torch.linspace(-1, 2, shape[2]).view(
        -1, *[1] * (len(shape) - 3)
    )
    x = x.to(dtype)
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x


def compare(ours: SpikingSequential, x: Tensor) -> None:
    """Two steps, against the torch reference."""
    reference = copy.deepcopy(ours)
    reference[1].backend = "torch"
    unit = torch.finfo(x.dtype).eps
    for _ in range(2):
        found = []
        for model in (ours, reference):
            model.zero_grad()
            y = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
            out = model(y)
            out.backward(torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype))
            found.append([out.detach(), y.grad, *(p.grad for p in model.parameters())])
        assert torch.equal(found[0][0], found[1][0])
        assert 0 < found[0][0].mean() < 1
        for got, expected in zip(found[0][1:], found[1][1:], strict=True):
            assert got.dtype == expected.dtype
            assert (got - expected).abs().max() <= 2e2 * unit * expected.abs().max().clamp(min=1e-3)
    for got, expected in zip(ours.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_step_equals_torchs(
    shape: tuple[int, ...], last: bool, neuron: Neuron, joined: list[int]
) -> None:
    compare(pair(shape[2], neuron, torch.float64), sequence(shape, torch.float64, last))
    assert joined == [shape[2]] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_storage(dtype: torch.dtype, joined: list[int]) -> None:
    compare(pair(8, LIF(v_threshold=0.6), dtype), sequence((5, 4, 8, 4, 4), dtype, True))
    assert len(joined) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"affine": False},
        {"track_running_stats": False},
        {"momentum": None},
        {"momentum": 0.7, "eps": 0.1},
    ],
    ids=str,
)
def test_options(options: dict[str, object], joined: list[int]) -> None:
    compare(pair(6, LIF(), torch.float64, **options), sequence((3, 4, 6, 5), torch.float64, False))
    assert len(joined) == 2


def test_gradient_by_finite_differences(joined: list[int]) -> None:
    ours = pair(2, LIF(surrogate=Smoothed(FastSigmoid())), torch.float64)
    x = sequence((3, 2, 2, 3), torch.float64, False).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: ours(x), (x, *ours.parameters()))
    assert joined


def test_frozen_norm_and_input_without_gradient(joined: list[int]) -> None:
    ours = pair(6, LIF(), torch.float64)
    ours[0].requires_grad_(False)
    x = sequence((3, 4, 6, 5), torch.float64, False)
    assert not ours(x).requires_grad
    y = x.clone().requires_grad_()
    ours(y).sum().backward()
    assert y.grad is not None
    assert all(p.grad is None for p in ours.parameters())
    ours.requires_grad_(True)
    ours(x).sum().backward()
    assert all(p.grad is not None for p in ours[0].parameters())
    assert len(joined) == 2


@pytest.mark.parametrize("case", ["learnable", "evaluated", "no gradient", "gaps"])
def test_what_is_no_case_takes_the_other_way(case: str, joined: list[int]) -> None:
    ours = pair(6, PLIF() if case == "learnable" else LIF(), torch.float64)
    x = sequence((3, 4, 6, 5), torch.float64, False).requires_grad_()
    ours.train(case != "evaluated")
    if case == "gaps":
        x = torch.cat([x, x], 3).detach()[..., ::2].requires_grad_()
    with torch.set_grad_enabled(case != "no gradient"):
        assert ours(x).shape == x.shape
    assert not joined


def test_second_derivatives_are_refused() -> None:
    ours = pair(6, LIF(), torch.float64)
    x = sequence((3, 4, 6, 5), torch.float64, False).requires_grad_()
    with pytest.raises(UserError, match="second derivatives"):
        torch.autograd.grad(ours(x).sum(), x, create_graph=True)

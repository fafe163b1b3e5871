"""Calls of the CPU backend made again."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikesim.kernels.numba_repeat import Repeat
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, LIF, PLIF, Izhikevich

NEURONS: dict[str, Callable[[], Neuron]] = {
    "LIF": lambda: LIF(tau=3.0),
    "resting value": lambda: LIF(v_reset=-0.1),
    "ALIF": lambda: ALIF(tau=3.0),
    "CUBALIF": lambda: CUBALIF(tau=2.0),
    "Izhikevich": Izhikevich,
}


def _on_numba(neuron: Neuron) -> Neuron:
    neuron.backend = "numba"
    return neuron


def _remembered(neuron: Neuron) -> list[Repeat]:
    return [how for how in neuron.jobs.values() if isinstance(how, Repeat)]


def _run(neuron: Neuron, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    output = neuron(x)
    (grad,) = torch.autograd.grad(output, x, g)
    return output.detach(), grad


@pytest.mark.parametrize("steps", [5, 40])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float32) for name in NEURONS),
        *(("CUBALIF", dtype) for dtype in (torch.bfloat16, torch.float64)),
    ],
)
def test_a_call_made_again_gives_the_same_bits(name: str, steps: int, dtype: torch.dtype) -> None:
    neuron = _on_numba(NEURONS[name]())
    x = (2.0 * torch.randn(steps, 2, 37)).to(dtype) * (20.0 if name == "Izhikevich" else 1.0)
    other, g = x.flip(0), torch.randn(x.shape).to(dtype)
    expected = [_run(_on_numba(NEURONS[name]()), each, g) for each in (x, other)]
    _run(neuron, x, g)
    (how,) = _remembered(neuron)
    assert how._forward is None
    got = [_run(neuron, each, g) for each in (x, other)]
    assert how._forward is not None
    for pair, wanted in zip(got, expected, strict=True):
        assert all(map(torch.equal, pair, wanted))


def test_other_strides_of_input_and_gradient() -> None:
    neuron = _on_numba(LIF())
    x = torch.randn(5, 2, 4, 4, 3).permute(0, 1, 4, 2, 3)
    for g in (torch.randn(x.shape), torch.ones(()).expand(x.shape)):
        for _ in range(2):
            output, grad = _run(neuron, x, g)
            same = _run(_on_numba(LIF()), x.contiguous(), g.contiguous())
            assert output.stride() == grad.stride() == x.stride()
            assert all(map(torch.equal, (output, grad), same))


def test_new_numbers_are_read() -> None:
    neuron, x = _on_numba(LIF(tau=2.0)), torch.randn(6, 2, 37) + 1.0
    before = [neuron(x) for _ in range(2)]
    neuron.v_threshold = 0.5
    assert torch.equal(neuron(x), _on_numba(LIF(tau=2.0, v_threshold=0.5))(x))
    assert torch.equal(neuron(x), _on_numba(LIF(tau=2.0, v_threshold=0.5))(x))
    assert not torch.equal(neuron(x), before[1])


def test_inference_compiles_nothing_for_backward() -> None:
    neuron, x = _on_numba(LIF()), torch.randn(4, 2, 37)
    with torch.no_grad():
        for _ in range(2):
            neuron(x)
    (how,) = _remembered(neuron)
    assert how._forward is not None
    assert how._backward is None


@pytest.mark.parametrize("neuron", [PLIF(), LIF(tau=torch.tensor([2.0, 3.0]))], ids=["PLIF", "LIF"])
def test_arrays_are_looked_at_in_every_call(neuron: Neuron) -> None:
    _on_numba(neuron)(torch.randn(4, 3, 2))
    assert not _remembered(neuron)


def test_a_sequence_with_gaps_is_not_remembered() -> None:
    neuron, x = _on_numba(LIF()), torch.randn(4, 2, 74)[..., ::2]
    assert torch.equal(neuron(x), neuron(x.contiguous()))
    assert len(_remembered(neuron)) == 1
    assert torch.equal(neuron(x), neuron(x.contiguous()))

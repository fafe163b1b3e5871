"""Calls of the CUDA backend made again, their kernels run on the host."""

import copy
import ctypes
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels import cupy_backend, cupy_module, fused
from spikesim.kernels.cupy_backend import WORD, CupyBackend, Launch
from spikesim.kernels.repeat import Repeat
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, IF, LIF, PLIF, Izhikevich
from spikesim.types import Named


class Loaded:
    """A module on the host that tells which of its kernels were loaded."""

    def __init__(self, module: Any, names: list[str]) -> None:
        self.launch, self.library, self.names = module.launch, module.library, names

    def function(self, name: str, index: int) -> Callable[..., None]:
        self.names.append(name)
        run = getattr(self.library, f"run_{name}")

        def start(
            grid: tuple[int], block: tuple[int], pointers: tuple[int], shared: int, stream: Any
        ) -> None:
            run(grid[0], block[0], ctypes.c_void_p(pointers[0]))

        return start


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch, host: CupyBackend) -> list[str]:
    """Sends arrays of the CPU to the CUDA backend; tells which kernels a remembered call loaded."""
    names: list[str] = []
    kernel = cupy_backend._kernel
    monkeypatch.setattr(cupy_backend, "_kernel", lambda p, v: Loaded(kernel(p, v), names))
    monkeypatch.setattr(cupy_module, "_pointer", lambda: int)
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: 0, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: 0, raising=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(fused, "backend", lambda name: host)
    monkeypatch.setattr(
        Neuron, "serving", lambda self, device: "cupy" if self.backend == "auto" else "torch"
    )
    return names


def remembered(neuron: Neuron) -> list[Repeat]:
    return [how for how in neuron.jobs.values() if isinstance(how, Repeat)]


def run(neuron: Neuron, x: Tensor, g: Tensor) -> list[Tensor | None]:
    """Output, and the gradients of input and parameters."""
    x = x.detach().requires_grad_()
    neuron.zero_grad()
    output = neuron(x)
    output.backward(g)
    return [output.detach(), x.grad, *(p.grad for p in neuron.parameters())]


def same(got: list[Tensor | None], expected: list[Tensor | None]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.dtype == b.dtype
            assert a.stride() == b.stride()
            assert torch.equal(a, b)


TAUS = torch.tensor([1.5, 2.0, 8.0])
NEURONS = {
    "numbers": LIF(tau=3.0),
    "scalar": PLIF(),
    "resting value": LIF(v_reset=-0.1, learnable=["tau", "v_reset", "v_threshold"]),
    "channels": LIF(tau=TAUS, learnable=["tau"]),
    "mixed": LIF(tau=TAUS, learnable=["tau", "v_threshold"]),
    "neurons": LIF(tau=TAUS[:, None].expand(3, 64) + torch.rand(3, 64), learnable=["tau"]),
    "fixed arrays": LIF(tau=TAUS),
    "adaptive": ALIF(tau=3.0, learnable=["tau", "tau_adaptation", "beta", "v_threshold"]),
    "current": CUBALIF(tau=2.0),
    "many": Izhikevich(learnable=["a", "b", "c", "d", "v_peak", "q2", "q1", "q0", "v_initial"]),
}


@pytest.mark.parametrize("steps", [5, 40])
@pytest.mark.parametrize("name", NEURONS)
def test_a_call_made_again_gives_the_same_bits(name: str, steps: int) -> None:
    neuron = copy.deepcopy(NEURONS[name])
    x = 2.0 * torch.randn(steps, 2, 3, 64) * (20.0 if name == "many" else 1.0)
    g = torch.randn(x.shape)
    first = run(neuron, x, g)
    (how,) = remembered(neuron)
    assert how._forward is None
    same(run(neuron, x, g), first)
    assert how._forward is not None
    neuron.backend = "torch"
    expected = run(neuron, x, g)
    neuron.backend = "auto"
    assert torch.equal(first[0], expected[0])
    for got, reference in zip(first[1:], expected[1:], strict=True):
        assert (got - reference).abs().max() <= 1e-5 * reference.abs().max()


def test_channels_last_and_half_precision() -> None:
    x = torch.randn(5, 2, 4, 4, 3).bfloat16().permute(0, 1, 4, 2, 3)
    neuron, g = LIF(tau=TAUS, learnable=["tau"]), torch.randn(x.shape).bfloat16()
    assert g.stride() != x.stride()
    first = run(neuron, x, g)
    assert len(remembered(neuron)) == 1
    same(run(neuron, x, g), first)


def test_inference_loads_no_backward_kernel(loaded: list[str]) -> None:
    neuron, x = PLIF(), torch.randn(4, 2, 64)
    with torch.no_grad():
        for _ in range(3):
            neuron(x)
    assert loaded == ["forward"]
    run(neuron, x, torch.ones_like(x))
    assert loaded == ["forward", "backward"]


def test_new_values_of_a_parameter_are_read() -> None:
    neuron, x = PLIF(), 2.0 * torch.randn(6, 2, 64)
    before = [neuron(x) for _ in range(2)]
    torch.nn.init.constant_(neuron.raw_tau, -3.0)
    fresh = PLIF()
    torch.nn.init.constant_(fresh.raw_tau, -3.0)
    assert torch.equal(neuron(x), fresh(x))
    assert not torch.equal(neuron(x), before[1])


def test_a_parameter_that_comes_to_lie_otherwise_is_laid_out() -> None:
    neuron, x, g = LIF(tau=TAUS, learnable=["tau"]), torch.randn(6, 2, 3), torch.randn(6, 2, 3)
    for _ in range(2):
        expected = run(neuron, x, g)
    raw = neuron.raw_tau
    raw.data = torch.stack([raw.data, raw.data + 9.0], 1)[:, 0]
    assert raw.stride() == (2,)
    assert torch.equal(run(neuron, x, g)[0], expected[0])


def test_an_option_changed_later_is_heeded() -> None:
    neuron, x = LIF(), 3.0 * torch.randn(9, 1, 64)
    before = [neuron(x) for _ in range(2)]
    neuron.v_reset = None
    assert not remembered(neuron)
    for _ in range(2):
        assert torch.equal(neuron(x), LIF(v_reset=None)(x))
    assert not torch.equal(neuron(x), before[1])


def test_a_frozen_parameter_gets_no_gradient() -> None:
    neuron, x, g = ALIF(learnable=["tau", "beta"]), torch.randn(6, 2, 64), torch.randn(6, 2, 64)
    _, d_input, d_tau, d_beta = [run(neuron, x, g) for _ in range(2)][1]
    neuron.raw_beta.requires_grad_(False)
    same(run(neuron, x, g), [neuron(x).detach(), d_input, d_tau, None])
    neuron.raw_tau.requires_grad_(False)
    same(run(neuron, x, g), [neuron(x).detach(), d_input, None, None])
    assert d_beta is not None


def test_second_derivatives_are_refused() -> None:
    neuron, x = LIF(), torch.randn(3, 1, 4, requires_grad=True)
    neuron(x)
    with pytest.raises(UserError, match="backend='torch'"):
        torch.autograd.grad(neuron(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("cut", [lambda x: x[:, :, ::2], lambda x: x[:, :0]], ids=["gaps", "empty"])
def test_what_is_copied_or_empty_is_not_remembered(cut: Callable[[Tensor], Tensor]) -> None:
    neuron, x = LIF(), cut(torch.randn(4, 2, 64))
    for _ in range(2):
        neuron(x)
    assert not remembered(neuron)


def test_an_input_that_begins_between_two_words(loaded: list[str]) -> None:
    neuron, x = LIF(), 2.0 * torch.randn(4, 2, 64)
    expected, there = LIF()(x), between_words(x).copy_(x)
    for _ in range(2):
        assert torch.equal(neuron(there), expected)
    assert not loaded  # by the long way, whose kernel reads a value at a time
    for _ in range(2):
        assert torch.equal(neuron(x), expected)
    assert loaded == ["forward"]


def test_a_given_state_is_not_forgotten() -> None:
    neuron, x = LIF(), 2.0 * torch.rand(4, 2, 64)
    for _ in range(2):
        neuron(x)
    output, _ = neuron.run(x, Named(v=torch.full((2, 64), 0.9)))
    assert not torch.equal(output, neuron(x))


def between_words(like: Tensor) -> Tensor:
    """Random values that begin four bytes after a word."""
    g = torch.randn(like.numel() + 1)[1:].view(like.shape)
    assert g.data_ptr() % WORD
    return g


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the gradients that backward passes read begin."""
    seen: list[int] = []
    general, again = cupy_backend.launch, Launch.__call__

    def noted(name: str, call: Any, variant: Any, pointers: Any) -> None:
        if name == "backward":
            seen.append(pointers[0])
        general(name, call, variant, pointers)

    def noted_again(self: Launch, addresses: Any, written: Any, arrays: Any) -> None:
        if written[0]:
            seen.append(addresses[-1])
        again(self, addresses, written, arrays)

    monkeypatch.setattr(cupy_backend, "launch", noted)
    monkeypatch.setattr(Launch, "__call__", noted_again)
    return seen


@pytest.mark.parametrize("neuron", [IF(), PLIF()])
def test_a_gradient_that_begins_between_two_words(neuron: Neuron, read: list[int]) -> None:
    x = 2.0 * torch.randn(4, 2, 64)
    g = between_words(x)
    expected = run(neuron, x, g.clone())
    for _ in range(2):
        same(run(neuron, x, g), expected)
    neuron.jobs.clear()  # and as a call that is not remembered
    same(run(neuron, x, g), expected)
    assert len(read) == 4
    assert not any(address % WORD for address in read)

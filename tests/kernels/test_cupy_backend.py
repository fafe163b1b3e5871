"""The CUDA kernels on a GPU: what the host tests cannot see."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.kernels import cupy_module
from spikesim.kernels.cupy_backend import CupyBackend
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, IF, LIF, PLIF

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")


def with_backend(neuron: Neuron, backend: str) -> Neuron:
    neuron.backend = backend
    return neuron


def test_every_neuron_equals_the_reference(check: Any, case: Any) -> None:
    check(CupyBackend(), case, "cuda")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("steps", [4, 130])
def test_every_storage_equals_the_reference(
    check: Any, cases: Any, dtype: torch.dtype, steps: int
) -> None:
    check(CupyBackend(), replace(cases["LIF given state"], dtype=dtype, steps=steps), "cuda")


@pytest.mark.parametrize("spread", ["scalar", "channel", "neuron"])
@pytest.mark.parametrize("shape", [(2, 5, 64), (2, 3, 2, 3), (64, 4096)])
def test_parameters_of_every_extent_get_their_gradient(
    check: Any, cases: Any, spread: str, shape: tuple[int, ...]
) -> None:
    # In float64: the sum over a large layer nearly cancels, in whatever order it is taken.
    case = replace(cases["LIF per channel"], spread=spread, shape=shape, dtype=torch.float64)
    check(CupyBackend(), case, "cuda")


@pytest.mark.parametrize("neurons", [1, 33, 1025, 131072])
@pytest.mark.parametrize("steps", [1, 17, 63])
def test_odd_sizes(check: Any, cases: Any, neurons: int, steps: int) -> None:
    case = replace(cases["LIF per channel"], shape=(1, neurons), steps=steps, spread="neuron")
    check(CupyBackend(), case, "cuda")


def test_thousands_of_steps(check: Any, cases: Any) -> None:
    case = replace(cases["ALIF"], shape=(2, 40), steps=4096, traces=False, dtype=torch.float64)
    check(CupyBackend(), case, "cuda")
    check(CupyBackend(), replace(case, dtype=torch.float32, learnable=False), "cuda")


def both(neuron: Neuron, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output and input gradient through kernels, and those of the reference."""
    results = []
    for backend in ("cupy", "torch"):
        there = x.detach().to(CUDA).requires_grad_()
        got = with_backend(neuron.to(CUDA), backend)(there)
        got.backward(g.to(CUDA))
        assert there.grad is not None
        results += [got.detach(), there.grad]
        if backend == "cupy":
            assert got.stride() == there.stride()
    return results[0], results[1], results[2], results[3]


def test_channels_last_steps_are_taken_as_they_lie() -> None:
    x = torch.randn(5, 3, 4, 4, 8).permute(0, 1, 4, 2, 3)
    assert not x.is_contiguous()
    g = torch.randn(5, 3, 8, 4, 4)  # contiguous: other strides than x
    got, d_got, expected, d_expected = both(PLIF(), x, g)
    assert torch.equal(got, expected)
    torch.testing.assert_close(d_got, d_expected, rtol=1e-5, atol=1e-6)


def test_sequences_that_are_not_dense_are_copied() -> None:
    x = torch.randn(5, 3, 16)[:, :, ::2]
    neuron = with_backend(LIF(), "cupy")
    expected = with_backend(LIF(), "torch")(x)
    assert torch.equal(neuron(x.to(CUDA)).cpu(), expected)
    swapped = torch.randn(3, 5, 8).transpose(0, 1)
    expected = with_backend(LIF(), "torch")(swapped)
    assert torch.equal(neuron(swapped.to(CUDA)).cpu(), expected)


def test_a_view_that_starts_between_two_words() -> None:
    whole = torch.randn(4 * 64 + 1, device=CUDA).to(torch.bfloat16)
    x = whole[1:].view(4, 1, 64)
    expected = with_backend(LIF(), "torch")(x.cpu())
    assert torch.equal(with_backend(LIF(), "cupy")(x).cpu(), expected)


def test_an_expanded_gradient() -> None:
    x = torch.randn(6, 2, 33, device=CUDA, requires_grad=True)
    with_backend(LIF(), "cupy")(x).sum().backward()
    y = x.detach().cpu().requires_grad_()
    with_backend(LIF(), "torch")(y).sum().backward()
    torch.testing.assert_close(x.grad.cpu(), y.grad, rtol=1e-5, atol=1e-6)


def test_spikes_as_bytes_and_bits() -> None:
    from spikesim.kernels.fused import forward
    from spikesim.kernels.operator import prepare
    from spikesim.types import Named

    x = torch.randn(7, 3, 100, device=CUDA) * 2
    neuron = LIF()
    job, tensors = prepare(neuron, "cupy", Named(x=x), None)
    spikes = forward(job, tensors).output.view(7, -1)
    assert torch.equal(forward(job, tensors, spikes=torch.uint8).output.view(7, -1), spikes.byte())
    bits = forward(job, tensors, spikes=torch.int32).output
    places = torch.arange(300, device=CUDA)
    assert torch.equal((bits[:, places // 32] >> places % 32) & 1, spikes.int())


def test_one_call_gives_the_same_as_two_halves() -> None:
    x = torch.randn(20, 2, 50, device=CUDA, requires_grad=True)
    neuron = with_backend(ALIF(tau=2.0), "cupy")
    whole, last = neuron.run(x)
    first, state = neuron.run(x[:9])
    second, end = neuron.run(x[9:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(torch.equal(end[name], last[name]) for name in neuron.states)
    (g,) = torch.autograd.grad(whole.sum() + last.v.sum(), x)
    (h,) = torch.autograd.grad(torch.cat([first, second]).sum() + end.v.sum(), x)
    torch.testing.assert_close(g, h, rtol=1e-5, atol=1e-6)


def test_no_memory_beside_input_output_and_gradients() -> None:
    neuron = with_backend(LIF(), "cupy")
    for steps, dtype, share in ((16, torch.float32, 0.0), (64, torch.float32, 1 / 16)):
        x = torch.randn(steps, 1, 2**20, device=CUDA, dtype=dtype, requires_grad=True)
        size = x.numel() * x.element_size()
        neuron(x)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        y = neuron(x)
        kept = torch.cuda.memory_allocated() - before - size
        y.backward(torch.ones_like(y))
        assert kept <= share * size + 4096
        del y


def test_decay_into_subnormal_numbers_is_not_flushed() -> None:
    x = torch.zeros(200, 1, 40)
    x[0] = torch.linspace(1e-36, 0.9, 40)
    neuron = LIF(tau=2.0)
    expected = with_backend(neuron, "torch").trace(x)["v"]
    got = with_backend(neuron, "cupy").trace(x.to(CUDA))["v"].cpu()
    assert ((expected > 0) & (expected < 1.2e-38)).any()
    assert torch.equal(got, expected)


def test_compiled_with_torch() -> None:
    model = nn.Sequential(nn.Linear(64, 64), PLIF(), nn.Linear(64, 8), LIF()).to(CUDA)
    x = torch.randn(9, 4, 64, device=CUDA)
    expected = model(x)
    expected.sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    got = torch.compile(model, fullgraph=True)(x)
    got.sum().backward()
    torch.testing.assert_close(got, expected)
    for p, g in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=1e-5)


def test_captured_in_a_graph() -> None:
    neuron = with_backend(LIF(), "cupy")
    x = torch.randn(8, 2, 100, device=CUDA, requires_grad=True)
    g = torch.randn_like(x)
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            neuron(x).backward(g)
    torch.cuda.synchronize()
    x.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = neuron(x)
        y.backward(g)
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
        x.grad.zero_()
    graph.replay()
    z = x.detach().clone().requires_grad_()
    expected = neuron(z)
    expected.backward(g)
    assert torch.equal(y, expected)
    torch.testing.assert_close(x.grad, z.grad)


def test_runs_under_autocast_and_checkpointing() -> None:
    from torch.utils.checkpoint import checkpoint

    model = nn.Sequential(nn.Linear(32, 32), PLIF()).to(CUDA)
    x = torch.randn(6, 2, 32, device=CUDA)
    with torch.autocast("cuda", torch.bfloat16):
        y = checkpoint(model, x, use_reentrant=False)
        assert y.dtype == torch.bfloat16
        y.float().sum().backward()
    assert model[1].raw_tau.grad.dtype == torch.float32


def test_state_on_another_device_is_refused() -> None:
    neuron = with_backend(IF(), "cupy")
    _, state = with_backend(IF(), "torch").run(torch.randn(2, 1, 4))
    with pytest.raises(UserError, match="is on cpu, the input on cuda"):
        neuron.run(torch.randn(2, 1, 4, device=CUDA), state)


def test_nothing_is_launched_for_an_empty_batch() -> None:
    x = torch.randn(4, 0, 5, device=CUDA, requires_grad=True)
    y = with_backend(PLIF().to(CUDA), "cupy")(x)
    assert y.shape == (4, 0, 5)
    y.sum().backward()


def test_options_flush_nothing() -> None:
    assert "-ftz=false" in cupy_module.OPTIONS
    assert not any("fast" in option for option in cupy_module.OPTIONS)


@pytest.mark.parametrize("neuron", [LIF(), PLIF()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_that_begins_between_two_words(neuron: Neuron, dtype: torch.dtype) -> None:
    neuron = neuron.to(CUDA)
    x = torch.randn(6, 2, 256, device=CUDA).to(dtype).requires_grad_()
    g = torch.randn(x.numel() + 1, device=CUDA).to(dtype)[1:].view(x.shape)
    (expected,) = torch.autograd.grad(neuron(x), x, g.clone())
    for _ in range(2):  # the second call is a remembered one
        assert torch.equal(torch.autograd.grad(neuron(x), x, g)[0], expected)
    assert torch.equal(torch.autograd.grad(neuron.run(x)[0], x, g)[0], expected)


def test_a_call_made_again_gives_the_same_bits() -> None:
    x = torch.randn(40, 2, 3, 64, device=CUDA, requires_grad=True)
    g = torch.randn_like(x)
    for neuron in (LIF(), LIF(torch.tensor([1.5, 2.0, 8.0]), learnable=["tau", "v_reset"])):
        neuron.to(CUDA)
        leaves = [x, *neuron.parameters()]
        found = [torch.autograd.grad(neuron(x), leaves, g) for _ in range(3)]
        for later in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(later, found[0], strict=True))

"""The fused neuron as torch sees it: autograd, ``torch.compile``, layouts, what is kept."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from spikesim.errors import BackendError, UserError
from spikesim.kernels.backends import describe, serving
from spikesim.kernels.fused import forward
from spikesim.kernels.operator import prepare
from spikesim.kernels.tape import TraceError
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, IF, ILIF, LIF, PLIF
from spikesim.types import Named


def reference(neuron: Neuron) -> Neuron:
    other = copy.deepcopy(neuron)
    other.backend = "torch"
    return other


class Everything(nn.Module):
    """Output, last state and a trace, all with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron = ALIF(tau=3.0, learnable=["beta"])

    def forward(self, x: Tensor) -> Tensor:
        output, last = self.neuron.run(x)
        return output.sum() + last.v.sum() + self.neuron.trace(x)["a"].sum()


@pytest.mark.parametrize(
    "module", [LIF(), PLIF(), IF(), ILIF(), LIF(torch.tensor([2.0, 3.0, 4.0]), learnable=["tau"])]
)
def test_compiled_without_a_break(module: Neuron) -> None:
    model = nn.Sequential(nn.Linear(3, 3), module)
    x = torch.randn(20, 2, 3)
    expected = model(x)
    expected.sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    got = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    got.sum().backward()
    assert torch.equal(got, expected)
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient)


def test_compiled_states_and_traces_have_gradients() -> None:
    module, x = Everything(), torch.randn(20, 2, 3, requires_grad=True)
    module(x).backward()
    expected = x.grad.clone(), module.neuron.raw_beta.grad.clone()
    x.grad = module.neuron.raw_beta.grad = None
    torch.compile(module, fullgraph=True, backend="aot_eager")(x).backward()
    torch.testing.assert_close((x.grad, module.neuron.raw_beta.grad), expected)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(5, 3, 16)[:, :, ::2],
        torch.randn(3, 5, 8).transpose(0, 1),
        torch.randn(5, 3, 4, 4, 8).permute(0, 1, 4, 2, 3),
        torch.randn(5, 3, 1).expand(5, 3, 8),
        torch.randn(5, 0, 8),
    ],
    ids=["gaps", "time inside", "channels last", "expanded", "empty"],
)
def test_any_layout_gives_the_values_of_the_reference(x: Tensor) -> None:
    neuron = PLIF()
    there, here = x.detach().requires_grad_(), x.detach().requires_grad_()
    got, expected = neuron(there), reference(neuron)(here)
    assert torch.equal(got, expected)
    weight = torch.randn(got.shape)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(there.grad, here.grad, rtol=1e-5, atol=1e-6)


def test_a_parameter_with_gaps_in_memory() -> None:
    tau = torch.tensor([[2.0, 9.0], [3.0, 9.0], [5.0, 9.0]])[:, 0]
    neuron, x = LIF(tau), 2.0 * torch.randn(20, 4, 3)
    assert torch.equal(neuron(x), reference(neuron)(x))


def test_channels_last_stays_channels_last() -> None:
    x = torch.randn(5, 3, 4, 4, 8).permute(0, 1, 4, 2, 3)
    assert LIF()(x).stride() == x.stride()


@pytest.mark.parametrize("steps", [16, 17, 64])
def test_only_the_input_and_checkpoints_are_kept(steps: int) -> None:
    x = torch.randn(steps, 2, 64, requires_grad=True)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        LIF()(x)
    others = [t for t in kept if t.data_ptr() != x.data_ptr()]
    size = sum(t.numel() * t.element_size() for t in others)
    assert size == (-(-steps // 16) - 1) * 2 * 64 * 4
    assert size <= x.numel() * 4 / 16


def test_spikes_as_bytes_and_bits() -> None:
    x = torch.randn(7, 3, 100) * 2
    job, tensors = prepare(LIF(), "numba", Named(x=x), None)
    spikes = forward(job, tensors).output.view(7, -1)
    assert torch.equal(forward(job, tensors, spikes=torch.uint8).output.view(7, -1), spikes.byte())
    bits = forward(job, tensors, spikes=torch.int32).output
    places = torch.arange(300)
    assert torch.equal((bits[:, places // 32] >> places % 32) & 1, spikes.int())


def test_second_derivatives_are_refused() -> None:
    x = torch.randn(3, 1, 4, requires_grad=True)
    with pytest.raises(UserError, match="backend='torch'"):
        torch.autograd.grad(LIF()(x).sum(), x, create_graph=True)


def test_an_option_changed_later_is_heeded() -> None:
    x = 3.0 * torch.randn(9, 1, 40)
    neuron = LIF()
    before = neuron(x)
    neuron.v_reset = None
    assert torch.equal(neuron(x), LIF(v_reset=None)(x))
    assert not torch.equal(neuron(x), before)


def test_copies_run_by_themselves() -> None:
    x, neuron = torch.randn(9, 1, 40), PLIF()
    expected = neuron(x)
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert torch.equal(other(x), expected)


class Outside(Neuron):
    """A step that no kernel can be printed from."""

    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        v = torch.sin(state.v) + inputs.x
        return Named(v=v), v


def test_a_step_outside_the_operators_is_named() -> None:
    neuron = Outside()
    with pytest.raises(TraceError, match=r"torch\.sin.*test_operator\.py.*backend='torch'"):
        neuron(torch.randn(2, 1, 3))
    neuron.backend = "torch"
    assert neuron(torch.randn(2, 1, 3)).shape == (2, 1, 3)


def test_transforms_of_torch_need_the_reference() -> None:
    neuron, x = LIF(), torch.randn(5, 4, 3, 2)

    def area(one: Tensor) -> Tensor:
        return (neuron(one) * one).sum()

    for transformed in (torch.vmap(neuron), torch.func.grad(area)):
        with pytest.raises(UserError, match=r"torch\.func.*backend='torch'"):
            transformed(x)
    expected = [torch.autograd.grad(area(part), part)[0] for part in x.requires_grad_()]
    neuron.backend = "torch"
    assert torch.equal(torch.vmap(neuron, 1, 1)(x), neuron(x))
    found = torch.vmap(torch.func.grad(area))(x)
    assert torch.allclose(found, torch.stack(expected), atol=1e-6)


def test_a_backend_that_cannot_serve_says_why() -> None:
    neuron = LIF()
    neuron.backend = "cupy"
    with pytest.raises(BackendError, match="does not serve cpu"):
        neuron(torch.randn(2, 1, 3))
    with pytest.raises(UserError, match="must be one of auto, torch, numba, cupy"):
        neuron.backend = "cuda"
    with pytest.raises(BackendError, match="does not serve cuda"):
        serving("numba", "cuda")


def test_what_runs_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "backend=auto (numba" in repr(LIF())
    monkeypatch.setattr("spikesim.kernels.backends.INSTALLED", ())
    assert serving("auto", "cpu") == "torch"
    assert describe("auto") == "auto (torch)"
    with pytest.raises(BackendError, match="pip install numba"):
        serving("numba", "cpu")

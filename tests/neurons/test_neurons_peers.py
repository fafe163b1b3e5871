"""Neurons against those of other libraries, on random input ``[T=16, B=4, N=257]``."""

import itertools
from types import ModuleType

import pytest
import torch
from torch import Tensor

from spikesim.neuron import Neuron
from spikesim.neurons import CUBALIF, IF, ILIF, LIF, PLIF
from spikesim.surrogate import ATan, FastSigmoid

pytestmark = pytest.mark.peers

# float32 rounding of another order of operations, over 16 steps.
GRADIENT_TOLERANCE = 1e-5
RESETS = [0.0, None, -0.25]
SWITCHES = [True, False]


@pytest.fixture(scope="module")
def spikingjelly() -> ModuleType:
    reason = "needs SpikingJelly >= 2 (extra 'peers')"
    return pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)


def _input(scale: float = 1.0) -> Tensor:
    return (torch.randn(16, 4, 257) + 0.6) * scale


def _compare(ours: Neuron, theirs: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and input gradients of both must agree; the two inputs are returned."""
    pair = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes = ours(pair[0]), theirs(pair[1])
    assert spikes[0].mean() > 0.05
    assert int((spikes[0] != spikes[1]).sum()) == 0
    upstream = torch.randn_like(x)
    for s in spikes:
        s.backward(upstream)
    difference = (pair[0].grad - pair[1].grad).abs().max().item()
    assert difference <= GRADIENT_TOLERANCE
    return pair


def _jelly_options() -> dict[str, object]:
    from spikingjelly.activation_based import surrogate

    return {"surrogate_function": surrogate.ATan(alpha=2.0), "step_mode": "m"}


@pytest.mark.parametrize("v_reset", RESETS)
@pytest.mark.parametrize("detach_reset", SWITCHES)
def test_if_equals_spikingjelly(
    spikingjelly: ModuleType, v_reset: float | None, detach_reset: bool
) -> None:
    options = {"v_threshold": 0.9, "v_reset": v_reset, "detach_reset": detach_reset}
    theirs = spikingjelly.IFNode(**options, **_jelly_options())
    _compare(IF(**options), theirs, _input())


LEAKY = list(itertools.product(RESETS, SWITCHES, SWITCHES, [1.5, 2.0, 3.0, 20.0]))


@pytest.mark.parametrize(("v_reset", "decay_input", "detach_reset", "tau"), LEAKY)
def test_lif_equals_spikingjelly(
    spikingjelly: ModuleType,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    tau: float,
) -> None:
    options = {"decay_input": decay_input, "v_reset": v_reset, "detach_reset": detach_reset}
    theirs = spikingjelly.LIFNode(tau=tau, **options, **_jelly_options())
    _compare(LIF(tau, **options), theirs, _input(tau if decay_input else 1.0))


@pytest.mark.parametrize(("v_reset", "decay_input", "detach_reset", "tau"), LEAKY)
def test_plif_equals_spikingjelly(
    spikingjelly: ModuleType,
    v_reset: float | None,
    decay_input: bool,
    detach_reset: bool,
    tau: float,
) -> None:
    options = {"decay_input": decay_input, "v_reset": v_reset, "detach_reset": detach_reset}
    theirs = spikingjelly.ParametricLIFNode(init_tau=tau, **options, **_jelly_options())
    ours = PLIF(tau, **options)
    ours.backend = "torch"  # its kernels, which take long to compile, are compared with torch's
    _compare(ours, theirs, _input(tau if decay_input else 1.0))
    expected = theirs.w.grad.item()
    assert ours.raw_tau.grad.item() == pytest.approx(expected, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("detach_reset", SWITCHES)
def test_ilif_equals_spikingjelly(spikingjelly: ModuleType, detach_reset: bool) -> None:
    from spikingjelly.activation_based import surrogate

    if not hasattr(spikingjelly, "ILIFNode"):
        pytest.skip("this SpikingJelly has no ILIFNode")
    theirs = spikingjelly.ILIFNode(
        tau=4 / 3,
        v_threshold=0.8,
        surrogate_function=surrogate.MultiLevelSpikeCount(4),
        detach_reset=detach_reset,
        step_mode="m",
    )
    _compare(ILIF(4 / 3, 0.8, levels=4, detach_reset=detach_reset), theirs, _input(2.0))


class _SnnTorch(torch.nn.Module):
    def __init__(self, beta: float, **options: object) -> None:
        super().__init__()
        snntorch = pytest.importorskip("snntorch", reason="needs snnTorch (extra 'peers')")
        grad = snntorch.surrogate.atan(alpha=2.0)
        self.cell = snntorch.Leaky(beta, spike_grad=grad, **options)

    def forward(self, x: Tensor) -> Tensor:
        mem, spikes = torch.zeros_like(x[0]), []
        for x_t in x:
            spike, mem = self.cell(x_t, mem)
            spikes.append(spike)
        return torch.stack(spikes)


@pytest.mark.parametrize("beta", [0.5, 0.9])
@pytest.mark.parametrize(
    ("theirs", "v_reset", "detach_reset"),
    [
        ({"reset_mechanism": "subtract", "reset_delay": False}, None, False),
        ({"reset_mechanism": "zero", "reset_delay": True}, 0.0, True),
        ({"reset_mechanism": "zero", "reset_delay": False}, 0.0, False),
    ],
)
def test_lif_equals_snntorch_leaky(
    beta: float, theirs: dict[str, object], v_reset: float | None, detach_reset: bool
) -> None:
    ours = LIF(1 / (1 - beta), v_reset=v_reset, decay_input=False, detach_reset=detach_reset)
    # A membrane above twice the threshold would be subtracted from twice by snnTorch.
    _compare(ours, _SnnTorch(beta, **theirs), _input().clamp(max=0.99))


class _Norse(torch.nn.Module):
    """Norse's feed-forward steps, in seconds, with a current (``LIF``) or without (``LIFBox``).

    Its SuperSpike gradient has slope 1, whatever ``alpha`` is asked for (Norse 1.1).
    """

    def __init__(self, tau: float, tau_synapse: float | None, v_reset: float) -> None:
        super().__init__()
        reason = "needs Norse (extra 'peers')"
        name = "lif_box" if tau_synapse is None else "lif"
        module = pytest.importorskip(f"norse.torch.functional.{name}", reason=reason)
        common = {
            "tau_mem_inv": torch.tensor(1 / tau),
            "v_leak": torch.tensor(v_reset),
            "v_reset": torch.tensor(v_reset),
            "method": "super",
        }
        self.v_reset, self.has_current = v_reset, tau_synapse is not None
        if tau_synapse is None:
            self.step = module.lif_box_feed_forward_step
            self.parameters_ = module.LIFBoxParameters(**common)
            self.state = module.LIFBoxFeedForwardState
        else:
            self.step = module.lif_feed_forward_step
            common["tau_syn_inv"] = torch.tensor(1 / tau_synapse)
            self.parameters_ = module.LIFParameters(**common)
            self.state = module.LIFFeedForwardState

    def forward(self, x: Tensor) -> Tensor:
        v, zero = torch.full_like(x[0], self.v_reset), torch.zeros_like(x[0])
        state = self.state(v=v, i=zero) if self.has_current else self.state(v=v)
        spikes = []
        for x_t in x:
            spike, state = self.step(x_t, state, self.parameters_, dt=0.001)
            spikes.append(spike)
        return torch.stack(spikes)


@pytest.mark.parametrize("tau", [0.002, 0.01])
@pytest.mark.parametrize("v_reset", [0.0, -0.25])
def test_lif_equals_norse_lif_without_current(tau: float, v_reset: float) -> None:
    ours = LIF(tau, v_reset=v_reset, dt=0.001, surrogate=FastSigmoid(slope=1.0))
    _compare(ours, _Norse(tau, None, v_reset), _input(tau / 0.001))


@pytest.mark.parametrize("v_reset", [0.0, -0.25])
def test_cuba_lif_equals_norse_lif(v_reset: float) -> None:
    ours = CUBALIF(
        0.01, 0.005, v_reset=v_reset, leak="euler", dt=0.001, surrogate=FastSigmoid(slope=1.0)
    )
    _compare(ours, _Norse(0.01, 0.005, v_reset), _input(2.0))


def test_default_surrogate_is_spikingjellys_atan() -> None:
    assert LIF().surrogate == ATan(alpha=2.0)

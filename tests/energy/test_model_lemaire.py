"""The model of Lemaire et al. against SpikingJelly's own program for it, on the same run."""

import pytest
import torch
from torch import nn

from spikesim.energy import count
from spikesim.energy.model import joules
from spikesim.energy.models import get

pytestmark = pytest.mark.peers
op_counter = pytest.importorskip("spikingjelly.activation_based.op_counter")


def network(*, bias: bool, width: int) -> nn.Module:
    from spikingjelly.activation_based import neuron

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(60, width, bias=bias),
        neuron.LIFNode(v_threshold=0.1),
        nn.Linear(width, 50, bias=bias),
        neuron.LIFNode(v_threshold=0.1),
    ).eval()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("width", [20, 400])  # small memories, and beyond 32 KB
def test_spiking_linear_layers_cost_what_spikingjelly_says(bias: bool, width: int) -> None:
    model = network(bias=bias, width=width)
    x = (torch.rand(1, 1, 60) < 0.5).float()  # [T=1, B=1, N]
    counts = count(model, x, forward=lambda net, data: net(data[0]))
    from spikingjelly.activation_based import functional

    functional.reset_net(model)
    theirs = op_counter.estimate_lemaire_energy(model, x[0])
    ours = joules(get("lemaire"), counts)
    assert ours.total == pytest.approx(1e-12 * theirs.total_pj, rel=1e-6)
    assert ours.parts["addressing"] == pytest.approx(
        1e-12 * theirs.breakdown_pj["addressing_pj"], rel=1e-6
    )
    assert ours.parts["weights"] == pytest.approx(
        1e-12 * theirs.breakdown_pj["params_pj"], rel=1e-6
    )


def test_a_linear_layer_of_real_numbers_costs_what_spikingjelly_says() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 40)).eval()
    x = torch.randn(1, 60)
    theirs = op_counter.estimate_lemaire_energy(model, x)
    counts = count(model, x, layout="B")
    assert joules(get("lemaire"), counts).total == pytest.approx(1e-12 * theirs.total_pj, rel=1e-6)

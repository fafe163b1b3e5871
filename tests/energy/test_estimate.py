"""A model counted and charged in one call."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesim.energy import Widths, count, estimate
from spikesim.energy.models import get
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.network import Network
from spikesim.neurons import LIFDelta
from spikesim.neurons.lif import LIF

T, B = 3, 2


def model() -> nn.Module:
    return nn.Sequential(
        TimeDistributed(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)), LIF(v_threshold=0.3),
        TimeDistributed(nn.Flatten(), nn.Linear(64, 5)),
    )  # fmt: skip


def frames() -> Tensor:
    return torch.rand(T, B, 2, 6, 6)


def test_totals_are_charged_by_what_entered() -> None:
    totals = estimate(model(), frames()).totals
    assert totals.effective_macs > 0 < totals.effective_acs
    joules = 1e-12 * (4.6 * totals.effective_macs + 0.9 * totals.effective_acs)
    assert totals.joules["classical"] == pytest.approx(joules)
    ann = 1e-12 * 4.6 * totals.ann_macs
    assert totals.ann_joules["classical"]["ann-fp32"] == pytest.approx(ann)
    assert totals.ratio["classical"]["ann-fp32"] == pytest.approx(ann / joules)


def test_counts_are_those_of_count() -> None:
    net, x = model(), frames()
    assert estimate(net, x).counts == count(net, x)


def test_models_are_names_or_objects_and_widths_reach_the_named() -> None:
    net, x = model(), frames()
    narrow = Widths(weight=8, activation=8, state=16)
    report = estimate(net, x, models=("step", get("integer", node=7)), widths=narrow)
    assert list(report.models) == ["step", "integer"]
    assert report.totals.joules["step"] < estimate(net, x, models=["step"]).totals.joules["step"]
    assert report.totals.traffic.state_reads == report.counts.total("state_reads") * 16


def test_an_unknown_model_is_refused_before_anything_runs() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    with pytest.raises(UserError, match="classical, step"):
        estimate(Fails(), frames(), models=["clasical"])


def test_silence_costs_nothing() -> None:
    totals = estimate(nn.Linear(4, 4), [torch.zeros(T, B, 4)]).totals
    assert totals.joules["classical"] == 0
    assert totals.ratio["classical"]["ann-fp32"] == float("inf")


def test_wrong_arguments_are_named() -> None:
    net, x = model(), frames()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"models": "step"}, r"models must be a list, got 'step'; give \['step'\]"),
        ({"models": (3,)}, "an energy model is a name or a model, got 3"),
        ({"widths": {"weight": 8}}, "widths must be Widths"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"forward": "a"}, "forward and reset must be functions"),
    ]
    for given, message in refused:
        with pytest.raises(UserError, match=message):
            estimate(net, x, **given)
    with pytest.raises(UserError, match=r"data is a batch or batches .*, got None"):
        estimate(net, None)  # type: ignore[arg-type]
    network = Network(dt=1.0)
    network.population(LIFDelta(), 3)
    assert estimate(network, np.int64(10)).counts.steps == 10
    with pytest.raises(UserError, match="no options of torch models"):
        estimate(network, 10.0, layout="BT")


@pytest.mark.parametrize("name", ["classical", "integer", "step", "spinnaker2"])
def test_the_interval_holds_the_value_beside_it(name: str) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        totals = estimate(model(), frames(), models=(name,)).totals
        low, high = totals.interval[name]
        assert low <= totals.joules[name] <= high

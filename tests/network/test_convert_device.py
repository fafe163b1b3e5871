"""A converted module runs on the device that was asked for."""

import pytest
import torch
from torch import nn

from spikesim.errors import BackendError, UserError
from spikesim.network.convert import first_difference, to_network
from spikesim.neurons import LIF
from spikesim.recurrent import Recurrent


def module() -> nn.Module:
    torch.manual_seed(3)
    loop = Recurrent(LIF(tau=3.0), nn.Linear(8, 8, bias=False))
    return nn.Sequential(nn.Linear(6, 8), loop, nn.Linear(8, 4), LIF()).double()


def spikes() -> torch.Tensor:
    return (torch.rand(30, 3, 6, generator=torch.Generator().manual_seed(1)) < 0.5).double()


def test_a_device_that_cannot_serve_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="device must be 'cpu', 'cuda' or such as 'cuda:1'"):
        to_network(module(), spikes(), device="tpu")

    def missing() -> None:
        raise BackendError("CuPy is not installed; pip install cupy-cuda13x")

    monkeypatch.setattr("spikesim.network.device.check_cupy", missing)
    monkeypatch.setattr("spikesim.network.convert.plan", None)  # is not reached
    with pytest.raises(BackendError, match=r"'cuda' cannot serve: .*or use device='cpu'"):
        to_network(module(), spikes(), device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spikes_and_weights_are_those_of_the_cpu(dtype: str) -> None:
    model, x = module(), spikes()
    here, there = (
        to_network(model, x, dtype=dtype, device=device)  # type: ignore[arg-type]
        for device in ("cpu", "cuda")
    )
    assert there.network.device.type == "cuda"
    assert torch.equal(here.run(x), there.run(x))
    assert here.synaptic_events == there.synaptic_events > 0
    for a, b in zip(here.to_module().parameters(), there.to_module().parameters(), strict=True):
        assert torch.equal(a, b)
    if dtype == "float64":
        assert first_difference(model, there, x) is None

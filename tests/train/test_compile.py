import pytest
import torch

from spikesim.models import create
from spikesim.train.monitor import RateMonitor
from spikesim.world import World


@pytest.mark.parametrize("name", ["sdt", "spiking_vgg"])
def test_models_are_one_graph_for_torch_compile(name: str) -> None:
    """No break, with the monitor's hooks in it; a break costs a compilation per layer."""
    torch._dynamo.reset()
    sizes = {"sdt": {"dim": 40, "heads": 5, "depth": 1}}.get(name, {})
    model = create(name, preset="tiny", num_classes=3, steps=2, image_size=34, **sizes).train()
    monitor = RateMonitor(model)
    monitor.active = True
    seen = torch._dynamo.explain(model)(torch.rand(2, 2, 2, 34, 34))
    assert seen.graph_break_count == 0, seen.break_reasons
    assert monitor.rates(World())

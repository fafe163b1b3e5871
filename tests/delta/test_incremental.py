"""Networks run on differences give what they give on values."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.compression import prune, quantize
from spikesim.delta import DeltaActivation, Incremental, incremental
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed


def network(q: float = 0.25, *, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        DeltaActivation([2, 8, 8], step=q),
        TimeDistributed(nn.Conv2d(2, 4, 3, padding=1, bias=bias), nn.BatchNorm2d(4)),
        DeltaActivation([4, 8, 8], step=q, activation="relu"),
        TimeDistributed(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 5, bias=bias)),
    ).eval()


def video(frames: int, change: float) -> Tensor:
    """Pixels that are drawn anew now and then."""
    x = torch.rand(frames, 2, 2, 8, 8) * 3
    for t in range(1, frames):
        x[t] = torch.where(torch.rand_like(x[t]) < change, x[t], x[t - 1])
    return x


def test_hundred_frames_in_floating_point() -> None:
    """Parity check 1."""
    model, x = network(), video(100, 0.3)
    wanted = model(x)
    torch.testing.assert_close(incremental(model)(x), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5),
        nn.Conv1d(6, 4, 3, dilation=2),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),
        nn.Conv3d(6, 2, 2, bias=False),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_hundred_frames_in_whole_numbers_exactly(layer: Any) -> None:
    """Parity check 1, in integer arithmetic."""
    for p in layer.parameters():
        p.data = torch.randint(-7, 8, p.shape).float()
    shape = (6,) if isinstance(layer, nn.Linear) else (6, *[5] * len(layer.kernel_size))
    y = torch.randint(-8, 8, (100, 2, *shape)).float()
    kept = copy.deepcopy(layer.state_dict())
    assert torch.equal(Incremental(layer)(y), TimeDistributed(layer)(y))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, kept[name])


def test_static_video_costs_its_first_frame_alone() -> None:
    """Parity check 2: what enters the layers inside."""
    model, x = network(), video(10, 0.0)
    seen: list[Tensor] = []
    run = incremental(model)
    layers = [module.layer for module in run.modules() if isinstance(module, Incremental)]
    assert len(layers) == 2
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run(x)
    for entered in seen:
        steps = entered.view(10, 2, *entered.shape[1:])
        assert int(steps[0].count_nonzero()) > 0
        assert int(steps[1:].count_nonzero()) == 0


def test_layers_of_levels_and_sums_are_the_same_network() -> None:
    """The published arrangement: differences between layers, sums and biases within."""
    torch.manual_seed(0)
    x = video(12, 0.5)
    values = network(bias=False)
    conv, norm = values[1]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    conv.weight.data *= scale.view(-1, 1, 1, 1)  # a norm without mean is a part of the weights
    values[1] = TimeDistributed(conv)
    wanted = values(x)
    first = DeltaActivation([2, 8, 8], step=0.25, level=1)
    second = DeltaActivation([4, 8, 8], step=0.25, activation="relu", sigma=True, level=1)
    changes = nn.Sequential(first, values[1], second, values[3])(x)
    torch.testing.assert_close(changes.cumsum(0), wanted, atol=1e-5, rtol=0)
    without_first = copy.deepcopy(first)
    without_first.level = 2
    assert torch.equal(without_first(x), first(x)[1:])


def test_excluded_layers_see_values_and_the_model_is_not_changed() -> None:
    model, x = network(), video(5, 0.5)
    run = incremental(model, exclude=["1.*"])
    assert not any(isinstance(module, Incremental) for module in model.modules())
    assert sum(isinstance(module, Incremental) for module in run.modules()) == 1
    torch.testing.assert_close(run(x), model(x))
    alone = incremental(TimeDistributed(nn.Linear(3, 2)))
    assert isinstance(alone[0], Incremental)
    with pytest.raises(UserError, match="in a TimeDistributed"):
        incremental(nn.Sequential(nn.Linear(2, 2)))


def test_quantised_and_pruned_layers_run_on_differences() -> None:
    model = prune(quantize(network(), 4), 0.3)
    x = video(6, 0.5)
    torch.testing.assert_close(incremental(model)(x), model(x), atol=1e-5, rtol=0)

import pytest
import torch
from torch import nn

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF
from spikesim.train.config import TrainSettings
from spikesim.train.monitor import RateMonitor, find_non_finite, non_finite_gradients
from spikesim.train.step import Stepper
from spikesim.world import World


class Small(nn.Sequential):
    """``[T, B, 4]`` -> ``[T, B, 2]``."""

    num_classes = 2

    def __init__(self) -> None:
        super().__init__(
            TimeDistributed(nn.Linear(4, 8)), LIF(), TimeDistributed(nn.Linear(8, 8)), LIF(),
            TimeDistributed(nn.Linear(8, 2)),
        )  # fmt: skip


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(5, 6, 4), torch.tensor([0, 1] * 3)


def test_rates_are_those_of_the_outputs() -> None:
    model = Small()
    monitor = RateMonitor(model)
    x, _ = batch()
    model(x)
    assert monitor.rates(World()) == {}
    monitor.active = True
    parts = [8 * x, 0.5 * x]
    outputs = [nn.Sequential(*list(model)[:2])(part) for part in parts]
    monitor.rates(World())
    for part in parts:
        model(part)
    rates = monitor.rates(World())
    assert list(rates) == ["1", "3"]
    assert rates["1"] == pytest.approx(torch.stack(outputs).mean().item())
    assert monitor.rates(World()) == {}
    monitor.remove()
    model(x)
    assert monitor.rates(World()) == {}


def test_dead_layers_are_reported_once_until_they_revive() -> None:
    model = nn.Sequential(LIF(), LIF())
    monitor = RateMonitor(model)
    monitor.active = True

    def look(scale: float) -> dict[str, float]:
        model(torch.full((4, 2, 3), scale))
        return monitor.newly_dead(monitor.rates(World()))

    assert look(0.0) == {"0": 0.0, "1": 0.0}
    assert look(0.0) == {}
    # It fires at every step now, into the second one, which ones do not reach; still silent.
    assert look(100.0) == {"0": 1.0}
    assert look(1.5) == {}
    assert look(0.0) == {"0": 0.0}


def test_place_of_a_nan_is_named_even_behind_spikes() -> None:
    x, _ = batch()
    model = Small()
    assert find_non_finite(model, x) == ""
    model[2][0].weight.data[0, 0] = float("nan")
    assert find_non_finite(model, x) == "the parameter 2.0.weight"
    # Finite weights that overflow: the neuron behind them hides it, its own input does not.
    model = Small()
    model[0][0].weight.data.fill_(3e38)
    assert find_non_finite(model, x) == "the output of layer 0.0"
    x[0, 0, 0] = float("inf")
    assert find_non_finite(Small(), x) == "the input of layer 0.0"


def test_statistics_are_untouched_by_the_search() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    find_non_finite(model, torch.full((3, 4), float("nan")))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_gradients_are_named() -> None:
    model = nn.Linear(2, 2)
    model.weight.grad, model.bias.grad = torch.zeros(2, 2), torch.tensor([0.0, float("inf")])
    assert non_finite_gradients(model) == ["bias"]


def test_step_with_a_nan_names_the_layer_and_keeps_the_weights() -> None:
    stepper = Stepper(Small(), TrainSettings(), torch.device("cpu"), World())
    stepper.step([batch()], 0, 0, 1e-3)
    before = {k: v.clone() for k, v in stepper.model.state_dict().items()}
    x, y = batch()
    x[0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"at step 1; first non-finite: the input of layer 0\.0"):
        stepper.step([(x, y)], 1, 0, 1e-3).read()
    for name, value in stepper.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_spiking_layers_do_not_hide_a_nan_from_the_step() -> None:
    """A NaN fires no spike, so the loss stays finite; the gradient does not."""
    model = Small()
    stepper = Stepper(model, TrainSettings(), torch.device("cpu"), World())
    with torch.no_grad():
        model[0][0].weight[0] = float("nan")
    with pytest.raises(UserError, match=r"gradient became NaN.*the parameter 0\.0\.weight"):
        stepper.step([batch()], 7, 0, 1e-3).read()


@pytest.mark.parametrize("parts", [1, 3])
def test_accumulated_gradient_is_that_of_the_whole_batch(parts: int) -> None:
    settings = TrainSettings(accumulate=parts, dtype="float64", weight_decay=0.0, lr=0.1)
    x, y = batch()
    torch.manual_seed(3)
    reference = Small().double()
    torch.manual_seed(3)
    stepper = Stepper(Small(), settings, torch.device("cpu"), World())
    logits = reference(x.double())
    loss = nn.functional.cross_entropy(logits.mean(0), y)
    loss.backward()
    pieces = list(zip(x.chunk(parts, dim=1), y.chunk(parts), strict=True))
    done = stepper.step(pieces, 0, 0, 0.1).read()
    assert done.loss == pytest.approx(loss.item(), rel=1e-12)
    assert done.correct == int((logits.mean(0).argmax(1) == y).sum())
    total = torch.nn.utils.get_total_norm([p.grad for p in reference.parameters()])
    assert done.gradient_norm == pytest.approx(float(total), rel=1e-9)
    for ours, theirs in zip(stepper.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_clipping_keeps_the_norm() -> None:
    stepper = Stepper(Small(), TrainSettings(clip_norm=1e-3), torch.device("cpu"), World())
    done = stepper.step([batch()], 0, 0, 1e-3).read()
    assert done.gradient_norm > 1e-3
    norm = torch.nn.utils.get_total_norm([p.grad for p in stepper.model.parameters()])
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_dropout_is_a_function_of_seed_step_and_place() -> None:
    def losses(seed: int, numbers: list[int]) -> list[float]:
        torch.manual_seed(0)
        model = Small()
        model.append(nn.Dropout(0.5))
        x = torch.rand(5, 6, 4, generator=torch.Generator().manual_seed(1))
        stepper = Stepper(model, TrainSettings(seed=seed), torch.device("cpu"), World())
        y = torch.tensor([0, 1] * 3)
        return [stepper.step([(x, y)], number, 0, 0.0).read().loss for number in numbers]

    assert losses(0, [3, 4]) == losses(0, [3, 4])
    assert losses(0, [3])[0] != losses(0, [4])[0]
    assert losses(0, [3])[0] != losses(1, [3])[0]
    torch.rand(17)
    assert losses(0, [4])[0] == losses(0, [3, 4])[1]

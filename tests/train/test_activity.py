"""Losses on activity: by hand, against counts, and what training does with them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.compression import prune, usage
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed, conv_bn_neuron
from spikesim.models import create
from spikesim.neurons import LI, LIF
from spikesim.train.activity import Activity, OperationsLoss, RateLoss, activity
from spikesim.train.config import TrainSettings
from spikesim.train.step import Stepper
from spikesim.world import World


def spikes_by_hand() -> Tensor:
    """Four steps, one sample, three neurons with rates 0, 1/4 and 3/4."""
    rows = [[0.0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]
    return torch.tensor(rows).view(4, 1, 3).requires_grad_()


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (RateLoss(1.0, power=1), (0 + 0.25 + 0.75) / 3),
        (RateLoss(1.0), (0.25**2 + 0.75**2) / 3),
        (RateLoss(2.0, upper=0.5), 2 * 0.25**2 / 3),
        (RateLoss(1.0, lower=0.1, upper=0.5, power=1), (0.1 + 0.25) / 3),
        (RateLoss(1.0, lower=0.5, upper=0.5), (0.5**2 + 0.25**2 + 0.25**2) / 3),
        (RateLoss(1.0, power=1, over="layer"), 1 / 3),
        (RateLoss(1.0, upper=0.25, over="layer"), (1 / 3 - 0.25) ** 2),
    ],
)
def test_rate_losses_by_hand(loss: RateLoss, wanted: float) -> None:
    assert loss(Activity([spikes_by_hand()])).item() == pytest.approx(wanted, rel=1e-6)
    twice = Activity([spikes_by_hand(), spikes_by_hand()])
    assert loss(twice).item() == pytest.approx(2 * wanted, rel=1e-6)


def test_gradient_of_a_rate_loss_by_hand() -> None:
    spikes = spikes_by_hand()
    RateLoss(3.0, lower=0.25, upper=0.5)(Activity([spikes])).backward()
    # d/ds of weight * mean [excess]^2: 2 * excess / steps / neurons, down for busy, up for quiet
    assert spikes.grad is not None
    rate = [3 * 2 * -0.25 / 4 / 3, 0.0, 3 * 2 * 0.25 / 4 / 3]
    for row in spikes.grad[:, 0]:
        assert row.tolist() == pytest.approx(rate)


def test_operations_are_those_of_the_weights_that_are_there() -> None:
    torch.manual_seed(0)
    model = SpikingSequential(
        *conv_bn_neuron(2, 4, 3, LIF(v_threshold=0.2)),
        TimeDistributed(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)),
        LIF(v_threshold=0.1),
        TimeDistributed(nn.Flatten(), nn.Linear(6 * 16, 3)),
    ).eval()
    prune(model, 0.4)
    x = (torch.rand(3, 5, 2, 8, 8) < 0.4).float()
    with activity(model) as seen:
        model(x)
    assert [tuple(spikes.shape) for spikes in seen.spikes] == [(3, 5, 4, 8, 8), (3, 5, 6, 4, 4)]
    met, weights = usage(model, [x]), dict(model.named_modules())
    exact = [float((met[name] * (weights[name].weight != 0)).sum()) for name in ("2.0", "4.1")]
    assert [one.item() / 5 for one in seen.operations] == pytest.approx(exact)
    total = sum(exact)
    assert total > 0
    assert OperationsLoss(0.5)(seen).item() == pytest.approx(0.5 * total)
    assert OperationsLoss(0.5, target=total / 2)(seen).item() == pytest.approx(0.5)
    assert OperationsLoss(0.5, target=total * 2)(seen).item() == 0.0


def test_a_spike_costs_its_fan_out() -> None:
    spikes = torch.ones(1, 2, 4, requires_grad=True)
    model = nn.Sequential(nn.Linear(4, 3), LIF())
    model[0].weight.data[:2, 0] = 0.0
    with activity(model) as seen:
        model(spikes)
    OperationsLoss(1.0)(seen).backward()
    assert spikes.grad is not None
    assert spikes.grad.tolist() == [[[0.5, 1.5, 1.5, 1.5]] * 2]


@pytest.mark.parametrize("how", [RateLoss(20.0), OperationsLoss(0.05)])
def test_training_with_a_loss_on_activity_lowers_it(how: Any) -> None:
    def spikes_after(loss: Any) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), LIF(), nn.Linear(32, 4))
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        x, target = torch.rand(6, 16, 8) * 4, torch.randint(4, (16,))
        for _ in range(30):
            with activity(model) as seen:
                values = model(x).mean(0)
            total = nn.functional.cross_entropy(values, target)
            if loss is not None:
                total = total + loss(seen)
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        return float(seen.spikes[0].detach().sum())

    assert spikes_after(how) < 0.5 * spikes_after(None)


def test_a_lower_bound_wakes_neurons() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), LIF())
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    x, rates = torch.rand(10, 4, 8), []
    for _ in range(60):
        with activity(model, operations=False) as seen:
            model(x)
        optimiser.zero_grad()
        RateLoss(10.0, lower=0.2, upper=0.3)(seen).backward()
        optimiser.step()
        rates.append(seen.spikes[0].detach().mean((0, 1)))
    assert rates[0].median() < 0.05
    assert 0.15 < rates[-1].median() < 0.35


@pytest.mark.parametrize("over", ["neuron", "layer"])
def test_a_single_neuron_needs_no_axis(over: Any) -> None:
    spikes = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # [T, B]
    assert RateLoss(1.0, power=1, over=over)(Activity([spikes])).item() == 0.5


def test_neurons_that_do_not_spike_are_no_activity() -> None:
    model = nn.Sequential(nn.Linear(2, 2), LI())
    with activity(model) as seen:
        model(torch.ones(3, 1, 2))
    assert not seen.spikes


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: RateLoss(-1.0), "must be >= 0, got -1.0"),
        (lambda: RateLoss(float("nan")), "must be >= 0, got nan"),
        (lambda: OperationsLoss(float("nan")), "must be >= 0, got nan"),
        (lambda: RateLoss(1.0, lower=0.2), "lower=0.2, upper=0.0"),
        (lambda: RateLoss(1.0, power=3), "1 or 2, got 3"),
        (lambda: RateLoss(1.0, over="batch"), "got 'batch'"),
        (lambda: RateLoss(1.0)(Activity()), "no spiking neuron ran"),
        (lambda: OperationsLoss(1.0)(Activity()), "no layer behind spiking neurons"),
        (lambda: OperationsLoss(1.0, target=0.0), "target must be > 0"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        wrong()


def test_recipes_add_losses_on_activity() -> None:
    def spikes_after(**settings: Any) -> float:
        torch.manual_seed(0)
        model = create("spiking_vgg", num_classes=2, steps=3, image_size=8, layers="4-M-8-fc8")
        settings = {"lr": 0.02, "backend": "torch", **settings}
        stepper = Stepper(model, TrainSettings(**settings), torch.device("cpu"), World())
        torch.manual_seed(1)
        x, labels = torch.rand(3, 8, 2, 8, 8) * 3, torch.tensor([0, 1] * 4)
        for number in range(8):
            stepper.step([(x, labels)], number, 0, 0.02).read()
        with activity(model) as seen:
            model(x)
        return sum(spikes.sum().item() for spikes in seen.spikes)

    plain = spikes_after()
    assert spikes_after(rate_weight=0.0, rate_upper=0.1) == plain
    assert spikes_after(rate_weight=200.0) < 0.8 * plain
    assert spikes_after(operations_weight=10.0, operations_target=100.0) < 0.8 * plain


def test_one_step_adds_exactly_the_penalty() -> None:
    losses = {}
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 3), LIF(v_threshold=0.2), nn.Linear(3, 2))
        settings = TrainSettings(rate_weight=weight, rate_power=1, rate_over="layer")
        stepper = Stepper(model, settings, torch.device("cpu"), World())
        x = torch.arange(24.0).view(3, 4, 2) / 8
        with activity(model, operations=False) as seen:
            model(x)
        rate = seen.spikes[0].mean().item()
        losses[weight] = stepper.step([(x, torch.tensor([0, 1, 0, 1]))], 0, 0, 1e-3).read().loss
    assert rate > 0
    assert losses[0.5] - losses[0.0] == pytest.approx(0.5 * rate, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rate_weight": -1.0}, "train.rate_weight must be >= 0"),
        ({"rate_lower": 0.2}, "train.rate_upper must be >= train.rate_lower=0.2"),
        ({"operations_target": 0.0}, "train.operations_target must be > 0"),
        ({"rate_weight": 1.0, "compile": True}, "train.compile must be false"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        TrainSettings(**settings)

"""What recipes of networks with delays need: groups of parameters, one cycle, speakers held out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikesim import datasets
from spikesim.delays import Delayed, DelayedLinear
from spikesim.errors import UserError
from spikesim.models import create
from spikesim.train.config import Config, TrainSettings
from spikesim.train.data import load_training, split_groups
from spikesim.train.loop import train
from spikesim.train.optim import build_optimizer
from spikesim.train.run import Run
from spikesim.train.schedule import learning_rate
from spikesim.train.training import Training, width_schedule

Make = Callable[..., Config]


@pytest.mark.parametrize("epochs", [8, 60, 150])
def test_one_cycle_is_that_of_torch(epochs: int) -> None:
    s = TrainSettings(epochs=epochs, lr=5e-3, schedule="one_cycle", rate_changes="epoch")
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs)
    for epoch in range(epochs):
        assert learning_rate(epoch, s) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        if epoch < epochs - 1:
            theirs.step()
    assert learning_rate(epochs + 0.5, s) == pytest.approx(5e-3 / 25 / 1e4)


def test_one_cycle_of_steps_spans_all_epochs() -> None:
    """As torch's over so many steps, but that its last step has the lowest rate."""
    steps = 5000
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps)
    rates = []
    for _ in range(steps - 1):
        rates.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    for epochs in (1, 4):
        s = TrainSettings(epochs=epochs, lr=1.0, schedule="one_cycle")
        found = [learning_rate(epochs * n / steps, s) for n in range(steps - 1)]
        assert found == pytest.approx(rates, abs=3e-3)


def model() -> nn.Module:
    return create(
        "delay_mlp", num_classes=3, steps=5, in_channels=1, image_size=(1, 4), hidden="6-6"
    )


def test_groups_are_two_optimizers_of_adam() -> None:
    """As published: weights, norms without decay; delays by a second optimiser."""
    groups = {"delay": {"lr": 0.1, "weight_decay": 0.0, "schedule": "cosine"}}
    s = TrainSettings(
        optimizer="adam", lr=5e-3, weight_decay=0.3, schedule="one_cycle", groups=groups
    )
    torch.manual_seed(0)
    ours = model()
    theirs = model()
    theirs.load_state_dict(ours.state_dict())
    optimizer = build_optimizer(ours, s)
    by_name = dict(theirs.named_parameters())
    delays = [p for name, p in by_name.items() if name.endswith("delay")]
    norms = [p for p in by_name.values() if p.dim() == 1]
    weights = [p for p in by_name.values() if all(p is not q for q in (*delays, *norms))]
    adam = torch.optim.Adam([{"params": weights, "weight_decay": 0.3}, {"params": norms}], lr=5e-3)
    positions = torch.optim.Adam(delays, lr=0.1)
    assert len(delays) == 3
    x = torch.rand(5, 7, 1, 1, 4)
    for _ in range(3):
        for one in (ours, theirs):
            torch.manual_seed(1)
            one.zero_grad()
            one(x).square().sum().backward()
        optimizer.step()
        adam.step()
        positions.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, by_name[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.groups={delay: {rate: 1}}", "unknown setting 'train.groups.delay.rate'"),
        ("train.groups={delay: {lr: fast}}", "train.groups.delay.lr must be a number"),
        ("train.groups={delay: 3}", "must be a group of settings"),
        ("train.groups={delay: {lr: -1}}", "train.groups.delay.lr must be > 0, got -1.0"),
        ("data.validation_split=test", "data.validation_split must be a split of its own"),
        ("train.delay_shrink=2", "in [0, 1]"),
        ("data.held_out=theo", "data.held_out must be a list [a text, ...]"),
        ("data.validation_groups=[a, 3, null]", "data.validation_groups must be a list"),
    ],
)
def test_wrong_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Config.load("nmnist-tiny", [override])
    assert message in str(caught.value)


def test_a_group_without_parameters_is_named() -> None:
    s = TrainSettings(groups={"delays": {"lr": 0.1}})
    with pytest.raises(UserError, match=r"train.groups.delays: .* did you mean 'delay'\?"):
        build_optimizer(model(), s)


def test_there_is_one_validation() -> None:
    for override in ("data.validation=0.5", "data.validation_split=valid"):
        with pytest.raises(UserError, match=r"data\.validation must be 0 where"):
            Config.load("shd-dcls", [override])


def test_speakers_are_lists_of_any_length() -> None:
    config = Config.load("shd-dcls", ["data.validation_groups=[]", "data.held_out=[1, b, c]"])
    assert config.data.validation_groups == ()
    assert config.data.held_out == ("1", "b", "c")


def test_rates_of_groups_follow_their_own_schedules() -> None:
    s = Config.load("shd-dcls").train
    delay = s.of_group("delay")
    assert [learning_rate(e, delay) for e in (0, 75, 150)] == pytest.approx([0.1, 0.05, 0.0])
    assert learning_rate(0, s) == pytest.approx(5e-3 / 25)
    assert learning_rate(44, s) == pytest.approx(5e-3)


def test_groups_held_out_leave_the_others() -> None:
    assert split_groups(["a", "b", "a", "c"], ["a"]) == ([1, 3], [0, 2])
    with pytest.raises(UserError, match="no recordings of 'ann'; did you mean 'anna'"):
        split_groups(["anna", "bob"], ["ann"])
    with pytest.raises(UserError, match="leave one"):
        split_groups(["a", "b"], ["b", "a"])


def test_widths_shrink_over_a_quarter_of_the_epochs() -> None:
    s = TrainSettings(epochs=16, delay_shrink=0.25)
    net = model()
    schedule = width_schedule(net, s)
    assert schedule is not None
    widths = []
    for epoch in range(6):
        schedule.set_epoch(epoch)
        widths += [{float(m.width) for m in net.modules() if isinstance(m, Delayed)}]
    assert [len(one) for one in widths] == [1] * 6
    assert [max(one) for one in widths] == pytest.approx(
        [12 * (0.23 / 12) ** (min(e, 4) / 4) for e in range(6)]
    )
    assert width_schedule(net, TrainSettings()) is None
    for module in net.modules():
        if isinstance(module, Delayed):
            module.delay.requires_grad_(False)
    assert width_schedule(net, s) is None


@pytest.fixture
def delayed(config: Make, bars: Path) -> Callable[..., Config]:
    """The task of two bars for a network with delays, one bar's recordings being a group's."""
    fixed = (
        "model.name=delay_mlp", "model.preset=null", "train.mixup=0",
        "model.sizes={hidden: 12-12, max_delay: 2}",
        "train.ema=0", "train.optimizer=adam", "train.schedule=one_cycle", "train.epochs=6",
        "train.rate_changes=epoch", "train.readout=softmax", "train.delay_shrink=0.5",
        "train.loss=cross_entropy", "train.groups={delay: {lr: 0.1, schedule: cosine}}",
    )  # fmt: skip
    return lambda *others: config(*fixed, *others)


def test_a_network_with_delays_learns_and_counts_its_best_validation(
    delayed: Callable[..., Config],
) -> None:
    settings = delayed("data.validation=0.25", "train.selection=validation", "data.batch_size=8")
    result = train(settings)
    run = Run(settings.run.path)
    seen = [record["validation_accuracy"] for record in run.metrics()]
    assert run.metrics()[0]["lr"] == pytest.approx(settings.train.lr / 25)
    best = run.checkpoint()
    held = load_training(settings)[1]
    assert held is not None
    from spikesim.train.evaluate import evaluate

    judged = evaluate(run.model(), held, readout="softmax")
    assert judged.accuracy == max(seen)
    assert result.selection == "validation"
    delays = {k: v for k, v in best.weights.items() if k.endswith("delay")}
    assert len(delays) == 3
    assert all(v.min() >= -0.2 and v.max() <= 2.2 for v in delays.values())
    with pytest.raises(UserError, match="needs validation recordings"):
        train(delayed("run.name=none", "train.selection=validation"))


def test_a_resumed_run_has_the_widths_and_rates_of_its_epoch(
    delayed: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(delayed("run.name=whole"))
    end = Training._end_epoch

    def stop(self: Training) -> None:
        end(self)
        if self.epoch == 2 and self.config.run.name == "cut":
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_end_epoch", stop)
    settings = delayed("run.name=cut")
    with pytest.raises(KeyboardInterrupt):
        train(settings)
    monkeypatch.undo()
    again = train(settings, resume=True)
    assert again.confusion == whole.confusion
    weights: list[Any] = [
        Run(settings.run.path.parent / name).checkpoint().weights for name in ("whole", "cut")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_groups_of_a_dataset_follow_its_samples(bars: Path) -> None:
    d = datasets.load("folder", root=bars, steps=3)
    assert len(d.groups) == len(d) == len(d.keys)
    assert d.subset([3, 1]).groups == [d.groups[3], d.groups[1]]


def test_delays_that_do_not_learn_are_whole_steps_in_training_too() -> None:
    layer = DelayedLinear(3, 2, max_delay=6)
    x = torch.rand(9, 2, 3)
    assert not torch.allclose(layer(x), layer.eval()(x))
    layer.delay.requires_grad_(False)
    assert torch.equal(layer.train()(x), layer.eval()(x))

"""The end of a training: accuracy, firing rates and energy on the test split."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from spikesim.train.config import Config
from spikesim.train.evaluate import Evaluation, evaluate
from spikesim.train.monitor import RateMonitor
from spikesim.train.run import Result
from spikesim.world import World

if TYPE_CHECKING:
    from spikesim.datasets import EventDataset

ENERGY_MODELS = ("classical", "step", "lemaire", "loihi")
"""What a run is charged by: the usual figure, memory in two ways, a chip."""
ENERGY_SAMPLES = 64
ENERGY_BATCH = 16


def judge(model: nn.Module, dataset: "EventDataset", config: Config, world: World) -> Evaluation:
    """Evaluate as the recipe says, on all processes together."""
    return evaluate(
        model,
        dataset,
        readout=config.train.readout,
        batch_size=max(1, config.data.batch_size // world.size),
        workers=config.data.workers,
        amp=config.train.amp,
        world=world,
    )


def conclude(
    model: nn.Module, test: "EventDataset", config: Config, world: World, seconds: float
) -> Result:
    """The result of a trained model; every process must call it and gets the same."""
    monitor = RateMonitor(model)
    monitor.active = True
    seen = judge(model, test, config, world)
    rates = monitor.rates(world)
    monitor.remove()
    return Result(
        accuracy=seen.accuracy,
        interval=seen.interval,
        correct=seen.correct,
        total=seen.total,
        selection=config.train.selection,
        seed=config.train.seed,
        epochs=config.train.all_epochs,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=seconds,
        firing_rates=rates,
        energy=_energy(model, test),
        classes=tuple(map(str, test.classes)),
        confusion=tuple(tuple(row) for row in seen.confusion.tolist()),
    )


def _energy(model: nn.Module, test: "EventDataset") -> dict[str, Any]:
    """Totals of the energy estimate on recordings spread evenly over the test split."""
    from spikesim.energy import estimate

    report = estimate(model, energy_recordings(model, test), models=ENERGY_MODELS).to_dict()
    return {name: value for name, value in report.items() if name != "layers"}


def energy_recordings(
    model: nn.Module, test: "EventDataset", samples: int = ENERGY_SAMPLES
) -> Iterator[Tensor]:
    """Batches of recordings spread evenly over a split, on the model's device."""
    weight = next(model.parameters())
    indices = list(range(0, len(test), -(-len(test) // samples)))
    for first in range(0, len(indices), ENERGY_BATCH):
        x, _ = test.__getitems__(indices[first : first + ENERGY_BATCH])
        assert isinstance(x, Tensor)
        yield x.to(weight.device, weight.dtype)

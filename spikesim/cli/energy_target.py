"""What ``spikesim energy`` may be given: a run, a model's name, or a network's name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikesim.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spikesim.energy import Counts

EVENTS = 0.1
"""Random events per pixel, polarity and step."""
EVENT_SAMPLES = 4
"""Of random events."""
BATCH = 16
MS = 1000.0
"""Of a network."""


@dataclass(frozen=True)
class Target:
    """Something whose operations can be counted.

    Attributes:
        about: one line, with what the reader has to know of the data.
        count: the counts; its argument shows how far it is.
        call: one batch of the simulation, and how many samples it has.
        device: where it runs.
    """

    about: str
    count: Callable[[bool], "Counts"]
    call: Callable[[], object]
    samples: int
    device: str


@dataclass(frozen=True)
class Wish:
    """Options of the command that choose data; ``None`` where they were not given."""

    data: str | None
    root: Path | None
    samples: int | None
    ms: float | None
    device: str

    def refuse(self, why: str, *names: str) -> None:
        """Options that would change nothing.

        Raises:
            UserError: one of them was given.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise UserError(f"--{name}: {why}; leave it out")


def target(what: str, settings: Sequence[str], wish: Wish) -> Target:
    """The thing of that name.

    Raises:
        UserError: nothing has that name; all that exists is listed.
    """
    from spikesim import models
    from spikesim.cli.run import find_run
    from spikesim.network.recipes import RECIPES

    is_run = Path(what, "config.yaml").is_file() or Path("runs", what, "config.yaml").is_file()
    if is_run or Path(what).name != what:
        if settings:
            raise UserError(f"{settings[0]}: a run has its settings already; leave it out")
        return _of_run(find_run(what), wish)
    if what in models.names():
        return _of_model(what, settings, wish)
    if what in RECIPES:
        return _of_network(what, settings, wish)
    raise UserError(
        f"no run, model or network {what!r}; models: {', '.join(models.names())}; networks: "
        f"{', '.join(RECIPES)}; runs lie in {Path('runs').resolve()}"
    )


def _of_run(run: Any, wish: Wish) -> Target:
    from spikesim.train.device import choose_device
    from spikesim.world import World

    wish.refuse("a run is counted on its own test recordings", "data", "root", "ms")
    device = choose_device(wish.device, World())
    model, test = run.model().to(device), run.dataset("test")
    return _of_data(
        f"{run.path}, on recordings spread over its {len(test)} for testing",
        model, test, wish, str(device),
    )  # fmt: skip


def _of_model(name: str, settings: Sequence[str], wish: Wish) -> Target:
    import torch
    from torch.optim.swa_utils import update_bn

    from spikesim.models import Task, create, info
    from spikesim.train.device import choose_device
    from spikesim.world import World

    wish.refuse("a model has no biological time, but steps=N", "ms")
    # Batch norm is given the statistics of the data below: as it begins, the network is silent.
    given = _settings(settings)
    chosen = info(name).presets.get(str(given.get("preset", "")))
    task: dict[str, Any] = asdict(Task(10, 4) if chosen is None else chosen.task)
    device = choose_device(wish.device, World())
    if wish.data is not None:
        from spikesim.datasets import load

        steps = given.get("steps", task["steps"])
        if not isinstance(steps, int):
            raise UserError(f"steps={steps!r}: give a whole number")
        dataset = load(wish.data, split="test", root=wish.root, steps=steps)
        p, *size = (int(length) for length in dataset.frame_shape)
        task |= {"num_classes": len(dataset.classes), "in_channels": p, "image_size": size}
        model = create(name, **{**task, **given}).to(device)
        update_bn([next(_batches(model, dataset, BATCH, show=False))], model.eval())
        about = f"{name}, untrained, on {wish.data}: rates are not those of a trained model"
        return _of_data(about, model, dataset, wish, str(device))
    wish.refuse("there is no dataset to look for without --data", "root")
    torch.manual_seed(0)
    model = create(name, **{**task, **given}).to(device)
    task |= given
    side = task["image_size"]
    pixels = (side, side) if isinstance(side, int) else side
    shape = (task["steps"], wish.samples or EVENT_SAMPLES, task["in_channels"], *pixels)
    x = torch.poisson(torch.full(shape, EVENTS)).to(device)
    update_bn([x], model.eval())
    about = (
        f"{name}, untrained, on random events ({EVENTS:g} a pixel and step): sizes are exact, "
        "rates are not those of a trained model"
    )

    def counted(_: bool) -> "Counts":
        from spikesim.energy import count

        return count(model, x)

    return Target(about, counted, lambda: _run(model, x), x.shape[1], str(device))


def _of_network(name: str, settings: Sequence[str], wish: Wish) -> Target:
    from spikesim.cli.simulate_keys import recipe_named
    from spikesim.cli.simulate_keys import settings as keys_of_recipe

    wish.refuse("a network has no recordings, but --ms of time", "data", "root", "samples")
    ms = MS if wish.ms is None else wish.ms
    where = [] if wish.device == "auto" else [f"device={wish.device}"]
    make = recipe_named(name)
    network = make(**keys_of_recipe(make, [*settings, *where]))

    def counted(show: bool) -> "Counts":
        from spikesim.energy.network import count_network

        return count_network(network, ms, progress=show)

    about = f"{name}: {network.neurons:,} neurons, {ms:g} ms of biological time"
    return Target(about, counted, lambda: network.run(ms), 1, str(network.device))


def _of_data(about: str, model: "nn.Module", dataset: Any, wish: Wish, device: str) -> Target:
    from spikesim.train.outcome import ENERGY_SAMPLES

    samples = wish.samples or ENERGY_SAMPLES

    def counted(show: bool) -> "Counts":
        from spikesim.energy import count

        return count(model, _batches(model, dataset, samples, show=show))

    x = next(iter(_batches(model, dataset, BATCH, show=False)))
    return Target(about, counted, lambda: _run(model, x), x.shape[1], device)


def _batches(model: "nn.Module", dataset: Any, samples: int, *, show: bool) -> Any:
    """Recordings spread over a split, behind a progress bar on standard error."""
    from spikesim.train.outcome import energy_recordings

    batches = energy_recordings(model, dataset, samples)
    if not show:
        return batches
    every = -(-len(dataset) // samples)
    return _bar(batches, -(-len(dataset) // (every * BATCH)))


def _bar(batches: Iterable["Tensor"], number: int) -> Iterable["Tensor"]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(batches, "counting", total=number, console=console, transient=True)


def _run(model: "nn.Module", x: "Tensor") -> object:
    import torch

    with torch.inference_mode():
        return model(x)


def _settings(given: Sequence[str]) -> dict[str, Any]:
    from spikesim.train.typed import parse_yaml

    read: dict[str, Any] = {}
    for one in given:
        key, _, value = one.partition("=")
        if key in read:
            raise UserError(f"{key} is given twice; give one value")
        read[key] = parse_yaml(value, f"the value of {key}")
    return read

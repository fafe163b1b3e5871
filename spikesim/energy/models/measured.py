"""Whole networks measured on a chip, computed by the chip's model from their published activity."""

import tomllib
from dataclasses import dataclass

from spikesim.energy.layer import BINARY, Counts, LayerCounts
from spikesim.energy.model import joules
from spikesim.energy.models import get, source


@dataclass(frozen=True)
class Measured:
    """A published measurement and what its chip's model says.

    Attributes:
        name: of the network and its chip.
        measured: joule, of what ``unit`` says.
        computed: joule by the model.
        source: where measurement and activity are published.
        note: what the reader should know.
    """

    name: str
    measured: float
    computed: float
    unit: str
    source: str
    note: str

    @property
    def error(self) -> float:
        """Computed over measured, less one."""
        return self.computed / self.measured - 1.0


def networks() -> tuple[Measured, ...]:
    """All networks of the data file."""
    return tuple(_compute(line) for line in tomllib.loads(source.text("measured.toml"))["network"])


def _compute(line: dict[str, str | float]) -> Measured:
    """The model's energy of one layer of synapses and one of neurons."""
    steps, neurons, events = (float(line[key]) for key in ("steps", "neurons", "events"))
    synapses = LayerCounts(
        name="synapses",
        kind="synapses",
        values=BINARY,
        effective_acs=events,
        spikes=float(line["spikes_in"]),
        passes=steps,
    )
    cells = LayerCounts(
        name="neurons",
        kind="neuron",
        emitted=BINARY,
        spikes=float(line["spikes"]),
        updates=neurons * steps,
        passes=steps,
    )
    model = get(str(line["model"]), seconds_per_step=float(line["seconds_per_step"]))
    spent = joules(model, Counts((synapses, cells), samples=1, steps=int(steps)))
    return Measured(
        name=str(line["name"]),
        measured=float(line["measured"]),
        computed=spent.total,
        unit=str(line["unit"]),
        source=str(line["source"]),
        note=str(line["note"]),
    )

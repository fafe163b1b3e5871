"""What a module becomes, before anything is built: layers, projections, and their size."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from spikesim.network.convert_form import Layer
from spikesim.network.convert_trace import INPUT
from spikesim.network.schedule import LARGEST_BLOCK


@dataclass(frozen=True)
class Row:
    """A population to be, with what reaches it.

    Attributes:
        name: path of the layer.
        neurons: of it.
        synapses: onto it; an estimate where several maps are joined, such as a pooling and a
            convolution.
        bytes: of its neurons and synapses.
    """

    name: str
    neurons: int
    synapses: int
    bytes: int


class Plan:
    """A module as layers; printed, it says how large the network will be.

    Attributes:
        module: a copy, on the CPU.
        layers: the input first, the output last.
        takes_spikes: whether the input is a population, or currents into the first layers.
    """

    def __init__(self, module: nn.Module, layers: Sequence[Layer], takes_spikes: bool) -> None:
        self.module, self.layers, self.takes_spikes = module, layers, takes_spikes

    def rows(self, itemsize: int = 8) -> list[Row]:
        """The populations, with states of ``itemsize`` bytes: 8 for float64, 4 for float32."""
        return [self._row(layer, itemsize) for layer in self.populations]

    @property
    def populations(self) -> list[Layer]:
        """Layers that become populations."""
        return [layer for layer in self.layers if self.takes_spikes or layer.name != INPUT]

    @property
    def synapses(self) -> int:
        """Of the whole network."""
        return sum(row.synapses for row in self.rows())

    def bytes(self, itemsize: int = 8) -> int:
        """Memory of neurons and synapses."""
        return sum(row.bytes for row in self.rows(itemsize))

    def _row(self, layer: Layer, itemsize: int) -> Row:
        neurons = prod(layer.shape)
        synapses = sum(
            term.synapses
            for term in layer.terms()
            if self.takes_spikes or term.source.name != INPUT
        )
        # A synapse: its target and its weight. A neuron: its states, and a ring of steps.
        each = (2 if neurons <= 2**16 else 4) + itemsize
        states = itemsize * (len(layer.neuron.states) + LARGEST_BLOCK)
        return Row(layer.name, neurons, synapses, neurons * states + synapses * each)

    def __str__(self) -> str:
        """A table."""
        rows = self.rows()
        whole = Row("all", sum(r.neurons for r in rows), self.synapses, self.bytes())
        wide = max(len(row.name) for row in (*rows, whole))
        lines = [f"{'layer':{wide}} {'neurons':>12} {'synapses':>14} {'MiB':>9}"]
        lines += [
            f"{row.name:{wide}} {row.neurons:12,} {row.synapses:14,} {row.bytes / 2**20:9,.1f}"
            for row in (*rows, whole)
        ]
        return "\n".join(lines)

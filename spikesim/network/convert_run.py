"""A converted module: a network that is fed with sequences and gives its spikes as arrays.

Shape legend: ``T`` steps, ``B`` samples, ``...`` neurons; time first.
"""

import copy
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesim.counts import emitted
from spikesim.errors import UserError, nearest
from spikesim.network.convert_form import Array, Layer, Term, output_state
from spikesim.network.convert_weights import put_weights
from spikesim.network.network import Network
from spikesim.network.population import Population
from spikesim.network.probe import SpikeProbe
from spikesim.network.projection import Projection


class Feed:
    """What a population gets in each step of a run, as a function of the time; else nothing.

    Args:
        size: of the population.
        dt: of the network.
        matrices: steps that it takes -> from the input ``[n_in]`` of a step to the population;
            ``None``: as it is, at once.
    """

    def __init__(self, size: int, dt: float, matrices: Mapping[int, Any] | None = None) -> None:
        self._dt, self._matrices = dt, matrices
        self._first, self._rows, self._none = 0, np.zeros((0, size)), np.zeros(size)

    def put(self, x_TN: Array, first: int) -> None:
        """Rows of the steps from ``first`` on; beyond them, what then is still under way."""
        if self._matrices is None:
            self._rows = x_TN
        else:
            # A sample that goes on begins after the last one's first step, a new one does not.
            rest = self._rows[first - self._first :] if first > self._first else self._rows[:0]
            steps = len(x_TN)
            self._rows = np.zeros((max(steps + max(self._matrices), len(rest)), self._none.size))
            self._rows[: len(rest)] = rest
            for delay, matrix in self._matrices.items():
                self._rows[delay : delay + steps] += x_TN @ matrix
        self._first = first

    def __call__(self, ms: float) -> Array:
        """The row of the step that begins then."""
        step = round(ms / self._dt) - self._first
        return self._rows[step] if 0 <= step < len(self._rows) else self._none


class Converted:
    """A module as a network; made by :func:`spikesim.network.convert.to_network`.

    Time of the network has the unit of the neurons' ``dt``. Beside the modules' layers there is
    ``"(input)"``, which repeats binary input, and ``"(output)"``, which holds the values of a
    module that does not end in neurons. A max pooling and a product of spikes are populations too.

    Attributes:
        network: to be run, probed, driven and saved as any other; what is added (plasticity, noise)
            is added before the first run.
        populations: by the path of the layer in the module; one that is called again is listed
            again, as ``name#2``.
    """

    def __init__(
        self,
        module: nn.Module,
        network: Network,
        layers: Sequence[Layer],
        populations: Mapping[str, Population],
        synapses: Sequence[tuple[Term, Projection]],
        feeds: Sequence[Feed],
        largest: float | None,
    ) -> None:
        self.network, self.populations = network, populations
        self.layers, self.synapses = layers, synapses
        self._module, self._feeds, self._largest = module, feeds, largest
        self._probes: dict[str, SpikeProbe] = {
            name: network.probe(population, "spikes")
            for name, population in populations.items()
            if emitted(population.neuron) == 1
        }
        last = populations[layers[-1].name]
        self._values = None
        if last.name not in self._probes:
            self._values = network.probe(last, output_state(last.neuron))
        self._initial: dict[str, NDArray[Any]] = {}
        self._spikes: dict[str, NDArray[np.bool_]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of the states."""
        return torch.float64 if self.network.dtype == np.float64 else torch.float32

    @property
    def modules(self) -> tuple[str, ...]:
        """Populations that a module of the same path gives the spikes of, in the order they run."""
        names = (layer.name for layer in self.layers if layer.is_module)
        return tuple(name for name in names if name in self._probes)

    def run(self, x: Tensor, *, restart: bool = True) -> Tensor:
        """Run the samples ``[T, B, ...]`` one after the other; returns what the module would.

        Args:
            x: as the module takes it.
            restart: each sample begins in the initial state, weights excepted; otherwise the one
                sample goes on from where the network is.

        Raises:
            UserError: an input of another shape or range than the network was made for; several
                samples that are to go on; a network that has been run by itself before.
        """
        rows_TBN = self._checked(x, restart)
        steps, samples = rows_TBN.shape[:2]
        shapes = {layer.name: layer.shape for layer in self.layers}
        self._spikes = {
            name: np.zeros((steps, samples, prod(shapes[name])), np.bool_) for name in self._probes
        }
        outputs = []
        for sample in range(samples):
            if restart:
                self._restart()
            first = self.network.step
            for feed in self._feeds:
                feed.put(rows_TBN[:, sample], first)
            for probe in (*self._probes.values(), *filter(None, [self._values])):
                probe.clear()
            self.network.run(steps * self.network.dt)
            for name, probe in self._probes.items():
                self._spikes[name][probe.steps - first, sample, probe.senders] = True
            if self._values is not None:
                outputs.append(self._values.values)
        last = self.layers[-1]
        if self._values is None:
            return self.spikes(last.name)
        values = torch.from_numpy(np.stack(outputs, axis=1))
        return values.view(steps, samples, *last.shape)

    def spikes(self, layer: str) -> Tensor:
        """Spikes of a layer in the last run, ``[T, B, ...]`` of 0 and 1.

        Raises:
            UserError: no layer of that name, or nothing was run.
        """
        if layer not in self._probes:
            raise UserError(f"no layer {layer!r} spikes{nearest(layer, tuple(self._probes))}")
        if not self._spikes:
            raise UserError("nothing was run yet: call run(x)")
        shape = next(known.shape for known in self.layers if known.name == layer)
        found = torch.from_numpy(self._spikes[layer]).to(self.dtype)
        return found.view(*found.shape[:2], *shape)

    @property
    def synaptic_events(self) -> float:
        """Weights that spikes added to some neuron in the last run, for one sample on average.

        Raises:
            UserError: nothing was run.
        """
        if not self._spikes:
            raise UserError("nothing was run yet: call run(x)")
        total = 0
        # A projection is listed once for each delay of its synapses.
        for projection in {id(one): one for _, one in self.synapses}.values():
            spikes = self._spikes[projection.pre.name]
            degrees = np.diff(projection.builder.download(projection.indptr))
            total += int(spikes.sum((0, 1)) @ degrees)
        samples: int = next(iter(self._spikes.values())).shape[1]
        return total / samples

    def to_module(self) -> nn.Module:
        """The module again, with the weights that the synapses have now.

        Biases, batch norm and neurons are those of the module that was converted.

        Raises:
            UserError: synapses that share one weight of the module have come to differ, or are
                products of several.
        """
        module = copy.deepcopy(self._module)
        if self.network.is_complete:  # until then they are the module's, and not yet in quanta
            put_weights(module, self.synapses)
        return module

    def _restart(self) -> None:
        now = self.network.state_dict()
        if not self._initial:
            if self.network.step:
                raise UserError("the network has run by itself: go on with run(x, restart=False)")
            states = {
                f"{population.name}.{state}"
                for population in self.populations.values()
                for state in population.state
            }
            self._initial = {
                name: array
                for name, array in now.items()
                if name in states or name == "step" or name.endswith(".ring")
            }
        self.network.load_state_dict({**now, **self._initial})

    def _checked(self, x: Tensor, restart: bool) -> Array:
        shape = self.layers[0].shape
        if x.dim() < 2 or tuple(x.shape[2:]) != shape or 0 in x.shape[:2]:
            wanted = ", ".join(map(str, shape))
            raise UserError(f"input is {list(x.shape)}, the network takes [T, B, {wanted}]")
        if not restart and x.shape[1] != 1:
            raise UserError(f"{x.shape[1]} samples cannot go on from one state; give one")
        rows = x.detach().cpu().double().flatten(2).numpy()
        if self._largest is None:
            if not ((rows == 0) | (rows == 1)).all():
                raise UserError(
                    "input is not 0 or 1: convert with inputs='currents' for counts and values"
                )
        elif not np.abs(rows).max() <= self._largest:
            raise UserError(
                f"input reaches {np.abs(rows).max():g}, the network was made for up to "
                f"{self._largest:g}: convert with largest={np.abs(rows).max():g}"
            )
        return rows

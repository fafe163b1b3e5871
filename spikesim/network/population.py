"""Populations: neurons of one model, and trains of spikes given in advance."""

import copy
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from spikesim import seeds
from spikesim.constraint import TimeConstant
from spikesim.counts import emitted
from spikesim.errors import UserError, nearest
from spikesim.network.distributed import Share
from spikesim.network.given import check_held, reals, whole
from spikesim.network.grid import LONGEST
from spikesim.network.memory import check_memory
from spikesim.network.values import Value, resolve
from spikesim.neuron import Neuron
from spikesim.types import Named, Number

Size: TypeAlias = int | tuple[int, ...]
Real: TypeAlias = NDArray[np.floating[Any]]


class Group:
    """What spikes: neurons, or given trains. Neurons are counted in the order of ``shape``."""

    def __init__(self, name: str, size: Size) -> None:
        self.name = name
        axes = np.atleast_1d(np.asarray(size, object)).tolist()
        self.shape = tuple(whole(f"size of {name}", n, 1) for n in axes or [size])
        self.size = math.prod(self.shape)
        if self.size >= 2**31:
            raise UserError(f"size of {name} is {self.size}; at most 2**31 - 1 neurons fit")
        self.share = Share((0, self.size))
        """Which neurons run in this process: all, if there are no others."""

    def __len__(self) -> int:
        return self.size

    def chosen(self, neurons: ArrayLike | None) -> NDArray[np.int32]:
        """Indices of some neurons, ascending as given; ``None``: all.

        Raises:
            UserError: an index that is no whole number or out of range.
        """
        if neurons is None:
            return np.arange(self.size, dtype=np.int32)
        wanted = np.atleast_1d(np.asarray(neurons))
        if wanted.ndim != 1 or not (wanted.dtype.kind in "iu" or wanted.size == 0):
            cure = ", such as np.flatnonzero(mask)" if wanted.dtype.kind == "b" else ""
            raise UserError(
                f"neurons of {self.name} must be a list of whole numbers{cure}, got {neurons!r}"
            )
        wrong = (wanted < 0) | (wanted >= self.size)
        if wrong.any():
            raise UserError(
                f"neuron {wanted[wrong][0]} is not in {self.name}, which has 0 to {self.size - 1}"
            )
        return wanted.astype(np.int32)


class Population(Group):
    """Neurons of one model, all updated in each step; made by :meth:`Network.population`.

    Attributes:
        name, shape, size: as given; ``size`` counts the neurons.
        neuron: the network's own copy of the model, at the network's ``dt``.
        receptors: names of the model's inputs.
        state: name -> ``[size]``, in the network's dtype. These are the arrays that the run
            changes: between two runs they may be read, and written with ``state["v"][:] = ...``.
            Of several processes each changes its own ``share``; ``net.state_dict()`` brings the
            others up to date.
    """

    def __init__(
        self,
        neuron: Neuron,
        size: Size,
        *,
        name: str,
        initial: Mapping[str, Value],
        dt: float,
        dtype: np.dtype[Any],
        seed: int,
    ) -> None:
        super().__init__(name, size)
        own = _at_step(neuron, dt, name)
        check_memory(8 * self.size * (2 + len(own.states)), f"the neurons of {name}")
        self.dtype = dtype
        self.receptors = own.inputs
        self.state: dict[str, Real] = {}
        self.take(own)
        if not isinstance(initial, Mapping):
            raise UserError(f"initial of {name} must be such as {{'v': -60.0}}, got {initial!r}")
        for key, value in initial.items():
            if key not in self.state:
                raise UserError(f"{name} has no state {key!r}" + nearest(key, self.neuron.states))
            try:
                values = resolve(value, self.size, seeds.key(seed, key))
                check_held("value", values, dtype)
                self.state[key][:] = values
            except UserError as error:
                raise UserError(f"initial {key} of {name}: {error}") from error

    def take(self, neuron: Neuron) -> None:
        """Run as a model whose states are those so far, which stay as they are, and maybe more."""
        self.neuron = neuron
        values = self.values()
        self.parameters: dict[str, float | Real] = {
            key: self._flat(key, value) for key, value in neuron.bound().values(values).items()
        }
        start = neuron.initial(values)
        for key in neuron.states:
            if key not in self.state:
                self.state[key] = np.empty(self.size, self.dtype)
                self.state[key][:] = self._flat(key, start[key])

    def values(self) -> Named:
        """Parameters and constants of the model, which broadcast against a step ``[1, ...]``."""
        # Constants of a step are computed in float64, whatever the states are stored in.
        return self.neuron.values(torch.zeros(1, *self.shape, dtype=torch.float64))

    def _flat(self, key: str, value: Number) -> float | Real:
        """A number, or one value per neuron, from what broadcasts against a step ``[1, ...]``."""
        array = np.asarray(value, np.float64)
        if np.isnan(array).any():
            raise UserError(f"{key} of {self.name} is not a number")
        check_held(f"{key} of {self.name}", array[np.isfinite(array)], self.dtype)
        if array.size == 1:
            return float(array.reshape(()))
        return np.broadcast_to(array, (1, *self.shape)).reshape(-1).astype(self.dtype)

    def receptor(self, name: str | None, *, low: float = 0.0, high: float = 0.0) -> str:
        """The receptor that weights between ``low`` and ``high`` go to, if none is named.

        Raises:
            UserError: there is no such receptor, or weights of both signs name none.
        """
        if name is not None:
            if name not in self.receptors:
                raise UserError(
                    f"{self.name} has no receptor {name!r}" + nearest(name, self.receptors)
                )
            return name
        if not {"excitatory", "inhibitory"} <= set(self.receptors):
            return self.receptors[0]
        if low < 0 < high:
            raise UserError(
                f"weights onto {self.name} lie between {low:g} and {high:g}: name the receptor, "
                "or clip them to one sign"
            )
        return "inhibitory" if low < 0 else "excitatory"

    def current_receptor(self, name: str | None) -> str:
        """The receptor of injected currents: ``"current"`` where there is one."""
        if name is None and "current" in self.receptors:
            return "current"
        return self.receptor(name)


class SpikeTrains(Group):
    """A source of spikes known in advance; made by :meth:`Network.spikes`.

    Args:
        times: of the spikes, ms, >= 0; each belongs to the step in which it falls, whose end is
            the time that probes report.
        senders: the neuron of each.
    """

    def __init__(
        self, times: ArrayLike, senders: ArrayLike, size: Size, *, name: str, dt: float
    ) -> None:
        super().__init__(name, size)
        when = reals(f"times of {name}", times).reshape(-1)
        if (when < 0).any():
            raise UserError(f"times of {name} must be >= 0 ms, got {when.min():g}")
        if (when > LONGEST * dt).any():
            raise UserError(
                f"times of {name} reach {when.max():g} ms, more than 2**62 steps of dt = {dt} ms"
            )
        who = self.chosen(np.asarray(senders).reshape(-1))
        if when.shape != who.shape:
            raise UserError(f"{name} has {when.size} times and {who.size} senders; give one each")
        step = np.maximum(np.ceil(when / dt - 1e-6).astype(np.int64) - 1, 0)
        order = np.lexsort((who, step))
        self.steps, self.senders = step[order], who[order]


def _at_step(neuron: Neuron, dt: float, name: str) -> Neuron:
    """A copy of a neuron for steps of ``dt``."""
    if not isinstance(neuron, Neuron):
        raise UserError(f"a population needs a neuron, such as LIFExp(), got {neuron!r}")
    own = copy.deepcopy(neuron).requires_grad_(False).cpu()
    own.dt = dt
    for key in own.parameter_names:
        constraint, value = own._constraints[key], getattr(own, key)
        if isinstance(constraint, TimeConstant) and value is not None:
            least = float(torch.as_tensor(value).min())
            if least < dt:
                wish = TimeConstant(dt).wish
                raise UserError(f"{key} of {name} must be {wish}, got {least:g}")
    return own


def spikes_only(group: Group) -> None:
    """Refuse what does not emit 0 or 1.

    Raises:
        UserError: the neurons emit a membrane or counts.
    """
    if isinstance(group, Population) and emitted(group.neuron) != 1:
        raise UserError(
            f"{group.name} emits no spikes of 0 or 1: only the states of "
            f"{type(group.neuron).__name__} can be probed"
        )

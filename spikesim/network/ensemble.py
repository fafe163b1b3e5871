"""Several independent networks, run together: on a GPU in the same launches."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

import numpy as np

from spikesim.errors import UserError
from spikesim.network import running
from spikesim.network.build import Machine
from spikesim.network.given import real
from spikesim.network.grid import whole_steps
from spikesim.network.network import Network


class Ensemble:
    """Networks that share nothing but time; each gives the bits it gives alone.

    A GPU that one network leaves idle most of the time runs several in little more time. From now
    on they are run by the ensemble alone; their probes are read as ever.

    Args:
        networks: of one ``dt``, dtype and device, none of which has been run.

    Raises:
        UserError: networks that do not go together.

    >>> from spikesim.network.recipes import brunel
    >>> both = Ensemble([brunel(scale=0.02, seed=seed) for seed in (1, 2)])
    >>> probes = [net.probe(net.groups[0], "spikes") for net in both.networks]
    >>> both.run(10.0)
    >>> [probe.duration for probe in probes]
    [10.0, 10.0]
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = networks = list(networks) if isinstance(networks, Iterable) else [networks]
        if not networks or not all(isinstance(net, Network) for net in networks):
            raise UserError(f"an ensemble needs networks, got {networks}")
        self.dt, self.threads = networks[0].dt, networks[0].threads
        self.device = networks[0].device
        for name in ("dt", "dtype", "device", "step"):
            values = [str(getattr(net, name)) for net in networks]
            if len(set(values)) > 1:
                raise UserError(f"networks of an ensemble have one {name}, got {values}")
        if len(set(map(id, networks))) < len(networks) or any(net.is_complete for net in networks):
            raise UserError("networks of an ensemble are different ones that have not been run")
        if any(net.world.size > 1 for net in networks):
            raise UserError("networks of an ensemble run in one process each: see sweep")
        self.world = networks[0].world
        self._machine: Machine | None = None
        self._player: running.Player | None = None

    @property
    def step(self) -> int:
        """Steps run so far."""
        return self.networks[0].step

    @step.setter
    def step(self, step: int) -> None:
        for net in self.networks:
            net.step = step

    @property
    def time(self) -> float:
        """Time run so far, ms."""
        return self.networks[0].time

    def run(self, ms: float, *, progress: bool = False) -> None:
        """Run all of them on for ``ms``; as :meth:`Network.run`.

        Raises:
            UserError: as there; or one of them was put to another time than the others.
        """
        steps = int(whole_steps(real("run", ms), self.dt, "run"))
        if len({net.step for net in self.networks}) > 1:
            raise UserError(f"networks are at {[net.time for net in self.networks]} ms")
        if any(net._player not in (None, self._player) for net in self.networks):
            raise UserError("a network of this ensemble was run alone or by another one")
        if self._machine is None:
            self._machine = joined([net._built() for net in self.networks])
        probes = [probe for net in self.networks for probe in net.probes]
        if self._player is None or self._player.probes != probes:
            how = self.threads, self.device, self._player
            self._player = running.Player(self._machine, probes, *how)
            for net in self.networks:
                net._player = self._player
        running.run(self, self._player, steps, progress)


def joined(machines: Sequence[Machine]) -> Machine:
    """One machine of several, whose blocks become as short as the shortest."""
    block = min(machine.block for machine in machines)
    for machine in (m for m in machines if m.block != block):
        for source in machine.groups.values():
            source.spikes = np.zeros((block, source.spikes.shape[1]), np.uint32)
    parts = {
        each.name: {key: v for m in machines for key, v in getattr(m, each.name).items()}
        for each in fields(Machine)
        if each.name != "block"
    }
    return Machine(block=block, **parts)

"""A network: populations, what connects and drives them, and what is recorded of a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from numpy.typing import ArrayLike, NDArray

from spikesim.errors import BackendError, UserError
from spikesim.network import running
from spikesim.network.build import Machine, build
from spikesim.network.given import real
from spikesim.network.grid import whole_steps
from spikesim.network.parts import Parts
from spikesim.network.plasticity.probe import WeightProbe, make_weight_probe
from spikesim.network.population import Group, Population
from spikesim.network.probe import Probe, RateProbe, SpikeProbe, StateProbe, make_probe
from spikesim.network.projection import Projection
from spikesim.network.readout import Readout, ReadoutProbe, make_readout_probe
from spikesim.network.saved import put, whole_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Network(Parts):
    """Populations of neurons, connected by sparse, delayed synapses, run step by step.

    Units are ms, mV, pA and nS, or whatever a neuron documents. In step ``n``, which ends at
    ``(n + 1) dt``, a population takes what has arrived, updates its neurons, and sends their spikes
    into step ``n + d`` for a delay of ``d`` steps. Times of spikes and states are ends of steps.

    What arrives in a step is summed in fixed point (:mod:`spikesim.network.quantum`), and each
    random number is a function of seed, neuron and step, so that a run gives the same bits each
    time, for any number of threads, and however it is divided.

    Args:
        dt: step, ms.
        seed: of connections, drawn values, drives and stochastic neurons.
        dtype: of states, ``"float32"`` or ``"float64"``; inputs are summed in 32 or 64 bits.
        threads: that share the work on a CPU.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``: the same bits on each, for neurons that take
            ``exp``, ``log`` and ``tanh`` in float32 or not at all.

    Raises:
        UserError: an argument out of its range.
        BackendError: no CUDA device that can serve.

    >>> from spikesim.network import FixedProbability, Network
    >>> from spikesim.neurons import LIFDelta
    >>> net = Network(dt=0.1, seed=1)
    >>> cells = net.population(LIFDelta(), 100, name="cells")
    >>> loop = net.connect(cells, cells, FixedProbability(0.1), weight=-0.5, delay=1.5)
    >>> drive = net.poisson(cells, rate=20_000.0, weight=0.1)
    >>> spikes = net.probe(cells, "spikes")
    >>> net.run(10.0)
    >>> net.time
    10.0
    """

    def __init__(
        self,
        dt: float = 0.1,
        *,
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        super().__init__(dt, seed, dtype, threads, device)
        self.step = 0
        """Steps run so far."""
        self.probes: list[Probe] = []
        self._machine: Machine | None = None
        self._player: running.Player | None = None

    def readout(
        self,
        pre: Population,
        outputs: int,
        *,
        state: str = "r",
        weight: ArrayLike = 0.0,
        post: Population | None = None,
        feedback: ArrayLike | None = None,
        receptor: str | None = None,
        delay: float | None = None,
        largest: float | None = None,
        name: str | None = None,
    ) -> Readout:
        """Add weighted sums of a state, which may act back on neurons in each step.

        Args:
            pre: whose state.
            outputs: how many sums.
            state: name of the state; :func:`~spikesim.neurons.synaptic.synaptic` gives neurons
                their filtered spikes, ``"r"``.
            weight: one value, or ``[outputs, neurons]``; may be changed between runs.
            post: who is fed back; by default ``pre``.
            feedback: ``[outputs, neurons]`` of ``post``, in the unit of the receptor for an output
                of 1; ``None``: none.
            receptor: as in :meth:`current`.
            delay: ms, a step at least and by default.
            largest: the largest size of an output that is fed back; one beyond is fed back as this.
            name: unique in the network.

        Raises:
            UserError: an unknown state, arrays of a wrong shape, feedback without ``largest``, or
                several processes.
            BackendError: a GPU, which has no such readouts yet.
        """
        self._open("readout")
        self._check_post(pre)
        self._check_post(pre if post is None else post)
        if self.world.size > 1:
            raise UserError("a readout needs all neurons in one process")
        if self.device.type != "cpu":
            raise BackendError("readouts run on a CPU: pass device='cpu'")
        name = self._name(name, f"readout of {pre.name}")
        found = Readout(
            name,
            pre,
            outputs,
            state,
            post or pre,
            receptor,
            weight=weight,
            feedback=feedback,
            delay=delay,
            largest=largest,
            dt=self.dt,
        )
        self.readouts.append(found)
        return found

    @property
    def time(self) -> float:
        """Time run so far, ms."""
        return self.step * self.dt

    @overload
    def probe(  # type: ignore[overload-overlap]
        self, group: Group, what: Literal["spikes"], *, neurons: ArrayLike | None = None
    ) -> SpikeProbe: ...
    @overload
    def probe(  # type: ignore[overload-overlap]
        self,
        group: Group,
        what: Literal["rate"],
        *,
        neurons: ArrayLike | None = None,
        every: float | None = None,
    ) -> RateProbe: ...
    @overload
    def probe(
        self,
        group: Population,
        what: str,
        *,
        neurons: ArrayLike | None = None,
        every: float | None = None,
    ) -> StateProbe: ...
    @overload
    def probe(
        self,
        group: Projection,
        what: Literal["weight"],
        *,
        synapses: ArrayLike | None = None,
        every: float | None = None,
    ) -> WeightProbe: ...
    @overload
    def probe(
        self, group: Readout, what: Literal["value"] = "value", *, every: float | None = None
    ) -> ReadoutProbe: ...
    def probe(
        self,
        group: Group | Projection | Readout,
        what: str = "value",
        *,
        neurons: ArrayLike | None = None,
        synapses: ArrayLike | None = None,
        every: float | None = None,
    ) -> SpikeProbe | RateProbe | StateProbe | WeightProbe | ReadoutProbe:
        """Record from now on; may be added between two runs, and changes nothing in them.

        Args:
            group: a population, trains of spikes, a plastic projection, or a readout.
            what: ``"spikes"``: ``.times`` (ms), ``.senders``, ``.rate`` (Hz).
                ``"rate"``: the population's mean rate, ``.times`` and ``.values`` (Hz).
                The name of a state variable: ``.times`` and ``.values [times, neurons]``.
                Of a projection ``"weight"``: ``.times`` and ``.values [times, synapses]``. Of a
                readout ``"value"``: ``.times`` and ``.values [times, outputs]``.
            neurons: indices of those to record; by default all.
            synapses: those to record, in the order of ``projection.gather()``; by default all.
            every: ms between two values; by default each step, and 1 ms for ``"rate"`` and
                ``"weight"``.

        Raises:
            UserError: nothing of that name to record, or a neuron out of range.
        """
        if isinstance(group, Readout):
            if group not in self.readouts:
                raise UserError(f"{group.name!r} is not of this network")
            values = make_readout_probe(group, what, neurons, synapses, every, self.step)
            self.probes.append(values)
            return values
        if isinstance(group, Projection):
            weights = make_weight_probe(group, what, synapses, every, self.dt, self.step)
            self.probes.append(weights)
            return weights
        if synapses is not None:
            raise UserError(f"{group.name} has no synapses to choose: name its neurons")
        self._check_own(group)
        probe = make_probe(group, what, neurons, every, self.dt, self.step)
        self.probes.append(probe)
        return probe

    def run(self, ms: float, *, progress: bool = False) -> None:
        """Run on for ``ms``, a multiple of ``dt``.

        The network is built by the first run; populations, projections and drives are then
        complete. Ctrl-C ends a run between two steps, with everything up to there recorded; it may
        be continued.

        Args:
            ms: biological time, ms.
            progress: show a bar with the biological time and the ratio of wall to biological time.

        Raises:
            UserError: ``ms`` is no multiple of ``dt``; a receptor that its quantum cannot hold
                (:mod:`spikesim.network.quantum`); a cycle of zero delays; too little memory; it
                is of an ensemble.
        """
        steps, machine = int(whole_steps(real("run", ms), self.dt, "run")), self._built()
        if self._player is not None and self._player.machine is not machine:
            raise UserError("this network is of an ensemble, which runs it")
        if self._player is None or self._player.probes != self.probes:
            how = self.threads, self.device, self._player
            self._player = running.Player(machine, self.probes, *how)
        running.run(self, self._player, steps, progress)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All that a run changes: states, what is on its way, and the step; copies.

        A network made and connected by the same calls goes on from it bit for bit. Recordings are
        not part of it; a probe starts at the step that is loaded. Of several processes each must
        call it, and gets the whole state, which any number of processes can load.

        In a file: ``np.savez(file, **net.state_dict())``, ``net.load_state_dict(np.load(file))``.
        """
        machine = self._built()
        if self._player is not None:
            self._player.fetch(self.step)
            machine.catch_up()
        return whole_state(self.step, self._facts(), machine.arrays(), machine.divisions())

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from :meth:`state_dict`; probes forget what they recorded.

        Raises:
            UserError: it is of another network: of another ``dt`` or ``seed``, or one whose arrays
                differ; names what is missing, unknown or of another shape.
        """
        machine = self._built()
        if self._player is not None:
            self._player.fetch(self.step)  # an ensemble has other networks too
        self.step = put(state, self._facts(), machine.arrays(), machine.divisions())
        if self._player is not None:
            self._player.forget()
        for probe in self.probes:
            probe.step = self.step
            probe.clear()

    def plot(self, first: float = 0.0, last: float | None = None) -> "Figure":
        """A picture of all that was recorded: :func:`spikesim.network.plot.picture`.

        Args:
            first, last: what to show, ms; by default all.

        Of several processes each must call it, and has the picture of all neurons.

        Raises:
            UserError: no probe, or nothing recorded then.
        """
        from spikesim.network.plot import plot  # matplotlib takes a while to import

        return plot(self, first, self.time if last is None else last)

    def _facts(self) -> dict[str, float]:
        return {"dt": self.dt, "seed": self.seed}

    def _built(self) -> Machine:
        if self._machine is None:
            self._machine = build(self)
            self.is_complete = True
        return self._machine

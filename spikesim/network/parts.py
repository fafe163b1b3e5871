"""What a network consists of: populations, projections and drives."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.kernels.builder import Builder
from spikesim.kernels.builder_cupy import CudaBuilder
from spikesim.kernels.builder_numba import CpuBuilder
from spikesim.network.connect import Rule
from spikesim.network.device import chosen
from spikesim.network.distributed import processes, share
from spikesim.network.events import spikes_of
from spikesim.network.given import real, whole
from spikesim.network.grid import step_size
from spikesim.network.plasticity.eprop_projection import learning
from spikesim.network.plasticity.modulator import Modulator
from spikesim.network.plasticity.rule import Plasticity
from spikesim.network.population import Group, Population, Size, SpikeTrains
from spikesim.network.projection import Projection, ProjectionMaker, make_projection
from spikesim.network.readout import Readout
from spikesim.network.sources import Course, Current, Drive, Noise, Poisson
from spikesim.network.values import Value
from spikesim.neuron import Neuron
from spikesim.seeds import key

DriveT = TypeVar("DriveT", bound=Drive)


class Parts:
    """The parts of a network, added one by one; see :class:`~spikesim.network.network.Network`."""

    def __init__(
        self,
        dt: float,
        seed: int,
        dtype: Literal["float32", "float64"],
        threads: int,
        device: str,
    ) -> None:
        self.dt = step_size(dt)
        if dtype not in ("float32", "float64"):
            raise UserError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        self.threads = whole("threads", threads, 1, 1024)
        self.seed = whole("seed", seed, 0, 2**63 - 1)
        self.world = processes()
        self.dtype, self.device = np.dtype(dtype), chosen(device, self.world)
        self.builder: Builder = CpuBuilder(self.threads)
        if self.device.type == "cuda":
            self.builder = CudaBuilder(self.device, self.threads)
        self.groups: list[Group] = []
        self.projections: list[Projection] = []
        self.drives: list[Drive] = []
        self.modulators: list[Modulator] = []
        self.readouts: list[Readout] = []
        self.is_complete = False
        """Whether it has been built, so that nothing can be added."""

    @property
    def neurons(self) -> int:
        """Neurons of all populations."""
        return sum(group.size for group in self.groups if isinstance(group, Population))

    @property
    def synapses(self) -> int:
        """Synapses of all projections."""
        return sum(map(len, self.projections))

    def population(
        self,
        neuron: Neuron,
        size: Size,
        *,
        name: str | None = None,
        initial: Mapping[str, Value] | None = None,
    ) -> Population:
        """Add neurons of one model.

        Args:
            neuron: the model; the network takes a copy and sets its ``dt``. Its parameters are
                numbers or arrays with one value per neuron (a float64 tensor keeps all digits).
            size: number of neurons, or their shape, such as ``(28, 28)``.
            name: unique in the network; by default that of the model.
            initial: values of state variables before the first step: a number, an array, or a
                distribution to draw from; others start as the model says.

        Raises:
            UserError: a name taken, an unknown state, an array of a wrong shape, or a parameter
                that does not go with ``dt``.
        """
        self._open("population")
        name = self._name(name, type(neuron).__name__)
        group = Population(
            neuron,
            size,
            name=name,
            initial=initial or {},
            dt=self.dt,
            dtype=self.dtype,
            seed=key(self.seed, "initial", name),
        )
        group.share = share(self.world, group.size, len(self.groups))
        self.groups.append(group)
        return group

    def spikes(
        self, times: ArrayLike, senders: ArrayLike, size: Size, *, name: str | None = None
    ) -> SpikeTrains:
        """Add a source of spikes known in advance.

        Args:
            times: ms, in any order. A spike belongs to the step that it falls into, and so to the
                end of it; one at 0 to the first step. Equal ones count once.
            senders: the neuron of each spike.
            size: number of senders, or their shape.
            name: unique in the network.

        Raises:
            UserError: times that are negative or not finite, senders out of range.
        """
        self._open("spikes")
        name = self._name(name, "spikes")
        group = SpikeTrains(times, senders, size, name=name, dt=self.dt)
        self.groups.append(group)
        return group

    def events(
        self, events: NDArray[Any], sensor_size: tuple[int, int, int], *, name: str | None = None
    ) -> SpikeTrains:
        """Add a recording of an event camera as a source of spikes.

        Args:
            events: with the fields ``t`` (us), ``x``, ``y`` and ``p``, as datasets give them.
            sensor_size: ``(W, H, P)``; the source has the shape ``(P, H, W)``.
            name: unique in the network.
        """
        return self.spikes(*spikes_of(events, sensor_size), name=name)

    def connect(
        self,
        pre: Group,
        post: Population,
        rule: Rule,
        *,
        weight: Value = 1.0,
        delay: Value | None = None,
        receptor: str | None = None,
        plasticity: Plasticity | None = None,
        modulator: Modulator | None = None,
        name: str | None = None,
    ) -> Projection:
        """Connect two groups; they may be the same one.

        Args:
            pre: who sends.
            post: who receives.
            rule: which pairs, see :mod:`spikesim.network.connect`. For a GPU, rules without
                positions, kernels or lists are drawn there if weight and delay are numbers or
                distributions; others are made on the CPU, and uploaded.
            weight: in the unit of the receptor: a number, an array with a value for each synapse
                in the order of the rule, a distribution, or, for a rule in space, a function of
                the distances.
            delay: ms, likewise; by default one step. Numbers and arrays must be multiples of
                ``dt``; drawn delays and those of a function are rounded to the nearest step, and
                are one step at least. 0 is allowed where no cycle of such projections arises.
            receptor: an input of ``post``; by default ``"excitatory"`` or ``"inhibitory"`` by the
                sign of the weights where the model has both, else its first input. Weights keep
                their sign.
            plasticity: the rule by which spikes change the weights
                (:mod:`spikesim.network.plasticity`); delays are then a step at least.
            modulator: of :meth:`modulator`, for rules with an eligibility.
            name: unique in the network.

        Raises:
            UserError: a bad delay, weights that are not finite or of both signs with no receptor
                named, a rule that does not fit the sizes, weights outside of the bounds of a
                plasticity rule, or too little memory.
        """
        self._open("connect")
        self._check_own(pre)
        self._check_post(post)
        if plasticity is not None and not isinstance(plasticity, Plasticity):
            raise UserError(f"plasticity must be a rule such as PairSTDP(), got {plasticity!r}")
        name = self._name(name, f"{pre.name} -> {post.name}")
        make: ProjectionMaker = Projection
        if plasticity is not None:
            make = learning(plasticity, modulator)
        elif modulator is not None:
            raise UserError(f"{name}: a modulator needs a plasticity with an eligibility")
        projection = make_projection(
            name,
            pre,
            post,
            rule,
            weight,
            delay,
            receptor,
            dt=self.dt,
            seed=self.seed,
            builder=self.builder,
            make=make,
        )
        projection.keep_own()
        self.projections.append(projection)
        return projection

    def poisson(
        self,
        post: Population,
        rate: Course,
        weight: float,
        *,
        receptor: str | None = None,
        every: float | None = None,
        largest: float | None = None,
        name: str | None = None,
    ) -> Poisson:
        """Drive each neuron with Poisson spikes of its own.

        Args:
            post: who is driven.
            rate: Hz: one value, one per neuron, or a function of the time in ms.
            weight: of each spike, in the unit of the receptor.
            receptor: an input of ``post``; by default as in :meth:`connect`.
            every: ms between two questions to a rate function; by default each step.
            largest: the highest rate of a rate function.
            name: for errors.
        """
        self._open("poisson")
        self._check_post(post)
        name = self._name(name, f"poisson -> {post.name}")
        weight = real(f"weight of {name}", weight)
        where = post.receptor(receptor, low=min(weight, 0.0), high=max(weight, 0.0))
        how = {"every": every, "largest": largest}
        return self._drive(Poisson(name, post, where, rate, weight, **how, dt=self.dt))

    def current(
        self,
        post: Population,
        amplitude: Course,
        *,
        receptor: str | None = None,
        every: float | None = None,
        largest: float | None = None,
        name: str | None = None,
    ) -> Current:
        """Add a current, or any input, to each step.

        Args:
            post: who is driven.
            amplitude: pA, or the unit of the receptor: one value, one per neuron, or a function of
                the time in ms.
            receptor: an input of ``post``; by default ``"current"`` where the model has it, else
                as in :meth:`connect`.
            every: ms between two questions to a function; by default each step.
            largest: the largest size of a function's values.
            name: for errors.
        """
        self._open("current")
        self._check_post(post)
        name = self._name(name, f"current -> {post.name}")
        where = post.current_receptor(receptor)
        how = {"every": every, "largest": largest}
        return self._drive(Current(name, post, where, amplitude, **how, dt=self.dt))

    def noise(
        self,
        post: Population,
        mean: ArrayLike,
        std: ArrayLike,
        *,
        receptor: str | None = None,
        name: str | None = None,
    ) -> Noise:
        """Add normal noise, drawn for each neuron and step.

        Args:
            post: who is driven.
            mean: pA, or the unit of the receptor; one value or one per neuron.
            std: standard deviation of the value of a step; one value or one per neuron.
            receptor: as in :meth:`current`.
            name: for errors.
        """
        self._open("noise")
        self._check_post(post)
        name = self._name(name, f"noise -> {post.name}")
        return self._drive(Noise(name, post, post.current_receptor(receptor), mean, std, self.dt))

    def modulator(
        self,
        value: Course = 0.0,
        *,
        tau: float | None = None,
        post: Population | None = None,
        every: float | None = None,
        name: str | None = None,
    ) -> Modulator:
        """Add a modulator, which gates the eligibilities of plastic projections.

        Args:
            value: one value, one for each neuron of ``post``, or a function of the time in ms; the
                first may be set anew between runs.
            tau: time constant of its decay, ms; ``None``: it stays.
            post: the neurons that have values of their own; by default one value serves all.
            every: ms between two questions to a function; by default each step.
            name: unique in the network.

        Raises:
            UserError: values of a wrong length or not finite, ``tau`` not > 0.
        """
        self._open("modulator")
        if post is not None:
            self._check_own(post)
        name = self._name(name, "modulator")
        found = Modulator(name, value, tau=tau, post=post, every=every, dt=self.dt)
        self.modulators.append(found)
        return found

    def _drive(self, drive: DriveT) -> DriveT:
        self.drives.append(drive)
        return drive

    def _open(self, what: str) -> None:
        if self.is_complete:
            raise UserError(f"the network has run: {what} belongs before the first run")

    def _check_own(self, group: Group) -> None:
        if not any(group is own for own in self.groups):
            name = group.name if isinstance(group, Group) else group
            raise UserError(f"{name!r} is not of this network: pass what population() returned")

    def _check_post(self, post: Population) -> None:
        self._check_own(post)
        if not isinstance(post, Population):
            raise UserError(f"{post.name} is given; only a population can receive")

    def _name(self, name: str | None, default: str) -> str:
        parts: list[Group | Projection | Drive | Modulator | Readout]
        parts = [*self.groups, *self.projections, *self.drives, *self.modulators, *self.readouts]
        taken = {part.name for part in parts}
        if name is not None:
            if not name or not isinstance(name, str) or name in taken:
                why = "taken" if name in taken else "empty or no text"
                raise UserError(f"the name {name!r} is {why}; give another")
            return name
        others = (f"{default} {n}" for n in range(2, len(taken) + 3))
        return next(n for n in (default, *others) if n not in taken)

"""What a network's run is made of on the CPU, and the loop that runs it.

A network is a list of operations on arrays, in the order of execution. Each block of steps goes
through the list once, in compiled code: inputs add to rings, :class:`Cells` read the rings and
write spikes as bits, a :class:`Delivery` adds the weights of spikes to the rings of later steps.

Rings hold whole numbers of quanta, so that sums do not depend on their order: the same bits for any
number of threads and any length of a block. Random numbers are words of
:func:`spikesim.random.philox`, keyed by seed, neuron, step and stream.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.closed_loop import Sums
from spikesim.kernels.eprop_state import EPropState, Response
from spikesim.kernels.exchange import Exchanged
from spikesim.kernels.plastic_state import PlasticState

if TYPE_CHECKING:
    from spikesim.network.plasticity.rule import Plasticity
    from spikesim.neuron import Neuron

Whole: TypeAlias = NDArray[np.int32] | NDArray[np.int64]
Real: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


@dataclass(eq=False)
class Ring:
    """What arrives at one input of a population, by step."""

    array: Whole
    """``[slots, neurons]``, int32 for float32 cells and int64 for float64 ones, zero at first; step
    ``n`` has slot ``n % slots``. The slots are a power of two, at least the longest delay plus the
    block."""
    quantum: float
    """What one unit of the array is, a power of two."""


@dataclass(eq=False)
class Cells:
    """A population: takes what arrived in a step from its rings, runs the step, writes spikes."""

    neuron: "Neuron"
    count: int
    dtype: str
    """``"float32"`` or ``"float64"``."""
    parameters: Mapping[str, float | Real]
    """Those of ``neuron.bound().program``: one number or ``[count]``."""
    state: Mapping[str, Real]
    """``[count]`` each, changed in place."""
    rings: Mapping[str, Ring | None]
    """By input; ``None`` where nothing arrives."""
    spikes: NDArray[np.uint32]
    """``[block, ceil(count / 32)]``: step ``n`` has row ``n % block``; bit ``i`` of word ``j`` is
    neuron ``32 j + i``."""
    traces: Mapping[str, Real] = field(default_factory=dict)
    """``[block, count]``, of those states that are recorded: after each step."""
    seed: int = 0
    stream: int = 0
    """Of the random numbers that a neuron draws, as ``neuron.position`` and ``neuron.layer``."""
    first: int = 0
    """Which neuron of its population the first one is, for random numbers; a multiple of 64."""


@dataclass(eq=False)
class SpikeSource:
    """Given spikes; a neuron has at most one in a step."""

    count: int
    spikes: NDArray[np.uint32]
    """As those of :class:`Cells`."""
    steps: NDArray[np.int64]
    """Ascending."""
    senders: NDArray[np.int32]


@dataclass(eq=False)
class Received:
    """Spikes of neurons that run elsewhere; a :class:`Call` before it writes them."""

    count: int
    spikes: NDArray[np.uint32]
    """As those of :class:`Cells`."""


Source: TypeAlias = Cells | SpikeSource | Received


@dataclass(eq=False)
class Call:
    """Python between two operations, once for each block; all threads wait for it."""

    function: Callable[[int, int], None]
    """Of the block's first step, and of the number of its steps."""


@dataclass(eq=False)
class Delivery:
    """Synapses: a spike of step ``n`` adds its weights to the ring in step ``n + delay``."""

    source: Source
    ring: Ring
    indptr: NDArray[np.int64]
    """``[source.count + 1]``: where the synapses of each neuron begin."""
    place: NDArray[np.uint16] | NDArray[np.uint32]
    """``[synapses]``: the target, ascending in a row; with ``delay`` None, ``delay * neurons +
    target`` of each synapse."""
    delay: int | None
    """Steps, the same for all synapses."""
    weight: int | NDArray[np.signedinteger[Any]]
    """In quanta: one, or ``[synapses]``."""


@dataclass(eq=False)
class Modulation:
    """What gates eligibilities, noted in each step."""

    values: NDArray[np.float64]
    """``[1]`` or ``[neurons]``; changed in place."""
    factor: float
    """What is left of the values after a step."""
    levels: NDArray[np.float64]
    """``[block, values]``: step ``n`` has row ``n % block``."""


class Resident(Protocol):
    """Plastic synapses whose weights are on a device."""

    def weights(self, chosen: NDArray[np.int64] | None, now: int) -> NDArray[Any]:
        """Those of some synapses, or of all, at the end of a step up to which all has run."""

    def set_weights(self, weights: NDArray[Any], now: int) -> None:
        """Go on with others after the end of a step; spikes so far act on those before."""


@dataclass(eq=False)
class PlasticDelivery:
    """Synapses whose weights follow a rule; they send as those of :class:`Delivery` do."""

    source: Source
    target: Cells
    ring: Ring
    indptr: NDArray[np.int64]
    place: NDArray[np.uint16] | NDArray[np.uint32]
    delay: int | None
    """At least the block."""
    longest: int
    """The longest delay, steps."""
    weight: Real
    """``[synapses]``, in the unit of the ring, of the cells' dtype; changed in place."""
    low: float
    high: float
    """Bounds of a weight."""
    sign: float
    """What a weight is multiplied by when it is sent: 1 or -1."""
    rule: "Plasticity"
    dt: float
    """ms."""
    state: PlasticState
    modulation: Modulation | None = None
    """Where the rule has an eligibility."""
    resident: "Resident | None" = None
    """What has the weights, while they are on a device."""


@dataclass(eq=False)
class EPropDelivery:
    """Synapses whose weights follow e-prop; they send as those of :class:`Delivery` do."""

    source: Source
    target: Cells
    """Whose traces hold what :attr:`shown` names."""
    ring: Ring
    indptr: NDArray[np.int64]
    place: NDArray[np.uint16] | NDArray[np.uint32]
    delay: int | None
    """At least the block."""
    shortest: int
    longest: int
    """Delays, steps."""
    weight: Real
    """As those of :class:`PlasticDelivery`, the bounds and the sign too."""
    low: float
    high: float
    sign: float
    rate: float
    """Of learning."""
    kappa: float
    """What a step leaves of a filtered eligibility."""
    every: int
    """Steps between updates."""
    target_rate: float
    """Hz."""
    c_rate: float
    """What each Hz above it adds to the signal."""
    response: Response
    state: EPropState
    modulation: Modulation

    @property
    def shown(self) -> tuple[str, ...]:
        """States of the target that are read: of what it does not show, nothing."""
        return tuple(name for name in ("psi", "open", "rate") if name in self.target.state)


@dataclass(eq=False)
class PoissonInput:
    """Poisson spikes to each neuron; neurons and steps are independent."""

    ring: Ring
    mean_per_step: float | NDArray[np.float64]
    """One, or ``[neurons]``; another may be put here between two runs."""
    weight: int
    """In quanta."""
    seed: int
    stream: int
    first: int = 0
    """As of :class:`Cells`."""


@dataclass(eq=False)
class NoiseInput:
    """A normal number for each neuron and step, in the unit of the input."""

    ring: Ring
    mean: float | NDArray[np.float64]
    std: float | NDArray[np.float64]
    seed: int
    stream: int
    first: int = 0
    """As of :class:`Cells`."""


@dataclass(eq=False)
class CurrentInput:
    """The same number in each step."""

    ring: Ring
    values: Whole
    """``[neurons]``, quanta, of the ring's dtype."""


@dataclass(eq=False)
class SpikeRecorder:
    """Keeps the spikes of a run."""

    source: Source
    bits: NDArray[np.uint32]
    """``[steps, words]``; another may be put here between two runs."""
    first: int = 0
    """The step of row 0."""


@dataclass(eq=False)
class StateRecorder:
    """Keeps a state of chosen neurons after each step; it is among the traces of its cells."""

    cells: Cells
    state: str
    neurons: NDArray[np.int32]
    values: Real
    """``[steps, chosen]``; another may be put here between two runs."""
    first: int = 0
    """The step of row 0."""


Operation: TypeAlias = (
    Cells
    | SpikeSource
    | Received
    | Call
    | Exchanged
    | Delivery
    | Modulation
    | PlasticDelivery
    | EPropDelivery
    | PoissonInput
    | NoiseInput
    | CurrentInput
    | Sums
    | SpikeRecorder
    | StateRecorder
)


class CpuEngine:
    """Runs operations step by step, in compiled code.

    Args:
        operations: in the order of execution.
        block: steps from one round to the next, a power of two; rounds begin at its multiples. A
            delivery over a shorter delay comes before the cells that it reaches.
        threads: how many share the neurons of each operation.

    Raises:
        ValueError: arrays of an operation do not fit each other or the block.
    """

    def __init__(self, operations: Sequence[Operation], block: int, threads: int = 1) -> None:
        from spikesim.kernels.engine_check import check, check_order
        from spikesim.kernels.engine_tables import Tables

        if block < 1 or block & (block - 1):
            raise ValueError(f"block must be a power of two, got {block}")
        for operation in operations:
            check(operation, block)
        check_order(operations, block)
        self.operations, self.block, self.threads = operations, block, threads
        self._tables = Tables(operations, block, threads)

    def run(self, first: int, steps: int) -> None:
        """Run the steps ``[first, first + steps)``; nothing interrupts it.

        Raises:
            ValueError: a recorder has no room for these steps.
            Exception: what a :class:`Call` raised; the steps from its block on are void.
        """
        from spikesim.kernels.engine_check import check_room
        from spikesim.kernels.engine_numba import drive

        for operation in self.operations:
            check_room(operation, first, steps)
        rows = self._tables.rows()
        met = np.zeros(1, np.int64)

        def work(thread: int) -> None:
            begin, end, address = first, first + steps, rows[thread].ctypes.data
            count, arrived = len(rows[thread]), met.ctypes.data
            drive(address, count, self.block, begin, end, thread, self.threads, arrived)

        # Threads of their own: those of a pool might be busy with others that wait for these.
        self._tables.own.hand_out()
        others = [Thread(target=work, args=(thread,)) for thread in range(1, self.threads)]
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()
        self._tables.own.take_back()
        self._tables.calls.check()

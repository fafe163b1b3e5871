r"""A liquid whose synapses learn while it listens, under the eyes of one astrocyte.

In each millisecond, with spikes :math:`z`, traces :math:`q` and weights :math:`w` from ``i`` to
``j``:

.. math::
    z_i &= [\text{not refractory}]\,[v_i \ge \theta], \qquad v_i \leftarrow (1 - z_i) v_i \\
    v_j &\leftarrow v_j + \sum_i w_{ij} e^{-s_i / \tau_u} / \tau_u + I_j - v_j / \tau_v \\
    w_{ij} &\leftarrow w_{ij} + p\,q_i z_j - a\,q_j z_i
        \quad (i \text{ inhibitory: } {} - a\,q_i z_j + p\,q_j z_i) \\
    q_i &\leftarrow e^{-1 / \tau_q} (q_i + A z_i) \\
    a &\leftarrow a + \bigl(g\,(\textstyle\sum_\text{liquid} z - \sum_\text{inputs} z) + b - a\bigr)
        / \tau_a

:math:`s_i` is the time since the last spike of ``i``, 0 in the millisecond of the spike: a synapse
keeps one spike only. Weights stay in :math:`[0, w_\max]` from excitatory neurons, in
:math:`[-w_\max, 0]` from inhibitory ones, in :math:`[-w_\max, w_\max]` from inputs. Inputs are the
same neurons, which an event drives above their threshold: each fires a millisecond after its event,
at most once in three. :math:`p, a, g, b` shrink from one millisecond to the next.

The simulator's own engine is not used: there a spike takes the weight along that it finds, here a
current changes with the weight long after the spike.

Reference: V. A. Ivanov, K. P. Michmizos (2021), Increasing liquid state machine performance with
edge-of-chaos dynamics organized by astrocyte-modulated plasticity, NeurIPS 34; constants and the
order of a millisecond as in the authors' program.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.kernels.threads import pool
from spikesim.liquid.stimuli import Events, Stimuli
from spikesim.liquid.topology import Wiring
from spikesim.network.given import real
from spikesim.seeds import key

__all__ = ["Activity", "AstrocyteLiquid", "Constants"]

Single: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Constants:
    r"""Numbers of neurons, plasticity and astrocyte; the published ones for 1,000 neurons.

    Other liquids of the paper: ``gain=0.0`` is STDP without astrocyte, ``rate=gain=0.0`` a liquid
    that learns nothing.

    Args:
        tau_v: of the membrane, Euler, ms.
        threshold: of a spike; the membrane is reset to 0.
        refractory: ms after a spike in which there is no other.
        tau_u: of a synaptic current, ms.
        drive: of an input neuron by an event.
        largest: :math:`w_\max`, also the size of all first weights.
        tau_q: of a trace, ms.
        jump: :math:`A`, of a trace at a spike.
        rate: :math:`p` of potentiation, and bias :math:`b` and first level of the astrocyte.
        gain: :math:`g` of the astrocyte; 0.0075 for 8,000 neurons.
        tau_a: of the astrocyte, ms.
        fade: what :math:`p, a, g, b` keep in a millisecond in which a stimulus is read out.

    Raises:
        UserError: a number out of its range.
    """

    tau_v: float = 64.0
    threshold: float = 20.0
    refractory: int = 2
    tau_u: float = 1.0
    drive: float = 100.0
    largest: float = 3.0
    tau_q: float = 10.0
    jump: float = 0.1
    rate: float = 0.15
    gain: float = 0.015
    tau_a: float = 100.0
    fade: float = 0.99

    def __post_init__(self) -> None:
        for name in ("tau_v", "threshold", "tau_u", "largest", "tau_q", "tau_a"):
            if not real(name, getattr(self, name)) > 0.0:
                raise UserError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("refractory", "drive", "jump", "rate", "gain", "fade"):
            if real(name, getattr(self, name)) < 0.0:
                raise UserError(f"{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class Activity:
    """What happened while one stimulus was shown.

    Args:
        inputs: spikes of input neurons, bool ``[steps, inputs]``.
        liquid: spikes of the liquid, bool ``[steps, neurons]``.
        astrocyte: its level after each millisecond, ``[steps]``.
        weight: of the synapses at last, in the order of the wiring.
    """

    inputs: NDArray[np.bool_]
    liquid: NDArray[np.bool_]
    astrocyte: Single
    weight: Single


class AstrocyteLiquid:
    """A neuron-astrocyte liquid; see the equations of :mod:`spikesim.liquid.nalsm`.

    Each stimulus is shown to a liquid at rest with the weights of :meth:`settle`, on a copy of them
    that goes on learning: stimuli are independent of each other, and threads share them.

    Args:
        wiring: such as :meth:`spikesim.liquid.topology.Topology.draw` makes.
        constants: of its equations.

    Attributes:
        weight: of the synapses, float32, from which each stimulus starts.
    """

    def __init__(self, wiring: Wiring, constants: Constants = Constants()) -> None:
        self.wiring, self.constants = wiring, constants
        self.weight = (wiring.sign * constants.largest).astype(np.float32)
        columns, synapse = wiring.columns()
        kinds = np.where(wiring.inhibitory, -1.0, 1.0).astype(np.float32)
        sign = np.concatenate([np.zeros(wiring.inputs, np.float32), kinds])
        # Unsigned: numba would ask of others at each use whether they count from the end.
        self._rows = wiring.indptr, wiring.target.astype(np.uint32)
        self._columns = (
            columns,
            wiring.sender[synapse].astype(np.uint32),
            synapse.astype(np.uint32),
        )
        self._sign = sign

    def settle(
        self, stimuli: Stimuli, snapshots: int = 50_000, *, steps: int = 20, seed: int = 0
    ) -> None:
        """Let the weights learn, one after the other, from glimpses of stimuli in random order.

        Neurons and astrocyte begin each at rest; weights and traces go on.

        Args:
            stimuli: of which no labels are needed.
            snapshots: how many; stimuli recur when all were shown.
            steps: of each, ms.
            seed: of the order.

        Raises:
            UserError: stimuli for other inputs, or none.
        """
        self._check(stimuli)
        if not len(stimuli):
            raise UserError("a liquid settles on stimuli, got none")
        trace = np.zeros(self._sign.size, np.float32)
        random = np.random.default_rng(key(seed, "snapshots"))
        order: NDArray[np.int64] = np.empty(0, np.int64)
        for visit in range(snapshots):
            at = visit % len(stimuli)
            if at == 0:
                order = random.permutation(len(stimuli))
            events = stimuli.show(int(order[at]), steps, visit)
            self._show(events, self.weight, trace, fade=1.0)

    def counts(
        self,
        stimuli: Stimuli,
        numbers: Iterable[int] | None = None,
        *,
        steps: int = 250,
        threads: int = 1,
    ) -> NDArray[np.int32]:
        """Spikes of each neuron of the liquid while it is shown a stimulus, ``[n, neurons]``.

        Args:
            stimuli: to be shown.
            numbers: of those to be shown, by default all.
            steps: ms.
            threads: the result does not depend on them.

        Raises:
            UserError: stimuli for other inputs.
        """
        self._check(stimuli)
        shown = list(range(len(stimuli)) if numbers is None else numbers)
        counts = np.zeros((len(shown), self.wiring.neurons), np.int32)
        queue = iter(range(len(shown)))  # shared: next() is atomic

        def work() -> None:
            weight, trace = np.empty_like(self.weight), np.empty_like(self._sign)
            for row in queue:
                weight[:], trace[:] = self.weight, 0.0
                events = stimuli.show(shown[row], steps)
                self._show(events, weight, trace, fade=self.constants.fade, counts=counts[row])

        helpers = [pool().submit(work) for _ in range(threads - 1)]
        work()
        for helper in helpers:
            helper.result()
        return counts

    def record(self, events: Events) -> Activity:
        """Everything that happens while these events are shown, as :meth:`counts` shows them.

        Raises:
            UserError: an event of an input that the liquid does not have.
        """
        if events.inputs.size and not events.inputs.max() < self.wiring.inputs:
            raise UserError(
                f"there are events of input {events.inputs.max()}, "
                f"but the liquid has {self.wiring.inputs} inputs"
            )
        steps, senders = len(events.starts) - 1, self._sign.size
        weight, raster = self.weight.copy(), np.zeros((steps, senders), np.bool_)
        levels = np.zeros(steps, np.float32)
        self._show(events, weight, np.zeros_like(self._sign), fade=self.constants.fade,
                   raster=raster, levels=levels)  # fmt: skip
        inputs, liquid = np.split(raster, [self.wiring.inputs], axis=1)
        return Activity(inputs, liquid, levels, weight)

    def _check(self, stimuli: Stimuli) -> None:
        if stimuli.inputs != self.wiring.inputs:
            raise UserError(
                f"stimuli are for {stimuli.inputs} inputs, the liquid has {self.wiring.inputs}: "
                "draw its topology with as many"
            )

    def _show(
        self,
        events: Events,
        weight: Single,
        trace: Single,
        *,
        fade: float,
        counts: NDArray[np.int32] | None = None,
        raster: NDArray[np.bool_] | None = None,
        levels: Single | None = None,
    ) -> None:
        from spikesim.kernels.liquid_numba import show

        c, decay = self.constants, math.exp(-1 / self.constants.tau_u)
        show(
            *self._rows,
            weight,
            *self._columns,
            self._sign,
            np.float32(c.largest),
            *events,
            _numbers(1 / c.tau_v, c.threshold, c.refractory, decay, 1 / c.tau_u, c.drive),
            _numbers(c.rate, math.exp(-1 / c.tau_q), c.jump),
            _numbers(c.gain, c.rate, c.tau_a, c.rate, fade),
            trace,
            np.zeros(self.wiring.neurons, np.int32) if counts is None else counts,
            np.zeros((0, 0), np.bool_) if raster is None else raster,
            np.zeros(0, np.float32) if levels is None else levels,
        )


def _numbers(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)

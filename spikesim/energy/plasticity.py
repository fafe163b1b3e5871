r"""What plastic synapses do beside sending: traces, eligibilities and changes of weights.

With :math:`n_i` spikes of sender :math:`i`, :math:`m_j` of receiver :math:`j`, out-degrees
:math:`k^{out}_i` and in-degrees :math:`k^{in}_j`, a rule of events
(:class:`~spikesim.network.plasticity.Plasticity`) meets

.. math:: N_{pre} = \sum_i n_i k^{out}_i, \qquad N_{post} = \sum_j m_j k^{in}_j

events of synapses, each of which does the lines of ``on_pre`` or ``on_post`` as they were recorded,
after every trace that they read and the eligibility have decayed; and :math:`\sum n_i + \sum m_j`
jumps of traces. A decay is a product, with two additions where a trace rests at another value than
0; a change of weight is compared with both bounds; an eligibility gives the weight its product with
the modulator. An event that changes weight or eligibility is an update of the synapse. Events
count when their spike is sent, as in :mod:`spikesim.energy.network`.

:class:`~spikesim.network.plasticity.EProp` follows steps instead: each synapse does in each step
what the equations of :class:`~spikesim.kernels.eprop_state.Response` say (the engine leaves out
senders that have been silent for so long that nothing is left of their spikes).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikesim.energy.arithmetic import Arithmetic, arithmetic
from spikesim.energy.layer import BINARY, REAL, LayerCounts
from spikesim.kernels.plastic import ELIGIBILITY, WEIGHT, Part, bind_rule
from spikesim.network.plasticity.eprop_projection import EPropProjection
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.plasticity.rule import Trace

_ADD, _MULTIPLY, _BOUND = Arithmetic(additions=1), Arithmetic(multiplications=1), Arithmetic(2)
_FILTER = _MULTIPLY + _ADD
"""``k x + y``."""


@dataclass
class _Work:
    """What a rule does in a run: arithmetic, states and weights that it moves, its updates."""

    arithmetic: Arithmetic
    state_reads: float = 0.0
    state_writes: float = 0.0
    weight_reads: float = 0.0
    synaptic_updates: float = 0.0


def count_plasticity(
    projection: PlasticProjection,
    sent: NDArray[np.int64],
    heard: NDArray[np.int64],
    steps: int,
) -> LayerCounts:
    """The work of learning of a projection in a run.

    Args:
        projection: of a network that has been built.
        sent: spikes of each sender, ``[pre.size]``.
        heard: spikes of each receiver, ``[post.size]``.
        steps: of the run.

    Returns:
        ``state_reads`` and ``state_writes`` are of traces, eligibilities and, written, weights;
        ``weight_reads`` those beside the ones of sending.
    """
    places = projection.builder.download(projection.place)
    receivers = places if projection.delay is not None else places % projection.post.size
    out_degree = np.diff(projection.builder.download(projection.indptr))
    in_degree = np.bincount(receivers, minlength=projection.post.size)
    before, after = float(sent @ out_degree), float(heard @ in_degree)
    if isinstance(projection, EPropProjection):
        values, work = REAL, _follow(projection, before, steps)
    else:
        jumps = float(sent.sum()), float(heard.sum())
        values, work = BINARY, _react(projection, before, after, jumps)
    rule = type(projection.rule).__name__
    return LayerCounts(
        name=f"{projection.name} learning",
        kind="learning",
        values=values,
        additions=work.arithmetic.additions,
        multiplications=work.arithmetic.multiplications,
        functions=work.arithmetic.functions,
        weights=float(len(projection)),
        weight_reads=work.weight_reads,
        synaptic_updates=work.synaptic_updates,
        state_reads=work.state_reads,
        state_writes=work.state_writes,
        passes=steps,
        note=f"{rule}: {before:.0f} events of senders, {after:.0f} of receivers",
    )


def _react(
    projection: PlasticProjection, before: float, after: float, jumps: tuple[float, float]
) -> _Work:
    """A rule of events."""
    rule, program = projection.rule, bind_rule(projection.rule).program
    traces = {**rule.pre(), **rule.post()}
    work = _Work(Arithmetic())
    for own, jump, times in (
        (program.pre, program.jump_pre, jumps[0]),
        (program.post, program.jump_post, jumps[1]),
    ):
        work.arithmetic += times * (_decays(own, traces) + arithmetic(jump.lines))
        work.state_reads += times * len(own)
        work.state_writes += times * len(own)
    for part, times in ((program.on_pre, before), (program.on_post, after)):
        if not part.after and not program.has_eligibility:
            continue
        read = part.reads(traces)
        event = _decays(read, traces) + arithmetic(part.lines)
        if program.has_eligibility:
            event += _MULTIPLY + _FILTER  # its decay, and what it gives to the weight
        changes = _changes(part, has_eligibility=program.has_eligibility)
        event += (WEIGHT in changes) * _BOUND
        work.arithmetic += times * event
        work.state_reads += times * (len(read) + program.has_eligibility)
        work.state_writes += times * len(changes)
        work.synaptic_updates += times * bool(changes)
    reads_weight = program.has_eligibility or WEIGHT in program.on_post.reads([WEIGHT])
    work.weight_reads = after * reads_weight
    return work


def _changes(part: Part, *, has_eligibility: bool) -> set[str]:
    """What of a synapse an event writes."""
    both = {WEIGHT, ELIGIBILITY}
    return both if has_eligibility else both & set(part.after)


def _decays(names: Collection[str], traces: Mapping[str, Trace]) -> Arithmetic:
    shifted = sum(traces[name].rest != 0 for name in names)
    return len(names) * _MULTIPLY + 2 * shifted * _ADD


def _follow(projection: EPropProjection, before: float, steps: int) -> _Work:
    """e-prop."""
    assert projection._eprop is not None
    state, updates = projection._eprop.state, steps // projection.every
    synapse = _FILTER + _MULTIPLY + _FILTER  # u, e, and what becomes of the weight
    if state.a is not None:
        synapse += 2 * _FILTER + _MULTIPLY  # e without beta a; rho a + jump e
    if state.e is not None:
        synapse += _FILTER
    if state.j is not None:
        synapse += _MULTIPLY
    many = float(len(projection))
    work = many * steps * synapse + many * updates * _BOUND + before * _FILTER
    held = sum(array is not None for array in (state.j, state.u, state.a, state.e, state.g))
    moved = many * steps * held
    return _Work(work, moved, moved + many * updates, many * updates, many * steps)

"""What plastic synapses carry from block to block, as arrays; and tables of decays."""

import math
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError

if TYPE_CHECKING:
    from spikesim.kernels.plastic import BoundRule
    from spikesim.network.plasticity.rule import Plasticity

FINE = 1 << 10
"""Entries of the fine part of a decay table that has two parts."""
SHORT = 1 << 16
"""Entries of a table that has one part."""
GONE = 60 * math.log(2.0)
"""Time constants after which nothing is left: ``2**-60``."""
NEWEST = 8
"""Spikes of a receiver that lie side by side, in a line of the cache."""
NEVER = -(1 << 29)
"""The step of a spike that has not been."""
LAST_STEP = 1 << 30
"""Steps are 32-bit numbers here, and so is the time since ``NEVER``, with any delay."""
WINDOW = 4.0
"""Time constants of an eligibility that sums of its modulator reach over."""
ALIGNED = 32
"""Windows are multiples of this, which those of any block are too."""
LARGEST_SUMS = 1 << 23
"""Values in the sums of a modulator with a value for each neuron."""

Array = NDArray[Any]


@dataclass(eq=False)
class PlasticState:
    """All that changes but weights and rings; the same for any number of threads."""

    lasts: NDArray[np.int32]
    """``[senders]``: the step of the last spike."""
    pre: list[Array]
    """Of each trace of senders ``[senders]``, just after that spike."""
    totals: NDArray[np.int32]
    """``[receivers]``: spikes so far."""
    steps: NDArray[np.int32]
    """``[receivers, depth]``: steps of the last spikes; spike ``k`` has column ``k % depth``."""
    post: list[Array]
    """Of each trace of receivers as ``steps``, just after the spike."""
    before: dict[int, Array]
    """The same just before it, of those traces that ``on_post`` reads."""
    newest: NDArray[np.int32]
    """``[receivers, NEWEST]``: steps of the last spikes, newest first."""
    newest_post: list[Array]
    """Of each trace of receivers as ``newest``, just after the spike."""
    used: NDArray[np.int32]
    """``[receivers]``: spikes that some synapses may not have taken up."""
    clock: NDArray[np.int64]
    """``[2]``: until which step all synapses have; for this block and for the next one."""
    eligible: Array | None = None
    """``[synapses]``."""
    sums: NDArray[np.float64] | None = None
    """``[window + 1, values]``: of the modulator, weighted by decay, since the window began."""

    @property
    def depth(self) -> int:
        """Spikes of a receiver that are kept."""
        return int(self.steps.shape[1])

    def arrays(self) -> dict[str, Array]:
        """By name; not copies."""
        found: dict[str, Array] = {}
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                found[name] = value
            elif isinstance(value, list):
                found |= {f"{name}.{i}": array for i, array in enumerate(value)}
            elif isinstance(value, dict):
                found |= {f"{name}.{i}": array for i, array in value.items()}
        return found


@dataclass(frozen=True, eq=False)
class Decay:
    """``exp(-k dt / tau)`` for whole ``k``, computed in float64 and rounded once.

    Where ``coarse`` is there, entry ``k`` is ``fine[k % FINE] * coarse[k // FINE]``.
    """

    fine: Array
    coarse: Array | None = field(default=None)

    @property
    def last(self) -> int:
        """The last index, which stands for all beyond."""
        return len(self.fine if self.coarse is None else self.coarse) - 1


@cache
def decay(tau: float, dt: float, dtype: str) -> Decay:
    """The table of a time constant; both in ms."""
    many = math.ceil(min(GONE * tau / dt, 1 << 31)) + 2  # no run is longer
    if many <= SHORT:
        fine = np.exp(-dt / tau * np.arange(many))
        fine[-1] = 0.0
        return Decay(fine.astype(dtype))
    fine = np.exp(-dt / tau * np.arange(FINE))
    coarse = np.exp(-FINE * dt / tau * np.arange(many // FINE + 2))
    coarse[-1] = 0.0
    return Decay(fine.astype(dtype), coarse.astype(dtype))


def depth(longest: int, block: int) -> int:
    """Spikes of a receiver that are kept: those on their way, and more, so that few passes over
    all synapses are needed."""
    return max(32, 1 << (longest + 4 * block + 4).bit_length())


def window(tau: float, dt: float, width: int) -> int:
    """Steps that the sums of a modulator reach over: within them, weights lose no digits."""
    steps = min(math.ceil(WINDOW * tau / dt), LARGEST_SUMS // width)
    return max(steps // ALIGNED, 1) * ALIGNED


def first_state(
    bound: "BoundRule",
    rule: "Plasticity",
    *,
    dt: float,
    senders: int,
    receivers: int,
    synapses: int,
    longest: int,
    block: int,
    values: int,
    all_values: int,
    dtype: np.dtype[Any],
) -> PlasticState:
    """That of synapses that have seen no spike.

    Args:
        bound: the recorded ``rule``.
        rule: whose traces start from rest.
        dt: ms.
        senders, receivers, synapses: how many.
        longest: delay, in steps.
        block: steps that are run at once.
        values: of the modulator.
        all_values: the same of all processes, which share a window.
        dtype: of weights and traces.
    """
    program, rows = bound.program, depth(longest, block)
    tau = rule.eligibility()
    kept, newest = (receivers, rows), (receivers, NEWEST)
    if receivers * rows >= 2**31:
        raise UserError(
            f"{receivers} receivers with delays of up to {longest} steps are too many: spikes of "
            f"{rows} steps are kept for each, their product must stay below 2**31"
        )
    return PlasticState(
        lasts=np.full(senders, NEVER, np.int32),
        pre=[np.full(senders, trace.rest, dtype) for trace in rule.pre().values()],
        totals=np.zeros(receivers, np.int32),
        steps=np.full(kept, NEVER, np.int32),
        post=[np.full(kept, trace.rest, dtype) for trace in rule.post().values()],
        before={
            program.post.index(name): np.full(kept, rule.post()[name].rest, dtype)
            for name in program.before_post
        },
        newest=np.full(newest, NEVER, np.int32),
        newest_post=[np.full(newest, trace.rest, dtype) for trace in rule.post().values()],
        used=np.zeros(receivers, np.int32),
        clock=np.full(2, -1, np.int64),
        eligible=None if tau is None else np.zeros(synapses, dtype),
        sums=None if tau is None else np.zeros((window(tau, dt, all_values) + 1, values)),
    )

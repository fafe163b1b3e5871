"""What synapses that learn by e-prop carry from block to block, as arrays."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.plastic_state import GONE, NEVER

Array = NDArray[Any]

LEAST_KEPT = 256
"""Steps of receivers that are kept, or more."""


@dataclass(frozen=True, eq=False)
class Response:
    r"""How receivers answer: with arrivals :math:`z` at a receptor, in each step

    .. math::
        j \leftarrow j + \text{gain}\, z, \quad u \leftarrow \text{keeps}\, u + j, \quad
        e = \psi (u - \beta a), \quad a \leftarrow \rho a + \text{jump}\, e, \quad
        j \leftarrow \text{left}\, j

    of which each array is ``[receivers]``, of the cells' dtype.
    """

    keeps: Array
    gain: Array
    left: Array
    rho: Array
    beta: Array
    jump: Array
    lag: int
    """Steps from the arrival to the step in which it acts."""
    adapts: bool
    """Whether there is ``a``."""
    wipes: bool
    """Whether receivers may forget ``u`` after a step: they show 1 where not, else 0."""

    def reach(self, kappa: float) -> int:
        """Steps after which less than ``2**-60`` is left of a spike, behind a filter too."""
        factors = [float(array.max(initial=0.0)) for array in (self.keeps, self.left, self.rho)]
        slow = [factor for factor in (*factors, kappa) if factor > 0.0]
        if max(slow, default=0.0) >= 1.0:
            return 1 << 40
        return self.lag + sum(math.ceil(GONE / -math.log(factor)) for factor in slow)


@dataclass(eq=False)
class EPropState:
    """All that changes but weights and rings; the same for any number of threads."""

    lasts: NDArray[np.int32]
    """``[senders]``: the step of the last spike."""
    taken: NDArray[np.int32]
    """``[senders]``: the step up to which its synapses have gone at least."""
    clock: NDArray[np.int64]
    """``[2]``: the step up to which all have; for this block and for the next one."""
    sent: NDArray[np.uint32]
    """``[steps kept, words]``: spikes of senders, as those of cells; step ``n`` has row
    ``n % steps``."""
    psi: Array
    """``[steps kept, receivers]``: derivatives of their spikes."""
    open: Array | None
    """The same: whether the past counts after a step."""
    signal: Array
    """The same: learning signals, times minus the learning rate."""
    j: Array | None
    """``[synapses]``: see :class:`Response`; ``None`` where nothing is left after a step."""
    u: Array
    a: Array | None
    e: Array | None
    """The filtered eligibility."""
    g: Array | None
    """What is yet to be added to the weight."""

    def arrays(self) -> dict[str, Array]:
        """By name; not copies."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array for name, array in named.items() if array is not None}


def first_state(
    response: Response,
    *,
    senders: int,
    synapses: int,
    shortest: int,
    longest: int,
    block: int,
    kappa: float,
    is_summed: bool,
) -> EPropState:
    """That of synapses that have seen no spike.

    Args:
        response: of the receivers.
        senders, synapses: how many.
        shortest, longest: delays, in steps.
        block: steps that are run at once.
        kappa: what a step leaves of the filtered eligibility.
        is_summed: whether changes wait for an update.
    """
    dtype, receivers = response.keeps.dtype, response.keeps.size
    kept = max(LEAST_KEPT, 1 << (4 * (shortest + block)).bit_length())
    bits = 1 << (kept + longest + response.lag + 1).bit_length()

    def synapse(is_needed: bool) -> Array | None:
        return np.zeros(synapses, dtype) if is_needed else None

    return EPropState(
        lasts=np.full(senders, NEVER, np.int32),
        taken=np.full(senders, -1, np.int32),
        clock=np.full(2, -1, np.int64),
        sent=np.zeros((bits, -(-senders // 32)), np.uint32),
        psi=np.ones((kept, receivers), dtype),
        open=np.ones((kept, receivers), dtype) if response.wipes else None,
        signal=np.zeros((kept, receivers), dtype),
        j=synapse(bool(response.left.any())),
        u=np.zeros(synapses, dtype),
        a=synapse(response.adapts),
        e=synapse(kappa > 0.0),
        g=synapse(is_summed),
    )

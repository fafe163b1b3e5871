"""Readouts: weighted sums of a population's state, which may act back on neurons at once."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError, nearest
from spikesim.network.given import real, reals, whole
from spikesim.network.grid import period, whole_steps
from spikesim.network.population import Population
from spikesim.network.probe import SampledProbe
from spikesim.network.sources import Values


class Readout:
    r"""Outputs :math:`z_k = \sum_i w_{ki} r_i` of a state ``r``; made by :meth:`Network.readout`.

    Those after step ``n`` reach the neurons that they act back on in step ``n + d``, as
    :math:`\sum_k E_{kj} z_k`.

    Attributes:
        pre, post: whose state, and who is fed back.
    """

    is_plastic = True
    """As for projections that are: never over a delay shorter than the block."""

    def __init__(
        self,
        name: str,
        pre: Population,
        outputs: int,
        state: str,
        post: Population,
        receptor: str | None,
        *,
        weight: ArrayLike,
        feedback: ArrayLike | None,
        delay: float | None,
        largest: float | None,
        dt: float,
    ) -> None:
        self.name, self.pre, self.post, self.dt = name, pre, post, dt
        if state not in pre.state:
            raise UserError(f"{pre.name} has no state {state!r}" + nearest(state, tuple(pre.state)))
        self.state = state
        many = whole(f"outputs of {name}", outputs, 1)
        self._weight = _table(f"weight of {name}", weight, (many, pre.size))
        self.receptor = post.current_receptor(receptor)
        self.feedback: NDArray[np.float64] | None = None
        self.largest = 0.0
        self.least_delay = int(whole_steps(dt if delay is None else delay, dt, f"delay of {name}"))
        if feedback is None:
            return
        self.feedback = _table(f"feedback of {name}", feedback, (many, post.size))
        if self.least_delay < 1:
            raise UserError(f"delay of {name} must be a step at least, got {delay} ms")
        if largest is None or not real(f"largest of {name}", largest) > 0:
            raise UserError(
                f"{name} acts back on {post.name}: pass the largest size of an output, > 0, as "
                f"largest=..., got {largest}"
            )
        self.largest = float(largest)

    @property
    def weight(self) -> NDArray[np.float64]:
        """``[outputs, neurons]``, finite; may be changed in place, or set, between runs."""
        return self._weight

    @weight.setter
    def weight(self, values: ArrayLike) -> None:
        # Into the array that the engine has.
        self._weight[:] = _table(f"weight of {self.name}", values, self._weight.shape)

    def check(self) -> None:
        """Refuse weights that a rule has let grow without bounds.

        Raises:
            UserError: one is not finite.
        """
        reals(f"weight of {self.name}", self._weight)

    @property
    def value(self) -> NDArray[np.float64]:
        """The outputs ``[outputs]`` now."""
        return np.asarray(self.weight @ self.pre.state[self.state], np.float64)

    def at_most(self) -> tuple[Values, Values]:
        """What a neuron may get in a step: the size, and how many rounded values it is made of."""
        if self.feedback is None:
            return np.zeros(()), np.zeros(())
        return self.largest * np.abs(self.feedback).sum(0), np.full((), float(len(self.weight)))

    def typical(self) -> float:
        """The size whose rounding matters."""
        return 0.0 if self.feedback is None else self.largest * float(np.abs(self.feedback).max())


class ReadoutProbe(SampledProbe):
    """Outputs of a readout after each step; made by :meth:`Network.probe`."""

    def __init__(self, readout: Readout, every: int, step: int) -> None:
        super().__init__(readout.pre, [], readout.dt, step)
        self.readout, self.every = readout, every
        self._rows: list[NDArray[Any]]
        self.clear()

    def take(self, values: NDArray[np.float64]) -> None:
        """Keep outputs of the next steps, ``[steps, outputs]``: each ``every``-th row."""
        ahead = (self.first - self.step - 1) % self.every
        self._rows.append(values[ahead :: self.every].copy())
        self.step += len(values)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        super().clear()
        self._rows = [np.zeros((0, len(self.readout.weight)))]

    @property
    def values(self) -> NDArray[np.float64]:
        """``[steps, outputs]``."""
        if len(self._rows) > 1:
            self._rows = [np.concatenate(self._rows)]
        return self._rows[0]


def make_readout_probe(
    readout: Readout,
    what: str,
    neurons: ArrayLike | None,
    synapses: ArrayLike | None,
    every: float | None,
    step: int,
) -> ReadoutProbe:
    """The probe of outputs that :meth:`Network.probe` was asked for."""
    if what != "value" or neurons is not None or synapses is not None:
        raise UserError(f"of {readout.name} all 'value' can be probed, and nothing else")
    steps = 1 if every is None else period(every, readout.dt)
    return ReadoutProbe(readout, steps, step)


def _table(name: str, given: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    values = reals(name, given)
    if values.shape not in ((), shape):
        raise UserError(f"{name} must be one value or {list(shape)}, got {list(values.shape)}")
    return np.array(np.broadcast_to(values, shape))

"""Modulators: what turns eligibilities into changes of weights, such as reward or dopamine."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.network.distributed_arrays import ByColumn
from spikesim.network.given import per_neuron, real
from spikesim.network.grid import period
from spikesim.network.population import Population
from spikesim.network.sources import Course

TAU = "> 0 ms and finite"


class Modulator:
    r"""A value :math:`M(t)`, or one for each receiving neuron; made by :meth:`Network.modulator`.

    With ``tau`` it decays, and :meth:`add` lets it jump: dopamine. Without, it stays as it is until
    ``value`` is set between two runs, or follows a function of time.

    Of several processes each calls a function of time, which must give all of them the same; what
    it reads of a run must be gathered. Values for each neuron decay where this is: between runs
    ``value`` holds those of the process's own neurons, ``net.state_dict()`` fetches the others.

    Args:
        name: for errors and states.
        value: one value, one for each neuron of ``post``, or a function of the time in ms.
        tau: time constant, ms; ``None``: no decay.
        post: whose neurons have values of their own; ``None``: one value for all.
        every: ms between two questions to a function; ``None``: each step.
        dt: of the network, ms.

    Attributes:
        values: float64 ``[1]`` or ``[post.size]``: those of the step to come.
        every: steps between two questions to a function, else ``None``.
        factor: what is left after a step.
    """

    def __init__(
        self,
        name: str,
        value: Course,
        *,
        tau: float | None,
        post: Population | None,
        every: float | None,
        dt: float,
    ) -> None:
        self.name, self.post, self.dt = name, post, dt
        self.values = np.zeros(1 if post is None else post.size)
        self.every: int | None = None
        self._course: Callable[[float], ArrayLike] | None = None
        if tau is not None and not real(f"tau of {name}", tau, TAU) > 0:
            raise UserError(f"tau of {name} must be {TAU}, got {tau}")
        self.factor = 1.0 if tau is None else float(np.exp(-dt / tau))
        if callable(value):
            if tau is not None:
                raise UserError(f"{name} is a function of time: it cannot decay by itself too")
            self.every = period(dt if every is None else every, dt)
            self._course = value
        elif every is not None:
            raise UserError(f"{name} is no function of time: every= is of these")
        else:
            self.value = value

    @property
    def division(self) -> ByColumn | None:
        """Of the values among processes; ``None`` where each has all."""
        return None if self.post is None or self.post.share.is_whole else ByColumn(self.post.share)

    @property
    def value(self) -> NDArray[np.float64]:
        """The values, a copy; set one or all."""
        return self.values.copy()

    @value.setter
    def value(self, given: ArrayLike) -> None:
        self.values[:] = self._fit(given)

    def add(self, amount: ArrayLike) -> None:
        """Let the values jump, before the next step.

        Args:
            amount: one, or one for each neuron.

        Raises:
            UserError: it is not finite, or of another length.
        """
        self.values += self._fit(amount)

    def renew(self, step: int) -> None:
        """Ask the function of time for the values from a step on."""
        if self._course is not None:
            self.values[:] = self._fit(self._course(step * self.dt), f" at {step * self.dt:g} ms")

    def _fit(self, given: ArrayLike, when: str = "") -> NDArray[np.float64]:
        shape = self.values.shape if self.post is None else self.post.shape
        return per_neuron(self.name, given, shape, when)

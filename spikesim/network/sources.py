"""What drives a population from outside: Poisson spikes, currents and noise.

Each acts on one receptor of one population. A rate or an amplitude is one value, one per neuron, or
a function of the time in ms that returns either, asked once every ``every`` ms. The largest size
of its values is given beforehand: quanta (:mod:`spikesim.network.quantum`) depend on it.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.network.given import per_neuron, real
from spikesim.network.grid import period
from spikesim.network.population import Population

Course: TypeAlias = ArrayLike | Callable[[float], ArrayLike]
"""A value, one per neuron, or a function of the time in ms."""
Values: TypeAlias = NDArray[np.float64]
"""One value, or ``[neurons]``."""

LARGEST_NORMAL = 5.8
"""Above the largest standard normal number that :mod:`spikesim.random` draws."""
LARGEST_MEAN = 1e6
"""Poisson spikes in a step; more are no longer drawn as such."""


class Drive:
    """A course in time that acts on a receptor, and what it may add up to.

    Args:
        name, post, receptor: what acts on whom.
        course: of the values.
        every: ms between two questions to a function; ``None``: each step.
        largest: the largest size of a function's values; a larger one is refused when it comes.
        dt: of the network, ms.
    """

    def __init__(
        self,
        name: str,
        post: Population,
        receptor: str,
        course: Course,
        *,
        every: float | None = None,
        largest: float | None = None,
        dt: float,
    ) -> None:
        self.name, self.post, self.receptor, self.dt = name, post, receptor, dt
        self.size: Values
        """The largest size of the course."""
        self.course: Values | Callable[[float], ArrayLike]
        self.every: int | None = None
        """Steps between two questions to a function; ``None`` where the course is constant."""
        if callable(course):
            most = -1.0 if largest is None else real(f"largest of {name}", largest)
            if most < 0:
                raise UserError(
                    f"{name} is a function of time: pass the largest size of its values, finite "
                    f"and >= 0, as largest=..., got {largest}"
                )
            self.course, self.size = course, np.array(most)
            self.every = period(dt if every is None else every, dt)
        elif every is not None or largest is not None:
            raise UserError(f"{name} is constant: every= and largest= are of functions of time")
        else:
            self.course = self.fit(course)
            self.size = np.asarray(np.abs(self.course))

    def fit(self, given: ArrayLike, when: str = "") -> Values:
        """Values as an array, if their shape is right and they are finite."""
        return per_neuron(self.name, given, self.post.shape, when)

    def at(self, step: int) -> Values:
        """The course from ``step`` on.

        Raises:
            UserError: a function gives another shape, or values that are not finite or larger than
                announced.
        """
        if not callable(self.course):
            return self.course
        when = f" at {step * self.dt:g} ms"
        values = self.fit(self.course(step * self.dt), when)
        if np.abs(values).max() > self.size:
            raise UserError(
                f"{self.name} reaches {np.abs(values).max():g}{when}, above largest={self.size:g}"
            )
        return values

    def at_most(self) -> tuple[Values, Values]:
        """What a neuron may get in a step: the size, and how many rounded values it is made of."""
        return self.size, np.ones(())

    def typical(self) -> float:
        """The size whose rounding matters."""
        return float(np.max(self.size))


class Current(Drive):
    """A current, or any input, added in each step; made by :meth:`Network.current`."""


class Noise(Drive):
    """Normal noise, drawn anew for each neuron and step; made by :meth:`Network.noise`.

    Args:
        name, post, receptor, dt: see :class:`Drive`.
        mean: the course, constant.
        std: standard deviation, one value or ``[neurons]``, >= 0.
    """

    def __init__(
        self, name: str, post: Population, receptor: str, mean: ArrayLike, std: ArrayLike, dt: float
    ) -> None:
        if callable(mean) or callable(std):
            raise UserError(f"{name} takes values; for a function of time add net.current(...)")
        super().__init__(name, post, receptor, mean, dt=dt)
        self.std = self.fit(std)
        if (self.std < 0).any():
            raise UserError(f"std of {name} must be >= 0, got {self.std.min():g}")

    def at_most(self) -> tuple[Values, Values]:
        """``|mean| + 5.8 std``, rounded once."""
        return self.size + LARGEST_NORMAL * self.std, np.ones(())

    def typical(self) -> float:
        """The larger of mean and standard deviation."""
        return max(float(np.max(self.size)), float(self.std.max()))


class Poisson(Drive):
    """Poisson spikes of one weight, independent for each neuron; made by :meth:`Network.poisson`.

    Args:
        name, post, receptor, every, largest, dt: see :class:`Drive`.
        rate: the course, Hz, >= 0.
        weight: of a spike.
    """

    def __init__(
        self,
        name: str,
        post: Population,
        receptor: str,
        rate: Course,
        weight: float,
        *,
        every: float | None = None,
        largest: float | None = None,
        dt: float,
    ) -> None:
        self.weight = real(f"weight of {name}", weight)
        super().__init__(name, post, receptor, rate, every=every, largest=largest, dt=dt)
        if np.max(self.size) * dt * 1e-3 > LARGEST_MEAN:
            raise UserError(
                f"rate of {name}, {np.max(self.size):g} Hz, gives more than {LARGEST_MEAN:g} "
                "spikes in a step; drive with net.current(...) and net.noise(...) instead"
            )

    def fit(self, given: ArrayLike, when: str = "") -> Values:
        """Rates as an array, if they are fit."""
        values = super().fit(given, when)
        if (values < 0).any():
            raise UserError(f"rate of {self.name} must be >= 0 Hz, got {values.min():g}{when}")
        return values

    def mean_per_step(self, step: int) -> Values:
        """Expected spikes in a step."""
        return np.multiply(self.at(step), self.dt * 1e-3)

    def at_most(self) -> tuple[Values, Values]:
        """The largest count that may be drawn, times ``|weight|``."""
        mean = self.size * (self.dt * 1e-3)
        # Beyond what the limits of spikesim.kernels.poisson reach: 8 deviations and 24 more.
        count = np.where(mean > 0, np.ceil(mean + 9.0 * np.sqrt(mean) + 32.0), 0.0)
        return count * abs(self.weight), count

    def typical(self) -> float:
        """The weight."""
        return abs(self.weight)

"""What all plasticity rules share, and the trace that a spike leaves."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from spikesim.errors import UserError
from spikesim.network.given import real
from spikesim.types import Named

Changes: TypeAlias = Mapping[str, Any]
"""New values by name; what is not named stays as it is."""


@dataclass(frozen=True)
class Trace:
    """What a neuron's spikes leave behind: decays to ``rest``, and jumps as a rule says.

    Args:
        tau: time constant, ms, > 0.
        rest: what it decays to, and starts from.

    Raises:
        UserError: ``tau`` is not > 0 and finite, or ``rest`` not finite.
    """

    tau: float
    rest: float = 0.0

    def __post_init__(self) -> None:
        wish = "> 0 ms and finite"
        if not real("tau of a trace", self.tau, wish) > 0:
            raise UserError(f"tau of a trace must be {wish}, got {self.tau}")
        real("rest of a trace", self.rest, "finite")


@dataclass(frozen=True)
class Plasticity(ABC):
    r"""A rule by which spikes change synapses; subclass it for one of your own.

    A synapse sees two kinds of events: spikes of its sender, and spikes of its receiver, which come
    back to it over its delay (which is dendritic, as in NEST): a spike of the sender in step ``n``
    meets one of the receiver of step ``m`` as if both came at once where :math:`m + d = n`. Events
    are taken in the order of steps. Of two at once neither sees the trace of the other; the
    receiver's comes first.

    ``on_pre(s)`` and ``on_post(s)`` say what an event changes: a ``dict`` of new values, all
    computed from the values ``s`` just before it: ``s.w``, the weight's size; each trace by its
    name; ``s.e``, the eligibility, if there is one. They use ``+ - * /``, comparisons and
    :mod:`spikesim.ops`, as a neuron's ``step``; the rule's own numbers are plain floats.
    A trace jumps at the spikes of its neuron, so that it may depend on traces of this neuron only.
    ``on_pre`` may give ``sent``, what the receptor gets, brought back to between 0 and the bounds
    of ``w``; by default it is the new ``w``.

    Traces decay exactly from event to event, and no work is done in between. After each change
    the weight is brought back to ``[w_min, w_max]``; so it keeps its sign (Dale's law) unless
    ``w_min`` is negative. One that is no number any more (0 / 0) becomes ``w_min``. ``w`` is the
    size of the weight: inhibitory weights are ``-w``.

    Args:
        w_max: the largest weight, in the unit of the receptor; ``inf`` only where a rule leaves
            weights as they are.
        w_min: the smallest weight.

    Raises:
        UserError: bounds that are not ordered, a number that is not finite.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Hebb(Plasticity):
    ...     tau: float = 20.0
    ...     rate: float = 0.01
    ...
    ...     def pre(self):
    ...         return {"x": Trace(self.tau)}
    ...
    ...     def on_pre(self, s):
    ...         return {"w": s.w * (1.0 - self.rate), "x": s.x + 1.0}
    ...
    ...     def on_post(self, s):
    ...         return {"w": s.w + self.rate * s.x}
    >>> rule = Hebb(w_max=2.0)
    """

    w_max: float = field(kw_only=True)
    w_min: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        who = type(self).__name__
        for one in fields(self):
            name, value = f"{one.name} of {who}", getattr(self, one.name)
            if one.type in (float, "float"):
                # Numbers of numpy become plain ones, which the lines of a rule can hold.
                value = real(name, value, "finite", finite=one.name != "w_max")
                object.__setattr__(self, one.name, value)
            elif isinstance(value, int | float) and not np.isfinite(value):
                raise UserError(f"{name} must be finite, got {value}")
            elif isinstance(value, np.ndarray | Tensor | list):
                raise UserError(f"{name} must be one number for all synapses, got {value}")
        if not self.w_min < self.w_max:
            raise UserError(
                f"w_min of {who} must be below w_max, got {self.w_min} and {self.w_max}"
            )
        try:
            for name, trace in (*self.pre().items(), *self.post().items()):
                if not isinstance(trace, Trace):
                    raise UserError(f"{name} must be a Trace(tau), got {trace!r}")
            self.check()
            tau = self.eligibility()
            if tau is not None and not real("time constant of the eligibility", tau, "> 0 ms") > 0:
                raise UserError(f"eligibility must decay in > 0 ms, got {tau}")
        except UserError as error:
            raise UserError(f"{who}: {error}") from error

    def check(self) -> None:  # noqa: B027
        """Refuse numbers that the rule cannot work with."""

    def pre(self) -> Mapping[str, Trace]:
        """Traces of the sending neuron, by name."""
        return {}

    def post(self) -> Mapping[str, Trace]:
        """Traces of the receiving neuron, by name."""
        return {}

    def eligibility(self) -> float | None:
        """Time constant of the eligibility ``e``, ms; ``None`` where there is none.

        With it, beside all events, ``dw/dt = M(t) e(t)`` with the modulator ``M``: after each step
        ``n`` the weight has grown by ``dt M(n) e(n)``, where ``e(n)`` includes the events of ``n``.
        """
        return None

    @abstractmethod
    def on_pre(self, s: Named) -> Changes:
        """What a spike of the sender changes."""

    def on_post(self, s: Named) -> Changes:
        """What a spike of the receiver changes."""
        return {}


def positive(**values: float) -> None:
    """Refuse numbers that are not > 0."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{name} must be > 0, got {value}")


def not_negative(**values: float) -> None:
    """Refuse numbers below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise UserError(f"{name} must be >= 0, got {value}")

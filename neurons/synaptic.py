"""Double-exponential synapses laid over any neuron, and its spikes as such synapses see them."""

import copy
from collections.abc import Collection
from functools import cache
from types import new_class
from typing import Any, cast

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.neurons.propagators import decay
from spikesim.types import Named, Number

TRACES = ("i", "h", "r", "g")
"""States that a neuron has more: what it receives and what it sends, each with its rise."""


class Synaptic(Neuron):
    """What :func:`synaptic` lays over a neuron."""

    of: type[Neuron]

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, which cannot find a class made here by its name."""
        return _blank, (self.of,), self.__getstate__()

    def derived(self, p: Named) -> dict[str, Number]:
        """What a step leaves of the two parts, and what a spike adds."""
        return {
            **super().derived(p),
            "left_rise": decay(self.dt, p.tau_rise),
            "left_decay": decay(self.dt, p.tau_decay),
            "per_spike": self.dt / (p.tau_rise * p.tau_decay),
        }

    def initial(self, p: Named) -> dict[str, Number]:
        """As the neuron begins, with no current."""
        return {**super().initial(p), **dict.fromkeys(TRACES, 0.0)}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """A step of the neuron with the current of before, then one of the synapses."""
        own = Named({name: value for name, value in state.items() if name not in TRACES})
        after, s = super().step(own, inputs.replace(current=inputs.current + state.i), p)
        h = state.h + inputs.synaptic * p.per_spike
        return after.replace(
            i=state.i * p.left_rise + h,
            h=h * p.left_decay,
            r=state.r * p.left_rise + state.g,
            g=state.g * p.left_decay + s * p.per_spike,
        ), s


@cache
def _synaptic(kind: type[Neuron]) -> type[Synaptic]:
    made = new_class(
        f"Synaptic{kind.__name__}", (Synaptic, kind), {}, lambda body: body.update(of=kind)
    )
    return cast(type[Synaptic], made)


def _blank(kind: type[Neuron]) -> Synaptic:
    """One whose state is yet to be set."""
    made = _synaptic(kind)
    return made.__new__(made)


def synaptic(
    neuron: Neuron,
    tau_rise: Number = 2.0,
    tau_decay: Number = 20.0,
    *,
    learnable: Collection[str] = (),
) -> Neuron:
    r"""A copy of a neuron with double-exponential synapses, and a filtered train of its spikes.

    .. math::
        i \leftarrow e^{-dt/\tau_r} i + h \, dt, \quad
        h \leftarrow e^{-dt/\tau_d} h + \frac{x}{\tau_r \tau_d}

    ``i`` is added to the neuron's ``current``, a step after it changed; ``r`` follows the same
    lines with the neuron's own spikes for ``x``, so that a sum of weighted spikes of many neurons
    gives the same sum of their ``r``. The answer to a spike has the integral 1 (per ms), up to
    ``dt``. Which of the time constants decays and which rises makes no difference but for ``dt``.

    Args:
        neuron: any with an input ``current``.
        tau_rise, tau_decay: ms, each one number or one value per neuron.
        learnable: of the two names, those to train.

    Returns:
        The neuron with an input ``synaptic`` before its own ones, in the unit of ``current`` times
        ms, and with the states ``i``, ``r`` (1/ms), and their rising parts ``h``, ``g``.

    Raises:
        UserError: a neuron without ``current``, or a time constant that is not > 0.

    Reference: W. Nicola, C. Clopath (2017), Nat. Commun. 8:2208, methods.

    >>> import torch
    >>> from spikesim.neurons import LIFDelta
    >>> neuron = synaptic(LIFDelta(dt=0.1))
    >>> spike = torch.zeros(2000, 1, 1, dtype=torch.float64)
    >>> x = {name: spike.clone() for name in neuron.inputs}
    >>> x["synaptic"][0] = 1.0
    >>> round(float(neuron.trace(x)["i"].sum()) * 0.1, 2)
    1.03
    """
    if isinstance(neuron, type | Synaptic) or "current" not in neuron.inputs:
        raise UserError(
            f"synaptic needs a neuron with an input 'current' and no such synapses yet, "
            f"got {neuron if isinstance(neuron, type) else type(neuron).__name__}"
        )
    made = copy.deepcopy(neuron)
    made.__class__ = _synaptic(type(neuron))
    made.inputs = ("synaptic", *neuron.inputs)
    made.states = (*neuron.states, *TRACES)
    made.learnable = (*neuron.learnable, *learnable)
    made.add_parameter("tau_rise", tau_rise, Positive())
    made.add_parameter("tau_decay", tau_decay, Positive())
    made.check_learnable()
    made.record()
    return made

"""Receptors of a membrane: conductances or currents that decay exponentially."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.errors import UserError
from spikesim.neurons.propagators import decay, phi
from spikesim.ops import absolute
from spikesim.types import Named, Number

if TYPE_CHECKING:
    from spikesim.neuron import Neuron

SHORT = {"excitatory": "ex", "inhibitory": "in"}
"""How parameters and states call them; others by their own name."""


@dataclass(frozen=True)
class Receptor:
    """What a spike opens.

    Args:
        tau: time constant of the decay, ms.
        reversal: reversal potential, mV, of a conductance (weights in nS, of which the size
            counts); ``None`` for a current (weights in pA, with their sign).
    """

    tau: Number
    reversal: Number | None = None


class Receptors:
    """Of one neuron: parameters ``tau_*``, ``e_*``, states ``g_*`` or ``i_*``, and what they do."""

    def __init__(self, neuron: "Neuron", receptors: Mapping[str, Receptor]) -> None:
        for name, one in receptors.items():
            if not isinstance(one, Receptor):
                raise UserError(
                    f"receptors[{name!r}] must be a Receptor(tau, reversal), got {one!r}"
                )
        self._names = tuple(receptors)
        self._opens = {name: one.reversal is not None for name, one in receptors.items()}
        for name, one in receptors.items():
            short = SHORT.get(name, name)
            neuron.add_parameter(f"tau_{short}", one.tau, Positive())
            neuron.add_parameter(f"e_{short}", one.reversal)
        neuron.inputs = (*receptors, "current")
        neuron.states = (*neuron.states, *(self._state(name) for name in receptors))

    def _state(self, name: str) -> str:
        return ("g_" if self._opens[name] else "i_") + SHORT.get(name, name)

    def _each(self) -> Iterator[tuple[str, str, str]]:
        for name in self._names:
            yield name, SHORT.get(name, name), self._state(name)

    def derived(self, p: Named, dt: float) -> dict[str, Number]:
        """What is left of each after a step and after half of one, and its mean over the step."""
        numbers: dict[str, Number] = {}
        for _, short, _ in self._each():
            tau = p[f"tau_{short}"]
            numbers[f"left_{short}"] = decay(dt, tau)
            numbers[f"half_{short}"] = decay(0.5 * dt, tau)
            numbers[f"mean_{short}"] = phi(-dt / tau)[0]
        return numbers

    def open(self, state: Named, p: Named, part: str | None = None) -> Named:
        """Conductances and currents: at first, or times ``left``, ``half`` or ``mean``."""
        return Named(
            {
                of: state[of] if part is None else state[of] * p[f"{part}_{short}"]
                for _, short, of in self._each()
            }
        )

    def conductance(self, opened: Named, own: Tensor) -> Tensor:
        """The sum of all conductances, with the membrane's ``own``, nS."""
        for name, _, of in self._each():
            own = own + opened[of] if self._opens[name] else own
        return own

    def flow(self, opened: Named, v: Tensor, current: Tensor, p: Named) -> Tensor:
        """The current into the membrane, pA, added to ``current``."""
        for name, short, of in self._each():
            is_open = self._opens[name]
            current = current + (opened[of] * (p[f"e_{short}"] - v) if is_open else opened[of])
        return current

    def after(self, state: Named, inputs: Named, p: Named) -> dict[str, Tensor]:
        """The states after a step, at whose end the inputs arrive."""
        return {
            of: state[of] * p[f"left_{short}"]
            + (absolute(inputs[name]) if self._opens[name] else inputs[name])
            for name, short, of in self._each()
        }

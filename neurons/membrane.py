"""What the integrate-and-fire family shares: threshold, reset and refractoriness."""

from collections.abc import Collection
from typing import ClassVar

from torch import Tensor

from spikesim.constraint import NotNegative
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.ops import detach, maximum, round_, where
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number


class Membrane(Neuron):
    r"""Base of neurons with one membrane ``v``, a threshold, and a hard or a soft reset.

    A subclass charges the membrane in its ``step`` and ends with ``return self.fire(...)``:

    .. math::
        s_t = [u_t \ge \theta], \quad
        v_t = \begin{cases} (1 - s_t) u_t + s_t v_\mathrm{reset} & \text{hard reset} \\
                            u_t - \theta s_t & \text{soft reset, } v_\mathrm{reset} = \text{None}
              \end{cases}

    With ``refractory`` > 0 the neuron stays silent for that long after a spike, with ``v`` held
    where the reset put it. The steps still to wait are then a state, ``wait``; without it
    there is neither the state nor its cost.
    """

    states: tuple[str, ...] = ("v",)
    threshold_name: ClassVar[str] = "v_threshold"
    refractory_name: ClassVar[str] = "refractory"
    """What the parameters are called."""

    def __init__(
        self,
        v_threshold: Number,
        v_reset: Number | None,
        detach_reset: bool,
        surrogate: Surrogate,
        refractory: Number,
        dt: float,
        learnable: Collection[str],
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        name = self.refractory_name
        if name in self.learnable:
            raise UserError(f"{name} is counted in steps and cannot be learnable; fix it")
        self.detach_reset = detach_reset
        self.surrogate = surrogate
        self.add_parameter(self.threshold_name, v_threshold)
        self.add_parameter("v_reset", v_reset)
        self.add_parameter(name, refractory, NotNegative())
        held: Number = getattr(self, name)
        self.is_refractory = isinstance(held, Tensor) or held > 0
        if self.is_refractory:
            self.states = (*self.states, "wait")

    @property
    def rests_at_zero(self) -> bool:
        """Whether the resting value is a fixed 0: the terms it would add are then left out."""
        value: object = self.v_reset
        return value is None or (isinstance(value, float) and value == 0.0)

    def derived(self, p: Named) -> dict[str, Number]:
        """Steps without firing after a spike."""
        return {"silent": round_(p[self.refractory_name] / self.dt)} if self.is_refractory else {}

    def initial(self, p: Named) -> dict[str, Number]:
        """At rest, ready to fire."""
        start: dict[str, Number] = dict.fromkeys(self.states, 0.0)
        return start if self.rests_at_zero else {**start, "v": p.v_reset}

    def above_rest(self, v: Tensor, p: Named) -> Tensor:
        """``v - v_rest``; the resting value is ``v_reset``, or 0 for a soft reset."""
        return v if self.rests_at_zero else v - p.v_reset

    def fire(self, state: Named, u: Tensor, p: Named) -> tuple[Named, Tensor]:
        """Compare the charged membrane ``u`` with the threshold, then reset."""
        if self.is_refractory:
            u = where(state.wait > 0.0, state.v, u)
        threshold = p[self.threshold_name]
        state, s = self.emit(state, u - threshold, p)
        r = detach(s) if self.detach_reset else s
        if self.v_reset is None:
            return state.replace(v=u - r * threshold), s
        v = (1.0 - r) * u
        return state.replace(v=v if self.rests_at_zero else v + r * p.v_reset), s

    def fires(self, excess: Tensor, p: Named) -> Tensor:
        """Whether the membrane fires, were it not refractory."""
        return self.spike(excess)

    def emit(self, state: Named, excess: Tensor, p: Named) -> tuple[Named, Tensor]:
        """Spike where the membrane fires and is not refractory; count the wait."""
        s = self.fires(excess, p)
        if not self.is_refractory:
            return state, s
        s = where(state.wait > 0.0, 0.0, s)
        wait = where(s >= 0.5, p.silent, maximum(state.wait - 1.0, 0.0))
        return state.replace(wait=wait), s

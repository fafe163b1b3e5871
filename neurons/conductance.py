"""What neurons with receptors on a leaky membrane share: how a step is integrated."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Literal

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.errors import UserError
from spikesim.neurons.point import PointNeuron
from spikesim.neurons.receptor import Receptor, Receptors
from spikesim.neurons.runge_kutta import rk4
from spikesim.ops import exp, where
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number

Scheme = Literal["exponential_euler", "rk4"]


class ConductanceNeuron(PointNeuron):
    r"""Base of neurons with :math:`C \dot v = g_L (E_L - v) + f + \sum_s g_s (E_s - v) + I`.

    Receptors decay exactly. ``"exponential_euler"`` takes their mean over the step, and solves
    what is then linear in ``v`` exactly: of second order but for :math:`f`, which it holds.
    ``"rk4"`` is the classical Runge-Kutta step.
    """

    is_held: ClassVar[bool] = True
    """Whether ``v`` stands still in the refractory period."""

    def __init__(
        self,
        receptors: Mapping[str, Receptor],
        scheme: Scheme,
        c_m: Number,
        g_l: Number,
        e_l: Number,
        v_threshold: Number,
        v_reset: Number | None,
        t_ref: Number,
        i_e: Number,
        detach_reset: bool,
        surrogate: Surrogate,
        dt: float,
        learnable: Collection[str],
    ) -> None:
        super().__init__(
            c_m=c_m,
            e_l=e_l,
            v_threshold=v_threshold,
            v_reset=v_reset,
            t_ref=t_ref,
            i_e=i_e,
            detach_reset=detach_reset,
            surrogate=surrogate,
            dt=dt,
            learnable=learnable,
        )
        if scheme not in ("exponential_euler", "rk4"):
            raise UserError(f"scheme must be 'exponential_euler' or 'rk4', got {scheme!r}")
        self.scheme = scheme
        self.add_parameter("g_l", g_l, Positive())
        self.receptors = Receptors(self, receptors)

    def derived(self, p: Named) -> dict[str, Number]:
        """What a step leaves of the receptors."""
        return {**super().derived(p), **self.receptors.derived(p, self.dt)}

    def ionic(self, y: Named, p: Named) -> Tensor:
        """The current through the membrane's own channels, pA."""
        return (p.e_l - y.v) * p.g_l

    def conductance(self, y: Named, p: Named) -> Tensor:
        """That of these channels, as far as the scheme treats them as linear in ``v``, nS."""
        return p.g_l

    def slopes(self, y: Named, current: Tensor, p: Named) -> Named:
        """Derivatives of the variables ``y``, given what the receptors and electrodes bring."""
        return Named(v=(self.ionic(y, p) + current) / p.c_m)

    def bounded(self, y: Named, p: Named) -> Named:
        """Variables within a step as the slopes see them."""
        return y

    def relaxed(self, y: Named, p: Named) -> dict[str, Tensor]:
        """Variables other than ``v`` after a step at this ``v``."""
        return {}

    def variables(self, state: Named) -> Named:
        """What the equations of the membrane are of."""
        return Named(v=state.v)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        injected = inputs.current + p.i_e
        integrate = self._euler if self.scheme == "exponential_euler" else self._rk4
        y = integrate(state, injected, p)
        after = state.replace(**{**y, **self.receptors.after(state, inputs, p)})
        return self.fire(after.replace(v=state.v), y.v, p)

    def _euler(self, state: Named, injected: Tensor, p: Named) -> Named:
        opened, y = self.receptors.open(state, p, "mean"), self.variables(state)
        flow = self.receptors.flow(opened, y.v, self.ionic(y, p) + injected, p)
        total = self.receptors.conductance(opened, self.conductance(y, p))
        # Without conductances this factor is the same in each step, and computed once.
        gain = (1.0 - exp(total * (-self.dt / p.c_m))) / total
        return Named(v=y.v + flow * gain, **self.relaxed(y, p))

    def _rk4(self, state: Named, injected: Tensor, p: Named) -> Named:
        parts = {0.0: None, 0.5: "half", 1.0: "left"}
        stops = self.is_refractory and self.is_held

        def slope(y: Named, gone: float) -> Named:
            y, opened = self.bounded(y, p), self.receptors.open(state, p, parts[gone])
            k = self.slopes(y, self.receptors.flow(opened, y.v, injected, p), p)
            return k.replace(v=where(state.wait > 0.0, 0.0, k.v)) if stops else k

        return rk4(slope, self.variables(state), self.dt)

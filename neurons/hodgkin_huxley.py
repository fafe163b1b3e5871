"""The Hodgkin-Huxley neuron."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from torch import Tensor

from spikesim.constraint import NotNegative
from spikesim.neurons.conductance import ConductanceNeuron, Scheme
from spikesim.neurons.receptor import Receptor
from spikesim.neurons.squid import rates
from spikesim.ops import exp, where
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class HodgkinHuxley(ConductanceNeuron):
    r"""Hodgkin-Huxley neuron, the squid axon, with conductances or currents.

    .. math::
        C \dot v = \bar g_{Na} m^3 h (E_{Na} - v) + \bar g_K n^4 (E_K - v) + g_L (E_L - v)
                   + \sum_s g_s (E_s - v) + I, \quad \dot x = \alpha_x (1 - x) - \beta_x x

    for the gates :math:`x = m, h, n`, with rates in 1/ms and ``v`` in mV,

    .. math::
        \alpha_m = \tfrac{0.1 (v+40)}{1 - e^{-(v+40)/10}}, \; \beta_m = 4 e^{-(v+65)/18}, \;
        \alpha_h = 0.07 e^{-(v+65)/20}, \; \beta_h = \tfrac{1}{1 + e^{-(v+35)/10}}, \\
        \alpha_n = \tfrac{0.01 (v+55)}{1 - e^{-(v+55)/10}}, \; \beta_n = 0.125 e^{-(v+65)/80}.

    Args:
        c_m: capacitance, pF; the default is 100 pF, 10,000 square micrometres of membrane.
        g_na: conductance of sodium, nS.
        e_na: its reversal potential, mV.
        g_k: conductance of potassium, nS.
        e_k: its reversal potential, mV.
        g_l: leak conductance, nS.
        e_l: its reversal potential, mV.
        v_threshold: a spike is told when ``v`` comes to it from below, mV; nothing is reset.
        t_ref: time after a spike in which no other is told, ms.
        v_initial: ``v`` at first, mV, with the gates at rest for it.
        i_e: constant current, pA.
        tau_ex: time constant of excitation, ms.
        tau_in: time constant of inhibition, ms.
        e_ex: reversal potential of excitation, mV; ``None`` makes it a current ``i_ex``, pA.
        e_in: reversal potential of inhibition, mV; ``None`` makes it a current ``i_in``, pA.
        receptors: more of them, by the names of their inputs.
        scheme: ``"exponential_euler"``, stable at 0.1 ms, or ``"rk4"``, for 0.02 ms and below.
        surrogate: the pretended derivative of the spike in ``v - v_threshold``.
        dt: step length, ms.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape. With
    1 uF, mS and uA per square centimetre instead of pF, nS and pA the equations are the same.

    Shape: inputs ``excitatory``, ``inhibitory`` (nS by size, or pA) and ``current`` (pA)
    ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV), ``m``, ``h``, ``n``,
    ``g_ex`` and ``g_in`` (nS; ``i_ex`` and ``i_in``, pA) ``[B, ...]``, and ``wait`` (steps).

    Raises:
        UserError: an unknown scheme, or a parameter out of its range, named with its value.

    Reference: Hodgkin & Huxley (1952), in today's sign and with rest at -65 mV.

    >>> import torch
    >>> zero = torch.zeros(5000, 1, 1)
    >>> x = {"excitatory": zero, "inhibitory": zero, "current": zero + 1000.0}
    >>> int(HodgkinHuxley(dt=0.02)(x).sum())
    7
    """

    states = ("v", "m", "h", "n")
    is_held = False

    def __init__(
        self,
        c_m: Number = 100.0,
        g_na: Number = 12000.0,
        e_na: Number = 50.0,
        g_k: Number = 3600.0,
        e_k: Number = -77.0,
        g_l: Number = 30.0,
        e_l: Number = -54.387,
        v_threshold: Number = 0.0,
        t_ref: Number = 0.0,
        v_initial: Number = -65.0,
        i_e: Number = 0.0,
        tau_ex: Number = 5.0,
        tau_in: Number = 10.0,
        e_ex: Number | None = 0.0,
        e_in: Number | None = -80.0,
        *,
        receptors: Mapping[str, Receptor] = MappingProxyType({}),
        scheme: Scheme = "exponential_euler",
        surrogate: Surrogate = ATan(),
        dt: float = 0.02,
        learnable: Collection[str] = (),
    ) -> None:
        both = {"excitatory": Receptor(tau_ex, e_ex), "inhibitory": Receptor(tau_in, e_in)}
        super().__init__(
            {**both, **receptors},
            scheme,
            *(c_m, g_l, e_l, v_threshold, None, t_ref, i_e),
            *(False, surrogate, dt, learnable),
        )
        self.add_parameter("g_na", g_na, NotNegative())
        self.add_parameter("e_na", e_na)
        self.add_parameter("g_k", g_k, NotNegative())
        self.add_parameter("e_k", e_k)
        self.add_parameter("v_initial", v_initial)

    def initial(self, p: Named) -> dict[str, Number]:
        """At ``v_initial``, the gates at rest for it."""
        gates = {gate: up / (up + down) for gate, (up, down) in rates(p.v_initial).items()}
        return {**super().initial(p), "v": p.v_initial, **gates}

    def variables(self, state: Named) -> Named:
        """``v`` and the gates."""
        return Named(v=state.v, m=state.m, h=state.h, n=state.n)

    def _channels(self, y: Named, p: Named) -> tuple[Tensor, Tensor]:
        square = y.n * y.n
        return y.m * y.m * y.m * y.h * p.g_na, square * square * p.g_k

    def ionic(self, y: Named, p: Named) -> Tensor:
        """The channels' and the leak's current, pA."""
        sodium, potassium = self._channels(y, p)
        return super().ionic(y, p) + sodium * (p.e_na - y.v) + potassium * (p.e_k - y.v)

    def conductance(self, y: Named, p: Named) -> Tensor:
        """Of the open channels and the leak, nS."""
        sodium, potassium = self._channels(y, p)
        return p.g_l + sodium + potassium

    def slopes(self, y: Named, current: Tensor, p: Named) -> Named:
        """Of ``v`` and the gates."""
        gates = {gate: up - (up + down) * y[gate] for gate, (up, down) in rates(y.v).items()}
        return super().slopes(y, current, p).replace(**gates)

    def relaxed(self, y: Named, p: Named) -> dict[str, Tensor]:
        """The gates after a step at this ``v``."""
        gates = {}
        for gate, (up, down) in rates(y.v).items():
            rest = up / (up + down)
            gates[gate] = rest + (y[gate] - rest) * exp((up + down) * -self.dt)
        return gates

    def fire(self, state: Named, u: Tensor, p: Named) -> tuple[Named, Tensor]:
        """A spike where ``v`` came from below the threshold to it or beyond."""
        excess = where(state.v < p.v_threshold, u - p.v_threshold, -1.0)
        return self.emit(state.replace(v=u), excess, p)

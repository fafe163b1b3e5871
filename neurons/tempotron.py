"""The membrane of the tempotron."""

import math
from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.ops import exp, log, where
from spikesim.types import Named, Number


class TempotronMembrane(Neuron):
    r"""Sum of postsynaptic potentials of unit height, which one spike closes to further input.

    .. math::
        V(t) = \sum_{t_i \le t} x_i K(t - t_i), \qquad
        K(u) = V_0 (e^{-u / \tau} - e^{-u / \tau_s}), \qquad \max K = 1

    from two traces, exact on the grid of ``dt``; the output is :math:`V - \theta`. Once it is 0 or
    above the neuron has fired: input after that step is shunted, and what came before dies away.

    Args:
        tau: membrane time constant, ms.
        tau_s: synaptic time constant, ms; not ``tau``.
        v_threshold: :math:`\theta`, above the resting potential 0.
        shunt: whether a spike ends the input; without, ``V`` is linear in ``x``.
        dt: step length, ms.
        learnable: names of parameters to train; when it shunts has no gradient.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: weighted spikes ``[T, B, ...]`` -> ``V`` above the threshold ``[T, B, ...]``; states
    ``m`` and ``s`` (the traces) and, with ``shunt``, ``fired``, ``[B, ...]``.

    Raises:
        UserError: a parameter out of its range, or equal time constants.

    Reference: R. Gütig & H. Sompolinsky (2006), *The tempotron: a neuron that learns spike
    timing-based decisions*, Nat. Neurosci. 9, 420-428.

    >>> import torch
    >>> x = torch.zeros(20, 1, 1)
    >>> x[0] = 1.0
    >>> v = TempotronMembrane(tau=15.0, tau_s=3.75)(x).flatten()
    >>> int(v.argmax()), round(float(v.max()) + 1.0, 4)
    (7, 1.0)
    """

    states: tuple[str, ...] = ("m", "s")
    spiking = False

    def __init__(
        self,
        tau: Number = 15.0,
        tau_s: Number = 3.75,
        v_threshold: Number = 1.0,
        *,
        shunt: bool = True,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        self.shunt = shunt
        if shunt:
            self.states = ("m", "s", "fired")
        self.add_parameter("tau", tau, Positive())
        self.add_parameter("tau_s", tau_s, Positive())
        self.add_parameter("v_threshold", v_threshold, Positive())
        same = self.tau == self.tau_s
        if bool(same.any() if isinstance(same, Tensor) else same):
            raise UserError(f"tau and tau_s must differ, got {tau} and {tau_s} ms")

    def derived(self, p: Named) -> dict[str, Number]:
        """What is left of each trace after a step, and :math:`V_0`."""
        return {
            "keep_m": exp(-self.dt / p.tau),
            "keep_s": exp(-self.dt / p.tau_s),
            "v_0": peak(p.tau, p.tau_s)[1],
        }

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        x = where(state.fired > 0.5, 0.0, inputs.x) if self.shunt else inputs.x
        m, s = state.m * p.keep_m + x, state.s * p.keep_s + x
        excess = (m - s) * p.v_0 - p.v_threshold
        state = state.replace(m=m, s=s)
        if self.shunt:
            state = state.replace(fired=where(excess >= 0.0, 1.0, state.fired))
        return state, excess


def kernel(u: float, tau: float = 15.0, tau_s: float = 3.75) -> float:
    """:math:`K(u)`, of a time since a spike, ms; 0 before it."""
    v_0 = float(peak(tau, tau_s)[1])
    return 0.0 if u < 0 else v_0 * (math.exp(-u / tau) - math.exp(-u / tau_s))


def peak(tau: Number, tau_s: Number) -> tuple[Number, Number]:
    r"""When :math:`K` is largest, :math:`\frac{\tau \tau_s}{\tau - \tau_s} \ln \frac{\tau}{\tau_s}`
    (ms), and the :math:`V_0` that makes it 1 there."""
    time: Number = tau * tau_s / (tau - tau_s) * log(tau / tau_s)
    v_0: Number = 1.0 / (exp(-time / tau) - exp(-time / tau_s))
    return time, v_0

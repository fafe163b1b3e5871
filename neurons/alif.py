"""The leaky integrate-and-fire neuron with an adaptive threshold."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neurons.leak import Leak, leak_constraint, leak_fraction
from spikesim.neurons.membrane import Membrane
from spikesim.ops import detach
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class ALIF(Membrane):
    r"""LIF neuron whose threshold rises with its own spikes (the neuron of LSNN).

    .. math::
        v_t = (1 - k) v_{t-1} + k x_t - \theta s_{t-1}, \quad
        a_t = (1 - k_a) a_{t-1} + g s_{t-1}, \quad
        s_t = [v_t \ge \theta + \beta a_t]

    with :math:`g = k_a` (``normalize``) or 1, and leaks :math:`k = 1 - e^{-dt/\tau}` (``"exact"``)
    or :math:`dt/\tau`. As published, the reset acts in the step after the spike and takes off
    the base threshold :math:`\theta`; so ``v`` is the membrane before its reset.

    Args:
        tau: membrane time constant, in the unit of ``dt``.
        tau_adaptation: time constant of the adaptation ``a``, in the unit of ``dt``.
        v_threshold: base threshold :math:`\theta`.
        beta: rise of the threshold per unit of ``a``.
        normalize: weight a spike by :math:`k_a`, so that ``a`` is a running mean of the rate.
        detach_reset: no gradient through the reset; the adaptation keeps its gradient.
        surrogate: the pretended derivative of the spike.
        leak: ``"exact"`` or ``"euler"``, for both time constants.
        refractory: time without firing after a spike, in the unit of ``dt``; the membrane goes on.
        dt: step length.
        learnable: names of parameters to train.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v``, ``a`` and
    ``s``, the last spikes, ``[B, ...]``, initially 0, and ``wait`` when refractory.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Bellec et al. (2018, 2020). Their tutorial uses ``tau=20``, ``tau_adaptation=200``,
    ``v_threshold=0.03``, ``beta=1.6`` with the factor :math:`1 - \rho = k_a`, times in ms.

    >>> import torch
    >>> neuron = ALIF(tau=2.0, tau_adaptation=8.0, beta=4.0, leak="euler")
    >>> neuron(torch.full((6, 1, 1), 2.0)).flatten().tolist()
    [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    """

    states = ("v", "a", "s")

    def __init__(
        self,
        tau: Number = 20.0,
        tau_adaptation: Number = 200.0,
        v_threshold: Number = 1.0,
        beta: Number = 1.6,
        *,
        normalize: bool = True,
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        leak: Leak = "exact",
        refractory: Number = 0.0,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(v_threshold, None, detach_reset, surrogate, refractory, dt, learnable)
        self.normalize = normalize
        self.leak = leak
        self.add_parameter("tau", tau, leak_constraint(leak, dt))
        self.add_parameter("tau_adaptation", tau_adaptation, leak_constraint(leak, dt))
        self.add_parameter("beta", beta)

    def derived(self, p: Named) -> dict[str, Number]:
        """The fractions of membrane and adaptation lost in a step."""
        return {
            **super().derived(p),
            "k": leak_fraction(self.leak, self.dt, p.tau),
            "k_adaptation": leak_fraction(self.leak, self.dt, p.tau_adaptation),
        }

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        r = detach(state.s) if self.detach_reset else state.s
        v = state.v + (inputs.x - state.v) * p.k - r * p.v_threshold
        gain = (state.s - state.a) * p.k_adaptation
        a = state.a + gain if self.normalize else state.a - state.a * p.k_adaptation + state.s
        state, s = self.emit(state, v - (p.v_threshold + p.beta * a), p)
        return state.replace(v=v, a=a, s=s), s

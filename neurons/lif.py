"""The leaky integrate-and-fire neuron."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neurons.leak import Leak, leak_constraint, leak_fraction
from spikesim.neurons.membrane import Membrane
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class LIF(Membrane):
    r"""Leaky integrate-and-fire neuron.

    .. math::
        u_t = v_{t-1} - k (v_{t-1} - v_\mathrm{rest}) + g x_t, \quad s_t = [u_t \ge \theta], \quad
        v_t = \begin{cases} (1 - s_t) u_t + s_t v_\mathrm{reset} & \text{hard reset} \\
                            u_t - \theta s_t & \text{soft reset} \end{cases}

    with leak :math:`k = dt/\tau` (``leak="euler"``) or :math:`1 - e^{-dt/\tau}` (``"exact"``),
    input gain :math:`g = k` with ``decay_input`` and 1 without, and
    :math:`v_\mathrm{rest} = v_\mathrm{reset}`, or 0 for a soft reset.

    Args:
        tau: membrane time constant, in the unit of ``dt``; ``>= dt`` with the Euler leak.
        v_threshold: firing threshold :math:`\theta`, in the unit of ``v``.
        v_reset: value after a spike, and the resting value; ``None`` subtracts the threshold.
        decay_input: scale the input by the leak, so that a constant input ``x`` settles at
            ``v_rest + x``.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike.
        leak: ``"euler"`` or ``"exact"``.
        refractory: time without firing after a spike, in the unit of ``dt``; ``v`` is held.
        dt: step length.
        learnable: names of parameters to train, each kept in its range by reparametrisation.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; state ``v`` ``[B, ...]``,
    initially ``v_reset`` (0 for a soft reset), and ``wait`` when refractory.

    Raises:
        UserError: a parameter out of its range, named with its value.

    The same neuron elsewhere (snnTorch and Norse fire on ``>``, we on ``>=``):

    - SpikingJelly ``LIFNode``: equal names and values; only its surrogate is ``Sigmoid(4)``.
    - snnTorch ``Leaky(beta, reset_mechanism="zero")``: ``LIF(tau=1 / (1 - beta),
      decay_input=False)``, with ``detach_reset=reset_delay``. ``"subtract"`` with
      ``reset_delay=False`` is ``v_reset=None``, as long as one subtraction brings the membrane
      below its threshold; beyond that snnTorch subtracts again in the next step.
    - Norse ``LIFBoxCell``: ``LIF(tau=1 / tau_mem_inv, dt=dt)``, both in seconds, for
      ``v_leak == v_reset``. Norse's ``LIFCell`` has a synaptic current: it is
      :class:`~spikesim.neurons.cuba_lif.CUBALIF` with the Euler leak.

    Reference: Gerstner et al., *Neuronal Dynamics* (2014), section 1.3; discrete forms and names
    as in SpikingJelly (Fang et al., 2023).

    >>> import torch
    >>> LIF()(torch.full((4, 1, 1), 1.5)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        tau: Number = 2.0,
        v_threshold: Number = 1.0,
        v_reset: Number | None = 0.0,
        *,
        decay_input: bool = True,
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        leak: Leak = "euler",
        refractory: Number = 0.0,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(v_threshold, v_reset, detach_reset, surrogate, refractory, dt, learnable)
        self.leak = leak
        self.decay_input = decay_input
        self.add_parameter("tau", tau, leak_constraint(leak, dt))

    def derived(self, p: Named) -> dict[str, Number]:
        """The fraction of ``v - v_rest`` lost in a step."""
        return {**super().derived(p), "k": leak_fraction(self.leak, self.dt, p.tau)}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        above_rest = self.above_rest(state.v, p)
        if self.decay_input:
            u = state.v + (inputs.x - above_rest) * p.k
        else:
            u = state.v - above_rest * p.k + inputs.x
        return self.fire(state, u, p)

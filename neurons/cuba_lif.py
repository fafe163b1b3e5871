"""The current-based leaky integrate-and-fire neuron."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neurons.leak import Leak, leak_constraint, leak_fraction
from spikesim.neurons.membrane import Membrane
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class CUBALIF(Membrane):
    r"""LIF neuron driven through a synaptic current that decays exponentially.

    .. math::
        i_t = (1 - k_s) i_{t-1} + x_t, \quad
        u_t = v_{t-1} + k (i_t - (v_{t-1} - v_\mathrm{rest})),

    then threshold and reset as in :class:`~spikesim.neurons.lif.LIF`. A single input spike gives a
    potential that peaks after :math:`\frac{\tau \tau_s}{\tau - \tau_s} \ln(\tau / \tau_s)`.

    Args:
        tau: membrane time constant, in the unit of ``dt``.
        tau_synapse: time constant of the current, in the unit of ``dt``.
        v_threshold: firing threshold.
        v_reset: value after a spike, and the resting value; ``None`` subtracts the threshold.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike.
        leak: ``"exact"`` (:math:`k = 1 - e^{-dt/\tau}`) or ``"euler"`` (:math:`k = dt/\tau`), for
            both time constants.
        refractory: time without firing after a spike, in the unit of ``dt``; ``v`` is held, the
            current goes on.
        dt: step length.
        learnable: names of parameters to train.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` and ``i``
    ``[B, ...]``, and ``wait`` when refractory. ``i`` has the unit of ``v``.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Zenke & Ganguli (2018); Neftci et al. (2019), equations 4 and 5. Norse's ``LIFCell``
    is ``leak="euler"`` with ``tau=1/tau_mem_inv``, ``tau_synapse=1/tau_syn_inv`` and
    ``v_leak == v_reset``; its current is kept decayed, ours as it acts.

    >>> import torch
    >>> x = torch.zeros(4, 1, 1)
    >>> x[0] = 1.0
    >>> neuron = CUBALIF(tau=2.0, tau_synapse=2.0, leak="euler")
    >>> neuron.trace(x)["v"].flatten().tolist()
    [0.5, 0.5, 0.375, 0.25]
    """

    states = ("v", "i")

    def __init__(
        self,
        tau: Number = 20.0,
        tau_synapse: Number = 5.0,
        v_threshold: Number = 1.0,
        v_reset: Number | None = 0.0,
        *,
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        leak: Leak = "exact",
        refractory: Number = 0.0,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(v_threshold, v_reset, detach_reset, surrogate, refractory, dt, learnable)
        self.leak = leak
        self.add_parameter("tau", tau, leak_constraint(leak, dt))
        self.add_parameter("tau_synapse", tau_synapse, leak_constraint(leak, dt))

    def derived(self, p: Named) -> dict[str, Number]:
        """The fractions of membrane and current lost in a step."""
        return {
            **super().derived(p),
            "k": leak_fraction(self.leak, self.dt, p.tau),
            "k_synapse": leak_fraction(self.leak, self.dt, p.tau_synapse),
        }

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        i = state.i - state.i * p.k_synapse + inputs.x
        u = state.v + (i - self.above_rest(state.v, p)) * p.k
        return self.fire(state.replace(i=i), u, p)

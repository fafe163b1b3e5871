"""The leaky integrator without spikes, for readouts."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neuron import Neuron
from spikesim.neurons.leak import Leak, leak_constraint, leak_fraction
from spikesim.types import Named, Number


class LI(Neuron):
    r"""Leaky integrator: :math:`v_t = v_{t-1} + k (x_t - v_{t-1})`, the output is ``v``.

    Args:
        tau: time constant, in the unit of ``dt``; ``>= dt`` with the Euler leak.
        leak: ``"euler"`` (:math:`k = dt/\tau`) or ``"exact"`` (:math:`k = 1 - e^{-dt/\tau}`).
        dt: step length.
        learnable: names of parameters to train.

    Shape: input ``[T, B, ...]`` -> ``v`` ``[T, B, ...]``; state ``v`` ``[B, ...]``, initially 0.

    Raises:
        UserError: ``tau`` out of its range.

    Reference: the readout of Bellec et al. (2018), with its :math:`\kappa = 1 - k`.

    >>> import torch
    >>> LI(tau=2.0)(torch.ones(3, 1, 1)).flatten().tolist()
    [0.5, 0.75, 0.875]
    """

    states = ("v",)
    spiking = False

    def __init__(
        self,
        tau: Number = 2.0,
        *,
        leak: Leak = "euler",
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        self.leak = leak
        self.add_parameter("tau", tau, leak_constraint(leak, dt))

    def derived(self, p: Named) -> dict[str, Number]:
        """The fraction lost in a step."""
        return {"k": leak_fraction(self.leak, self.dt, p.tau)}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        v = state.v + (inputs.x - state.v) * p.k
        return state.replace(v=v), v

"""The integrate-and-fire neuron without leak."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neurons.membrane import Membrane
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class IF(Membrane):
    r"""Perfect integrate-and-fire neuron: :math:`u_t = v_{t-1} + x_t`, then threshold and reset.

    Args:
        v_threshold: firing threshold :math:`\theta`, in the unit of ``v``.
        v_reset: value after a spike and at the start; ``None`` subtracts the threshold.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike.
        refractory: time without firing after a spike, in the unit of ``dt``.
        dt: step length.
        learnable: names of parameters to train.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; state ``v`` ``[B, ...]``,
    and ``wait`` when refractory.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Lapicque (1907); names as in SpikingJelly (Fang et al., 2023).

    >>> import torch
    >>> IF(v_reset=None)(torch.full((5, 1, 1), 0.75)).flatten().tolist()
    [0.0, 1.0, 1.0, 1.0, 0.0]
    """

    def __init__(
        self,
        v_threshold: Number = 1.0,
        v_reset: Number | None = 0.0,
        *,
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        refractory: Number = 0.0,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(v_threshold, v_reset, detach_reset, surrogate, refractory, dt, learnable)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        return self.fire(state, state.v + inputs.x, p)

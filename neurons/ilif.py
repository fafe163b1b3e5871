"""The integer leaky integrate-and-fire neuron."""

from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.neurons.leak import Leak, leak_constraint, leak_fraction
from spikesim.ops import clamp, detach, round_
from spikesim.types import Named, Number


class ILIF(Neuron):
    r"""Integer-valued LIF neuron for quantised training: a count of 0 to ``D`` spikes per step.

    .. math::
        u_t = (1 - k) v_{t-1} + x_t, \quad
        s_t = \mathrm{round}(\mathrm{clamp}(u_t / \theta, 0, D)), \quad v_t = u_t - \theta s_t

    The rounding passes its gradient straight through, the clamp only inside :math:`[0, D]`. For
    event-driven inference, ``s`` becomes ``s`` unit spikes in ``D`` virtual steps: every linear
    layer that follows is then a sum of accumulations.

    Args:
        tau: membrane time constant, in the unit of ``dt``; the default is the published leak of
            3/4 (a quarter of ``v`` is kept). ``tau=dt`` keeps nothing: a plain quantiser.
        v_threshold: size of one spike :math:`\theta`, in the unit of ``v``, > 0.
        levels: largest count ``D``, at least 1.
        detach_reset: no gradient through the reset.
        leak: ``"euler"`` (:math:`k = dt/\tau`) or ``"exact"`` (:math:`k = 1 - e^{-dt/\tau}`).
        dt: step length.
        learnable: names of parameters to train.

    Shape: input ``[T, B, ...]`` -> counts ``[T, B, ...]``; state ``v`` ``[B, ...]``, initially 0.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Luo et al. (2024), *Integer-valued training and spike-driven inference*. It
    rounds half to even, as torch does.

    >>> import torch
    >>> ILIF()(torch.tensor([0.4, 1.0, 9.0, 1.0]).view(4, 1, 1)).flatten().tolist()
    [0.0, 1.0, 4.0, 2.0]
    """

    states = ("v",)

    def __init__(
        self,
        tau: Number = 4.0 / 3.0,
        v_threshold: Number = 1.0,
        *,
        levels: int = 4,
        detach_reset: bool = False,
        leak: Leak = "euler",
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        if levels < 1:
            raise UserError(f"levels must be >= 1, got {levels}")
        self.levels = levels
        self.detach_reset = detach_reset
        self.leak = leak
        self.add_parameter("tau", tau, leak_constraint(leak, dt))
        self.add_parameter("v_threshold", v_threshold, Positive())

    def derived(self, p: Named) -> dict[str, Number]:
        """The fraction of ``v`` lost in a step."""
        return {"k": leak_fraction(self.leak, self.dt, p.tau)}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        u = state.v - state.v * p.k + inputs.x
        s = round_(clamp(u / p.v_threshold, 0.0, float(self.levels)))
        r = detach(s) if self.detach_reset else s
        return state.replace(v=u - r * p.v_threshold), s

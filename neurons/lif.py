"""Leaky integrate-and-fire neurons."""

from collections.abc import Collection
from typing import Literal

from torch import Tensor

from spikesim.neuron import Constraint, Neuron, Positive, TimeConstant
from spikesim.ops import detach, exp
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number

Leak = Literal["euler", "exact"]


class LIF(Neuron):
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
        decay_input: scale the input by the leak, so that a constant input ``x`` settles at ``x``.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike.
        leak: ``"euler"`` or ``"exact"``.
        dt: step length.
        learnable: names of parameters to train, each kept in its range by reparametrisation.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; state ``v`` ``[B, ...]``,
    initially ``v_reset`` (0 for a soft reset).

    Raises:
        ValueError: a parameter out of its range, named with its value.

    Reference: Gerstner et al., *Neuronal Dynamics* (2014), section 1.3; discrete forms and names
    as in SpikingJelly (Fang et al., 2023).

    >>> import torch
    >>> LIF()(torch.full((4, 1, 1), 1.5)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    states = ("v",)

    def __init__(
        self,
        tau: Number = 2.0,
        v_threshold: Number = 1.0,
        v_reset: Number | None = 0.0,
        *,
        decay_input: bool = True,
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        leak: Leak = "euler",
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        if leak not in ("euler", "exact"):
            raise ValueError(f"leak must be 'euler' or 'exact', got {leak!r}")
        self.leak = leak
        self.decay_input = decay_input
        self.detach_reset = detach_reset
        self.surrogate = ATan() if surrogate is None else surrogate
        self.add_parameter("tau", tau, TimeConstant(dt) if leak == "euler" else Positive())
        self.add_parameter("v_threshold", v_threshold)
        self.add_parameter("v_reset", v_reset, Constraint())
        self.check_learnable()

    def derived(self, p: Named) -> dict[str, Number]:
        """The fraction of ``v - v_rest`` lost in a step."""
        k = self.dt / p.tau if self.leak == "euler" else 1.0 - exp(-self.dt / p.tau)
        return {"k": k}

    def initial(self, p: Named) -> dict[str, Number]:
        """At rest."""
        return {"v": 0.0 if self.v_reset is None else p.v_reset}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        above_rest = state.v if self.v_reset is None else state.v - p.v_reset
        if self.decay_input:
            u = state.v + (inputs.x - above_rest) * p.k
        else:
            u = state.v - above_rest * p.k + inputs.x
        s = self.spike(u - p.v_threshold)
        r = detach(s) if self.detach_reset else s
        v = u - r * p.v_threshold if self.v_reset is None else (1.0 - r) * u + r * p.v_reset
        return state.replace(v=v), s

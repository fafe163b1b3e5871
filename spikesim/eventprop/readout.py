"""Potentials of neurons that do not spike, averaged over time, in closed form."""

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.eventprop.spikes import Spikes

NEAR = 1e-5
"""Rates that differ by less of themselves are taken as one; either form is right to 1e-10."""


class EventReadout(nn.Module):
    r"""Leaky integrators, read by their mean potential with exponentially falling weight.

    .. math::
        y_j = \frac{1}{T} \int_0^T e^{-t/\tau_w} V_j(t)\, dt, \qquad
        \tau_m \dot V_j = -V_j + I_j, \quad \tau_s \dot I_j = -I_j, \quad
        t_k: \; I_j \leftarrow I_j + w_{ji}

    The integral of each spike's potential has a closed form, so that no time is stepped through,
    and its gradients come from torch.

    Args:
        inputs, outputs: neurons before, and values.
        tau_m, tau_s: ms, > 0.
        tau_weight: :math:`\tau_w`, ms; ``None`` is the duration of the sample, as published, and
            ``math.inf`` gives the plain mean.
        weight: mean and standard deviation of the first weights.

    Shape: spikes -> float64 ``[B, outputs]``; ``weight`` is ``[outputs, inputs]``.

    Raises:
        UserError: a constant that is not positive, or an input of another size.

    Reference: T. Nowotny, J. P. Turner & J. C. Knight (2025), *Loss shaping enhances exact gradient
    learning with Eventprop in spiking neural networks*, Neuromorph. Comput. Eng. 5:014001.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        tau_m: float = 20.0,
        tau_s: float = 5.0,
        tau_weight: float | None = None,
        weight: tuple[float, float] = (0.0, 0.03),
    ) -> None:
        super().__init__()
        for name, value in {"tau_m": tau_m, "tau_s": tau_s, "tau_weight": tau_weight}.items():
            if value is not None and not value > 0:
                raise UserError(f"{name} must be > 0 ms, got {value}")
        self.tau_m, self.tau_s, self.tau_weight = tau_m, tau_s, tau_weight
        mean, deviation = weight
        self.weight = nn.Parameter(mean + deviation * torch.randn(outputs, inputs))

    def forward(self, spikes: Spikes) -> Tensor:
        """The values ``[B, outputs]``."""
        if spikes.size != self.weight.shape[1]:
            raise UserError(
                f"input has {spikes.size} neurons, the readout takes {self.weight.shape[1]}"
            )
        gained = torch.zeros(spikes.batch, spikes.size, dtype=torch.float64)
        gained = gained.index_put(
            (spikes.samples, spikes.neurons), self.gain(spikes.times, spikes.duration), True
        )
        return gained @ self.weight.double().t()

    def gain(self, times: Tensor, duration: float) -> Tensor:
        """What a spike of weight 1 at each time ``[M]`` adds to the value."""
        fall = 1.0 / (duration if self.tau_weight is None else self.tau_weight)
        slow, fast = fall + 1.0 / self.tau_m, fall + 1.0 / self.tau_s
        remaining = duration - times
        if abs(fast - slow) > NEAR * slow:
            change = (_area(fast, remaining) - _area(slow, remaining)) / (fast - slow)
        else:
            rate = (fast + slow) / 2
            change = (torch.exp(-rate * remaining) * (1 + rate * remaining) - 1) / rate**2
        return torch.exp(-fall * times) * -change / (self.tau_m * duration)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.weight.shape[1]} -> {self.weight.shape[0]}"


def _area(rate: float, duration: Tensor) -> Tensor:
    return -torch.expm1(-rate * duration) / rate

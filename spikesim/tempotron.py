"""The tempotron: neurons that learn to fire, or not to, at patterns of spike times.

Shape legend: ``T`` steps, ``B`` patterns, ``N`` afferents, ``K`` neurons; time first.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.neurons.tempotron import TempotronMembrane
from spikesim.types import Number


class Tempotron(nn.Module):
    r"""Neurons that are judged by their largest potential, :math:`V(t_{max})`.

    .. math:: V_k(t) = \sum_i w_{ki} \sum_{t_i \le t} K(t - t_i)

    A neuron fires if :math:`V(t_{max}) \ge \theta`; both are in one unit, and only their difference
    is asked for. With :func:`tempotron_loss` and plain gradient
    descent (``torch.optim.SGD``, with a momentum if wished) this is the published rule: at an
    error, :math:`\Delta w_i = \pm \eta \sum_{t_i < t_{max}} K(t_{max} - t_i)`.

    Args:
        in_features, out_features: afferents and neurons.
        tau, tau_s, v_threshold, shunt, dt, learnable: see
            :class:`~spikesim.neurons.tempotron.TempotronMembrane`.

    Weights begin normal with mean 0 and standard deviation :math:`\theta / \sqrt N`.

    Shape: spikes ``[T, B, N]`` -> largest potentials above the threshold ``[B, K]``.

    Raises:
        UserError: a parameter out of its range, or an input of another shape.

    Reference: R. Gütig & H. Sompolinsky (2006), *The tempotron: a neuron that learns spike
    timing-based decisions*, Nat. Neurosci. 9, 420-428.

    >>> neuron = Tempotron(2, 1)
    >>> _ = nn.init.constant_(neuron.weight, 0.6)
    >>> apart, together = torch.zeros(60, 1, 2), torch.zeros(60, 1, 2)
    >>> apart[[0, 40], 0, [0, 1]], together[[0, 1], 0, [0, 1]] = 1.0, 1.0
    >>> neuron.fires(apart).item(), neuron.fires(together).item()
    (False, True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau: Number = 15.0,
        tau_s: Number = 3.75,
        v_threshold: Number = 1.0,
        shunt: bool = True,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.membrane = TempotronMembrane(
            tau, tau_s, v_threshold, shunt=shunt, dt=dt, learnable=learnable
        )
        size = torch.as_tensor(v_threshold).to(torch.get_default_dtype()).view(-1, 1)
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * size / in_features**0.5)

    def potentials(self, x: Tensor) -> Tensor:
        """``V`` above the threshold at each step: ``[T, B, N]`` -> ``[T, B, K]``."""
        if x.dim() != 3 or x.shape[-1] != self.weight.shape[1]:
            raise UserError(f"input must be [T, B, {self.weight.shape[1]}], got {list(x.shape)}")
        v: Tensor = self.membrane(nn.functional.linear(x, self.weight))
        return v

    def forward(self, x: Tensor) -> Tensor:
        """The largest potentials above the threshold, ``[B, K]``."""
        return self.potentials(x).max(0).values

    def fires(self, x: Tensor) -> Tensor:
        """Which neurons fire at each pattern, bool ``[B, K]``."""
        fired: Tensor = self(x) >= 0
        return fired


def tempotron_loss(excess: Tensor, targets: Tensor) -> Tensor:
    """The sum over all errors of how far the potential is on the wrong side of the threshold.

    Args:
        excess: largest potentials above the threshold, ``[B, K]``.
        targets: which neurons should fire, bool ``[B, K]``.
    """
    is_wrong = (excess >= 0) != targets
    return (excess.abs() * is_wrong).sum()

"""Whether activity grows or dies: the branching factor of a liquid's spikes."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.liquid.topology import Wiring

__all__ = ["branching_factor"]


def branching_factor(
    liquid: ArrayLike, wiring: Wiring, *, window: int = 4, margin: int = 25
) -> float:
    r"""Mean ratio of the spikes that follow a spike to those that led to it.

    For a spike of neuron :math:`i` in step :math:`t`, with the neurons that it has synapses from
    and onto,

    .. math:: \frac{\sum_{j: i \to j} z_j[t + 1 .. t + n]}
                   {\max(1, \sum_{h: h \to i} z_h[t - n .. t - 1])}

    is averaged over the spikes of each neuron, and that over all neurons that spike. About 1 at the
    edge of chaos, below where activity dies out.

    Args:
        liquid: spikes ``[steps, neurons]``, 0 or 1.
        wiring: of the liquid; inputs do not count.
        window: :math:`n`, steps.
        margin: steps at both ends whose spikes are left out, at least ``window``.

    Returns:
        NaN where no neuron spikes between the margins.

    Raises:
        UserError: the margin is smaller than the window, or spikes of another liquid.

    Reference: V. A. Ivanov, K. P. Michmizos (2021), NeurIPS 34, and the authors' program.
    """
    if not 1 <= window <= margin:
        raise UserError(f"need 1 <= window <= margin, got {window} and {margin}")
    z = np.asarray(liquid, np.float32)
    if z.ndim != 2 or z.shape[1] != wiring.neurons:
        raise UserError(f"spikes must be [steps, {wiring.neurons}], got {list(z.shape)}")
    inner = wiring.sender >= wiring.inputs
    places = np.stack([wiring.target[inner], wiring.sender[inner] - wiring.inputs])
    onto = torch.sparse_coo_tensor(
        torch.from_numpy(places.astype(np.int64)),
        torch.ones(places.shape[1]),
        (wiring.neurons, wiring.neurons),
        check_invariants=True,
    )
    middle = slice(margin, len(z) - margin)
    sums = np.concatenate([np.zeros((1, z.shape[1])), np.cumsum(z, 0)])
    at = np.arange(len(z))[middle]
    before, after = sums[at] - sums[at - window], sums[at + 1 + window] - sums[at + 1]
    ratio = _sums(onto.t(), after) / np.maximum(_sums(onto, before), 1.0)
    spikes = z[middle]
    fired = spikes.sum(0)
    each = (ratio * spikes).sum(0)[fired > 0] / fired[fired > 0]
    return float(each.mean()) if each.size else float("nan")


def _sums(synapses: torch.Tensor, spikes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spikes of the neurons that each one is connected with, ``[steps, neurons]``."""
    values: NDArray[np.float32] = (synapses @ torch.from_numpy(spikes.T).float()).numpy().T
    return values

"""A random liquid of leaky neurons that counts its spikes."""

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.liquid.resistive import ResistiveArray, ResistiveLinear
from spikesim.network.given import real
from spikesim.neurons.lif import LIF
from spikesim.recurrent import Recurrent
from spikesim.seeds import key

__all__ = ["RandomLiquid", "central"]


class RandomLiquid(nn.Module):
    r"""Leaky neurons with fixed random connections, all of them to all; features are spike counts.

    .. math::
        u_t = d\,u_{t-1} (1 - s_{t-1}) + W_\mathrm{in} x_t + W_\mathrm{rec} s_{t-1}, \quad
        s_t = [u_t \ge \theta], \quad n = \textstyle\sum_t s_t

    The order of leak, reset and input within a step is our reading of the paper: its program leaves
    the neuron out.

    Args:
        inputs: of a step.
        array: of the devices of both maps.
        neurons: of the liquid, ``N``.
        decay: :math:`d`, in [0, 1).
        threshold: :math:`\theta`, > 0.
        seed: of the weights and of reads.

    Shape: ``[T, B, inputs]`` -> counts ``[B, N]``.

    Raises:
        UserError: a number out of its range, or an input of another shape.

    Reference: N. Lin, S. Wang et al. (2025), Nat. Comput. Sci. 5, 37-47.
    """

    def __init__(
        self,
        inputs: int,
        array: ResistiveArray,
        *,
        neurons: int = 200,
        decay: float = 0.9,
        threshold: float = 5.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0.0 <= real("decay", decay) < 1.0:
            raise UserError(f"decay must be in [0, 1), got {decay}")
        if not real("threshold", threshold) > 0.0:
            raise UserError(f"threshold must be > 0, got {threshold}")
        self.feed = ResistiveLinear(inputs, neurons, array, seed=key(seed, "feed"))
        lateral = ResistiveLinear(neurons, neurons, array, seed=key(seed, "lateral"))
        cell = LIF(tau=1.0 / (1.0 - decay), v_threshold=threshold, decay_input=False)
        self.cells = Recurrent(cell, lateral)

    def forward(self, x: Tensor) -> Tensor:
        """Count the spikes of each neuron."""
        return self.spikes(x).sum(0)

    @torch.no_grad()
    def spikes(self, x: Tensor) -> Tensor:
        """Spikes ``[T, B, N]``."""
        inputs = self.feed.weight.shape[1]
        if x.dim() != 3 or not len(x) or x.shape[2] != inputs:
            raise UserError(f"a liquid takes [T, B, {inputs}] with T >= 1, got {list(x.shape)}")
        spikes: Tensor = self.cells(self.feed(x))
        return spikes


def central(frames: Tensor, size: int = 16, polarity: int = 0) -> Tensor:
    """The middle of one polarity of frames ``[T, B, P, H, W]``, as ``[T, B, size * size]``.

    Raises:
        UserError: frames are smaller than that, or have no such polarity.

    >>> central(torch.arange(16.0).reshape(1, 1, 1, 4, 4), size=2).tolist()
    [[[5.0, 6.0, 9.0, 10.0]]]
    """
    if not (0 < size <= min(frames.shape[-2:]) and 0 <= polarity < frames.shape[2]):
        raise UserError(
            f"frames {list(frames.shape)} have no {size} x {size} pixels of polarity {polarity}"
        )
    top, left = ((n - size) // 2 for n in frames.shape[-2:])
    return frames[:, :, polarity, top : top + size, left : left + size].flatten(2)

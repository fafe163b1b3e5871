"""The binary neuron of Levy and Baxter."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neuron import Neuron
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class LevyBaxter(Neuron):
    r"""Binary neuron without memory: it fires in a step whose excitation exceeds a threshold.

    .. math:: z_t = [y_t > g]

    Its randomness is that of its synapses: :math:`y_j = \sum_i w_{ji} \phi_{ji} Q_{ji} x_i` is what
    :class:`~spikesim.stochastic.StochasticLinear` computes. With unit weights and amplitudes, and
    ``n`` inputs that fire with probability ``p``,
    :math:`P(z = 1) = P(\mathrm{Binomial}(n, p s) > g)`.

    Args:
        threshold: :math:`g`, in the unit of the excitation.
        surrogate: the pretended derivative of the spike in ``y - g``.
        dt: step length.
        learnable: names of parameters to train.

    The threshold is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; no state.

    Raises:
        UserError: a parameter that is not finite.

    Reference: W. B. Levy & R. A. Baxter (2002), *Energy-efficient neuronal computation via quantal
    synaptic failures*, J. Neurosci. 22, 4746-4755.

    >>> import torch
    >>> LevyBaxter(threshold=2.0)(torch.tensor([[[1.0, 2.0, 3.0]]])).flatten().tolist()
    [0.0, 0.0, 1.0]
    """

    def __init__(
        self,
        threshold: Number = 1.0,
        *,
        surrogate: Surrogate = ATan(),
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        self.surrogate = surrogate
        self.add_parameter("threshold", threshold)

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        # A spike is u >= 0, and this one is not to fire at the threshold itself.
        return state, 1.0 - self.spike(p.threshold - inputs.x)

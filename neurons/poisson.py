"""The Poisson neuron."""

from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import NotNegative
from spikesim.neuron import Neuron
from spikesim.ops import bernoulli, exp
from spikesim.types import Named, Number


class PoissonNeuron(Neuron):
    r"""Neuron that fires at random with a given rate, whatever happened before.

    .. math::
        P(s_t = 1) = 1 - e^{-(r + x_t) \, dt}

    Args:
        rate: :math:`r`, Hz, added to the input.
        dt: step length, ms. A neuron fires once in a step, so that :math:`r \, dt` should be small.
        learnable: names of parameters to train; the gradient of a draw is that of its probability.

    The rate is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: input ``x`` (Hz; below ``-rate`` it never fires) ``[T, B, ...]`` -> spikes
    ``[T, B, ...]``, each 0 or 1; no state.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Gerstner et al., *Neuronal Dynamics* (2014), section 7.7.

    >>> import torch
    >>> from spikesim.random import place
    >>> neuron = PoissonNeuron(rate=20.0)
    >>> place(neuron, seed=1)
    >>> int(neuron(torch.zeros(1000, 1, 100)).sum())  # 100 neurons, 20 Hz, 1 s
    2039
    """

    stochastic = True

    def __init__(
        self, rate: Number = 10.0, *, dt: float = 1.0, learnable: Collection[str] = ()
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        self.add_parameter("rate", rate, NotNegative())

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        spikes: Tensor = bernoulli(1.0 - exp((inputs.x + p.rate) * (-1e-3 * self.dt)))
        return state, spikes

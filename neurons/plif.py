"""The parametric leaky integrate-and-fire neuron."""

from collections.abc import Collection

from spikesim.neurons.lif import LIF
from spikesim.surrogate import Surrogate
from spikesim.types import Number


class PLIF(LIF):
    r"""LIF neuron that learns its leak: :math:`dt/\tau = \mathrm{sigmoid}(w)`.

    One ``w`` for the whole layer by default; give ``tau`` as an array for one per channel or per
    neuron. ``w`` is the parameter ``raw_tau``, ``neuron.tau`` the time constant it stands for.

    Args:
        tau: initial membrane time constant, in the unit of ``dt``, ``> dt``;
            :math:`w = -\ln(\tau/dt - 1)`.
        v_threshold: firing threshold.
        v_reset: value after a spike, and the resting value; ``None`` subtracts the threshold.
        decay_input: scale the input by the leak.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike; ``ATan()`` by default.
        refractory: time without firing after a spike, in the unit of ``dt``.
        dt: step length.
        learnable: names of the other parameters to train.

    Shape: as :class:`~spikesim.neurons.lif.LIF`.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Fang et al. (2021), *Incorporating learnable membrane time constant*, equation 10.

    >>> PLIF(tau=2.0)
    PLIF(v_threshold=1.0, v_reset=0.0, refractory=0.0, tau=2 (learnable), surrogate=ATan(alpha=2.0))
    """

    def __init__(
        self,
        tau: Number = 2.0,
        v_threshold: Number = 1.0,
        v_reset: Number | None = 0.0,
        *,
        decay_input: bool = True,
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        refractory: Number = 0.0,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(
            tau,
            v_threshold,
            v_reset,
            decay_input=decay_input,
            detach_reset=detach_reset,
            surrogate=surrogate,
            refractory=refractory,
            dt=dt,
            learnable=("tau", *(name for name in learnable if name != "tau")),
        )

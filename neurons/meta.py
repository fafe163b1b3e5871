"""The meta-neuron: a second-order neuron whose dynamics are trained."""

from collections.abc import Collection

from spikesim.neurons.izhikevich import Izhikevich
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Number

COEFFICIENTS = ("a", "b", "c", "d", "v_peak", "q2", "q1", "q0")


class MetaNeuron(Izhikevich):
    r"""Meta-neuron: membrane and recovery are polynomials whose coefficients are learned.

    .. math::
        v' = q_2 v^2 + q_1 v + q_0 - u + x, \quad u' = a (b v - u), \quad
        v \ge v_\mathrm{peak}: \; v \leftarrow c, \; u \leftarrow u + d

    This is :class:`~spikesim.neurons.izhikevich.Izhikevich` with one Euler step, in units of a
    layer that is trained: rest and reset at 0, a threshold of 1, time in steps. The linear
    coefficient is a leak, the quadratic one speeds the membrane up as it nears the threshold. The
    probabilistic meta-neuron has :class:`~spikesim.stochastic.StochasticLinear` before it.

    Args:
        a: rate of recovery, per unit of ``dt``.
        b: sensitivity of ``u`` to ``v``.
        c: value of ``v`` after a spike.
        d: jump of ``u`` at a spike.
        v_peak: threshold.
        quadratic: :math:`(q_2, q_1, q_0)`.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike in ``v - v_peak``.
        dt: step length.
        learnable: names of parameters to train; by default all coefficients.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: input ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` and ``u``
    ``[B, ...]``, at first 0.

    Raises:
        UserError: a parameter that is not finite.

    Reference: the name is that of Rudnicka, Szczepanski & Pregowska (2025), *Learning internal
    biological neuron parameters and complexity-based encoding for improved spiking neural networks
    performance*; their equations were not available, so that this is a neuron of that kind and not
    theirs.

    >>> import torch
    >>> int(MetaNeuron()(torch.full((100, 1, 1), 0.4)).sum())
    12
    """

    def __init__(
        self,
        a: Number = 0.05,
        b: Number = 0.2,
        c: Number = 0.0,
        d: Number = 0.05,
        *,
        v_peak: Number = 1.0,
        quadratic: tuple[Number, Number, Number] = (0.1, -0.2, 0.0),
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        dt: float = 1.0,
        learnable: Collection[str] = COEFFICIENTS,
    ) -> None:
        super().__init__(
            *(a, b, c, d),
            v_peak=v_peak,
            quadratic=quadratic,
            v_initial=0.0,
            u_initial=0.0,
            scheme="euler",
            detach_reset=detach_reset,
            surrogate=surrogate,
            dt=dt,
            learnable=learnable,
        )

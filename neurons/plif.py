"""The parametric leaky integrate-and-fire neuron."""

from spikesim.neurons.lif import LIF


class PLIF(LIF):
    r"""LIF neuron that learns its leak: :math:`dt/\tau = \mathrm{sigmoid}(w)`.

    One ``w`` for the whole layer by default; give ``tau`` as an array for one per channel or per
    neuron. ``w`` is the parameter ``raw_tau``, ``neuron.tau`` the time constant it stands for.

    Arguments, shapes and errors are those of :class:`~spikesim.neurons.lif.LIF`, where ``tau``, the
    initial value, must be ``> dt``: :math:`w = -\ln(\tau/dt - 1)`. With ``leak="exact"``, ``tau``
    is above 0 and :math:`w = \ln \tau`.

    Reference: Fang et al. (2021), *Incorporating learnable membrane time constant*, equation 10.

    >>> round(PLIF(tau=3.0).raw_tau.item(), 4)
    -0.6931
    """

    always_learnable = ("tau",)

r"""Operations and energy of a network, counted on data: the classical 45 nm figure.

.. math::
    E_\mathrm{SNN} = e_\mathrm{MAC} \sum_{l\ \text{real input}} M_l
                   + e_\mathrm{AC} \sum_{l\ \text{binary input}} A_l, \qquad
    E_\mathrm{ANN} = e_\mathrm{MAC} \sum_l D_l / T

:math:`M_l, A_l` are the operations of layer :math:`l` in which no factor is zero, summed over the
:math:`T` steps of a sample; :math:`D_l / T` are all operations of one pass. A layer accumulates
(AC) if every value that entered it was 0 or 1, and multiplies and accumulates (MAC) otherwise.
Memory traffic, neuron updates, biases, pooling and constant scales are listed or left out, never
charged; batch normalisation counts as folded into its neighbour.

Definitions follow NeuroBench (Yik et al., 2025; ``Effective_MACs``, ``Effective_ACs``,
``Dense``), per sample: taps that fall on zero padding are no operation, in ``Dense`` neither.
Differences: -1 is not a spike here, and a layer is AC only if its input was binary in *all* data,
so that the figure does not depend on the batch size. Energies per operation: Horowitz (2014),
32-bit floating point, 45 nm: a MAC costs 3.7 + 0.9 pJ, an addition 0.9 pJ.
"""

from spikesim.energy.estimate import estimate
from spikesim.energy.report import EnergyReport, EnergyTotals, LayerEnergy

__all__ = ["EnergyReport", "EnergyTotals", "LayerEnergy", "estimate"]

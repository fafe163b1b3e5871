r"""What a network does, counted on data, and the energy that it takes under named assumptions.

:func:`count` runs any torch model and counts, layer by layer and step by step; :func:`estimate`
turns the counts into joules. The classical figure is

.. math::
    E_\mathrm{SNN} = e_\mathrm{MAC} \sum_{l\ \text{real input}} M_l
                   + e_\mathrm{AC} \sum_{l\ \text{binary input}} A_l, \qquad
    E_\mathrm{ANN} = e_\mathrm{MAC} \sum_l D_l / T

:math:`M_l, A_l` are the operations of layer :math:`l` in which no factor is zero, summed over the
:math:`T` steps of a sample; :math:`D_l / T` are all operations of one pass. A layer accumulates
(AC) if every value that entered it was 0 or 1, and multiplies and accumulates (MAC) otherwise; of
two activations that are multiplied one has to be binary.

Definitions follow NeuroBench (Yik et al., 2025; ``Effective_MACs``, ``Effective_ACs``,
``Dense``), per sample: taps that fall on zero padding are no operation, in ``Dense`` neither, and
biases are none. Differences: -1 is not a spike here, and a layer is AC only if its input was
binary in *all* data, so that the figure does not depend on the batch size;
``count(..., each_call=True)`` decides as NeuroBench does. Products outside of modules, and of
activations, are counted too.

Additions, products and functions outside of products (norms, softmax, gates, residual sums,
poolings), neuron updates and their states have columns of their own; a batch norm counts as folded
into its neighbour. What moves values costs no operation; what is not known is listed.
"""

from spikesim.energy.cost import Cost
from spikesim.energy.count import count
from spikesim.energy.estimate import estimate
from spikesim.energy.layer import Counts, LayerCounts, Traffic, Widths
from spikesim.energy.neurons import neuron
from spikesim.energy.report import EnergyReport, EnergyTotals, LayerEnergy
from spikesim.energy.rules import register

__all__ = [
    "Cost",
    "Counts",
    "EnergyReport",
    "EnergyTotals",
    "LayerCounts",
    "LayerEnergy",
    "Traffic",
    "Widths",
    "count",
    "estimate",
    "neuron",
    "register",
]

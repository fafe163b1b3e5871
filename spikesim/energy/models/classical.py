r"""The field's usual figure: 32-bit floating point at 45 nm, nothing but products.

.. math:: E_l = 4.6\,\mathrm{pJ} \cdot M_l + 0.9\,\mathrm{pJ} \cdot A_l

:math:`M_l` effective multiply-accumulate, :math:`A_l` effective accumulate operations of layer
:math:`l`. Memory, neuron updates and biases are not charged.

Reference: M. Horowitz (2014), Computing's energy problem (and what we can do about it), ISSCC.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spikesim.energy.layer import Counts, LayerCounts, Widths
from spikesim.energy.model import Constant, EnergyModel, Term
from spikesim.energy.models import integer, operations, source

_WIDTHS = Widths()


@dataclass(frozen=True)
class Classical:
    """Products of 32-bit floating point numbers at 45 nm; whatever the widths."""

    constants: Mapping[str, Constant]
    name: str = "classical"
    title: str = "32-bit operations at 45 nm"

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        """Its products and accumulations."""
        return operations.products(layer.effective_macs, layer.effective_acs, 32, 32)

    def for_ann(self, weight_bits: int, activation_bits: int) -> EnergyModel:
        """Itself for 32 bits, else the integer model of 45 nm."""
        if weight_bits == activation_bits == 32:
            return self
        return integer.integer(Widths(weight_bits, activation_bits, activation_bits))


def classical(widths: Widths = _WIDTHS) -> Classical:
    """The classical model; ``widths`` change nothing, it is one of 32-bit numbers."""
    names = ("mac_float32", "ac_float32")
    known = source.read("operations").constants
    return Classical({name: known[name] for name in names})

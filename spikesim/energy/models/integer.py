r"""Integer arithmetic of stated widths at 45, 28 or 7 nm, without memory.

A product of a :math:`b_w`-bit weight and a :math:`b_a`-bit activation costs
:math:`e_\times(b_w b_a)` and an addition to an accumulator of :math:`b_s` bits; a synaptic event
the addition alone. Neurons are charged for the additions and products of their update at the width
of their state: in a simulated network as their equations say, in a model of torch, whose neurons
are known by their class alone, a product and two additions for each state variable and an addition
for the threshold (ours). The lines between published widths are those of
:mod:`~spikesim.energy.models.operations`.

With 8 bits and an accumulator of 32, a MAC at 45 nm costs 0.2 + 0.1 = 0.3 pJ; the often quoted
0.23 pJ adds 8 bits (``accumulator=8``).

Reference: Horowitz (2014), ISSCC, for 45 nm; Jouppi et al. (2021), ISCA, for 7 nm; Stillmaker and
Baas (2017), Integration 58, 74-81, for the scale between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spikesim.energy.layer import Counts, LayerCounts, Widths
from spikesim.energy.model import Constant, EnergyModel, Term
from spikesim.energy.models import operations, source
from spikesim.errors import UserError

NODES = (45, 28, 7)
_BYTES = Widths(weight=8, activation=8)


@dataclass(frozen=True)
class Integer:
    """Integer products and sums, of synapses and of neurons.

    Args:
        constants: of the node.
        widths: bits of weights, activations and states.
        accumulator: bits of a sum.
    """

    constants: Mapping[str, Constant]
    widths: Widths
    accumulator: int
    title: str
    name: str = "integer"

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        """Products and sums of a layer, at the widths of its weights."""
        widths = layer.widths(self.widths)
        terms = operations.products(
            layer.effective_macs,
            layer.effective_acs,
            widths.weight,
            widths.activation,
            accumulator=self.accumulator,
            is_float=False,
        )
        if layer.kind == "neuron":
            sums, products = layer.additions, layer.multiplications
            if not sums and layer.state_reads:
                sums, products = 2 * layer.state_reads + layer.updates, layer.state_reads
            terms += operations.additions(sums, widths.state, "neurons")
            terms += operations.multiplications(products, widths.state, widths.state, "neurons")
        return [term for term in terms if term.count]

    def for_ann(self, weight_bits: int, activation_bits: int) -> EnergyModel:
        """The same node with other widths."""
        return replace(
            self, widths=replace(self.widths, weight=weight_bits, activation=activation_bits)
        )


def integer(
    widths: Widths = _BYTES,
    *,
    node: int = 45,
    accumulator: int = 32,
) -> Integer:
    """Integer arithmetic.

    Args:
        widths: bits of weights, activations and states.
        node: 45, 28 or 7 nm.
        accumulator: bits of a sum.

    Raises:
        UserError: no constants for this node, or sums of no bits.
    """
    if node not in NODES:
        raise UserError(f"node must be one of {', '.join(map(str, NODES))} nm, got {node}")
    operations.check_accumulator(accumulator)
    known = source.read("operations").variant("" if node == 45 else str(node))
    names = ("add_8", "add_32", "multiply_8", "multiply_32")
    constants = {name: known[name] for name in names}
    return Integer(constants, widths, accumulator, f"integers at {node} nm")

r"""Operations by bit width, and every bit moved, after STEP.

.. math::
    E_l = M_l\, e_\mathrm{MAC}(b_w, b_a)\,\rho + A_l\, e_\mathrm{AC}
        + m \Bigl( \tfrac{1}{u} W_l b_w\, e_w + (I_l + O_l)\, e_a
        + (R_l + S_l)\, b_v\, e_v \Bigr)

:math:`W_l` weights read, one for each effective operation, :math:`u` operations that share a read
weight, :math:`I_l, O_l` bits that enter and leave, :math:`R_l, S_l` states read and written, each
once a step; :math:`\rho` is the fraction of activation bits that are not zero (bit-serial
products), :math:`m` a factor on memory. Products of 32-bit numbers are floating point, of narrower
ones integer. With :math:`m = 0` and 32 bits this is the classical model, exactly.

STEP (arXiv 2505.11151) states that it charges computation and memory, spikes by their sparsity,
quantised networks by their bits and membranes read and written in each step, with 24.96 pJ a byte.
Its formulas could not be read: these are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from spikesim.energy.layer import Counts, LayerCounts, Widths
from spikesim.energy.model import Constant, EnergyModel, Term
from spikesim.energy.models import operations, source
from spikesim.errors import UserError

_WIDTHS = Widths()


@dataclass(frozen=True)
class Step:
    """Operations and traffic.

    Args:
        constants: of operations and of a bit.
        widths: bits of what is moved and multiplied.
        memory: factor on all traffic.
        weight_reuse: operations that share one reading of a weight.
        bit_density: fraction of activation bits that are not zero, for bit-serial products.
        accumulator: bits of a sum, of integers.
    """

    constants: Mapping[str, Constant]
    widths: Widths
    memory: float
    weight_reuse: float
    bit_density: float
    accumulator: int
    title: str
    name: str = "step"

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        """Operations of a layer, and what is moved for them."""
        widths = layer.widths(self.widths)
        terms = operations.products(
            layer.effective_macs * self.bit_density,
            layer.effective_acs,
            widths.weight,
            widths.activation,
            accumulator=self.accumulator,
        )
        moved = layer.traffic(self.widths)
        bits = [
            ("weights", "weight_bit", moved.weight_reads / self.weight_reuse),
            ("activations", "activation_bit", moved.input_reads + moved.output_writes),
            ("state", "state_bit", moved.state_reads + moved.state_writes),
        ]
        terms += [Term(part, name, self.memory * count) for part, name, count in bits]
        return [term for term in terms if term.count]

    def for_ann(self, weight_bits: int, activation_bits: int) -> EnergyModel:
        """The same memory with other widths."""
        return replace(self, widths=Widths(weight_bits, activation_bits, activation_bits))


def step(
    widths: Widths = _WIDTHS,
    *,
    memory: float = 1.0,
    weight_reuse: float = 1.0,
    bit_density: float = 1.0,
    accumulator: int = 32,
) -> Step:
    """Operations and memory traffic; the settings are those of :class:`Step`.

    Raises:
        UserError: a setting out of its range.
    """
    if not (0.0 <= memory < inf and weight_reuse >= 1.0 and 0.0 <= bit_density <= 1.0):
        raise UserError(
            "memory must be >= 0, weight_reuse >= 1 and bit_density between 0 and 1, "
            f"got {memory}, {weight_reuse} and {bit_density}"
        )
    operations.check_accumulator(accumulator)
    known = source.read("step")
    constants = {**source.read("operations").constants, **known.constants}
    return Step(constants, widths, memory, weight_reuse, bit_density, accumulator, known.title)

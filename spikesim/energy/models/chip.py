r"""Neuromorphic chips by their published energies: synaptic operation, update, spike, idle power.

.. math::
    E = N_\mathrm{syn} e_\mathrm{syn} + N_\mathrm{up} e_\mathrm{up}
      + N_\mathrm{spk} (e_\mathrm{spk} + h\, e_\mathrm{hop}) + N_\mathrm{learn} e_\mathrm{learn}
      + P_\mathrm{idle}\, T\, \Delta t\, c

with hops :math:`h` of a spike, steps :math:`T` of :math:`\Delta t` seconds and :math:`c` chips.
What a chip publishes no figure for is not charged. :math:`N_\mathrm{learn}` are the updates of
plastic synapses in a simulated network, by whatever rule; gradients, which no chip here computes,
cost nothing. Operations of real-valued inputs count as synaptic ones. Idle energy is shared among
layers as their neuron updates are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from spikesim.energy.layer import Counts, LayerCounts, Widths
from spikesim.energy.model import Constant, EnergyModel, Term
from spikesim.energy.models import source, step
from spikesim.errors import UserError

_WIDTHS = Widths()


@dataclass(frozen=True)
class Chip:
    """A chip that is charged by event and by time.

    Args:
        name: of the preset, with its variant.
        constants: of ``synapse``, ``update``, ``spike``, ``hop``, ``learn``, ``idle``, where they
            exist.
        seconds_per_step: of real time; 0 leaves idle power out.
        hops: between cores, that a spike travels.
        chips: how many are on; a fraction if others share one.
        title: one line; with the time of a step, where idle power is charged.
    """

    name: str
    constants: Mapping[str, Constant]
    seconds_per_step: float
    hops: float
    chips: float
    title: str

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        """Events of a layer, and its share of the idle power."""
        fired = layer.spikes if layer.kind == "neuron" else 0.0
        sent = 0.0 if layer.kind == "learning" else layer.operations
        seconds = run.steps * self.seconds_per_step * self.chips
        known = [
            ("compute", "synapse", sent),
            ("neurons", "update", layer.updates),
            ("routing", "spike", fired),
            ("routing", "hop", fired * self.hops),
            ("learning", "learn", layer.synaptic_updates),
            ("idle", "idle", seconds * _share(layer, run)),
        ]
        return [
            Term(part, name, count)
            for part, name, count in known
            if count and name in self.constants
        ]

    def for_ann(self, weight_bits: int, activation_bits: int) -> EnergyModel:
        """A chip of spikes runs no such network: the ``step`` model, memory at 45 nm."""
        return step.step().for_ann(weight_bits, activation_bits)


def chip(
    name: str,
    widths: Widths = _WIDTHS,
    *,
    variant: str = "",
    seconds_per_step: float = 1e-3,
    hops: float = 1.0,
    chips: float = 1.0,
) -> Chip:
    """A chip by its data file.

    Args:
        name: of the chip.
        widths: change nothing, published energies are of the chip's own.
        variant: published constants that contradict the first ones, as ``"average"`` of TrueNorth.
        seconds_per_step: of real time; 1 ms is TrueNorth's tick and common on Loihi. 0 leaves idle
            power out.
        hops: between cores, that a spike travels; 1 is ours.
        chips: how many are on.

    Raises:
        UserError: unknown variant, or a number that is negative or not finite.
    """
    if not all(0.0 <= number < inf for number in (seconds_per_step, hops, chips)):
        raise UserError(
            "seconds_per_step, hops and chips must be >= 0 and finite, "
            f"got {seconds_per_step}, {hops} and {chips}"
        )
    known = source.read(name)
    constants, title = known.variant(variant), known.title
    if constants.get("idle") and seconds_per_step:
        title += f", {1e3 * seconds_per_step:g} ms a step"
    own = f"{name} ({variant})" if variant else name
    return Chip(own, constants, seconds_per_step, hops, chips, title)


def _share(layer: LayerCounts, run: Counts) -> float:
    updates = run.total("updates")
    return layer.updates / updates if updates else 1.0 / len(run.layers)

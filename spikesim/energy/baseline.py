r"""The same architecture without spikes, and the firing rate at which it becomes the cheaper one.

Baselines run each layer once, on real values without zeros: 32-bit floating point (``ann-fp32``), 8
bits (``ann-int8``), and :math:`\lceil \log_2 (T + 1) \rceil` bits (``ann-bits``), as many as tell
the spike counts of :math:`T` steps apart, the fair comparison of Yan et al. (2024). Models that
know integers only (``integer``, ``lemaire``) charge ``ann-fp32`` as integers of 32 bits.

If all firing rates grow by a factor :math:`f`, operations on spikes do too, but not the neuron
updates, idle power and layers that see real values (learning grows where it accumulates, or where
it is done at spikes),

.. math:: E_\mathrm{SNN}(f) = E_0 + f\,(E_\mathrm{SNN}(1) - E_0), \qquad
          f^* = \frac{E_\mathrm{ANN} - E_0}{E_\mathrm{SNN}(1) - E_0}

A product of two spike trains, as in attention, falls with the square of rates; it is scaled as all
others, so that below the present rates :math:`E_\mathrm{SNN}(f)` is an upper bound.

Reference: Z. Yan, Z. Bai, K. Tang, W.-F. Wong (2024), Reconsidering the energy efficiency of
spiking neural networks, arXiv 2409.08290.
"""

from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Literal

from spikesim.energy.layer import BINARY, REAL, Counts, LayerCounts
from spikesim.energy.model import EnergyModel, Joules, joules
from spikesim.errors import UserError

Verdict = Literal["below", "always", "never"]

_OF_EVENTS = (
    *("additions", "multiplications", "functions", "weight_reads", "state_reads", "state_writes"),
    "synaptic_updates",
)
"""What a rule of events, which has no products, does at spikes alone."""


@dataclass(frozen=True)
class Crossover:
    """Where a spiking network and a baseline need the same.

    Attributes:
        verdict: the spiking one needs less ``"below"`` the rate, ``"always"`` or ``"never"``.
        factor: on all firing rates, at which both need the same; ``None`` if there is none.
        rate: mean firing rate there, spikes a neuron and step.
        present_rate: mean firing rate of the counts; ``None`` without neurons.
        fixed: joule of the spiking network that no rate changes.
        scaled: joule that grow with the rates, at the present ones.
    """

    verdict: Verdict
    factor: float | None
    rate: float | None
    present_rate: float | None
    fixed: float
    scaled: float

    @property
    def wins(self) -> bool:
        """Whether the spiking network needs less at its present rates."""
        return self.verdict == "always" or (self.factor is not None and self.factor > 1.0)


@dataclass(frozen=True)
class Baseline:
    """The same architecture as a network without time.

    Attributes:
        name: ``ann-fp32``, ``ann-int8`` or ``ann-bits``.
        weight_bits, activation_bits: of its numbers.
        model: what it is charged by.
        counts: of one pass.
        joules: of one pass.
        ratio: of the spiking network's energy to its.
        crossover: firing rate at which both need the same.
    """

    name: str
    weight_bits: int
    activation_bits: int
    model: EnergyModel
    counts: Counts
    joules: Joules
    ratio: float
    crossover: Crossover


def baselines(
    model: EnergyModel, counts: Counts, *, weight_bits: int | None = None
) -> tuple[Baseline, ...]:
    """The three baselines of a spiking network.

    Args:
        model: charges the spiking network; baselines are charged by its ``for_ann``.
        counts: of the spiking network.
        weight_bits: of ``ann-bits``; ``None``: as many as its activations.

    Raises:
        UserError: weights of no bits.
    """
    if weight_bits is not None and weight_bits < 1:
        raise UserError(f"weight_bits must be >= 1, got {weight_bits}")
    bits = matched_bits(counts.steps)
    widths = {"ann-fp32": (32, 32), "ann-int8": (8, 8), "ann-bits": (weight_bits or bits, bits)}
    once = counts.as_ann()
    made = []
    for name, (weight, activation) in widths.items():
        theirs = model.for_ann(weight, activation)
        spent = joules(theirs, once)
        where = crossover(model, counts, spent.total)
        total = where.fixed + where.scaled
        ratio = total / spent.total if spent.total else float("inf") if total else 1.0
        made.append(Baseline(name, weight, activation, theirs, once, spent, ratio, where))
    return tuple(made)


def matched_bits(steps: float) -> int:
    """Bits that tell the spike counts 0 to ``steps`` apart; a mean, where samples stop early."""
    return max(1, ceil(log2(steps + 1)))


def crossover(model: EnergyModel, counts: Counts, other: float) -> Crossover:
    """The factor on all firing rates at which a network needs ``other`` joule."""
    fixed = joules(model, at_rate(counts, 0.0)).total
    scaled = joules(model, counts).total - fixed
    present = mean_rate(counts)
    if scaled <= 0.0 or other <= fixed:
        always = scaled <= 0.0 and fixed < other
        return Crossover("always" if always else "never", None, None, present, fixed, scaled)
    factor = (other - fixed) / scaled
    rate = None if present is None else factor * present
    # No neuron of binary spikes fires more than once a step.
    fires_once = all(layer.emitted in ("", BINARY) for layer in _firing(counts))
    reaches = not fires_once or rate is None or rate <= 1.0
    verdict: Verdict = "below" if reaches else "always"
    return Crossover(verdict, factor, rate, present, fixed, scaled)


def at_rate(counts: Counts, factor: float) -> Counts:
    """The counts, had every neuron fired ``factor`` times as often."""
    return replace(counts, layers=tuple(_scale(layer, factor) for layer in counts))


def mean_rate(counts: Counts) -> float | None:
    """Spikes a neuron and step, over all layers of neurons; ``None`` if there are none."""
    firing = _firing(counts)
    elements = sum(layer.outputs for layer in firing)
    return sum(layer.spikes for layer in firing) / elements if elements else None


def _firing(counts: Counts) -> list[LayerCounts]:
    return [layer for layer in counts if layer.kind == "neuron" and layer.rate is not None]


def _scale(layer: LayerCounts, factor: float) -> LayerCounts:
    now = {name: getattr(layer, name) for name in _growing(layer)}
    return replace(layer, **{name: factor * n for name, n in now.items() if n is not None})


def _growing(layer: LayerCounts) -> tuple[str, ...]:
    """What of a layer grows with the rates."""
    if layer.kind == "neuron":
        return ("spikes", "nonzero_outputs", "rate")
    if layer.kind == "learning" and layer.values == BINARY:
        # Of products, what is kept of each synapse is moved in each step, whatever comes.
        return ("effective_acs", "spikes") if layer.macs else _OF_EVENTS
    if layer.is_weighted and layer.values != REAL:
        operations = ("effective_macs", "effective_acs", "spikes", "rate")
        return (*operations, "weight_reads", "state_reads", "state_writes")
    return ()

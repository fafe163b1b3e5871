r"""Joules from counts: an energy model is a linear form in named, cited constants.

.. math:: E_l = \sum_k n_{l,k} \, c_k

:math:`n_{l,k}` depends on the counts of layer :math:`l` and on widths in bits, :math:`c_k` is a
constant with a range and a source. Totals are sums over layers; whatever is asked of constants
(intervals, which of them decides) needs the counts no more.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from spikesim.energy.layer import Counts, LayerCounts


@dataclass(frozen=True)
class Constant:
    """A number with a range and a source.

    Args:
        value: in ``unit``.
        low, high: what is plausible, by published values; ``value`` itself if there is one only.
        unit: ``pJ``, ``nJ``, ``W``, ...
        source: author, year, table or page; or "ours", with the reason.
    """

    value: float
    low: float
    high: float
    unit: str
    source: str


@dataclass(frozen=True)
class Term:
    """A part of a layer's energy: ``count`` times a constant.

    Args:
        part: what it is spent on: ``compute``, ``weights``, ``activations``, ``state``,
            ``addressing``, ``neurons``, ``routing``, ``learning``, ``idle``.
        constant: name of the constant.
        count: how often it is spent on one sample.
    """

    part: str
    constant: str
    count: float


@runtime_checkable
class EnergyModel(Protocol):
    """Turns counts into joules."""

    @property
    def name(self) -> str:
        """Short, as in ``spikesim energy --model NAME``."""
        ...

    @property
    def title(self) -> str:
        """One line for a table's head."""
        ...

    @property
    def constants(self) -> Mapping[str, Constant]:
        """All that enter, by name; each in an SI unit with prefix."""
        ...

    def terms(self, layer: LayerCounts, run: Counts) -> list[Term]:
        """What one sample costs in a layer; ``run`` knows steps and the other layers."""
        ...

    def for_ann(self, weight_bits: int, activation_bits: int) -> "EnergyModel":
        """The model under which a network of such widths stands beside the spiking one."""
        ...


UNITS = {
    "pJ": 1e-12,
    "nJ": 1e-9,
    "uJ": 1e-6,
    "mJ": 1e-3,
    "J": 1.0,
    "uW": 1e-6,
    "mW": 1e-3,
    "W": 1.0,
}
"""Joule (of a count), or joule a second (of a count of seconds)."""


@dataclass(frozen=True)
class Joules:
    """Energy of one sample under one model.

    Attributes:
        model: its name.
        layer_parts: of each layer, in the order of the counts, by part.
    """

    model: str
    layer_parts: tuple[Mapping[str, float], ...]

    @property
    def layers(self) -> tuple[float, ...]:
        """Of each layer."""
        return tuple(sum(parts.values()) for parts in self.layer_parts)

    @property
    def parts(self) -> dict[str, float]:
        """Of each part, over all layers."""
        found = defaultdict[str, float](float)
        for parts in self.layer_parts:
            for name, energy in parts.items():
                found[name] += energy
        return dict(found)

    @property
    def total(self) -> float:
        """Of a whole sample."""
        return sum(self.layers)


def joules(model: EnergyModel, counts: Counts) -> Joules:
    """Energy of each layer and of each part, joule per sample."""
    found = []
    for layer in counts:
        spent = defaultdict[str, float](float)
        for term in model.terms(layer, counts):
            constant = model.constants[term.constant]
            spent[term.part] += term.count * constant.value * UNITS[constant.unit]
        found.append(dict(spent))
    return Joules(model.name, tuple(found))

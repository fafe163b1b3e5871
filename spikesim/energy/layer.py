"""What was counted, before any joule: exact numbers of one layer, and of a whole model."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from math import inf
from numbers import Real

from spikesim.errors import UserError

BINARY, INTEGER, REAL = "binary", "integer", "real"

WEIGHTED = ("conv", "linear", "recurrent", "delay", "attention", "synapses")
"""Kinds of layers whose operations are products or their accumulations."""
KINDS = (*WEIGHTED, "neuron", "norm", "pool", "elementwise", "learning")


@dataclass(frozen=True)
class Widths:
    """Bits of a value, by what it is.

    Args:
        weight: a parameter of a connection.
        activation: a real or integer value that enters or leaves a layer.
        spike: a binary one.
        state: a neuron's state variable.

    Raises:
        UserError: a width is no number, negative or not finite; 0 is a value that is not moved.
    """

    weight: int = 32
    activation: int = 32
    spike: int = 1
    state: int = 32

    def __post_init__(self) -> None:
        for part in fields(self):
            bits = getattr(self, part.name)
            if not isinstance(bits, Real) or not 0 <= float(bits) < inf:
                raise UserError(f"{part.name} must be a number of bits >= 0, got {bits!r}")


@dataclass(frozen=True)
class Traffic:
    """Bits read and written, per sample, if nothing is kept between two uses."""

    weight_reads: float = 0.0
    input_reads: float = 0.0
    output_writes: float = 0.0
    state_reads: float = 0.0
    state_writes: float = 0.0

    @property
    def total(self) -> float:
        """All bits moved."""
        return sum(float(getattr(self, part.name)) for part in fields(self))


@dataclass(frozen=True, kw_only=True)
class LayerCounts:
    """Exact counts of one layer: means per sample, summed over its ``T`` steps.

    Attributes:
        name: module name; a product inside attention has its formula behind it.
        kind: ``conv``, ``linear``, ``recurrent``, ``delay``, ``attention``, ``synapses``,
            ``neuron``, ``norm``, ``pool``, ``elementwise``, ``learning``.
        values: what entered: ``binary`` (0 or 1), ``integer`` or ``real``; empty if nothing did.
        macs: operations, zero or not (NeuroBench's ``Dense``).
        effective_macs: operations without a zero factor, where input is not binary.
        effective_acs: operations without a zero factor, where input is binary.
        ann_macs: operations of one pass: ``macs`` without the repetition over steps.
        additions: elementwise additions, subtractions and comparisons outside of products.
        multiplications: elementwise products and divisions.
        functions: exponentials, logarithms, roots and other transcendental functions.
        emitted: what left neurons: ``binary`` (0 or 1), ``integer`` or ``real``; empty: not known,
            taken for binary.
        spikes: of neurons: sum of outputs; of others: non-zero inputs.
        rate: ``spikes`` per element and step; ``None`` if nothing was counted.
        inputs: values that entered, zero or not.
        outputs: values that left, zero or not; of elementwise arithmetic only activation functions.
        nonzero_outputs: of these, not zero; of neurons and activation functions, else all.
        weights: parameters of the connection, without biases.
        nonzero_weights: of these, not zero.
        biases: parameters that are added.
        weight_bits: of a weight, where the layer itself is quantised; ``None``: as ``Widths`` says.
        weight_reads: weights read, one for each effective operation.
        updates: neuron updates; 0 for other layers.
        synaptic_updates: of plastic synapses, changes of a weight or an eligibility; 0 for others.
        state_reads: values of state read.
        state_writes: values of state written.
        passes: how often a sample was repeated: the steps, 1 for a layer that runs once.
        spikes_per_step: ``spikes`` of each step, if it is known.
        operations_per_step: ``effective_macs + effective_acs`` of each step, if it is known.
        note: what the reader should know.
    """

    name: str
    kind: str
    values: str = ""
    macs: float = 0.0
    effective_macs: float = 0.0
    effective_acs: float = 0.0
    ann_macs: float = 0.0
    additions: float = 0.0
    multiplications: float = 0.0
    functions: float = 0.0
    emitted: str = ""
    spikes: float = 0.0
    rate: float | None = None
    inputs: float = 0.0
    outputs: float = 0.0
    nonzero_outputs: float = 0.0
    weights: float = 0.0
    nonzero_weights: float = 0.0
    biases: float = 0.0
    weight_bits: int | None = None
    weight_reads: float = 0.0
    updates: float = 0.0
    synaptic_updates: float = 0.0
    state_reads: float = 0.0
    state_writes: float = 0.0
    passes: float = 0.0
    spikes_per_step: tuple[float, ...] = ()
    operations_per_step: tuple[float, ...] = ()
    note: str = ""

    @property
    def operations(self) -> float:
        """Operations without a zero factor: synaptic operations where input is binary."""
        return self.effective_macs + self.effective_acs

    @property
    def is_weighted(self) -> bool:
        """Whether it multiplies or accumulates."""
        return self.kind in WEIGHTED

    def widths(self, widths: Widths) -> Widths:
        """These widths, with the layer's own weights if it is quantised."""
        return widths if self.weight_bits is None else replace(widths, weight=self.weight_bits)

    def traffic(self, widths: Widths) -> Traffic:
        """Bits moved, at these widths: non-zero values in, all values out of what is no spike."""
        widths = self.widths(widths)
        incoming = widths.spike if self.values == BINARY else widths.activation
        fires = self.kind == "neuron" and self.emitted in ("", BINARY)
        outgoing = widths.spike if fires else widths.activation
        return Traffic(
            weight_reads=self.weight_reads * widths.weight,
            input_reads=(0.0 if self.kind == "neuron" else self.spikes) * incoming,
            output_writes=self.outputs * outgoing,
            state_reads=self.state_reads * widths.state,
            state_writes=self.state_writes * widths.state,
        )

    def as_ann(self) -> "LayerCounts":
        """The same layer of the same architecture run once, on real values without zeros.

        Learning is that of the same pass; what is done once a batch, as by an optimiser, stays.
        """
        learns = self.kind == "learning"
        if learns and not self.passes:
            return self
        passes = max(self.passes, 1.0)
        once = self.ann_macs
        return replace(
            self,
            values=REAL if self.is_weighted or learns else self.values,
            emitted=REAL if self.emitted else "",
            macs=once,
            effective_macs=once,
            effective_acs=0.0,
            additions=self.additions / passes,
            multiplications=self.multiplications / passes,
            functions=self.functions / passes,
            spikes=(self.inputs if self.is_weighted or learns else self.outputs) / passes,
            rate=None,
            inputs=self.inputs / passes,
            outputs=self.outputs / passes,
            nonzero_outputs=self.outputs / passes,
            weight_bits=None,  # a baseline's widths are its own
            weight_reads=once if self.weights or (learns and self.weight_reads) else 0.0,
            updates=self.updates / passes,
            synaptic_updates=self.synaptic_updates / passes,
            state_reads=0.0,
            state_writes=0.0,
            passes=1.0,
            spikes_per_step=(),
            operations_per_step=(),
        )


@dataclass(frozen=True)
class Counts:
    """All layers of a model, means over ``samples`` samples of ``steps`` steps.

    Attributes:
        layers: in the order in which they ran first.
        samples: over how many the means are.
        steps: of a sample; a mean where samples stop at steps of their own.
        uncovered: operations and modules that are neither counted nor known to be free.
        notes: what the reader should know of the whole.
        parameters: numbers that the model learns.
        footprint: bytes of its parameters and buffers, without states of neurons.
    """

    layers: tuple[LayerCounts, ...]
    samples: int
    steps: float
    uncovered: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    parameters: float = 0.0
    footprint: float = 0.0

    def __iter__(self) -> Iterator[LayerCounts]:
        return iter(self.layers)

    def total(self, name: str) -> float:
        """Sum of an attribute over the layers."""
        return float(sum(getattr(layer, name) for layer in self.layers))

    @property
    def connection_sparsity(self) -> float:
        """Fraction of the connections' weights that are zero."""
        connections = [layer for layer in self.layers if layer.is_weighted]
        nonzero = sum(layer.nonzero_weights for layer in connections)
        return _missing(nonzero, sum(layer.weights for layer in connections))

    @property
    def activation_sparsity(self) -> float:
        """Fraction of what neurons and activation functions gave that is zero."""
        lines = [layer for layer in self.layers if layer.kind in ("neuron", "elementwise")]
        active = sum(layer.nonzero_outputs for layer in lines)
        return _missing(active, sum(layer.outputs for layer in lines))

    def as_ann(self) -> "Counts":
        """The same architecture as a network without time: every layer once."""
        return replace(self, layers=tuple(layer.as_ann() for layer in self.layers), steps=1)


def _missing(part: float, whole: float) -> float:
    return 1.0 - part / whole if whole else 0.0

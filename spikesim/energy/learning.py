r"""What training a model costs beside its forward pass, from the counts of that pass.

With :math:`M_l` products of a layer in the forward pass (zero or not, all steps), :math:`E_l` of
them without a zero factor, :math:`\delta` the gradient of its output and :math:`S` states of its
neurons, each rule adds for a layer

.. math::
    \text{gradient of the weights:}\quad &\nabla W = \sum_t \delta_t\, x_t^\top
        &&: M_l \text{ dense},\ E_l \text{ with } x_t \ne 0 \\
    \text{gradient of the input:}\quad &\nabla x_t = W^\top \delta_t
        &&: M_l, \text{ of weights that are not } 0

Gradients are taken as never 0; a weight of 0 as pruned, without a gradient. Where inputs are spikes
the first is accumulation. The layer that sees the data needs no gradient of its input; a product of
activations has two gradients of :math:`M_l`, taken as dense; a bias has one addition an output.

``"bptt"``: backpropagation through time. Neurons do the lines of their recorded gradient in each
step; each state of each step, and each input of a layer, is kept and read once.

``"ottt"``: the gradient at step :math:`t` is :math:`\delta_t\, \hat a_t^\top` with traces
:math:`\hat a_t = \lambda \hat a_{t-1} + x_t` of the inputs, real numbers: :math:`M_l` products,
and a product and a sum for each input in each step. Nothing is kept over time.

``"eprop"``: each synapse keeps an eligibility of :math:`S` numbers,
:math:`\epsilon \leftarrow A \epsilon + b x_t`, of which the gradient takes
:math:`L_j \cdot \epsilon_{ji}`: in each step :math:`S^2` products, :math:`S` where an input is not
0, and :math:`S` for the gradient. The learning signal :math:`L` goes down as gradients of inputs
do, within its step.

The optimiser runs once a batch, by its published equations.

Reference: P. Werbos (1990), Proc. IEEE 78, 1550-1560; M. Xiao et al. (2022), Online training
through time for spiking neural networks, NeurIPS; G. Bellec et al. (2020), Nat. Commun. 11, 3625;
D. Kingma, J. Ba (2015), Adam, ICLR, section 2; I. Loshchilov, F. Hutter (2019), Decoupled weight
decay regularization, ICLR, algorithms 1 and 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from torch import nn

from spikesim.energy.arithmetic import Arithmetic, arithmetic
from spikesim.energy.layer import BINARY, REAL, Counts, LayerCounts
from spikesim.errors import UserError, nearest
from spikesim.neuron import Neuron

LearningRule: TypeAlias = Literal["bptt", "ottt", "eprop"]


@dataclass(frozen=True)
class Optimizer:
    """What an update of one parameter does, and how many numbers it keeps of it."""

    work: Arithmetic
    states: int


OPTIMIZERS = {
    "sgd": Optimizer(Arithmetic(1, 1), 0),
    "momentum": Optimizer(Arithmetic(2, 2), 1),
    "adam": Optimizer(Arithmetic(4, 7, 1), 2),
    "adamw": Optimizer(Arithmetic(5, 8, 1), 2),
}
"""Bias corrections of Adam are folded into its step, as its section 2 says."""


def with_learning(
    counts: Counts,
    model: nn.Module,
    *,
    rule: LearningRule = "bptt",
    optimizer: str = "adamw",
    batch: int = 1,
) -> Counts:
    """Counts of a forward pass, and of learning from it: a line of kind ``learning`` for each.

    Args:
        counts: what :func:`~spikesim.energy.count` gave.
        model: that was counted; its neurons tell their gradients.
        rule: see above.
        optimizer: ``"sgd"``, ``"momentum"``, ``"adam"`` or ``"adamw"``.
        batch: samples of an update.

    Returns:
        ``counts`` with more layers. Layers whose backward pass is not counted (norms, pools,
        elementwise operations, neurons of other libraries) are in ``uncovered``.

    Raises:
        UserError: an unknown rule or optimiser, or a batch without samples.
    """
    if rule not in get_args(LearningRule):
        raise UserError(
            f"there is no learning rule {rule!r}" + nearest(rule, get_args(LearningRule))
        )
    if optimizer not in OPTIMIZERS:
        raise UserError(f"no optimizer {optimizer!r}" + nearest(optimizer, tuple(OPTIMIZERS)))
    if batch < 1:
        raise UserError(f"batch must be >= 1, got {batch}")
    layers, uncovered = list[LayerCounts](), list[str]()
    is_first = True
    for place, layer in enumerate(counts.layers):
        neuron = _neuron(model, layer)
        if layer.is_weighted and layer.macs:
            states = _states(counts.layers[place:])
            layers += _weights(layer, rule, states=states, sees_data=is_first)
            is_first = False
        elif neuron is not None and layer.updates:
            layers.append(_back(layer, neuron, keeps=rule == "bptt"))
        elif layer.updates or not (layer.is_weighted or layer.kind == "neuron"):
            uncovered.append(f"{layer.name} ({layer.kind}): its backward pass")
    layers.append(_update(counts, OPTIMIZERS[optimizer], optimizer, batch))
    return replace(
        counts,
        layers=(*counts.layers, *layers),
        uncovered=(*counts.uncovered, *uncovered),
    )


def _weights(
    layer: LayerCounts, rule: LearningRule, *, states: int, sees_data: bool
) -> Iterator[LayerCounts]:
    """Gradients of a layer's weights, and of its input."""
    if layer.kind == "attention":
        yield replace(_line(layer, "gradients", 2.0), effective_macs=2 * layer.macs)
        return
    is_binary = layer.values == BINARY
    bias = layer.outputs if layer.biases else 0.0
    if rule == "bptt":
        yield replace(
            _line(layer, "weight gradient", 1.0),
            values=layer.values,
            inputs=layer.inputs,
            spikes=layer.spikes,
            effective_macs=0.0 if is_binary else layer.operations,
            effective_acs=layer.operations if is_binary else 0.0,
            additions=bias,
        )
    elif rule == "ottt":
        yield replace(
            _line(layer, "weight gradient", 1.0),
            inputs=layer.inputs,
            spikes=layer.inputs,
            effective_macs=layer.macs,
            additions=bias + layer.inputs,
            multiplications=layer.inputs,
            state_reads=layer.inputs,
            state_writes=layer.inputs,
        )
    else:
        met, kept = states * layer.operations, states * layer.weights * layer.passes
        rest = (states**2 + states) * layer.macs
        yield replace(
            _line(layer, "eligibility", states**2 + 2 * states),
            values=layer.values,
            inputs=layer.inputs,
            spikes=layer.spikes,
            effective_macs=rest + (0.0 if is_binary else met),
            effective_acs=met if is_binary else 0.0,
            additions=bias,
            state_reads=kept,
            state_writes=kept,
        )
    if not sees_data:
        done = layer.macs * (layer.nonzero_weights / layer.weights if layer.weights else 1.0)
        yield replace(
            _line(layer, "input gradient", 1.0),
            effective_macs=done,
            inputs=layer.outputs,
            spikes=layer.outputs,
            outputs=layer.inputs,
            weight_reads=done,
        )


def _line(layer: LayerCounts, what: str, times: float) -> LayerCounts:
    """Learning of a layer that takes ``times`` as many products as its forward pass."""
    return LayerCounts(
        name=f"{layer.name} {what}",
        kind="learning",
        values=REAL,
        macs=times * layer.macs,
        ann_macs=times * layer.ann_macs,
        passes=layer.passes,
    )


def _back(layer: LayerCounts, neuron: Neuron, *, keeps: bool) -> LayerCounts:
    work = layer.updates * arithmetic(neuron.bound().program.reverse)
    return LayerCounts(
        name=f"{layer.name} gradient",
        kind="learning",
        additions=work.additions,
        multiplications=work.multiplications,
        functions=work.functions,
        outputs=layer.outputs,
        state_reads=layer.state_writes if keeps else 0.0,
        state_writes=layer.state_writes if keeps else 0.0,
        passes=layer.passes,
    )


def _update(counts: Counts, optimizer: Optimizer, name: str, batch: int) -> LayerCounts:
    parameters = (counts.total("weights") + counts.total("biases")) / batch
    work = parameters * optimizer.work
    return LayerCounts(
        name=name,
        kind="learning",
        additions=work.additions,
        multiplications=work.multiplications,
        functions=work.functions,
        weight_reads=parameters,
        state_reads=optimizer.states * parameters,
        state_writes=(optimizer.states + 1) * parameters,
        note=f"one update for {batch} samples; weights written are among state_writes",
    )


def _neuron(model: nn.Module, layer: LayerCounts) -> Neuron | None:
    """Whose counts these are, if its gradient is known."""
    if layer.kind != "neuron":
        return None
    try:
        module = model.get_submodule(layer.name)
    except AttributeError:
        return None
    return module if isinstance(module, Neuron) else None


def _states(rest: tuple[LayerCounts, ...]) -> int:
    """States of the neurons behind a layer; one where there are none."""
    for layer in rest:
        if layer.kind == "neuron" and layer.updates:
            return max(round(layer.state_reads / layer.updates), 1)
    return 1

"""Losses on how much a network fires: spikes that are learned away cost no energy."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.compression.layers import WEIGHTED, Weighted
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.probe import watch


@dataclass
class Activity:
    """What happened in one run, with gradients.

    Attributes:
        spikes: output of each call of each layer of spiking neurons, ``[T, B, ...]``.
        operations: synaptic operations of each call of each linear layer and convolution whose
            input has a gradient, over the whole batch; a layer that sees data alone cannot be
            taught to do fewer.
    """

    spikes: list[Tensor] = field(default_factory=list)
    operations: list[Tensor] = field(default_factory=list)


@contextmanager
def activity(model: nn.Module, *, operations: bool = True) -> Iterator[Activity]:
    """See what a model does while it is run inside.

    Args:
        model: with neurons.
        operations: whether they are counted, which takes a small convolution for each layer.

    >>> from spikesim.neurons import LIF
    >>> model = nn.Sequential(nn.Linear(2, 3), LIF(), nn.Linear(3, 4))
    >>> with activity(model) as seen:
    ...     _ = model(torch.ones(5, 1, 2))
    >>> [list(spikes.shape) for spikes in seen.spikes], len(seen.operations)
    ([[5, 1, 3]], 1)
    """
    seen = Activity()

    def fired(name: str, neuron: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.spikes.append(output)

    def done(name: str, layer: Any, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs[0].requires_grad:
            seen.operations.append(synaptic_operations(layer, inputs[0]))

    with ExitStack() as stack:
        stack.enter_context(watch(model, fired, _is_spiking))
        if operations:
            stack.enter_context(watch(model, done, lambda layer: isinstance(layer, WEIGHTED)))
        yield seen


def _is_spiking(module: nn.Module) -> bool:
    return isinstance(module, Neuron) and module.spiking


def synaptic_operations(layer: Weighted, x: Tensor) -> Tensor:
    """``sum |x| f``, where ``f`` says how many non-zero weights an element of the input meets.

    Of spikes it is the number of operations, borders of convolutions counted exactly, and its
    derivative by a spike is what the spike costs.

    >>> synaptic_operations(nn.Conv1d(1, 4, 3, padding=1), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]))
    tensor(20.)
    """
    mask = (layer.weight.detach() != 0).to(x.dtype)
    if isinstance(layer, nn.Linear):
        return F.linear(x.abs(), mask.sum(0, keepdim=True)).sum()
    # What meets an output channel is added up over the channels of its group first.
    per_group = mask.view(layer.groups, -1, *mask.shape[1:]).sum(1)
    counted: Tensor = layer._conv_forward(x.abs(), per_group, None)
    return counted.sum()


@dataclass(frozen=True)
class RateLoss:
    r"""Penalty on firing rates :math:`r` outside of bounds, spikes per neuron and step.

    .. math::
        L = \lambda \sum_\mathrm{layers} \overline{[r - r_\mathrm{upper}]_+^p
            + [r_\mathrm{lower} - r]_+^p}

    With both bounds 0 it is a plain L1 or L2 regulariser of rates, with equal bounds a target.

    Args:
        weight: :math:`\lambda`, >= 0.
        lower: below it neurons are pushed up, in [0, ``upper``]. Only neurons near enough to their
            threshold for the surrogate gradient are reached.
        upper: above it they are pushed down.
        power: :math:`p`, 1 or 2.
        over: the rate of each ``"neuron"`` or the mean rate of a ``"layer"``, in each sample.

    Raises:
        UserError: a number out of its range.

    Reference: bounds as in Zenke & Vogels (2021), *The remarkable robustness of surrogate gradient
    learning*, and in the authors' library stork, which has the same four forms (upper and lower,
    L1 and L2; a neuron's or a population's rate).
    """

    weight: float
    lower: float = 0.0
    upper: float = 0.0
    power: Literal[1, 2] = 2
    over: Literal["neuron", "layer"] = "neuron"

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise UserError(f"the weight of a loss must be >= 0, got {self.weight}")
        if not 0 <= self.lower <= self.upper:
            raise UserError(
                f"rates must be 0 <= lower <= upper, got lower={self.lower}, upper={self.upper}"
            )
        if self.power not in (1, 2):
            raise UserError(f"power must be 1 or 2, got {self.power}")
        if self.over not in ("neuron", "layer"):
            raise UserError(f"over must be 'neuron' or 'layer', got {self.over!r}")

    def __call__(self, seen: Activity) -> Tensor:
        """The penalty of one run.

        Raises:
            UserError: no spiking neuron ran.
        """
        if not seen.spikes:
            raise UserError("no spiking neuron ran; run the model inside `with activity(model)`")
        return self.weight * torch.stack([self._of(spikes) for spikes in seen.spikes]).sum()

    def _of(self, spikes: Tensor) -> Tensor:
        rates = spikes.to(torch.promote_types(spikes.dtype, torch.float32)).mean(0)
        rates = rates.reshape(len(rates), -1)  # [B, N]
        if self.over == "layer":
            rates = rates.mean(1)
        excess = (rates - self.upper).relu() + (self.lower - rates).relu()
        return (excess if self.power == 1 else excess.square()).mean()


@dataclass(frozen=True)
class OperationsLoss:
    r"""Penalty on synaptic operations: spikes weighted by what each one costs.

    .. math:: L = \lambda \, [S / S_0 - 1]_+^2 \qquad \text{or, without } S_0, \quad \lambda S

    with operations :math:`S` a sample.

    Args:
        weight: :math:`\lambda`, >= 0; without a target, per operation.
        target: :math:`S_0`, operations a sample that are allowed, > 0; ``None``: fewer is better.

    Raises:
        UserError: a number out of its range.

    Reference: Sorbaro et al. (2020), *Optimizing the energy consumption of spiking neural networks
    for neuromorphic applications*, arXiv 1912.01268. There what lies below the target is pushed up
    as well.
    """

    weight: float
    target: float | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise UserError(f"the weight of a loss must be >= 0, got {self.weight}")
        if self.target is not None and not self.target > 0:
            raise UserError(f"target must be > 0 operations a sample, got {self.target}")

    def __call__(self, seen: Activity) -> Tensor:
        """The penalty of one run.

        Raises:
            UserError: nothing that training can change was counted.
        """
        if not seen.operations or not seen.spikes:
            raise UserError(
                "no layer behind spiking neurons ran; run the model with gradients inside "
                "`with activity(model)`"
            )
        mean = torch.stack(seen.operations).sum() / seen.spikes[0].shape[1]
        if self.target is None:
            return self.weight * mean
        return self.weight * (mean / self.target - 1).relu().square()

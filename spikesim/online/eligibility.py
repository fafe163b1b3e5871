r"""What neurons owe to their weights so far, carried from chunk to chunk.

In a chunk of ``K`` steps gradients run back through the neurons' own states in the ordinary way.
What earlier steps did is in the states that the chunk starts from, so that all a weight's gradient
needs beyond the chunk is the derivative of these states by the weight, its eligibility:

.. math::
    \frac{dh^+_j}{dW_{ji}} = \frac{\partial h^+_j}{\partial h_j} \frac{dh_j}{dW_{ji}}
        + \sum_t \frac{\partial h^+_j}{\partial x_{jt}} z_{it}

with states :math:`h` before the chunk, :math:`h^+` after it, and inputs :math:`z` of the map. Both
partial derivatives come out of the neuron's backward kernel. Shape legend: ``K`` steps, ``B``
batch, ``N`` receivers, ``M`` senders, ``S`` states.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.online.cell import States, coefficients
from spikesim.online.standardised import ScaledWSLinear


class _Tied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, *others: Tensor) -> Tensor:
        ctx.count = len(others)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return tuple(grads) * (1 + int(ctx.count))


def tied(value: Tensor, *others: Tensor) -> Tensor:
    """``value``, whose gradient goes to each of ``others`` too."""
    tied: Tensor = _Tied.apply(value, *others)  # type: ignore[no-untyped-call]
    return tied


class Trace(NamedTuple):
    """Filtered inputs of a map, ``[S, B, ...]``, and what the filter makes of ones, ``[S]``."""

    senders: Tensor
    ones: Tensor


@dataclass(eq=False)
class Traces:
    """Where a sender's trace says it all: as many numbers as senders, for any affine map.

    Args:
        maps: from ``[K, B, ...]`` to the neurons' input.
        neuron: one of which :func:`~spikesim.online.cell.has_traces` holds.
    """

    maps: nn.Module
    neuron: Neuron
    A: Tensor = field(init=False)
    b: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.A, self.b = coefficients(self.neuron)
        self._after: dict[int, tuple[Tensor, Tensor]] = {}

    def initial(self, z: Tensor, states: States) -> Trace:
        """Nothing, for inputs ``[B, ...]``."""
        return Trace(z.new_zeros(len(states), *z.shape), torch.zeros_like(self.b))

    def tie(self, states: States, kept: Trace) -> States:
        """The states, as they depend on the map's parameters."""
        # The map of a trace has its bias once; that of the state has it as often as ones say.
        bias = self.maps(kept.senders.new_zeros(1, 1, *kept.senders.shape[2:]))[0]
        sent = self.maps(kept.senders)
        return tuple(
            tied(state, own + (float(ones) - 1.0) * bias)
            for state, own, ones in zip(states, sent, kept.ones, strict=True)
        )

    def advance(self, kept: Trace, z: Tensor, _: tuple[Tensor, Tensor] | None) -> Trace:
        """After the inputs ``[K, B, ...]`` of a chunk."""
        power, share = self._response(len(z))
        left = power.to(z) @ kept.senders.flatten(1) + share.to(z) @ z.flatten(1)
        return Trace(left.view(kept.senders.shape), power @ kept.ones + share.sum(1))

    def _response(self, steps: int) -> tuple[Tensor, Tensor]:
        """What states become in so many steps, ``[S, S]``, and each step's input, ``[S, K]``."""
        if steps not in self._after:
            inputs, power = [], torch.eye(len(self.A), dtype=self.A.dtype)
            for _ in range(steps):
                inputs.append(power @ self.b)
                power = power @ self.A
            self._after[steps] = power, torch.stack(inputs[::-1], 1)
        return self._after[steps]


class _Eligible(torch.autograd.Function):
    """Zeros ``[S, B, N]`` that depend on a weight and a bias as eligibilities say."""

    @staticmethod
    def forward(ctx: Any, kept: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.has_bias = bias is not None
        batch, receivers, states, _ = kept.shape
        return kept.new_zeros(states, batch, receivers)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        found = torch.einsum("sbn,bnsm->nm", grads[0], kept)
        return (None, found[:, :-1], found[:, -1]) if ctx.has_bias else (None, found, None)


@dataclass(eq=False)
class Synaptic:
    """Eligibilities of each synapse and sample, ``[B, N, S, M]``, behind a linear map.

    Args:
        before: what comes before the map, without parameters.
        linear: the map; its bias is one more sender, which is always 1.
    """

    before: nn.Module
    linear: nn.Linear

    def initial(self, z: Tensor, states: States) -> Tensor:
        """Nothing, for inputs ``[B, ...]``."""
        if states[0].dim() != 2:
            raise UserError(
                "eligibilities of synapses need steps [B, N]; a step of the neurons is "
                f"{list(states[0].shape)}"
            )
        shape = (*states[0].shape, len(states), self.linear.in_features + self._has_bias)
        return z.new_zeros(shape)

    @property
    def _has_bias(self) -> bool:
        return self.linear.bias is not None

    def tie(self, states: States, kept: Tensor) -> States:
        """The states, as they depend on weight and bias."""
        linear = self.linear
        weight = linear.standardised() if isinstance(linear, ScaledWSLinear) else linear.weight
        zeros: Tensor = _Eligible.apply(kept, weight, linear.bias)  # type: ignore[no-untyped-call]
        return tuple(tied(state, own) for state, own in zip(states, zeros, strict=True))

    def advance(self, kept: Tensor, z: Tensor, by: tuple[Tensor, Tensor] | None) -> Tensor:
        """After the inputs ``[K, B, ...]`` of a chunk; ``by`` is what ``derivatives`` gave."""
        assert by is not None
        by_start, by_input = by
        sent = self.before(z)
        if self._has_bias:
            sent = nn.functional.pad(sent, (0, 1), value=1.0)
        left = (by_start @ kept).flatten(1, 2)  # [B, N S, M]
        steps = by_input.flatten(2).permute(1, 2, 0)  # [B, N S, K]
        return torch.baddbmm(left, steps, sent.transpose(0, 1)).view(kept.shape)


Eligibility: TypeAlias = Traces | Synaptic
Kept: TypeAlias = Any
"""What one of them keeps: a :class:`Trace`, or an array."""

"""What a backend is asked to run: arrays in memory order, nothing left to decide.

Legend: ``T`` steps, ``N`` values of one step ``[B, ...]`` in memory order. A sequence is dense with
``T`` outermost, so it is ``[T, N]`` whatever the strides inside a step. ``real`` is float32, or
float64 for float64 storage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spikesim.kernels.program import Program

EVERY = 16
"""Steps between two saved states; a sequence of up to this many saves none."""
STORAGES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
"""Dtypes that kernels store, as printers name them."""


def real_dtype(storage: torch.dtype) -> torch.dtype:
    """The dtype of states and arithmetic."""
    return torch.float64 if storage == torch.float64 else torch.float32


@dataclass(frozen=True)
class Operand:
    """A parameter or an initial value: for neuron ``n``, ``array[(n // inner) % count]``."""

    value: float = 0.0
    """The value of all, where there is no array."""
    array: Tensor | None = None
    """``real``, contiguous, of ``count`` elements."""
    inner: int = 1
    count: int = 1


@dataclass(frozen=True)
class Draws:
    """Where the random numbers of a call come from."""

    position: Tensor
    """int64 ``[3]``: seed, global index of sample 0, index of step 0."""
    layer: int
    sample_size: int
    """Values of one sample in one step."""
    channels: int
    """1 where a sample lies in logical order ``[C, ...]``; ``C`` where channels lie innermost."""


@dataclass(slots=True)
class Call:
    """One sequence through one program."""

    program: Program
    numbers: tuple[float, ...]
    steps: int
    neurons: int
    inputs: Sequence[Tensor]
    """``[T, N]`` each, in storage dtype."""
    parameters: Sequence[Operand]
    initial: Sequence[Operand]
    """Of each state variable."""
    checkpoints: Tensor | None
    """real ``[ceil(T / EVERY) - 1, S, N]``: states before steps EVERY, 2 EVERY, ...; written by
    forward where given, read by backward."""
    draws: Draws | None

    @property
    def storage(self) -> torch.dtype:
        """The dtype of inputs and outputs."""
        return self.inputs[0].dtype

    @property
    def numbers_divided(self) -> tuple[str, ...]:
        """The program's dividends that are one number here."""
        if not self.program.dividends:
            return ()
        given = dict(zip(self.program.parameters, self.parameters, strict=True))
        return tuple(name for name in self.program.dividends if given[name].array is None)


def empty_checkpoints(call: Call, like: Tensor) -> Tensor | None:
    """Room for the checkpoints of a call, on the device of ``like``."""
    rows, states = -(-call.steps // EVERY) - 1, len(call.program.states)
    if rows <= 0 or not states:
        return None
    return like.new_empty((rows, states, call.neurons), dtype=real_dtype(like.dtype))


@dataclass(slots=True)
class Outputs:
    """What a forward call writes; all its elements."""

    output: Tensor
    """``[T, N]`` in storage dtype; uint8 ``[T, N]``; or int32 ``[T, ceil(N / 32)]``: bit i of word
    j is neuron 32 j + i."""
    final: Sequence[Tensor] = ()
    """real ``[N]`` of each state variable after the last step, or none at all."""
    traces: Sequence[Tensor] = ()
    """real ``[T, N]`` of each state variable after each step, or none at all."""


@dataclass(slots=True)
class Gradients:
    """What a backward call reads and writes."""

    output: Tensor | None
    """Cotangent of the output ``[T, N]`` in storage dtype; ``None``: zero."""
    final: Sequence[Tensor | None]
    """real ``[N]``, of each final state; or empty: all zero."""
    traces: Sequence[Tensor | None]
    """real ``[T, N]``, of each trace; or empty: all zero."""
    inputs: Sequence[Tensor]
    """Written: ``[T, N]`` in storage dtype."""
    initial: Sequence[Tensor]
    """Written: real ``[N]`` of each state variable; or empty: not wanted."""
    partials: Tensor | None
    """Written: real ``[wanted, ceil(N / group)]``, each the sum over the steps and over ``group``
    neighbouring neurons; ``group`` is what :meth:`Backend.group` said."""


class Backend(Protocol):
    """A way to run programs."""

    def group(self, call: Call) -> int:
        """How many neighbouring neurons a partial sum of the backward pass may span."""

    def forward(self, call: Call, out: Outputs) -> None:
        """All steps."""

    def backward(self, call: Call, gradients: Gradients) -> None:
        """All steps, last to first; recomputes the states from the inputs."""

"""A neuron over all steps, as two functions: forward, and backward by recomputation.

Only the inputs are kept for backward, and for more than ``EVERY`` steps the state before each
``EVERY``-th. What torch makes of them is in :mod:`spikesim.kernels.operator`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.backends import backend
from spikesim.kernels.call import (
    Call,
    Draws,
    Gradients,
    Operand,
    Outputs,
    empty_checkpoints,
)
from spikesim.kernels.program import Program
from spikesim.kernels.sequence import StepLayout, dense, empty_as, same_layout


class Job:
    """What to run, beside the tensors; made once for a neuron whose parameters are numbers."""

    __slots__ = ("backend", "fixed", "layer", "numbers", "program", "values")

    def __init__(
        self,
        program: Program,
        backend: str,
        numbers: tuple[float, ...],
        values: tuple[float, ...],
        layer: int = 0,
    ) -> None:
        self.program = program
        self.backend = backend
        self.numbers = numbers
        self.values = values
        """Of parameters, then of initial states, where they are numbers."""
        self.layer = layer
        self.fixed = [Operand(value) for value in values]


@dataclass(slots=True)
class Tensors:
    """The tensors of a job."""

    inputs: Sequence[Tensor]
    """``[T, B, ...]`` each."""
    arrays: Sequence[Tensor | None]
    """Of parameters, then of initial states; each broadcasts against a step ``[B, ...]``."""
    position: Tensor | None = None
    """Where random numbers are drawn from, int64 ``[3]``."""


@dataclass(slots=True)
class Results:
    """What forward gives."""

    output: Tensor
    final: Sequence[Tensor]
    """The states after the last step, or nothing."""
    traces: Sequence[Tensor]
    """The states after each step, or nothing."""
    checkpoints: Tensor | None


@dataclass(slots=True)
class Cotangents:
    """What flows into backward; ``None`` where nothing does."""

    output: Tensor | None
    final: Sequence[Tensor | None] = ()
    traces: Sequence[Tensor | None] = ()
    is_own: bool = False
    """Whether nobody else holds ``output``: the gradient of the input then takes its place."""


def real_dtype(storage: torch.dtype) -> torch.dtype:
    """The dtype of states and arithmetic."""
    return torch.float64 if storage == torch.float64 else torch.float32


def forward(
    job: Job,
    tensors: Tensors,
    *,
    final: bool = False,
    traces: bool = False,
    checkpoint: bool = False,
    spikes: torch.dtype | None = None,
) -> Results:
    """All steps.

    Args:
        job: what to run.
        tensors: on what.
        final: whether to give the states after the last step.
        traces: whether to give the states after each step.
        checkpoint: whether to keep what backward needs for more than ``EVERY`` steps.
        spikes: what the output is stored as: by default as the input; ``torch.uint8``, or
            ``torch.int32`` for one bit a spike, ``[T, ceil(N / 32)]``.
    """
    call, layout = describe_call(job, tensors, None)
    first = call.inputs[0]
    real = real_dtype(first.dtype)
    states = len(job.program.states)
    if checkpoint:
        call.checkpoints = empty_checkpoints(call, first)
    if spikes == torch.int32:
        output = first.new_empty((call.steps, -(-call.neurons // 32)), dtype=spikes)
    else:
        output = empty_as(first, spikes)
    out = Outputs(
        output,
        [layout.empty(first, real) for _ in range(states)] if final else (),
        [empty_as(first, real) for _ in range(states)] if traces else (),
    )
    if call.neurons:
        backend(job.backend).forward(call, out)
    return Results(output, out.final, out.traces, call.checkpoints)


def backward(
    job: Job,
    tensors: Tensors,
    checkpoints: Tensor | None,
    incoming: Cotangents,
    wanted: Sequence[bool],
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The gradients of the inputs, and of those arrays that ``wanted`` marks."""
    call, layout = describe_call(job, tensors, checkpoints)
    program, first = job.program, call.inputs[0]
    real = real_dtype(first.dtype)
    count = len(program.parameters)
    serving = backend(job.backend)
    is_summed, is_initial = any(wanted[:count]), any(wanted[count:])
    group, partials = 1, None
    if is_summed:
        group = serving.group(call)
        partials = first.new_empty((len(program.wanted), -(-call.neurons // group)), dtype=real)
    # Each value is read before the same thread writes its gradient in its place.
    output = None if incoming.output is None else same_layout(incoming.output, first)
    is_reused = incoming.is_own and output is not None and len(call.inputs) == 1
    gradients = Gradients(
        output=output,
        final=[None if g is None else layout.arranged(g, real) for g in incoming.final],
        traces=[None if g is None else same_layout(g, first, real) for g in incoming.traces],
        inputs=[output] if is_reused and output is not None else list(map(empty_as, call.inputs)),
        initial=[layout.empty(first, real) for _ in program.states] if is_initial else (),
        partials=partials,
    )
    if call.neurons:
        serving.backward(call, gradients)
    if not (is_summed or is_initial):
        return list(gradients.inputs), [None] * len(wanted)
    found: list[Tensor | None] = []
    for i, (array, is_wanted) in enumerate(zip(tensors.arrays, wanted, strict=True)):
        if array is None or not is_wanted:
            found.append(None)
        elif i >= count:
            found.append(gradients.initial[i - count].sum_to_size(array.shape).to(array.dtype))
        else:
            assert partials is not None
            partial = partials[program.wanted.index(program.parameters[i])]
            grad = layout.reduce(partial, call.parameters[i], group, array.shape)
            found.append(grad.to(array.dtype))
    return list(gradients.inputs), found


def describe_call(
    job: Job, tensors: Tensors, checkpoints: Tensor | None
) -> tuple[Call, StepLayout]:
    """What the backend of a job is asked to run, and how a step lies in memory."""
    inputs, layout = dense(tensors.inputs)
    draws = None
    if tensors.position is not None:
        if layout.innermost_channels() is None:
            inputs, layout = dense([x.contiguous() for x in inputs])
        channels = layout.innermost_channels()
        assert channels is not None
        size = layout.neurons // max(1, layout.shape[0])
        draws = Draws(tensors.position, job.layer, size, channels)
    operands = job.fixed
    for i, array in enumerate(tensors.arrays):
        if array is not None:
            operands = [*operands[:i], _operand(array, inputs[0], layout), *operands[i + 1 :]]
    count = len(job.program.parameters)
    call = Call(
        program=job.program,
        numbers=job.numbers,
        steps=inputs[0].shape[0],
        neurons=layout.neurons,
        inputs=inputs,
        parameters=operands[:count],
        initial=operands[count:],
        checkpoints=checkpoints,
        draws=draws,
    )
    return call, layout


def _operand(array: Tensor, first: Tensor, layout: StepLayout) -> Operand:
    if array.device != first.device:
        raise UserError(
            f"a parameter or state is on {array.device}, the input on {first.device}; "
            "move the neuron, the state or the input"
        )
    return layout.operand(array.to(real_dtype(first.dtype)))

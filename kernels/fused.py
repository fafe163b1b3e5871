"""A neuron over all steps, as two functions: forward, and backward by recomputation.

Only the inputs are kept for backward, and for more than ``EVERY`` steps the state before each
``EVERY``-th. What torch makes of them is in :mod:`spikesim.kernels.operator`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

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
    real_dtype,
)
from spikesim.kernels.program import Program
from spikesim.kernels.sequence import StepLayout, dense, empty_as, same_layout


class Job:
    """What to run, beside the tensors; the same in each call of a neuron from the same start."""

    __slots__ = ("backend", "fixed", "is_fixed", "layer", "numbers", "program", "values")

    def __init__(
        self,
        program: Program,
        backend: str,
        numbers: tuple[float, ...],
        values: tuple[float, ...],
        layer: int = 0,
        is_fixed: bool = False,
    ) -> None:
        self.program = program
        self.backend = backend
        self.numbers = numbers
        self.values = values
        """Of parameters, then of initial states, where they are numbers."""
        self.layer = layer
        self.fixed = [Operand(value) for value in values]
        self.is_fixed = is_fixed
        """Whether all of ``values`` are numbers, of every call."""


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
    output = empty_output(call, first, spikes)
    out = Outputs(
        output,
        [layout.empty(first, real) for _ in range(states)] if final else (),
        [empty_as(first, real) for _ in range(states)] if traces else (),
    )
    if call.neurons:
        backend(job.backend).forward(call, out)
    return Results(output, out.final, out.traces, call.checkpoints)


def empty_output(call: Call, like: Tensor, spikes: torch.dtype | None) -> Tensor:
    """Room for the spikes of a call, stored as :func:`forward` says."""
    if spikes == torch.int32:
        return like.new_empty((call.steps, -(-call.neurons // 32)), dtype=spikes)
    return empty_as(like, spikes)


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
        group = serving.group(call) if call.neurons else 1
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
    found = array_gradients(call, layout, tensors.arrays, wanted, gradients, group)
    return list(gradients.inputs), found


def array_gradients(
    call: Call,
    layout: StepLayout,
    arrays: Sequence[Tensor | None],
    wanted: Sequence[bool],
    gradients: Gradients,
    group: int,
) -> list[Tensor | None]:
    """The gradients of those arrays of a call that ``wanted`` marks, from what backward wrote."""
    found: list[Tensor | None] = [None] * len(arrays)
    partials, count, start = gradients.partials, len(call.parameters), 0
    # Neighbours that lie alike are added up at once.
    for kind, places in groupby(call.program.wanted_places, lambda i: _kind(call, arrays, i)):
        run = list(places)
        stop = start + len(run)
        if kind is not None and partials is not None and any(wanted[i] for i in run):
            rows = partials if len(run) == len(partials) else partials[start:stop]
            shape, *_ = kind
            sums = layout.reduce(rows, call.parameters[run[0]], group, shape)
            for i, one in zip(run, sums.unbind(), strict=True):
                found[i] = one if wanted[i] else None
        start = stop
    for i, array in enumerate(arrays[count:]):
        if array is not None and wanted[count + i]:
            found[count + i] = gradients.initial[i].sum_to_size(array.shape)
    return [
        g if g is None or a is None or g.dtype == a.dtype else g.to(a.dtype)
        for g, a in zip(found, arrays, strict=True)
    ]


def _kind(
    call: Call, arrays: Sequence[Tensor | None], place: int
) -> tuple[torch.Size, int, int] | None:
    array, operand = arrays[place], call.parameters[place]
    return None if array is None else (array.shape, operand.inner, operand.count)


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

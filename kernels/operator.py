"""The fused neuron as torch sees it in eager calls: an autograd function.

It is the quicker way through torch; what a compiler sees is in :mod:`spikesim.kernels.compiled`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels import compiled
from spikesim.kernels.fused import (
    Cotangents,
    Job,
    Results,
    Tensors,
    backward,
    describe_call,
    forward,
    real_dtype,
)
from spikesim.kernels.sequence import same_layout
from spikesim.types import Named

if TYPE_CHECKING:
    from spikesim.kernels.cupy_backend import Repeat
    from spikesim.neuron import Neuron


class After(Protocol):
    """An operation on the output that is run with the neuron, which then keeps no spikes for it."""

    def forward(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What to give instead of the output, and what its gradient needs."""

    def backward(self, kept: Tensor, gradient: Tensor, like: Tensor) -> Tensor:
        """The gradient of the output, a new array that lies as ``like``."""


@dataclass(slots=True)
class Wish:
    """What a call gives beside the output, and what is done to the output."""

    final: bool = False
    traces: bool = False
    after: After | None = None


def run(
    neuron: "Neuron",
    backend: str,
    inputs: Named,
    state: Named | None,
    *,
    extra: Named | None = None,
    final: bool = False,
    traces: bool = False,
    after: After | None = None,
) -> Results:
    """Run a neuron over all steps, differentiably.

    Args:
        neuron: its parameters, and the program of its step.
        backend: ``"numba"`` or ``"cupy"``.
        inputs: ``[T, B, ...]`` each, checked.
        state: to start from; by default the neuron's initial one.
        extra: the arrays of :data:`~spikesim.kernels.program.BATCH_NORM`, shaped to broadcast
            against a step, if the first input is to be normalised on the way.
        final: whether to give the states after the last step.
        traces: whether to give the states after each step.
        after: what is done to the output; in eager calls that need a gradient.
    """
    job, tensors = prepare(neuron, backend, inputs, state, extra)
    wish = Wish(final, traces, after)
    flat = (*tensors.inputs, *tensors.arrays)
    is_tracked = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in flat)
    if torch.compiler.is_compiling():
        outputs = compiled.call(job, tensors, final=final, traces=traces, is_tracked=is_tracked)
        return _split(outputs, len(job.program.states), wish)
    _remember(neuron, job, tensors)
    if not is_tracked:
        return forward(job, tensors, final=wish.final, traces=wish.traces)
    count = len(job.program.states)
    outputs = _Run.apply(job, wish, tensors.position, *flat)  # type: ignore[no-untyped-call]
    return _split(outputs, count, wish)


def again(neuron: "Neuron", x: Tensor) -> Tensor | None:
    """The output, the short way, if the neuron has run an input of this kind before."""
    if torch.compiler.is_compiling():
        return None
    repeat: Repeat | None = neuron.jobs.get(_kind(neuron, x))
    if repeat is None or not repeat.fits(x):
        return None
    if x.requires_grad and torch.is_grad_enabled():
        output: Tensor = _Again.apply(repeat, x)  # type: ignore[no-untyped-call]
        return output
    return repeat.forward(x, checkpoint=False)[0]


def _kind(neuron: "Neuron", x: Tensor) -> tuple[Any, ...]:
    return neuron.backend, x.shape, x.stride(), x.dtype, x.device


def _remember(neuron: "Neuron", job: Job, tensors: Tensors) -> None:
    (x, *others) = tensors.inputs
    is_fixed = job.backend == "cupy" and job is neuron.jobs.get(job.backend)
    if not is_fixed or _kind(neuron, x) in neuron.jobs:
        return
    call, _ = describe_call(job, tensors, None)
    if not others and call.neurons and call.inputs[0] is x:
        from spikesim.kernels.cupy_backend import Repeat

        repeat = Repeat(call)
        if repeat.fits(x):
            neuron.jobs[_kind(neuron, x)] = repeat


def prepare(
    neuron: "Neuron", backend: str, inputs: Named, state: Named | None, extra: Named | None = None
) -> tuple[Job, Tensors]:
    """The job of a call, and its tensors.

    Args:
        neuron, backend, inputs, state, extra: see :func:`run`.
    """
    first = inputs[neuron.inputs[0]]
    sequences = [inputs[name] for name in neuron.inputs]
    if state is None and extra is None:
        known = neuron.jobs.get(backend)
        if known is not None:
            return known, Tensors(sequences, [None] * len(known.values))
    # Only shape and dtype are asked of it.
    like = torch.empty(first.shape[1:], dtype=real_dtype(first.dtype), device="meta")
    bound = neuron.bound(batch_norm=extra is not None)
    p = neuron.values(like)
    start = neuron.checked(state, like) if state is not None else neuron.initial(p)
    values = bound.values(p if extra is None else p.replace(**extra))
    numbers: list[float] = []
    arrays: list[Tensor | None] = []
    for value in (*values.values(), *(start[name] for name in neuron.states)):
        arrays.append(value if isinstance(value, Tensor) else None)
        numbers.append(0.0 if isinstance(value, Tensor) else float(value))
    stream = neuron.stream(first)
    job = Job(bound.program, backend, bound.numbers, tuple(numbers), neuron.layer)
    position = None if stream is None else stream.position
    is_fixed = stream is None and state is None and all(array is None for array in arrays)
    if is_fixed and not torch.compiler.is_compiling():
        neuron.jobs[backend] = job
    return job, Tensors(sequences, arrays, position)


def _split(outputs: Sequence[Tensor], states: int, wish: Wish) -> Results:
    final = outputs[1 : 1 + states * wish.final]
    traces = outputs[1 + states * wish.final :]
    return Results(outputs[0], final, traces[: states * wish.traces], None)


def _cotangents(grads: Sequence[Tensor | None], states: int, wish: Wish) -> Cotangents:
    finals = states * wish.final
    return Cotangents(
        grads[0], grads[1 : 1 + finals], grads[1 + finals : 1 + finals + states * wish.traces]
    )


_ONCE = "kernels give no second derivatives; use backend='torch'"


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, job: Job, wish: Wish, position: Tensor | None, *flat: Tensor | None
    ) -> tuple[Tensor, ...]:
        count = len(job.program.inputs)
        inputs: Sequence[Any] = flat[:count]
        tensors = Tensors(inputs, flat[count:], position)
        found = forward(job, tensors, final=wish.final, traces=wish.traces, checkpoint=True)
        output, kept = found.output, None
        if wish.after is not None:
            output, kept = wish.after.forward(output)
        ctx.save_for_backward(position, found.checkpoints, kept, *flat)
        ctx.job, ctx.wish = job, wish
        ctx.set_materialize_grads(False)
        return (output, *found.final, *found.traces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # torch's own guard costs more than the rest of this function
            raise UserError(_ONCE)
        position, checkpoints, kept, *flat = ctx.saved_tensors
        job, wish = ctx.job, ctx.wish
        count = len(job.program.inputs)
        incoming = _cotangents(grads, len(job.program.states), wish)
        if wish.after is not None and incoming.output is not None:
            incoming.output = wish.after.backward(kept, incoming.output, flat[0])
            incoming.is_own = True
        tensors = Tensors(flat[:count], flat[count:], position)
        wanted = ctx.needs_input_grad[3 + count :]
        d_inputs, d_arrays = backward(job, tensors, checkpoints, incoming, wanted)
        return (None, None, None, *d_inputs, *d_arrays)


class _Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, repeat: "Repeat", x: Tensor) -> Tensor:
        output, kept = repeat.forward(x, checkpoint=True)
        ctx.save_for_backward(x, kept)
        ctx.repeat = repeat
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        if torch.is_grad_enabled():
            raise UserError(_ONCE)
        x, kept = ctx.saved_tensors
        return None, ctx.repeat.backward(x, kept, same_layout(grads[0], x))

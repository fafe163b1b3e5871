"""The fused neuron as torch sees it in eager calls: an autograd function.

It is the quicker way through torch; what a compiler sees is in :mod:`spikesim.kernels.compiled`.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

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
    forward,
)
from spikesim.kernels.sequence import step_like
from spikesim.kernels.tape import TraceError
from spikesim.types import Named, Number

if TYPE_CHECKING:
    from spikesim.kernels import numba_repeat, repeat
    from spikesim.kernels.program import Bound
    from spikesim.neuron import Neuron

    Repeat: TypeAlias = repeat.Repeat | numba_repeat.Repeat


class After(Protocol):
    """An operation on the output that is run with the neuron, which then keeps no spikes for it."""

    def spikes(self, like: Tensor) -> torch.dtype | None:
        """What the output for the input ``like`` is stored as: ``spikes`` of ``fused.forward``."""

    def forward(self, output: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """What to give instead of the output, in the dtype of ``like``; what its gradient needs."""

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

    Raises:
        UserError: inside of a transform of ``torch.func``.
    """
    is_compiling = torch.compiler.is_compiling()
    if not is_compiling and torch._C._are_functorch_transforms_active():
        raise UserError(TRANSFORMED)
    job, tensors = prepare(neuron, backend, inputs, state, extra)
    wish = Wish(final, traces, after)
    flat = (*tensors.inputs, *tensors.arrays)
    is_tracked = torch.is_grad_enabled() and _is_tracked(*flat)
    if is_compiling:
        outputs = compiled.call(job, tensors, final=final, traces=traces, is_tracked=is_tracked)
        return _split(outputs, len(job.program.states), wish)
    if state is None and extra is None:
        _remember(neuron, job, tensors)
    if not is_tracked:
        return forward(job, tensors, final=wish.final, traces=wish.traces)
    count = len(job.program.states)
    outputs = _Run.apply(job, wish, tensors.position, *flat)  # type: ignore[no-untyped-call]
    return _split(outputs, count, wish)


def again(neuron: "Neuron", x: Tensor) -> Tensor | None:
    """The output, the short way, if the neuron has run an input of this kind before."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return None
    known: Repeat | None = neuron.jobs.get(_kind(neuron, x))
    if known is None:
        return None
    arrays: Sequence[Tensor | None] = ()
    if known.like is not None:
        arrays = [_array(value) for value in _values(neuron, known.like, None, None)]
    if not known.fits(x, arrays):
        return None
    if (x.requires_grad or _is_tracked(*arrays)) and torch.is_grad_enabled():
        output: Tensor = _apply_again(known, x, *arrays)
        return output
    return known.forward(x, arrays, checkpoint=False)[0]


def _kind(neuron: "Neuron", x: Tensor) -> tuple[Any, ...]:
    return neuron.backend, x.shape, x.stride(), x.dtype, x.device


def _is_tracked(*tensors: Tensor | None) -> bool:
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _remember(neuron: "Neuron", job: Job, tensors: Tensors) -> None:
    kind = _kind(neuron, tensors.inputs[0])
    if kind not in neuron.jobs:
        name = "repeat" if job.backend == "cupy" else "numba_repeat"
        module = importlib.import_module(f"spikesim.kernels.{name}")
        neuron.jobs[kind] = module.repeat(job, tensors)


def prepare(
    neuron: "Neuron", backend: str, inputs: Named, state: Named | None, extra: Named | None = None
) -> tuple[Job, Tensors]:
    """The job of a call, and its tensors.

    Args:
        neuron, backend, inputs, state, extra: see :func:`run`.
    """
    first = inputs[neuron.inputs[0]]
    sequences = [inputs[name] for name in neuron.inputs]
    kind = backend, state is None, extra is None
    is_compiling = torch.compiler.is_compiling()
    job: Job | None = None if is_compiling else neuron.jobs.get(kind)
    if job is not None and job.is_fixed:
        return job, Tensors(sequences, [None] * len(job.values))
    values = _values(neuron, step_like(first), state, extra)
    arrays = [_array(value) for value in values]
    stream = neuron.stream(first)
    if job is None:
        bound = _bound(neuron, extra)
        numbers = (0.0 if isinstance(value, Tensor) else float(value) for value in values)
        is_fixed = stream is None and not any(array is not None for array in arrays)
        job = Job(bound.program, backend, bound.numbers, tuple(numbers), neuron.layer, is_fixed)
        if stream is None and not is_compiling:
            neuron.jobs[kind] = job
    return job, Tensors(sequences, arrays, None if stream is None else stream.position)


def _values(
    neuron: "Neuron", like: Tensor, state: Named | None, extra: Named | None
) -> list[Number]:
    """Of the program's parameters, then of the initial states."""
    p = neuron.values(like)
    start = neuron.initial(p) if state is None else neuron.checked(state, like)
    known = _bound(neuron, extra).values(p if extra is None else {**p, **extra})
    return [*known.values(), *(start[name] for name in neuron.states)]


def _bound(neuron: "Neuron", extra: Named | None) -> "Bound":
    try:
        return neuron.bound(batch_norm=extra is not None)
    except TraceError as error:
        raise TraceError(f"{error}; or set backend='torch'") from error


def _array(value: Number) -> Tensor | None:
    return value if isinstance(value, Tensor) else None


def _split(outputs: Sequence[Tensor], states: int, wish: Wish) -> Results:
    final = outputs[1 : 1 + states * wish.final]
    traces = outputs[1 + states * wish.final :]
    return Results(outputs[0], final, traces[: states * wish.traces], None)


def _cotangents(grads: Sequence[Tensor | None], states: int, wish: Wish) -> Cotangents:
    finals = states * wish.final
    return Cotangents(
        grads[0], grads[1 : 1 + finals], grads[1 + finals : 1 + finals + states * wish.traces]
    )


ONCE = "kernels give no second derivatives; use backend='torch'"
TRANSFORMED = "kernels run in no transform of torch.func (vmap, grad, jvp); use backend='torch'"


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, job: Job, wish: Wish, position: Tensor | None, *flat: Tensor | None
    ) -> tuple[Tensor, ...]:
        count = len(job.program.inputs)
        inputs: Sequence[Any] = flat[:count]
        tensors = Tensors(inputs, flat[count:], position)
        after = wish.after
        spikes = None if after is None else after.spikes(inputs[0])
        found = forward(
            job, tensors, final=wish.final, traces=wish.traces, checkpoint=True, spikes=spikes
        )
        output, kept = found.output, None
        if after is not None:
            output, kept = after.forward(output, inputs[0])
        ctx.save_for_backward(position, found.checkpoints, kept, *flat)
        ctx.job, ctx.wish = job, wish
        ctx.set_materialize_grads(False)
        return (output, *found.final, *found.traces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # torch's own guard costs more than the rest of this function
            raise UserError(ONCE)
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
    def forward(ctx: Any, known: "Repeat", x: Tensor, *arrays: Tensor | None) -> Tensor:
        output, kept = known.forward(x, arrays, checkpoint=True)
        ctx.save_for_backward(x, kept, *arrays)
        ctx.known = known
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UserError(ONCE)
        x, kept, *arrays = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        d_input, d_arrays = ctx.known.backward(x, arrays, kept, grads[0], wanted)
        return None, d_input, *d_arrays


# What Function.apply does for functorch first takes longer than the launch of a kernel.
_apply_again: Any = super(torch.autograd.Function, _Again).apply

"""The fused neuron as torch sees it: an autograd function, and operators for ``torch.compile``.

Eager calls take the autograd function, which is the quicker way through torch. A compiler sees
``spikesim::neuron_forward`` and ``spikesim::neuron_backward``, which name the program by its key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.call import EVERY
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
from spikesim.kernels.program import PROGRAMS
from spikesim.kernels.sequence import dense, empty_as, same_layout
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
        return _compiled(job, tensors, wish, is_tracked)
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
    if job is not neuron.jobs.get(job.backend) or job.backend != "cupy":
        return
    call, _ = describe_call(job, tensors, None)
    (x, *others) = tensors.inputs
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


_LIBRARY: Any = torch.library.Library("spikesim", "FRAGMENT")  # type: ignore[no-untyped-call]
_JOB = "str key, str backend, float[] numbers, float[] values, int layer"
# Autograd sees no gradient for lists of optional tensors: arrays come with the places they take.
# It takes an empty list for one of tensors: lists of numbers end with one that is not read.
_TENSORS = "Tensor[] inputs, Tensor[] arrays, int[] places, Tensor? position"
_LIBRARY.define(
    f"neuron_forward({_JOB}, {_TENSORS}, bool final, bool traces, bool checkpoint) -> Tensor[]"
)
_LIBRARY.define(
    f"neuron_backward({_JOB}, {_TENSORS}, Tensor? checkpoints, Tensor? d_output, "
    "Tensor?[] d_final, Tensor?[] d_traces, bool[] wanted) -> Tensor[]"
)


def _compiled(job: Job, tensors: Tensors, wish: Wish, is_tracked: bool) -> Results:
    outputs = torch.ops.spikesim.neuron_forward(
        job.program.key,
        job.backend,
        [*job.numbers, 0.0],
        [*job.values, 0.0],
        job.layer,
        list(tensors.inputs),
        [array for array in tensors.arrays if array is not None],
        [*(i for i, array in enumerate(tensors.arrays) if array is not None), -1],
        tensors.position,
        wish.final,
        wish.traces,
        is_tracked,
    )
    return _split(outputs, len(job.program.states), wish)


def _forward_real(
    key: str,
    backend: str,
    numbers: Sequence[float],
    values: Sequence[float],
    layer: int,
    inputs: Sequence[Tensor],
    arrays: Sequence[Tensor],
    places: Sequence[int],
    position: Tensor | None,
    final: bool,
    traces: bool,
    checkpoint: bool,
) -> list[Tensor]:
    job = Job(PROGRAMS[key], backend, tuple(numbers[:-1]), tuple(values[:-1]), layer)
    tensors = Tensors(inputs, _placed(arrays, places[:-1], len(job.values)), position)
    found = forward(job, tensors, final=final, traces=traces, checkpoint=checkpoint)
    kept = [] if found.checkpoints is None else [found.checkpoints]
    return [found.output, *found.final, *found.traces, *kept]


def _forward_fake(
    key: str,
    backend: str,
    numbers: Sequence[float],
    values: Sequence[float],
    layer: int,
    inputs: Sequence[Tensor],
    arrays: Sequence[Tensor],
    places: Sequence[int],
    position: Tensor | None,
    final: bool,
    traces: bool,
    checkpoint: bool,
) -> list[Tensor]:
    (first, *_), layout = dense(inputs)
    real, states = real_dtype(first.dtype), len(PROGRAMS[key].states)
    rows = -(-first.shape[0] // EVERY) - 1 if checkpoint and states else 0
    return [
        empty_as(first),
        *(layout.empty(first, real) for _ in range(states * final)),
        *(empty_as(first, real) for _ in range(states * traces)),
        *(first.new_empty((rows, states, layout.neurons), dtype=real) for _ in range(rows > 0)),
    ]


def _backward_real(
    key: str,
    backend: str,
    numbers: Sequence[float],
    values: Sequence[float],
    layer: int,
    inputs: Sequence[Tensor],
    arrays: Sequence[Tensor],
    places: Sequence[int],
    position: Tensor | None,
    checkpoints: Tensor | None,
    d_output: Tensor | None,
    d_final: Sequence[Tensor | None],
    d_traces: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    job = Job(PROGRAMS[key], backend, tuple(numbers[:-1]), tuple(values[:-1]), layer)
    incoming = Cotangents(d_output, d_final, d_traces)
    tensors = Tensors(inputs, _placed(arrays, places[:-1], len(job.values)), position)
    marks = [False] * len(job.values)
    for place, is_wanted in zip(places[:-1], wanted, strict=True):
        marks[place] = is_wanted
    d_inputs, d_arrays = backward(job, tensors, checkpoints, incoming, marks)
    return [*d_inputs, *(d for d in d_arrays if d is not None)]


def _placed(arrays: Sequence[Tensor], places: Sequence[int], count: int) -> list[Tensor | None]:
    found: list[Tensor | None] = [None] * count
    for place, array in zip(places, arrays, strict=True):
        found[place] = array
    return found


def _backward_fake(
    key: str,
    backend: str,
    numbers: Sequence[float],
    values: Sequence[float],
    layer: int,
    inputs: Sequence[Tensor],
    arrays: Sequence[Tensor],
    places: Sequence[int],
    position: Tensor | None,
    checkpoints: Tensor | None,
    d_output: Tensor | None,
    d_final: Sequence[Tensor | None],
    d_traces: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    (first, *_), _ = dense(inputs)
    found = [
        a.new_empty(a.shape) for a, w in zip(arrays, wanted, strict=True) if w and a is not None
    ]
    return [*(empty_as(first) for _ in inputs), *found]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    key, _, _, _, _, sequences, arrays, places, position, final, traces, _ = inputs
    made = len(PROGRAMS[key].states) * (final + traces) + 1
    checkpoints = output[made] if len(output) > made else None
    ctx.save_for_backward(position, checkpoints, *sequences, *arrays)
    ctx.of_job, ctx.wish, ctx.count = inputs[:5], Wish(final, traces), len(sequences)
    ctx.wanted, ctx.places = [a.requires_grad for a in arrays], places
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    position, checkpoints, *flat = ctx.saved_tensors
    states = len(PROGRAMS[ctx.of_job[0]].states)
    incoming = _cotangents(grads, states, ctx.wish)
    found = torch.ops.spikesim.neuron_backward(
        *ctx.of_job,
        flat[: ctx.count],
        flat[ctx.count :],
        ctx.places,
        position,
        checkpoints,
        incoming.output,
        incoming.final,
        incoming.traces,
        ctx.wanted,
    )
    rest = iter(found[ctx.count :])
    d_arrays = [next(rest) if is_wanted else None for is_wanted in ctx.wanted]
    return (None,) * 5 + (found[: ctx.count], d_arrays, None, None, None, None, None)


for _name, _real, _fake in (
    ("neuron_forward", _forward_real, _forward_fake),
    ("neuron_backward", _backward_real, _backward_fake),
):
    _LIBRARY.impl(_name, _real, "CompositeExplicitAutograd")
    torch.library.register_fake(f"spikesim::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "spikesim::neuron_forward", _gradient, setup_context=_setup, lib=_LIBRARY
)

"""The fused neuron for ``torch.compile``: operators ``spikesim::neuron_forward`` and ``_backward``.

They name the program by its key, so that one pair serves all neurons. A job goes in as plain
numbers, its arrays as a list with the places they take: autograd sees no gradient for lists of
optional tensors. It takes an empty list for one of tensors, so lists of numbers end with one that
is not read.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikesim.kernels.call import EVERY, real_dtype
from spikesim.kernels.fused import Cotangents, Job, Tensors, backward, forward
from spikesim.kernels.program import PROGRAMS
from spikesim.kernels.sequence import dense, empty_as

_LIBRARY: Any = torch.library.Library("spikesim", "FRAGMENT")  # type: ignore[no-untyped-call]
_JOB = "str key, str backend, float[] numbers, float[] values, int layer"
_TENSORS = "Tensor[] inputs, Tensor[] arrays, int[] places, Tensor? position"
_LIBRARY.define(
    f"neuron_forward({_JOB}, {_TENSORS}, bool final, bool traces, bool checkpoint) -> Tensor[]"
)
_LIBRARY.define(
    f"neuron_backward({_JOB}, {_TENSORS}, Tensor? checkpoints, Tensor? d_output, "
    "Tensor?[] d_final, Tensor?[] d_traces, bool[] wanted) -> Tensor[]"
)
_COUNT = 9
"""Arguments that describe a job and its tensors."""


def call(
    job: Job, tensors: Tensors, *, final: bool, traces: bool, is_tracked: bool
) -> Sequence[Tensor]:
    """Output, final states, traces and checkpoints of a job, through the registered operator."""
    places = [i for i, array in enumerate(tensors.arrays) if array is not None]
    outputs: Sequence[Tensor] = torch.ops.spikesim.neuron_forward(
        job.program.key,
        job.backend,
        [*job.numbers, 0.0],
        [*job.values, 0.0],
        job.layer,
        list(tensors.inputs),
        [array for array in tensors.arrays if array is not None],
        [*places, -1],
        tensors.position,
        final,
        traces,
        is_tracked,
    )
    return outputs


def _described(
    key: str,
    backend: str,
    numbers: Sequence[float],
    values: Sequence[float],
    layer: int,
    inputs: Sequence[Tensor],
    arrays: Sequence[Tensor],
    places: Sequence[int],
    position: Tensor | None,
) -> tuple[Job, Tensors]:
    job = Job(PROGRAMS[key], backend, tuple(numbers[:-1]), tuple(values[:-1]), layer)
    found: list[Tensor | None] = [None] * len(job.values)
    for place, array in zip(places[:-1], arrays, strict=True):
        found[place] = array
    return job, Tensors(inputs, found, position)


def _forward(*given: Any) -> list[Tensor]:
    job, tensors = _described(*given[:_COUNT])
    final, traces, checkpoint = given[_COUNT:]
    found = forward(job, tensors, final=final, traces=traces, checkpoint=checkpoint)
    kept = [] if found.checkpoints is None else [found.checkpoints]
    return [found.output, *found.final, *found.traces, *kept]


def _forward_fake(*given: Any) -> list[Tensor]:
    job, tensors = _described(*given[:_COUNT])
    final, traces, checkpoint = given[_COUNT:]
    (first, *_), layout = dense(tensors.inputs)
    real, states = real_dtype(first.dtype), len(job.program.states)
    rows = -(-first.shape[0] // EVERY) - 1 if checkpoint and states else 0
    return [
        empty_as(first),
        *(layout.empty(first, real) for _ in range(states * final)),
        *(empty_as(first, real) for _ in range(states * traces)),
        *(first.new_empty((rows, states, layout.neurons), dtype=real) for _ in range(rows > 0)),
    ]


def _backward(*given: Any) -> list[Tensor]:
    job, tensors = _described(*given[:_COUNT])
    checkpoints, d_output, d_final, d_traces, wanted = given[_COUNT:]
    marked = iter(wanted)
    marks = [array is not None and next(marked) for array in tensors.arrays]
    incoming = Cotangents(d_output, d_final, d_traces)
    d_inputs, d_arrays = backward(job, tensors, checkpoints, incoming, marks)
    # What an operator gives may share no memory; sums taken at once do.
    return [*d_inputs, *(d.clone() for d in d_arrays if d is not None)]


def _backward_fake(*given: Any) -> list[Tensor]:
    _, tensors = _described(*given[:_COUNT])
    (first, *_), _ = dense(tensors.inputs)
    arrays, wanted = given[6], given[-1]
    found = [a.new_empty(a.shape) for a, is_wanted in zip(arrays, wanted, strict=True) if is_wanted]
    return [*(empty_as(first) for _ in tensors.inputs), *found]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    key, sequences, arrays, position = inputs[0], inputs[5], inputs[6], inputs[8]
    final, traces, _ = inputs[_COUNT:]
    states = len(PROGRAMS[key].states)
    made = 1 + states * (final + traces)
    checkpoints = output[made] if len(output) > made else None
    ctx.save_for_backward(position, checkpoints, *sequences, *arrays)
    ctx.of_job, ctx.places, ctx.count = inputs[:5], inputs[7], len(sequences)
    ctx.finals, ctx.made = 1 + states * final, made
    ctx.wanted = [a.requires_grad for a in arrays]
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    position, checkpoints, *flat = ctx.saved_tensors
    found = torch.ops.spikesim.neuron_backward(
        *ctx.of_job,
        flat[: ctx.count],
        flat[ctx.count :],
        ctx.places,
        position,
        checkpoints,
        grads[0],
        list(grads[1 : ctx.finals]),
        list(grads[ctx.finals : ctx.made]),
        ctx.wanted,
    )
    rest = iter(found[ctx.count :])
    d_arrays = [next(rest) if is_wanted else None for is_wanted in ctx.wanted]
    return (None,) * 5 + (found[: ctx.count], d_arrays, None, None, None, None, None)


for _name, _real, _fake in (
    ("neuron_forward", _forward, _forward_fake),
    ("neuron_backward", _backward, _backward_fake),
):
    _LIBRARY.impl(_name, _real, "CompositeExplicitAutograd")
    torch.library.register_fake(f"spikesim::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "spikesim::neuron_forward", _gradient, setup_context=_setup, lib=_LIBRARY
)

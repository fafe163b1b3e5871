"""Batch norm in training with the neuron after it, on a CUDA device: one autograd function.

Forward reads the input twice: for the statistics of its channels, then in the neuron's kernel,
which normalises on the way. Backward reads it twice too: in the neuron's kernel, which takes the
sums that the gradient of the statistics needs and leaves its own gradient in place, and to add the
rest there. What lies between is done by kernels of one block a channel: as torch operations it
would take longer on the host than all the rest on the device.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels import operator
from spikesim.kernels.batch_norm import (
    Running,
    add_statistics_gradient,
    joined_statistics,
    joined_sums,
)
from spikesim.kernels.call import Call, empty_checkpoints, real_dtype
from spikesim.kernels.cupy_backend import WORD, Launch, at_a_word
from spikesim.kernels.fused import describe_call, empty_output
from spikesim.kernels.program import BATCH_NORM
from spikesim.kernels.sequence import empty_as, same_layout
from spikesim.types import Named

if TYPE_CHECKING:
    from spikesim.neuron import Neuron


class Normed:
    """A neuron whose parameters are numbers, after a batch norm, for inputs of one kind."""

    def __init__(self, call: Call, index: int) -> None:
        self._call = call
        self._index = index
        names = call.program.parameters
        self._places = [names.index(name) for name in BATCH_NORM]
        self._operands = len(names) + len(call.program.states)
        self._scale_row = call.program.wanted.index("bn_scale")
        self._nothing = (0,) * max(1, len(call.program.states))
        self._forward: dict[torch.dtype | None, Launch] = {}
        self._backward: Launch | None = None

    def fits(self, x: Tensor) -> bool:
        """Whether ``x`` can be read in whole words, on the current device."""
        return x.data_ptr() % WORD == 0 and torch._C._cuda_getDevice() == self._index

    def _arrays(self, found: Tensor) -> list[Tensor | None]:
        arrays: list[Tensor | None] = [None] * self._operands
        mean, _, _, scale, shift = found.unbind(0)
        for place, array in zip(self._places, (mean, scale, shift), strict=True):
            arrays[place] = array
        return arrays

    def forward(
        self, x: Tensor, found: Tensor, spikes: torch.dtype | None
    ) -> tuple[Tensor, Tensor | None]:
        """Spikes, stored as ``spikes`` says, and what backward needs beside ``x`` and ``found``."""
        launch = self._forward.get(spikes)
        if launch is None:
            launch = Launch("forward", self._call, self._index, spikes)
            self._forward[spikes] = launch
        kept = empty_checkpoints(self._call, x)
        output = empty_output(self._call, x, spikes)
        read = x.data_ptr(), 0 if kept is None else kept.data_ptr(), 0, output.data_ptr()
        launch(read, (0, *self._nothing, 0), self._arrays(found))
        return output, kept

    def backward(
        self, x: Tensor, found: Tensor, kept: Tensor | None, gradient: Tensor, *, is_own: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the input, and of weight and bias ``[C]``.

        The former takes the place of ``gradient`` where nobody else holds it: ``is_own``.
        """
        launch = self._backward
        if launch is None:
            self._backward = launch = Launch("backward", self._call, self._index)
        gradient = at_a_word(same_layout(gradient, x))
        dx = gradient if is_own else empty_as(x)
        sums = found.new_empty((2, -(-self._call.neurons // launch.group)))
        read = x.data_ptr(), 0 if kept is None else kept.data_ptr(), 0, gradient.data_ptr()
        launch(read, (dx.data_ptr(), *self._nothing, sums.data_ptr()), self._arrays(found))
        out = joined_sums(x, sums, self._scale_row, found)
        of_weight, of_bias, slope, offset = out.unbind(0)
        add_statistics_gradient(dx, x, found[0], slope, offset, backend="cupy")
        return dx, of_weight, of_bias


def plan(neuron: "Neuron", x: Tensor) -> Normed | None:
    """How a neuron runs inputs of this kind after a batch norm; ``None`` where it cannot so."""
    key = "batch norm", x.shape, x.stride(), x.dtype, x.device
    if key not in neuron.jobs:
        neuron.jobs[key] = _made(neuron, x)
    found: Normed | None = neuron.jobs[key]
    return found if found is not None and found.fits(x) else None


def _made(neuron: "Neuron", x: Tensor) -> Normed | None:
    if neuron.stochastic or len(neuron.inputs) != 1 or not x.numel():
        return None
    real = real_dtype(x.dtype)
    like = torch.empty((x.shape[2], *[1] * (x.dim() - 3)), dtype=real, device=x.device)
    extra = Named(dict.fromkeys(BATCH_NORM, like))
    sequence = Named({neuron.inputs[0]: x.detach()})
    job, tensors = operator.prepare(neuron, "cupy", sequence, None, extra)
    # What a learnable parameter is made of has a gradient of its own.
    if any(array is not None and array is not like for array in tensors.arrays):
        return None
    call, _ = describe_call(job, tensors, None)
    is_as_it_lies = call.inputs[0].data_ptr() == x.data_ptr()
    given = dict(zip(call.program.parameters, call.parameters, strict=True))
    is_per_channel = all(given[name].count == x.shape[2] for name in BATCH_NORM)
    if not (is_as_it_lies and is_per_channel):
        return None
    index = torch._C._cuda_getDevice() if x.device.index is None else x.device.index
    return Normed(replace(call, inputs=[x.new_empty(0)]), index)


def run(
    how: Normed,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    running: Running | None,
    after: operator.After | None,
) -> Tensor:
    """The neuron's output on the normalised sequence, or what is done ``after``."""
    output: Tensor = _Run.apply(how, eps, running, after, x, weight, bias)  # type: ignore[no-untyped-call]
    return output


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        how: Normed,
        eps: float,
        running: Running | None,
        after: operator.After | None,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        statistics = joined_statistics(x, eps, weight, bias, running)
        spikes = None if after is None else after.spikes(x)
        output, checkpoints = how.forward(x, statistics, spikes)
        kept = None
        if after is not None:
            output, kept = after.forward(output, x)
        ctx.save_for_backward(x, statistics, checkpoints, kept)
        ctx.how, ctx.after = how, after
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UserError(operator.ONCE)
        x, statistics, checkpoints, kept = ctx.saved_tensors
        (gradient,) = grads
        is_own = ctx.after is not None
        if is_own:
            gradient = ctx.after.backward(kept, gradient, x)
        found = ctx.how.backward(x, statistics, checkpoints, gradient, is_own=is_own)
        needs = ctx.needs_input_grad[4:]
        wanted = (grad if need else None for grad, need in zip(found, needs, strict=True))
        return (None, None, None, None, *wanted)

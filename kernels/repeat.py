"""A call of the CUDA backend that was made before, with other tensors of the same kind.

A small layer costs more in Python than on the device. From call to call only addresses differ: all
else is found once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from spikesim.kernels.call import Call, Gradients, Operand, empty_checkpoints, real_dtype
from spikesim.kernels.cupy_backend import WORD, Launch, at_a_word
from spikesim.kernels.fused import Job, Tensors, array_gradients, describe_call
from spikesim.kernels.sequence import StepLayout, same_layout, step_like


def repeat(job: Job, tensors: Tensors) -> "Repeat | None":
    """How to make a call again that starts from the initial state; ``None`` where it cannot be.

    It cannot where a tensor is copied first, where random numbers are drawn, or for several inputs.
    """
    (x, *others), arrays = tensors.inputs, tensors.arrays
    if others or tensors.position is not None or not x.numel():
        return None
    call, layout = describe_call(job, tensors, None)
    operands = (*call.parameters, *call.initial)
    pairs = [(x, call.inputs[0]), *zip(arrays, (one.array for one in operands), strict=True)]
    if any(a is not None and b is not None and a.data_ptr() != b.data_ptr() for a, b in pairs):
        return None
    return Repeat(call, layout, arrays)


class Repeat:
    """How a neuron runs inputs of one kind."""

    def __init__(self, call: Call, layout: StepLayout, arrays: Sequence[Tensor | None]) -> None:
        (x,) = call.inputs
        self.like = step_like(x) if any(array is not None for array in arrays) else None
        """A step, where parameters are arrays: what these have to be made for."""
        self._arrays = [_kind(array) for array in arrays] if self.like is not None else []
        self._index = torch.cuda.current_device() if x.device.index is None else x.device.index
        self._layout = layout
        # Kept without its tensors.
        self._call = replace(
            call,
            inputs=[x.new_empty(0)],
            parameters=[_without_values(one) for one in call.parameters],
            initial=[_without_values(one) for one in call.initial],
        )
        self._strides = x.stride()
        self._nothing = (0,) * max(1, len(call.program.states))
        self._blank = (0, *self._nothing, 0)
        self._forward: Launch | None = None
        self._backward: Launch | None = None

    def fits(self, x: Tensor, arrays: Sequence[Tensor | None]) -> bool:
        """Whether tensors of this kind can be read as those of the first call were."""
        return (
            x.data_ptr() % WORD == 0
            and torch._C._cuda_getDevice() == self._index
            and (self.like is None or [_kind(array) for array in arrays] == self._arrays)
        )

    def forward(
        self, x: Tensor, arrays: Sequence[Tensor | None], *, checkpoint: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The output, and what backward needs beside what is given."""
        launch = self._forward
        if launch is None:
            self._forward = launch = Launch("forward", self._call, self._index)
        output = torch.empty_like(x)
        kept = empty_checkpoints(self._call, x) if checkpoint else None
        read = x.data_ptr(), 0 if kept is None else kept.data_ptr(), 0, output.data_ptr()
        launch(read, self._blank, arrays)
        return output, kept

    def backward(
        self,
        x: Tensor,
        arrays: Sequence[Tensor | None],
        kept: Tensor | None,
        gradient: Tensor,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """The gradients of the input, and of those arrays that ``wanted`` marks."""
        launch = self._backward
        if launch is None:  # not before it is needed: inference has nothing to compile for it
            self._backward = launch = Launch("backward", self._call, self._index)
        if gradient.stride() != self._strides or gradient.data_ptr() % WORD:
            gradient = at_a_word(same_layout(gradient, x))
        d_input = torch.empty_like(x)
        read = x.data_ptr(), 0 if kept is None else kept.data_ptr(), 0, gradient.data_ptr()
        if True not in wanted:
            launch(read, (d_input.data_ptr(), *self._nothing, 0), arrays)
            return d_input, (None,) * len(wanted)
        call, layout, real = self._call, self._layout, real_dtype(x.dtype)
        count, initial = len(call.parameters), []
        partials, d_initial = None, self._nothing
        if True in wanted[:count]:
            cells = -(-call.neurons // launch.group)
            partials = x.new_empty((len(call.program.wanted), cells), dtype=real)
        if True in wanted[count:]:
            initial = [layout.empty(x, real) for _ in call.program.states]
            d_initial = tuple(array.data_ptr() for array in initial)
        sums = 0 if partials is None else partials.data_ptr()
        launch(read, (d_input.data_ptr(), *d_initial, sums), arrays)
        gradients = Gradients(gradient, (), (), [d_input], initial, partials)
        return d_input, array_gradients(call, layout, arrays, wanted, gradients, launch.group)


def _kind(array: Tensor | None) -> tuple[Any, ...] | None:
    return None if array is None else (array.shape, array.stride(), array.dtype, array.device)


def _without_values(one: Operand) -> Operand:
    return one if one.array is None else replace(one, array=one.array.new_empty(0))

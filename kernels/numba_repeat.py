"""A call of the CPU backend that was made before, with other tensors of the same kind.

From call to call only addresses differ; all else is found once. Python's own work is slow here,
since the data of a layer has driven everything else out of the caches.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from spikesim.kernels.call import Call, empty_checkpoints
from spikesim.kernels.fused import Job, Tensors, describe_call
from spikesim.kernels.numba_backend import Launch
from spikesim.kernels.sequence import empty_as, same_layout


def repeat(job: Job, tensors: Tensors) -> "Repeat | None":
    """How to make a call again that starts from the initial state; ``None`` where it cannot be.

    It cannot where a tensor is copied first, where random numbers are drawn, for several inputs,
    or where a parameter is an array.
    """
    (x, *others) = tensors.inputs
    are_numbers = all(array is None for array in tensors.arrays)
    if others or tensors.position is not None or not are_numbers or not x.numel():
        return None
    call, _ = describe_call(job, tensors, None)
    return Repeat(call) if call.inputs[0].data_ptr() == x.data_ptr() else None


class Repeat:
    """How a neuron runs inputs of one kind; see :class:`spikesim.kernels.repeat.Repeat`."""

    like = None
    """No parameter is an array that would have to be made first."""

    def __init__(self, call: Call) -> None:
        (x,) = call.inputs
        self._call = replace(call, inputs=[x.new_empty(0)])  # kept without its tensor
        self._nothing = (None,) * len(call.program.states)
        self._forward: Launch | None = None
        self._backward: Launch | None = None

    def fits(self, x: Tensor, arrays: Sequence[Tensor | None]) -> bool:
        """Any tensor of this kind does."""
        return True

    def forward(
        self, x: Tensor, arrays: Sequence[Tensor | None], *, checkpoint: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The output, and what backward needs beside what is given."""
        if self._forward is None:
            self._forward = Launch(self._call, is_forward=True)
        output = empty_as(x)
        kept = empty_checkpoints(self._call, x) if checkpoint else None
        self._forward(kept, [x], [output, *self._nothing, *self._nothing])
        return output, kept

    def backward(
        self,
        x: Tensor,
        arrays: Sequence[Tensor | None],
        kept: Tensor | None,
        gradient: Tensor,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """The gradient of the input; nothing else has one."""
        if self._backward is None:  # not before it is needed: inference compiles nothing for it
            self._backward = Launch(self._call, is_forward=False)
        gradient, d_input = same_layout(gradient, x), empty_as(x)
        nothing = self._nothing
        self._backward(kept, [x], [gradient, *nothing, *nothing, d_input, *nothing, None])
        return d_input, (None,) * len(wanted)

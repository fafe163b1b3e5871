"""The CUDA backend: packs the arguments of a program's kernels and launches them through CuPy.

torch allocates everything.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.call import EVERY, Call, Gradients, Operand, Outputs, empty_checkpoints
from spikesim.kernels.cupy_module import Module, Stream, module
from spikesim.kernels.print_cuda import Variant, cuda_text
from spikesim.kernels.program import Program

_NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
_SPIKES = {torch.uint8: "uint8", torch.int32: "bits"}
FEW = 2**18
"""Fewer neurons than this leave most of a device idle, unless each thread loads ahead."""


@lru_cache(maxsize=4096)
def choose(
    program: Program, storage: torch.dtype, steps: int, neurons: int, *, backward: bool
) -> Variant:
    """The variant for a call: what was fastest on an H200, by kind of program and size.

    A segment of 16 steps in registers covers the memory's latency; models with many values a step
    take fewer neurons a thread, since registers that spill cost more than they save.
    """
    lines = len(program.lines) + backward * len(program.reverse)
    is_half, is_few = storage.itemsize == 2, neurons < FEW
    segment = next((k for k in (4, 8) if steps <= k), 16)
    width, threads = 2, 128
    if is_few:
        threads = 64
        width = 2 if neurons >= 2**15 else 1
        if is_half and not backward and steps >= 64:
            segment = 32
    elif backward:
        width = 4 if is_half and (segment == 4 or (steps > 16 and lines <= 25)) else 2
        width = 1 if lines > 60 and not is_half else width
        threads = 64 if is_half and width == 2 else 128
    elif is_half:
        width = 4
        segment = min(segment, 16 if lines <= 8 else 8 if lines <= 20 else 4)
    else:
        segment = min(segment, 8)
    if storage == torch.float64:
        width, segment = 1, min(segment, 8)
    while neurons % width:
        width //= 2
    pipelined = steps > segment and (is_few or (backward and not is_half))
    return Variant(_NAMES[storage], width, segment, pipelined, threads)


def _group(call: Call, variant: Variant) -> int:
    """Neurons a partial sum may span: a block, a warp or one, never two parameter elements."""
    warp = 32 * variant.width
    names = call.program.parameters
    wanted = [call.parameters[names.index(name)] for name in call.program.wanted]
    if all(one.count == 1 for one in wanted):
        return variant.threads * variant.width
    if all(one.count == 1 or one.inner % warp == 0 for one in wanted):
        return warp
    return 1


WORD = 16
"""Bytes of the widest load: where inputs must begin for any width to fit."""


class CupyBackend:
    """Runs programs as CUDA kernels; see :class:`~spikesim.kernels.call.Backend`."""

    def group(self, call: Call) -> int:
        """A block, a warp or one neuron."""
        return _group(call, _variant(call, backward=True))

    def forward(self, call: Call, out: Outputs) -> None:
        """All steps."""
        variant = _variant(call, backward=False)
        is_spikes = out.output.dtype != call.storage
        if is_spikes or out.traces:
            spikes = _SPIKES[out.output.dtype] if is_spikes else "storage"
            variant = replace(variant, traces=bool(out.traces), spikes=spikes)
        states = max(1, len(call.program.states))
        written = (
            out.output.data_ptr(),
            *_pointers(out.final, states),
            *_pointers(out.traces, states),
        )
        # The backward pass has more pointers in the same place.
        blank = (0,) * (len(call.inputs) + states + 1)
        launch("forward", call, variant, (*written, *blank))

    def backward(self, call: Call, gradients: Gradients) -> None:
        """All steps, last to first."""
        variant = _variant(call, backward=True)
        if any(g is not None for g in gradients.traces):
            variant = replace(variant, traces=True)
        states = max(1, len(call.program.states))
        pointers = (
            0 if gradients.output is None else gradients.output.data_ptr(),
            *_pointers(gradients.final, states),
            *_pointers(gradients.traces, states),
            *(dx.data_ptr() for dx in gradients.inputs),
            *_pointers(gradients.initial, states),
            0 if gradients.partials is None else gradients.partials.data_ptr(),
        )
        launch("backward", call, variant, pointers)


def _variant(call: Call, *, backward: bool) -> Variant:
    variant = choose(call.program, call.storage, call.steps, call.neurons, backward=backward)
    bytes_read = variant.width * call.storage.itemsize
    if any(x.data_ptr() % bytes_read for x in call.inputs):
        variant = replace(variant, width=1)  # a view that starts between two words
    if call.program.dividends:
        variant = replace(variant, numbers_divided=call.numbers_divided)
    return variant


def _pointers(tensors: Sequence[Tensor | None], count: int) -> Sequence[int]:
    """Addresses, or ``count`` zeros for none."""
    return [0 if t is None else t.data_ptr() for t in tensors] if tensors else (0,) * count


def launch(name: str, call: Call, variant: Variant, pointers: tuple[int, ...]) -> None:
    """Pack ``Arguments`` of ``time_loop.cuh`` and launch."""
    first = (
        *(x.data_ptr() for x in call.inputs),
        0 if call.checkpoints is None else call.checkpoints.data_ptr(),
        0 if call.draws is None else call.draws.position.data_ptr(),
        *pointers,
    )
    packed = struct.pack(f"={len(first)}Q", *first) + _rest(call, variant)
    kernel = _kernel(call.program, variant)
    kernel.launch(name, call.inputs[0].device, _grid(call, variant), variant.threads, packed)


def _grid(call: Call, variant: Variant) -> int:
    return -(-call.neurons // (variant.threads * variant.width))


def _rest(call: Call, variant: Variant) -> bytes:
    """The members of ``Arguments`` after the pointers; each is a multiple of 8 bytes."""
    real = "d" if call.storage == torch.float64 else "f"
    literals = call.numbers or (0.0,)
    padding = "4x" * (real == "f" and len(literals) % 2)
    group = _group(call, variant) if call.program.wanted else 1
    draws = call.draws
    where = (0, 0, 0) if draws is None else (draws.layer, draws.sample_size, draws.channels)
    head = struct.pack(
        f"=4q4I{len(literals)}{real}{padding}",
        *(call.steps, call.neurons, group, -(-call.neurons // group)),
        *(*where, 0),
        *literals,
    )
    one = struct.Struct("=QdII" if real == "d" else "=Qf4xII")
    operands = (*(call.parameters or [Operand()]), *(call.initial or [Operand()]))
    addresses = (0 if o.array is None else o.array.data_ptr() for o in operands)
    parts = (
        one.pack(address, o.value, o.inner, o.count)
        for address, o in zip(addresses, operands, strict=True)
    )
    return head + b"".join(parts)


@lru_cache(maxsize=4096)
def _kernel(program: Program, variant: Variant) -> Module:
    return module(cuda_text(program, variant, EVERY))


class Repeat:
    """A call that was made before, with other tensors of the same kind.

    A small layer costs more in Python than on the device. Where all parameters are numbers, only
    addresses differ from call to call; the rest is packed once.
    """

    def __init__(self, call: Call) -> None:
        (x,) = call.inputs
        states = max(1, len(call.program.states))
        self._index = torch.cuda.current_device() if x.device.index is None else x.device.index
        self._call = replace(call, inputs=[x.new_empty(0)], checkpoints=None)
        self._pack = struct.Struct(f"={6 + 3 * states}Q").pack
        self._zeros = (0,) * (2 * states), (0,) * states
        self._kernels = []
        for name in ("forward", "backward"):
            variant = _variant(call, backward=name == "backward")
            rest = _rest(call, variant)
            function = _kernel(call.program, variant).function(name, self._index)
            size = f"V{8 * (6 + 3 * states) + len(rest)}"
            self._kernels.append(
                (function, (_grid(call, variant),), (variant.threads,), rest, size)
            )

    def fits(self, x: Tensor) -> bool:
        """Whether a tensor of this kind lies where it can be read in whole words."""
        return x.data_ptr() % WORD == 0 and torch._C._cuda_getDevice() == self._index

    def forward(self, x: Tensor, *, checkpoint: bool) -> tuple[Tensor, Tensor | None]:
        """The output, and what backward needs beside the input."""
        output = torch.empty_like(x)
        kept = empty_checkpoints(self._call, x) if checkpoint else None
        address = 0 if kept is None else kept.data_ptr()
        after, before = self._zeros
        self._launch(0, (x.data_ptr(), address, 0, output.data_ptr(), *after, 0, *before, 0))
        return output, kept

    def backward(self, x: Tensor, kept: Tensor | None, gradient: Tensor) -> Tensor:
        """The gradient of the input; ``gradient`` has its strides."""
        d_input = torch.empty_like(x)
        address = 0 if kept is None else kept.data_ptr()
        after, before = self._zeros
        pointers = (x.data_ptr(), address, 0, gradient.data_ptr(), *after)
        self._launch(1, (*pointers, d_input.data_ptr(), *before, 0))
        return d_input

    def _launch(self, which: int, pointers: tuple[int, ...]) -> None:
        function, grid, block, rest, size = self._kernels[which]
        arguments = np.frombuffer(self._pack(*pointers) + rest, size)
        function(
            grid, block, (arguments,), 0, Stream(torch._C._cuda_getCurrentRawStream(self._index))
        )

"""The CUDA backend: packs the arguments of a program's kernels and launches them through CuPy.

torch allocates everything.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from spikesim.kernels.call import EVERY, Call, Gradients, Operand, Outputs
from spikesim.kernels.cupy_module import ByValue, Module, module, start
from spikesim.kernels.print_cuda import Variant, cuda_text
from spikesim.kernels.program import Program

_NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
_ADDRESS = struct.Struct("=Q")
_OPERAND = 24
"""Bytes of a packed operand, which begins with its address."""
_SPIKES = {torch.uint8: "uint8", torch.int32: "bits"}
FEW = 2**18
"""Fewer neurons than this leave most of a device idle, unless each thread loads ahead."""


@lru_cache(maxsize=4096)
def choose(
    program: Program,
    storage: torch.dtype,
    steps: int,
    neurons: int,
    *,
    backward: bool,
    spikes: str = "storage",
) -> Variant:
    """The variant for a call: what was fastest on an H200, by kind of program and size.

    A segment of 16 steps in registers covers the memory's latency; models with many values a step
    take fewer neurons a thread, since registers that spill cost more than they save.
    """
    lines = len(program.lines) + backward * len(program.reverse)
    is_half, is_few = storage.itemsize == 2, neurons < FEW
    segment = next((k for k in (4, 8) if steps <= k), 16)
    width, threads, blocks = 2, 128, None
    if is_few:
        threads = 64
        width = 2 if neurons >= 2**15 else 1
        if is_half and not backward and steps >= 64:
            segment = 32
    elif backward:
        width = 4 if is_half and (segment == 4 or (steps > 16 and lines <= 25)) else 2
        width = 1 if lines > 60 and not is_half else width
        threads = 64 if is_half and width == 2 else 128
        if is_half and 8 < steps <= 16 and len(program.kept) <= 2:
            # Bounding the registers to those of six blocks lets more threads wait for memory.
            width = 4 if len(program.kept) == 1 and not program.wanted else 2
            threads, blocks = 64, 6
    elif spikes == "bits":
        width, segment = (8, min(segment, 8)) if is_half else (4, 4)
    elif is_half:
        width, segment = 4, 4
    else:
        segment = min(segment, 8)
    if storage == torch.float64:
        width, segment = 1, min(segment, 8)
    while neurons % width:
        width //= 2
    pipelined = steps > segment and (is_few or (backward and not is_half))
    return Variant(_NAMES[storage], width, segment, pipelined, threads, blocks, spikes=spikes)


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
"""Bytes of the widest load: where arrays must begin for any width to fit."""


def at_a_word(array: Tensor) -> Tensor:
    """``array``, or a copy where it begins between two words, as a view may."""
    return array.clone() if array.data_ptr() % WORD else array


class CupyBackend:
    """Runs programs as CUDA kernels; see :class:`~spikesim.kernels.call.Backend`."""

    def group(self, call: Call) -> int:
        """A block, a warp or one neuron."""
        return _group(call, _variant(call, backward=True))

    def forward(self, call: Call, out: Outputs) -> None:
        """All steps."""
        is_spikes = out.output.dtype != call.storage
        spikes = _SPIKES[out.output.dtype] if is_spikes else "storage"
        variant = _variant(call, backward=False, spikes=spikes)
        if out.traces:
            variant = replace(variant, traces=True)
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
        output = None if gradients.output is None else at_a_word(gradients.output)
        pointers = (
            0 if output is None else output.data_ptr(),
            *_pointers(gradients.final, states),
            *_pointers(gradients.traces, states),
            *(dx.data_ptr() for dx in gradients.inputs),
            *_pointers(gradients.initial, states),
            0 if gradients.partials is None else gradients.partials.data_ptr(),
        )
        launch("backward", call, variant, pointers)


def _variant(call: Call, *, backward: bool, spikes: str = "storage") -> Variant:
    sizes = call.steps, call.neurons
    variant = choose(call.program, call.storage, *sizes, backward=backward, spikes=spikes)
    bytes_read = variant.width * call.storage.itemsize
    if any(x.data_ptr() % bytes_read for x in call.inputs):
        variant = replace(variant, width=1)  # a view that starts between two words
    names = (*call.program.parameters, *call.program.states)
    operands = (*call.parameters, *call.initial)
    one = tuple(n for n, o in zip(names, operands, strict=True) if o.array is None)
    return replace(variant, one_number=one)


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


class Launch:
    """One pass of a call, packed but for its addresses."""

    def __init__(
        self, name: str, call: Call, index: int, spikes: torch.dtype | None = None
    ) -> None:
        """Of ``"forward"`` or ``"backward"``, on the device ``index``, which is the current one.

        ``spikes`` is what a forward pass stores them as; ``None``: as the input.
        """
        stored = "storage" if spikes is None else _SPIKES[spikes]
        variant = _variant(call, backward=name == "backward", spikes=stored)
        self.group = _group(call, variant)
        """Neurons a partial sum spans."""
        self._function = _kernel(call.program, variant).function(name, index)
        self._index, self._grid, self._block = index, (_grid(call, variant),), (variant.threads,)
        states = max(1, len(call.program.states))
        before = struct.Struct(f"={len(call.inputs) + 3}Q")
        after = struct.Struct(f"={len(call.inputs) + states + 1}Q")
        self._before, self._after = before.pack_into, after.pack_into
        self._written = before.size + 8 * 2 * states
        self._packed = bytes(self._written + after.size) + _rest(call, variant)
        at, self._arrays = len(self._packed), []
        for first, operands in ((len(call.parameters), call.initial), (0, call.parameters)):
            at -= _OPERAND * max(1, len(operands))  # an empty list is packed as one operand
            for i, one in enumerate(operands):
                if one.array is not None:
                    self._arrays.append((first + i, at + _OPERAND * i))
        self._free: list[ByValue] = []

    def __call__(
        self,
        read: tuple[int, ...],
        written: tuple[int, ...],
        arrays: Sequence[Tensor | None],
    ) -> None:
        """Launch.

        Args:
            read: addresses of the inputs, of checkpoints, of the random numbers' position, and of
                the output or its gradient.
            written: of the inputs' gradients, of those of the initial states, and of the sums; in
                a forward pass they are not looked at.
            arrays: of parameters, then of initial values, where the call has arrays.
        """
        try:  # another thread may be launching the same: each takes arguments of its own
            arguments = self._free.pop()
        except IndexError:
            arguments = ByValue(self._packed)
        packed = arguments.packed
        self._before(packed, 0, *read)
        self._after(packed, self._written, *written)
        for place, at in self._arrays:
            array = arrays[place]
            assert array is not None
            _ADDRESS.pack_into(packed, at, array.data_ptr())
        start(self._function, self._index, self._grid, self._block, arguments)
        self._free.append(arguments)

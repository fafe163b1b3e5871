"""The CPU backend: prints a program as numba text, compiles it once, runs it on all threads.

Texts lie in ``$SPIKESIM_CACHE/kernels`` (``~/.cache/spikesim/kernels``), where numba keeps their
machine code too; where that cannot be written, in a folder of this process.
"""

import hashlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels.call import Call, Gradients, Operand, Outputs
from spikesim.kernels.print_numba import Variant, numba_text, scratch
from spikesim.kernels.program import Program
from spikesim.kernels.store import kept
from spikesim.kernels.threads import share
from spikesim.kernels.time_loop_numba import BLOCK

Kernel: TypeAlias = Callable[[NDArray[np.int64], int, int, int], None]
"""Table, first neuron, end, address of scratch memory."""

HELPERS = tuple(f"{name}_numba.py" for name in ("memory", "tile", "rows", "maths", "philox"))
"""What the texts import; numba's cache does not notice when these change."""

_SPIKES = {torch.uint8: "uint8", torch.int32: "bits"}
_ALL = 1 << 62
"""``inner`` where one value serves all neurons."""

_kernels: dict[tuple[str, Variant], Kernel] = {}
_compiling = threading.Lock()


class NumbaBackend:
    """Runs programs on the CPU; see :class:`~spikesim.kernels.call.Backend`."""

    def group(self, call: Call) -> int:
        """1: sums over the steps of each neuron."""
        return 1

    def forward(self, call: Call, out: Outputs) -> None:
        """All steps."""
        states = len(call.program.states)
        arrays = [out.output, *_each(out.final, states), *_each(out.traces, states)]
        spikes = "storage" if out.output.dtype == call.storage else _SPIKES[out.output.dtype]
        _run(call, True, spikes, arrays)

    def backward(self, call: Call, gradients: Gradients) -> None:
        """All steps, last to first; recomputes the states from the inputs."""
        states = len(call.program.states)
        arrays = [
            gradients.output,
            *_each(gradients.final, states),
            *_each(gradients.traces, states),
            *gradients.inputs,
            *_each(gradients.initial, states),
            gradients.partials,
        ]
        _run(call, False, "storage", arrays)


def _each(arrays: Sequence[Tensor | None], states: int) -> Sequence[Tensor | None]:
    return arrays or [None] * states


def _run(call: Call, is_forward: bool, spikes: str, arrays: Sequence[Tensor | None]) -> None:
    launch = Launch(call, is_forward, spikes)
    launch(call.checkpoints, call.inputs, arrays)


class Launch:
    """A kernel with all that its table says but where the arrays of a call are.

    The table is that of :func:`~spikesim.kernels.print_numba.slots`.
    """

    def __init__(self, call: Call, is_forward: bool, spikes: str = "storage") -> None:
        program, draws = call.program, call.draws
        operands = (*call.parameters, *call.initial)
        storage = str(call.storage).removeprefix("torch.")
        variant = Variant(is_forward, storage, spikes, call.numbers_divided)
        real = np.float64 if variant.real == "float64" else np.float32
        self._numbers = np.array((*call.numbers, *(p.value for p in operands)), real)
        self._kernel = _kernel(program, variant)
        self._scratch = scratch(program, is_forward) * self._numbers.itemsize
        self._steps, self._neurons = call.steps, call.neurons
        start, size = self._numbers.ctypes.data, self._numbers.itemsize
        values = range(start + size * len(call.numbers), start + size * len(self._numbers), size)
        self._head = call.steps, call.neurons, start
        self._draws = [0] * 4
        if draws is not None:
            self._draws = [
                draws.position.data_ptr(),
                draws.layer,
                draws.sample_size,
                draws.channels,
            ]
        self._operands = [
            x for p, at in zip(operands, values, strict=True) for x in _operand(p, at)
        ]

    def __call__(
        self,
        checkpoints: Tensor | None,
        inputs: Sequence[Tensor],
        arrays: Sequence[Tensor | None],
    ) -> None:
        """Run all neurons; ``arrays`` are those from the output on."""
        addresses = [0 if array is None else array.data_ptr() for array in arrays]
        kept = 0 if checkpoints is None else checkpoints.data_ptr()
        read = [x.data_ptr() for x in inputs]
        entries = (*self._head, kept, *self._draws, *read, *self._operands, *addresses)
        table, kernel, size = np.array(entries, np.int64), self._kernel, self._scratch

        def work(start: int, stop: int) -> None:
            memory = torch.empty(size, dtype=torch.uint8)  # torch aligns memory to whole vectors
            kernel(table, start, stop, memory.data_ptr())

        share(work, self._neurons, self._steps, BLOCK)


def _operand(p: Operand, number: int) -> tuple[int, int, int]:
    if p.array is None:
        return number, _ALL, 1
    return p.array.data_ptr(), _ALL if p.count == 1 else p.inner, p.count


def _kernel(program: Program, variant: Variant) -> Kernel:
    key = program.key, variant
    if key not in _kernels:
        with _compiling:
            if key not in _kernels:
                _kernels[key] = imported(numba_text(program, variant, stamp())).run
    return _kernels[key]


def imported(text: str) -> Any:
    """The module of a text, from its file, since numba caches no text that comes without one."""
    name = f"spikesim_kernel_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    # Written once: a newer file would make numba compile again.
    path = kept(f"{name}.py", text.encode)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks there for what cached code refers to
    spec.loader.exec_module(module)
    return module


@cache
def stamp(*more: str) -> str:
    """The version of the helpers, and of more files of this folder, which is part of each text."""
    files = resources.files("spikesim.kernels")
    content = b"".join(files.joinpath(name).read_bytes() for name in (*HELPERS, *more))
    return hashlib.sha256(content).hexdigest()[:16]

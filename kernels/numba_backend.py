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
from spikesim.kernels.print_numba import Variant, block, numba_text, rows
from spikesim.kernels.program import Program
from spikesim.kernels.store import kept
from spikesim.kernels.threads import share

Kernel: TypeAlias = Callable[[NDArray[np.int64], int, int, int], None]
"""Table, first neuron, end, address of scratch memory."""

HELPERS = ("memory_numba.py", "rows_numba.py", "maths_numba.py", "philox_numba.py")
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
        output = gradients.output
        arrays = [
            torch.zeros_like(call.inputs[0]) if output is None else output,
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
    """Fill the table of :func:`~spikesim.kernels.print_numba.slots` and run all neurons."""
    program, draws = call.program, call.draws
    operands = (*call.parameters, *call.initial)
    storage = str(call.storage).removeprefix("torch.")
    variant = Variant(is_forward, storage, spikes, call.numbers_divided)
    real = np.float64 if variant.real == "float64" else np.float32
    numbers = np.array((*call.numbers, *(p.value for p in operands)), real)
    first = numbers.ctypes.data + numbers.itemsize * len(call.numbers)
    table = [call.steps, call.neurons, numbers.ctypes.data, _address(call.checkpoints)]
    if draws is None:
        table += [0] * 4
    else:
        table += [draws.position.data_ptr(), draws.layer, draws.sample_size, draws.channels]
    table += [x.data_ptr() for x in call.inputs]
    for i, p in enumerate(operands):
        table += _operand(p, first + numbers.itemsize * i)
    table += [_address(array) for array in arrays]
    entries = np.array(table, np.int64)
    kernel = _kernel(program, variant)
    size = block(program, is_forward)
    scratch = rows(program, is_forward) * size * numbers.itemsize + 64

    def work(start: int, stop: int) -> None:
        memory = np.empty(scratch, np.uint8)
        kernel(entries, start, stop, memory.ctypes.data)

    share(work, call.neurons, call.steps, size)


def _operand(p: Operand, number: int) -> tuple[int, int, int]:
    if p.array is None:
        return number, _ALL, 1
    return p.array.data_ptr(), _ALL if p.count == 1 else p.inner, p.count


def _address(array: Tensor | None) -> int:
    return 0 if array is None else array.data_ptr()


def _kernel(program: Program, variant: Variant) -> Kernel:
    key = program.key, variant
    if key not in _kernels:
        with _compiling:
            if key not in _kernels:
                _kernels[key] = _compiled(numba_text(program, variant, stamp()))
    return _kernels[key]


def _compiled(text: str) -> Kernel:
    """Import a text, from its file, since numba caches no text that comes without one."""
    name = f"spikesim_kernel_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    # Written once: a newer file would make numba compile again.
    path = kept(f"{name}.py", text.encode)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks there for what cached code refers to
    spec.loader.exec_module(module)
    kernel: Kernel = module.run
    return kernel


@cache
def stamp() -> str:
    """The version of the helpers, which is part of each text."""
    files = resources.files("spikesim.kernels")
    content = b"".join(files.joinpath(name).read_bytes() for name in HELPERS)
    return hashlib.sha256(content).hexdigest()[:16]

"""The text that is compiled for a neuron, to be read."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels import cupy_backend, numba_backend, print_cuda, print_numba
from spikesim.kernels.call import EVERY, STORAGES
from spikesim.types import Named

if TYPE_CHECKING:
    from spikesim.neuron import Neuron

NEURONS = 2**20
"""Of a step, in the call whose text is shown: the cut of CUDA's time loop depends on its size."""


def source(neuron: "Neuron", backend: str, dtype: torch.dtype) -> str:
    """The text of :meth:`spikesim.neuron.Neuron.kernel_source`."""
    if backend not in ("numba", "cupy"):
        raise UserError(f"backend must be numba or cupy, which print kernels; got {backend!r}")
    if dtype not in STORAGES:
        raise UserError(f"dtype must be one of {', '.join(STORAGES.values())}, got {dtype}")
    program, numbers = neuron.bound().program, _one_number(neuron)
    if backend == "cupy":
        variant = cupy_backend.choose(program, dtype, EVERY, NEURONS, backward=True)
        return print_cuda.cuda_text(program, replace(variant, one_number=numbers), EVERY)
    divided = tuple(name for name in program.dividends if name in numbers)
    return "\n".join(
        print_numba.numba_text(
            program,
            print_numba.Variant(is_forward, STORAGES[dtype], numbers=divided),
            numba_backend.stamp(),
        )
        for is_forward in (True, False)
    )


def _one_number(neuron: "Neuron") -> tuple[str, ...]:
    """Parameters and initial states that are one number: which of them are is part of the text."""
    shapeless = torch.empty((), device="meta")
    given = {name: getattr(neuron, name) for name in neuron.parameter_names}
    p = Named(
        {n: shapeless if isinstance(v, Tensor) else v for n, v in given.items() if v is not None}
    )
    p = p.replace(**neuron.derived(p))
    values = {**neuron.bound().values(p), **neuron.initial(p)}
    return tuple(name for name, value in values.items() if not isinstance(value, Tensor))

"""Synapses made on a CUDA device: tensors there, filled by CUDA kernels and by torch."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels import connect_cupy
from spikesim.kernels.builder import ATTEMPTS, Builder, Law
from spikesim.kernels.connect_cupy import Rows
from spikesim.kernels.print_cuda import cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

THREADS = 256


class CudaBuilder(Builder):
    """Synapses as tensors on a device.

    Args:
        device: of CUDA.
        threads: of the CPU, for rules that have no kernel.
    """

    is_cpu = False
    bytes_each = 56

    def __init__(self, device: torch.device, threads: int = 1) -> None:
        super().__init__(threads)
        self.device = device

    def free_bytes(self) -> int | None:
        """What the device has free, and what torch keeps for later there."""
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(free + kept)

    def every_pair(self, n_pre: int, n_post: int, *, skip: bool) -> Rows:
        """Each source reaches each target."""
        return connect_cupy.every_pair(n_pre, n_post, skip=skip, device=self.device)

    def diagonal(self, size: int) -> Rows:
        """Source ``i`` reaches target ``i``."""
        return connect_cupy.diagonal(size, device=self.device)

    def bernoulli(self, rows: int, columns: int, p: float, *, skip: bool, seed: int) -> Rows:
        """By the gaps between the columns of a row, a warp a row."""
        how = (rows, columns, p)
        return connect_cupy.bernoulli(*how, skip=skip, seed=seed, device=self.device)

    def indegree(
        self, n_pre: int, n_post: int, degree: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """Keys in no order, sorted."""
        drawn = connect_cupy.drawn(n_post, n_pre, degree, skip, distinct, seed, True, self.device)
        return connect_cupy.sorted_rows(drawn, n_pre, n_post)

    def outdegree(
        self, n_pre: int, n_post: int, degree: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """Keys in no order, sorted."""
        drawn = connect_cupy.drawn(n_pre, n_post, degree, skip, distinct, seed, False, self.device)
        return connect_cupy.sorted_rows(drawn, n_pre, n_post)

    def pairs(
        self, total: int, n_pre: int, n_post: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """Keys in no order, sorted."""
        how = (total, n_pre, n_post, skip, seed, self.device)
        keys = connect_cupy.distinct_pairs(*how) if distinct else connect_cupy.pairs(*how)
        return connect_cupy.sorted_rows(keys, n_pre, n_post)

    def _draw(self, law: Law, seed: int, dt: float, out: Tensor) -> int:
        outside = torch.zeros(1, dtype=torch.int64, device=self.device)
        attempts = ATTEMPTS if law.is_redrawn else 0
        name = f"draw_{str(out.dtype).removeprefix('torch.')}"
        pointers = out.data_ptr(), outside.data_ptr()
        numbers = (law.a, law.b, law.low, law.high, dt)
        whole = (*pointers, seed, len(out), law.kind, attempts)
        self._launch(name, len(out), whole, numbers)
        return int(outside)

    def _empty(self, count: int, dtype: str) -> Tensor:
        return torch.empty(count, dtype=getattr(torch, dtype), device=self.device)

    def limits(self, values: Tensor) -> tuple[float, float]:
        """The least and the largest of at least one value."""
        low, high = torch.stack(torch.aminmax(values)).tolist()
        return low, high

    def place(self, target: Tensor, steps: Tensor | None, neurons: int, dtype: str) -> Tensor:
        """``steps * neurons + target``, or the targets alone."""
        # Torch computes with a sign only; 32 and 16 bits of it are the same ones.
        signed = target if steps is None else torch.add(target, steps, alpha=neurons)
        if dtype == "uint16":
            return signed.to(torch.int16).view(torch.uint16)
        return signed.view(torch.uint32)

    def _tally(
        self, place: Tensor, weight: Tensor | None, neurons: int, scale: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        sums = torch.zeros((2, neurons), dtype=torch.int64, device=self.device)
        address, size = (0, 0) if weight is None else (weight.data_ptr(), weight.element_size())
        pointers = place.data_ptr(), address, sums[0].data_ptr(), sums[1].data_ptr()
        whole = (*pointers, len(place), neurons, place.element_size(), size)
        self._launch("tally", len(place), whole, (scale,))
        found = sums.cpu().numpy()
        return found[0], found[1]

    def count_nonzero(self, values: Tensor) -> int:
        """How many values are not 0."""
        return int(torch.count_nonzero(values))

    def whole(self, weight: Tensor, quantum: float) -> Tensor:
        """Weights in quanta."""
        kind = torch.int32 if weight.dtype == torch.float32 else torch.int64
        return (weight.double() / quantum).round_().to(kind)

    def upload(self, values: NDArray[Any]) -> Tensor:
        """A copy on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def download(self, values: Tensor) -> NDArray[Any]:
        """A copy on the CPU."""
        found: NDArray[Any] = values.cpu().numpy()
        return found

    def _launch(
        self, name: str, count: int, whole: tuple[int, ...], real: tuple[float, ...]
    ) -> None:
        """Run a kernel on the 64-bit numbers of its struct; none if there is nothing to do."""
        if count:
            packed = np.array(whole, np.uint64).tobytes() + np.array(real, np.float64).tobytes()
            _module().launch(name, self.device, -(-count // THREADS), THREADS, packed)


@cache
def _module() -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text())


def cuda_text() -> str:
    """The kernels of values and sums."""
    head = f"#define THREADS {THREADS}\n"
    return head + "".join(map(cuda_file, ("maths.cuh", "philox.cuh", "synapses.cuh")))
